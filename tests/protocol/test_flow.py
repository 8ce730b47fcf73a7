"""Each event against what `@ag-ui/client` 1.0.0 makes of it (its source, `apply/default.ts`)."""

from typing import Any

import pytest

from tests.strategies import Growing

Event = dict[str, Any]

U1 = {"id": "u1", "role": "user", "content": "hi"}
K1, K2 = {"metadata": {"k": 1, "a": 1}}, {"metadata": {"k": 2}}
BOTH = {"metadata": {"k": 2, "a": 1}}
S1 = {"subagentRunId": "s1"}


def text(kind: str, one: str = "m1", **more: Any) -> Event:
    return {"type": f"TEXT_MESSAGE_{kind}", "messageId": one, **more}


def thought(kind: str, one: str = "r1", **more: Any) -> Event:
    return {"type": f"REASONING_MESSAGE_{kind}", "messageId": one, **more}


def call(kind: str, one: str = "c1", **more: Any) -> Event:
    name = {"toolCallName": "look"} if kind == "START" else {}
    return {"type": f"TOOL_CALL_{kind}", "toolCallId": one, **name, **more}


def result(one: str, of: str, content: Any = "x", **more: Any) -> Event:
    return {"type": "TOOL_CALL_RESULT", "messageId": one, "toolCallId": of, "content": content, **more}


def held(one: str = "c1", arguments: str = "", name: str = "look", **more: Any) -> Event:
    return {"id": one, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def activity(**more: Any) -> Event:
    return {"type": "ACTIVITY_SNAPSHOT", "messageId": "a1", "activityType": "p", "content": {"n": 1}, **more}


def moved(*steps: Event, **more: Any) -> Event:
    return {"type": "ACTIVITY_DELTA", "messageId": "a1", "activityType": "q", "patch": list(steps), **more}


def snapshot(*messages: Event, **more: Any) -> Event:
    return {"type": "MESSAGES_SNAPSHOT", "messages": list(messages), **more}


def theirs(types: Any) -> Event:
    return {"metadata": {"@ag-ui/client": {"authoritativeActivityTypes": types}}}


SECRET = {"type": "REASONING_ENCRYPTED_VALUE", "encryptedValue": "v"}
A1 = {"id": "a1", "role": "activity", "activityType": "p", "content": {"n": 1}}
M1 = {"id": "m1", "role": "assistant"}
R1 = {"id": "r1", "role": "reasoning", "content": ""}
T1 = {"id": "t1", "role": "tool", "toolCallId": "c1", "content": "x"}
N2 = {"op": "replace", "path": "/n", "value": 2}
WRONG = {"op": "remove", "path": "/none"}

CASES: dict[str, tuple[list[Event], list[Event]]] = {
    "text": (
        [
            text("START", name="Ada", **K1, **S1),
            text("CONTENT", delta="a", **K2),
            text("CONTENT", delta="b"),
            text("END"),
        ],
        [U1, {**M1, "content": "ab", "name": "Ada", **S1, **BOTH}],
    ),
    "text of a role": ([text("START", role="developer")], [U1, {"id": "m1", "role": "developer", "content": ""}]),
    "text with metadata at its end": ([text("START", **K1), text("END", **K2)], [U1, {**M1, "content": "", **BOTH}]),
    "text on a known message": (
        [text("START", "u1", name="Eve", role="assistant"), text("CONTENT", "u1", delta="!")],
        [{**U1, "content": "hi!"}],
    ),
    "text on a call's message": (
        [call("START", "m1"), text("START"), text("CONTENT", delta="a")],
        [U1, {**M1, "content": "a", "toolCalls": [held("m1")]}],
    ),
    "text on an activity": (
        [activity(), text("START", "a1", **K1), text("CONTENT", "a1", delta="x"), text("END", "a1", **K1)],
        [U1, A1],
    ),
    "text on what is no text": (
        [snapshot({"id": "u1", "role": "user", "content": [1]}), text("START", "u1"), text("CONTENT", "u1", delta="x")],
        [{**U1, "content": "x"}],
    ),
    "text of a message that is gone": (
        [text("START"), snapshot(U1), text("CONTENT", delta="x"), text("END", **K1)],
        [U1],
    ),
    "reasoning": (
        [thought("START", **K1), thought("CONTENT", delta="a"), thought("END", **K2)],
        [U1, {**R1, "content": "a", **BOTH}],
    ),
    "a reasoning span": (
        [{"type": "REASONING_START", "messageId": "r1"}, {"type": "REASONING_END", "messageId": "r1"}],
        [U1],
    ),
    "a call without a message": (
        [call("START", **K1, **S1), call("ARGS", delta="{"), call("ARGS", delta="}", **K2), call("END")],
        [U1, {"id": "c1", "role": "assistant", "toolCalls": [held(arguments="{}", **BOTH)], **S1}],
    ),
    "a call with metadata at its end": (
        [call("START"), call("END", **K1)],
        [U1, {"id": "c1", "role": "assistant", "toolCalls": [held(**K1)]}],
    ),
    "calls on a message": (
        [text("START"), call("START", parentMessageId="m1"), call("START", "c2", parentMessageId="m1")],
        [U1, {**M1, "content": "", "toolCalls": [held(), held("c2")]}],
    ),
    "a call on a message to come": (
        [call("START", parentMessageId="m1"), text("START"), text("CONTENT", delta="a")],
        [U1, {**M1, "content": "a", "toolCalls": [held()]}],
    ),
    "a call on what is no assistant's": (
        [call("START", parentMessageId="u1")],
        [U1, {"id": "c1", "role": "assistant", "toolCalls": [held()]}],
    ),
    "a known call": (
        [call("START"), call("ARGS", delta="{}"), call("END"), {**call("START", **K1), "toolCallName": "send"}],
        [U1, {"id": "c1", "role": "assistant", "toolCalls": [held(arguments="{}", name="send", **K1)]}],
    ),
    "a call that is gone": (
        [call("START"), snapshot(U1), call("ARGS", delta="x"), call("END", **K1)],
        [U1],
    ),
    "results stand behind their call": (
        [call("START"), text("START"), result("t1", "c1", **K1, **S1), result("t2", "c1"), result("t9", "c9")],
        [
            U1,
            {"id": "c1", "role": "assistant", "toolCalls": [held()]},
            {**T1, **K1, **S1},
            {**T1, "id": "t2"},
            {**M1, "content": ""},
            {**T1, "id": "t9", "toolCallId": "c9"},
        ],
    ),
    "a result of parts": ([result("t1", "c1", [{"type": "text", "text": "x"}])],
                          [U1, {**T1, "content": [{"type": "text", "text": "x"}]}]),
    "of two messages with one id the first is meant": (
        [call("START"), text("START"), result("t1", "c9"), result("t1", "c1"), text("CONTENT", "t1", delta="!")],
        [
            U1,
            {"id": "c1", "role": "assistant", "toolCalls": [held()]},
            {**T1, "content": "x!"},
            {**M1, "content": ""},
            {**T1, "toolCallId": "c9"},
        ],
    ),
    "a snapshot replaces, adds and drops": (
        [text("START"), text("START", "m2"), snapshot(U1 | {"content": "ho"}, M1, M1 | {"id": "m3"})],
        [U1 | {"content": "ho"}, M1, M1 | {"id": "m3"}],
    ),
    "a snapshot leaves reasoning and activities that it does not tell of": (
        [thought("START"), activity(), snapshot(M1)],
        [R1, A1, M1],
    ),
    "a snapshot with reasoning has all of it": ([thought("START"), snapshot({**R1, "id": "r2"})], [{**R1, "id": "r2"}]),
    "a snapshot with an activity has all of them": ([activity(), snapshot({**A1, "id": "a2"})], [{**A1, "id": "a2"}]),
    "a snapshot that has all activities": ([activity(), snapshot(U1, **theirs(None))], [U1]),
    "a snapshot that has the activities of a type": ([activity(), snapshot(U1, **theirs(["p"]))], [U1]),
    "a snapshot that has those of another type": ([activity(), snapshot(U1, **theirs(["x"]))], [U1, A1]),
    "a snapshot with a scope that is none": ([activity(), snapshot(U1, **theirs(5))], [U1, A1]),
    "a snapshot with rubbish for a scope": ([activity(), snapshot(U1, metadata={"@ag-ui/client": 5})], [U1, A1]),
    "a snapshot with no scope": ([activity(), snapshot(U1, metadata={"@ag-ui/client": {}})], [U1, A1]),
    "a snapshot with empty calls": ([snapshot({**M1, "toolCalls": []})], [{**M1, "toolCalls": []}]),
    "an activity": ([activity(**K1, **S1)], [U1, {**A1, **K1, **S1}]),
    "an activity that is replaced": (
        [activity(**K1, **S1), activity(content={"n": 5}, **K2)],
        [U1, {**A1, "content": {"n": 5}, **BOTH}],
    ),
    "an activity that is not": ([activity(), activity(replace=False, content={}, **K1)], [U1, {**A1, **K1}]),
    "an activity for a message": ([activity(messageId="u1")], [{**A1, "id": "u1"}]),
    "an activity not for a message": ([activity(messageId="u1", replace=False, **K1)], [U1]),
    "an activity for a call's message": (
        [call("START"), call("END"), activity(messageId="c1"), call("START")],
        [U1, {**A1, "id": "c1"}, {"id": "c1", "role": "assistant", "toolCalls": [held()]}],
    ),
    "a patched activity": ([activity(**K1), moved(N2, **K2)],
                           [U1, {**A1, "activityType": "q", "content": {"n": 2}, **BOTH}]),
    "a patch that does not apply": ([activity(), moved(WRONG, **K1)], [U1, {**A1, **K1}]),
    "a patch of nothing": ([moved(N2)], [U1]),
    "a patch of a message": ([{**moved(N2, **K1), "messageId": "u1"}], [U1]),
    "an encrypted message": ([{**SECRET, "subtype": "message", "entityId": "u1"}], [{**U1, "encryptedValue": "v"}]),
    "an encrypted call": (
        [call("START"), {**SECRET, "subtype": "tool-call", "entityId": "c1"}],
        [U1, {"id": "c1", "role": "assistant", "toolCalls": [held(encryptedValue="v")]}],
    ),
    "an encrypted activity": ([activity(), {**SECRET, "subtype": "message", "entityId": "a1"}], [U1, A1]),
    "an encrypted nothing": ([{**SECRET, "subtype": "tool-call", "entityId": "u1"}], [U1]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_messages_are_what_the_client_makes_of_the_same_events(case: str) -> None:
    said, messages = CASES[case]
    growing = Growing("r", {"messages": [U1]})
    growing.add({"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2})
    for event in said:
        growing.add(event)
    assert [message.wire() for message in growing.state.messages] == messages


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ([{"type": "STATE_SNAPSHOT", "snapshot": [1]}], [1]),
        ([{"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/b", "value": 2}]}], {"a": 1, "b": 2}),
        ([{"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/b", "value": 2}, WRONG]}], {"a": 1}),
        ([{"type": "STATE_SNAPSHOT", "snapshot": None}], None),
    ],
)
def test_the_state_is_what_the_client_makes_of_the_same_events(said: list[Event], state: Any) -> None:
    growing = Growing("r", {"state": {"a": 1}})
    for event in said:
        growing.add(event)
    assert growing.state.state == state


def test_what_this_attempt_has_said_is_known_by_its_ids() -> None:
    growing = Growing("r", {"messages": [U1]})
    for event in [text("START"), text("START", "u1"), call("START"), result("t1", "c1"), activity(), thought("START")]:
        growing.add(event)
    growing.add(snapshot(U1, {**M1, "id": "m9"}))
    assert growing.state.said == ["m1", "c1", "t1", "a1", "r1", "m9"]
