"""Each rule of order by its name: what it accepts, what it refuses; and that what is accepted can always be folded."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.checkpoint import dump, load
from protocol.entries import ASK_CANCEL, Entry, Principal, ask, encode
from protocol.errors import IllegalEvent
from protocol.order import check, close, closers, unanswered
from protocol.prelude import prelude
from protocol.run import fold
from protocol.state import OpenPart
from tests.strategies import SAID, Growing, runs

Event = dict[str, Any]

S1 = {"subagentRunId": "s1"}
S2 = {"subagentRunId": "s2"}
TEXT: Event = {"type": "TEXT_MESSAGE_START", "messageId": "m1"}
SAYS: Event = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "x"}
TEXT_END: Event = {"type": "TEXT_MESSAGE_END", "messageId": "m1"}
CALL: Event = {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look"}
ARGS: Event = {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "{}"}
CALL_END: Event = {"type": "TOOL_CALL_END", "toolCallId": "c1"}
RESULT: Event = {"type": "TOOL_CALL_RESULT", "messageId": "t1", "toolCallId": "c1", "content": "x"}
SPAN: Event = {"type": "REASONING_START", "messageId": "r1"}
SPAN_END: Event = {"type": "REASONING_END", "messageId": "r1"}
THOUGHT: Event = {"type": "REASONING_MESSAGE_START", "messageId": "r1", "role": "reasoning"}
THINKS: Event = {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r1", "delta": "x"}
THOUGHT_END: Event = {"type": "REASONING_MESSAGE_END", "messageId": "r1"}
STEP: Event = {"type": "STEP_STARTED", "stepName": "plan"}
STEP_END: Event = {"type": "STEP_FINISHED", "stepName": "plan"}
HELPER: Event = {"type": "SUBAGENT_STARTED", "name": "n", **S1}
HELPER_END: Event = {"type": "SUBAGENT_FINISHED", **S1}
ACTIVITY: Event = {"type": "ACTIVITY_SNAPSHOT", "messageId": "a1", "activityType": "p", "content": {"a": 1}}
SECRET: Event = {"type": "REASONING_ENCRYPTED_VALUE", "encryptedValue": "x"}


def patch(*steps: Event) -> Event:
    return {"type": "STATE_DELTA", "delta": list(steps)}


def activity(*steps: Event, **more: Any) -> Event:
    return {"type": "ACTIVITY_DELTA", "messageId": "a1", "activityType": "p", "patch": list(steps), **more}


def snapshot(*messages: Event) -> Event:
    return {"type": "MESSAGES_SNAPSHOT", "messages": list(messages)}


def grown(*said: Event) -> Growing:
    growing = Growing("r", {"messages": [{"id": "u1", "role": "user", "content": "hi"}]})
    growing.add({"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2})
    for event in said:
        check(growing.state, event)
        growing.add(copy.deepcopy(event))
    return growing


LOOK: Event = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
TWICE: Event = {"id": "m1", "role": "assistant", "toolCalls": [LOOK]}
ADD = {"op": "add", "path": "/a", "value": 1}
ACCEPTED: list[list[Event]] = [
    [TEXT, SAYS, TEXT_END, TEXT, SAYS, TEXT_END],
    [TEXT | S1, SAYS, SAYS | S1, TEXT_END],
    [TEXT, CALL, SAYS, ARGS, THOUGHT, CALL_END, THINKS, TEXT_END, THOUGHT_END],
    [CALL | S1, ARGS | S1, CALL_END, CALL | S1, CALL_END, CALL],
    [TEXT | S1, CALL | {"parentMessageId": "m1"}, ARGS | S1, CALL_END],
    [CALL | S1 | {"parentMessageId": "u9"}],
    [CALL | {"parentMessageId": "u1"}],
    [SPAN, THOUGHT, THINKS, THOUGHT_END, SPAN_END],
    [SPAN | S1, THOUGHT | S1],
    [STEP, STEP | S1, STEP | S2, STEP_END | S1, STEP_END, STEP_END | S2, STEP],
    [HELPER, HELPER | S2 | {"parentSubagentRunId": "s1"}, HELPER_END, {"type": "SUBAGENT_ERROR", "message": "", **S2}],
    [HELPER, HELPER_END | {"outcome": {"type": "suspended"}}],
    [patch(ADD), patch({"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"})],
    [ACTIVITY | S1, activity({"op": "replace", "path": "/a", "value": 2}, **S1), activity()],
    [activity(ADD)],
    [TEXT, ACTIVITY | {"messageId": "m1"}, activity(ADD) | {"messageId": "m1"}, SAYS],
    [TEXT, {**ACTIVITY, "messageId": "m1", "replace": False}, activity(ADD) | {"messageId": "m1"}],
    [TEXT | S1, SECRET | {"subtype": "message", "entityId": "m1"} | S1],
    [SECRET | {"subtype": "message", "entityId": "m9"}],
    [CALL | S1, SECRET | {"subtype": "tool-call", "entityId": "c1"} | S1],
    [SECRET | {"subtype": "tool-call", "entityId": "c9"} | S1],
    [TEXT, snapshot({"id": "m1", "role": "assistant"}), SAYS],
    [STEP, snapshot()],
    [{"type": "CUSTOM", "name": "mine", "value": None}, {"type": "RAW", "event": 1}, {"type": "OF_TOMORROW"}, RESULT],
]  # fmt: skip


@pytest.mark.parametrize("said", ACCEPTED)
def test_what_the_clients_accept_is_accepted(said: list[Event]) -> None:
    assert len(grown(*said).events) == 2 + len(said)


REFUSED: list[tuple[str, list[Event], Event]] = [
    ("not-open", [], SAYS),
    ("not-open", [], TEXT_END),
    ("not-open", [TEXT, TEXT_END], SAYS),
    ("not-open", [], ARGS),
    ("not-open", [], THINKS),
    ("not-open", [THOUGHT], SPAN_END),
    ("not-open", [], STEP_END),
    ("not-open", [], HELPER_END),
    ("not-open", [HELPER, HELPER_END], {"type": "SUBAGENT_ERROR", "message": "", **S1}),
    ("already-open", [TEXT], TEXT),
    ("already-open", [CALL], CALL),
    ("already-open", [SPAN], SPAN),
    ("already-open", [THOUGHT], THOUGHT),
    ("already-open", [STEP | S1], STEP | S1),
    ("already-open", [HELPER], HELPER),
    ("subagent-closed", [HELPER, HELPER_END], HELPER),
    ("subagent-parent", [], HELPER | {"parentSubagentRunId": "s9"}),
    ("owner", [TEXT | S1], SAYS | S2),
    ("owner", [TEXT], TEXT_END | S1),
    ("owner", [TEXT | S1, TEXT_END], TEXT | S2),
    ("owner", [], TEXT | S1 | {"messageId": "u1"}),
    ("owner", [SPAN | S1], THOUGHT | S2),
    ("owner", [SPAN | S1, SPAN_END], THOUGHT),
    ("owner", [STEP], STEP_END | S1),
    ("owner", [STEP | S1], STEP_END),
    ("owner", [TEXT], CALL | S1 | {"parentMessageId": "m1"}),
    ("owner", [CALL | S1, CALL_END, TEXT], CALL | {"parentMessageId": "m1"}),
    ("owner", [TEXT | S1 | {"role": "user"}], CALL | {"parentMessageId": "m1"}),
    ("owner", [CALL | S1, CALL_END, snapshot()], CALL),
    ("owner", [ACTIVITY], activity(ADD, **S1)),
    ("owner", [TEXT], SECRET | {"subtype": "message", "entityId": "m1"} | S1),
    ("owner", [CALL], SECRET | {"subtype": "tool-call", "entityId": "c1"} | S1),
    ("state-patch", [], patch({"op": "remove", "path": "/none"})),
    ("state-patch", [], patch({"op": "test", "path": "", "value": 1})),
    ("activity-patch", [ACTIVITY], activity({"op": "remove", "path": "/none"})),
    ("activity-patch", [ACTIVITY], activity({"op": "replace", "path": "", "value": []})),
    ("snapshot-drops", [TEXT], snapshot()),
    ("snapshot-drops", [CALL], snapshot({"id": "c1", "role": "assistant"})),
    ("snapshot-drops", [THOUGHT], snapshot({"id": "r2", "role": "reasoning", "content": ""})),
    ("snapshot-drops", [CALL], ACTIVITY | {"messageId": "c1"}),
    ("event-fields", [], snapshot(TWICE, TWICE | {"id": "m2"})),
    ("reserved-name", [], {"type": "CUSTOM", "name": "hocket.attempt", "value": {}}),
    ("event-fields", [], THOUGHT | {"role": "assistant"}),
    ("event-type", [], {"type": "ask.cancel"}),
]


@pytest.mark.parametrize(("rule", "said", "next_one"), REFUSED)
def test_what_a_client_would_end_the_run_for_is_refused_by_name(rule: str, said: list[Event], next_one: Event) -> None:
    growing = grown(*said)
    with pytest.raises(IllegalEvent, match=rf"\(rule: {rule}\)$") as refused:
        check(growing.state, next_one)
    assert refused.value.rule == rule


def test_a_state_that_grows_deeper_than_can_be_told_is_refused() -> None:
    growing, path = grown(), ""
    with pytest.raises(IllegalEvent, match="event-depth"):
        for _ in range(400):
            path += "/a"
            event = patch({"op": "add", "path": path, "value": {}})
            check(growing.state, event)
            growing.add(event)


def test_a_part_goes_over_to_the_owner_that_a_snapshot_gives_it() -> None:
    growing = grown(TEXT | S1, snapshot({"id": "m1", "role": "assistant", **S2}), SAYS | S2)
    assert closers(growing.state, 5) == [TEXT_END | S2 | {"timestamp": 5}]
    growing = grown(TEXT | S1, snapshot({"id": "m1", "role": "assistant"}), SAYS)
    assert closers(growing.state, 5) == [TEXT_END | {"timestamp": 5}]


def test_what_was_opened_last_is_closed_first() -> None:
    growing = grown(HELPER, STEP | S1, SPAN, THOUGHT, TEXT | S1, CALL)
    mark = {"hocket": {"abandoned": True}}
    assert closers(growing.state, 7, mark) == [
        CALL_END | {"timestamp": 7, "metadata": mark},
        TEXT_END | S1 | {"timestamp": 7, "metadata": mark},
        THOUGHT_END | {"timestamp": 7, "metadata": mark},
        SPAN_END | {"timestamp": 7, "metadata": mark},
        STEP_END | S1 | {"timestamp": 7},
        {"type": "SUBAGENT_ERROR", "subagentRunId": "s1", "message": "The run ended first.", "timestamp": 7},
    ]
    assert close(OpenPart("step", "plan", None, STEP), 1) == STEP_END | {"timestamp": 1}


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(runs(size_max=15))
def test_the_closers_make_any_prefix_legal_to_end(events: list[Event]) -> None:
    growing = Growing("r", events[0]["input"])
    for event in events[1:]:
        growing.add(event)
        if growing.state.ended_at_ms is None and growing.state.legs[0].attempts:
            rest = copy.deepcopy(growing)
            for closer in closers(rest.state, 9):
                check(rest.state, closer)
                rest.add(closer)
            assert rest.state.open == {}


BY = Principal("default", "t", "development")


def test_calls_that_nobody_will_answer_any_more_get_a_result_but_not_those_of_the_clients_own_tools() -> None:
    growing = Growing("r", {"tools": [{"name": "ask_user"}]})
    growing.add({"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2})
    for number, name in enumerate(["look", "ask_user", "look"], 1):
        growing.add({"type": "TOOL_CALL_START", "toolCallId": f"c{number}", "toolCallName": name})
        growing.add({"type": "TOOL_CALL_END", "toolCallId": f"c{number}"})
    growing.add(RESULT | {"toolCallId": "c3"})
    growing.add(ask(ASK_CANCEL, BY, "test", 3, runId="r", reason=None))
    assert [(event["toolCallId"], event["messageId"]) for event in unanswered(growing.state, 4)] == [
        ("c1", "c1-result")
    ]


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
ODD: Any = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=2), st.just({}), st.just([1]))


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_accepted_can_be_written_folded_kept_and_told(data: st.DataObject) -> None:
    growing = grown()
    for event in data.draw(st.lists(SAID, max_size=8)):
        field = data.draw(
            st.sampled_from([*event, "metadata", "subagentRunId", "timestamp", "parentMessageId", "usage"])
        )
        if data.draw(st.integers(0, 2)) == 0:
            event = {**event, field: data.draw(ODD)}
        if not growing.say(event):
            continue
        state = growing.state
        encode(1, event)
        orjson.dumps(prelude(state, [message.wire() for message in state.messages]))
        assert load(dump(state)) == state


def test_rubbish_at_the_end_of_a_leg_is_folded_too() -> None:
    for usage in ([1], [{"inputTokens": "1"}], [None], "x", 5, {"a": 1}, [{"inputTokens": 2}]):
        state = grown().state
        state = fold(state, Entry(3, {"type": "RUN_FINISHED", "timestamp": 3, "usage": usage}))
        assert state.usage in (None, {}, {"inputTokens": 2})
