"""Operativus' two streams, entry by entry, and what the record shows of runs that did not go straight to their end."""

import re
from typing import Any

import orjson
import pytest

from gateway.dialects.operativus_events import event_word, stream_word
from gateway.dialects.operativus_object import agent_run, run_response
from gateway.translation import Word
from protocol.entries import Entry, Principal, ask
from protocol.run import ABANDONED, fold
from protocol.state import RunState
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.cinatra_client import Reviewing
from tests.house import open_house

BY = Principal("acme", "user:alice", "user", "Alice")
IDS = {"threadId": "t", "runId": "r"}
ANSWER = {"interruptId": "i", "gate": "g-r-0", "status": "resolved", "decision": "approve"}
Event = dict[str, Any]


def asked(kind: str, **fields: Any) -> Event:
    return ask(kind, BY, "rest", 1, **fields)


def start(**more: Any) -> Event:
    messages = [{"id": "u", "role": "user", "content": "hi"}]
    return asked("ask.start", agent="a", input={"messages": messages}, metadata={}, **IDS, **more)


STARTED = {"type": "RUN_STARTED", **IDS}
FINISHED = {"type": "RUN_FINISHED", **IDS}


def text(message_id: str, *deltas: str) -> list[Event]:
    name = {"messageId": message_id}
    said = [{"type": "TEXT_MESSAGE_CONTENT", "delta": delta, **name} for delta in deltas]
    return [{"type": "TEXT_MESSAGE_START", "role": "assistant", **name}, *said, {"type": "TEXT_MESSAGE_END", **name}]


def call(call_id: str, arguments: str = "{}") -> list[Event]:
    name = {"toolCallId": call_id}
    return [
        {"type": "TOOL_CALL_START", "toolCallName": "find", **name},
        {"type": "TOOL_CALL_ARGS", "delta": arguments, **name},
        {"type": "TOOL_CALL_END", **name},
    ]


def result(call_id: str, content: Any = "found", **more: Any) -> Event:
    named = {"messageId": f"{call_id}-r", "toolCallId": call_id, "role": "tool"}
    return {"type": "TOOL_CALL_RESULT", "content": content, **named, **more}


def interrupt(*ids: str, **more: Any) -> Event:
    told = [{"id": one, "reason": "confirmation", **more} for one in ids]
    return FINISHED | {"outcome": {"type": "interrupt", "interrupts": told}}


def told(word: Word, *events: Event) -> tuple[RunState, list[tuple[int, bytes]]]:
    """The run after these events, and what was said of each that anything is said of."""
    state, frames = RunState(), []
    for seq, event in enumerate(events, 1):
        entry = Entry(seq, {"timestamp": 1_000 + seq, **event})
        state = fold(state, entry)
        if frame := word(state, entry):
            frames.append((seq, frame))
    return state, frames


def streamed(*events: Event) -> list[tuple[str, Any]]:
    """What `/runs/stream` says: names and data, which is parsed where it is JSON."""
    found = []
    for seq, frame in told(stream_word, *events)[1]:
        match = re.fullmatch(rb"id: (\d+)\ndata: (.+)\n\n", frame)
        assert match is not None and int(match[1]) == seq
        shown = orjson.loads(match[2])
        assert set(shown) == {"event", "data", "timestamp"} and isinstance(shown["data"], str)
        data = shown["data"]
        found.append((shown["event"], orjson.loads(data) if data.startswith("{") else data))
    return found


def durable(*events: Event) -> list[tuple[int | None, str, Any]]:
    """What `/events` says: the id of each frame if it has one, its type and its payload."""
    found = []
    for seq, body in told(event_word, *events)[1]:
        for frame in body.removesuffix(b"\n\n").split(b"\n\n"):
            match = re.fullmatch(rb"(?:id: (\d+)\n)?event: ([A-Z_]+)\ndata: (.+)", frame)
            assert match is not None, frame
            shown = orjson.loads(match[3])
            assert shown["id"] == seq and shown["eventType"] == match[2].decode()
            found.append((int(match[1]) if match[1] else None, shown["eventType"], shown["payload"]))
    return found


def test_a_frame_of_the_durable_stream_says_which_run_it_is_of() -> None:
    _, frames = told(event_word, start(parent={"runId": "p", "threadId": "pt"}), STARTED)
    shown = orjson.loads(frames[0][1].split(b"data: ")[1])
    assert shown == {
        "id": 2, "eventType": "RUN_START", "runId": "r", "agentId": "a", "parentRunId": "p", "sessionId": "t",
        "orgId": "acme", "orchestrationDepth": 1, "payload": {}, "eventTs": "1970-01-01T00:00:01.002Z",
    }  # fmt: skip


def test_several_answers_are_several_frames_and_the_last_has_the_id() -> None:
    rejected = {"interruptId": "j", "gate": "g-r-1", "status": "cancelled", "decision": None}
    resume = asked("ask.resume", legId="l", answers=[ANSWER, rejected], **IDS)
    events = durable(start(), STARTED, interrupt("i", "j"), resume, STARTED | {"runId": "l"}, FINISHED)
    assert [(number, kind) for number, kind, _ in events] == [
        (2, "RUN_START"), (3, "RUN_PAUSED"), (None, "RUN_RESUMED"), (4, "RUN_RESUMED"), (6, "RUN_COMPLETE"),
    ]  # fmt: skip
    assert [payload for _, kind, payload in events if kind == "RUN_RESUMED"] == [
        {"approvalId": "g-r-0", "decision": "APPROVED", "resolvedBy": "user:alice"},
        {"approvalId": "g-r-1", "decision": "REJECTED", "resolvedBy": "user:alice"},
    ]
    assert events[1][2] == {"approvals": [{"approvalId": f"g-r-{n}", "toolName": None} for n in (0, 1)]}


def test_a_default_answer_by_time_is_nobodys_resume() -> None:
    expired = asked("ask.expire", outcome="answer", legId="l", answers=[ANSWER | {"status": "expired"}])
    events = durable(start(), STARTED, interrupt("i"), expired, STARTED, FINISHED)
    assert [kind for _, kind, _ in events] == ["RUN_START", "RUN_PAUSED", "RUN_COMPLETE"]


def test_a_call_is_told_once_with_all_its_arguments_however_often_it_is_made() -> None:
    again = [*call("c", '{"a":1}'), *call("c", '{"a":1}'), result("c", [{"type": "text", "text": "x"}]), FINISHED]
    assert [one for one in streamed(start(), STARTED, *again) if one[0].startswith("TOOL")] == [
        ("TOOL_START", {"id": "c", "name": "find", "arguments": {"a": 1}}),
        ("TOOL_END", {"id": "c", "name": "find", "result": '[{"type":"text","text":"x"}]'}),
    ]
    state, _ = told(stream_word, start(), STARTED, *again)
    assert run_response(state)["tools"] == [
        {"name": "find", "arguments": {"a": 1}, "result": '[{"type":"text","text":"x"}]'}
    ]


def test_a_call_whose_result_names_an_error_has_failed() -> None:
    told = streamed(start(), STARTED, *call("c", "all"), result("c", "", error="no such thing"), FINISHED)
    assert told[1:3] == [
        ("TOOL_START", {"id": "c", "name": "find", "arguments": {"input": "all"}}),
        ("TOOL_ERROR", {"id": "c", "name": "find", "result": "", "error": "no such thing"}),
    ]


def test_what_another_attempt_has_replaced_is_neither_finished_nor_final() -> None:
    note = {"type": "CUSTOM", "name": "hocket.attempt", "value": {"attempt": 2, "worker": "w", "abandoned": ["m"]}}
    half = [*text("m", "half")[:-1], *call("c")[:-1]]
    closed = [{"type": "TOOL_CALL_END", "toolCallId": "c", "metadata": ABANDONED},
              {"type": "TEXT_MESSAGE_END", "messageId": "m", "metadata": ABANDONED}]  # fmt: skip
    finished = [{"type": "TEXT_MESSAGE_START", "role": "assistant", "messageId": "w", "metadata": ABANDONED},
                {"type": "TEXT_MESSAGE_END", "messageId": "w"}]  # fmt: skip
    events = [start(), STARTED, *text("w", "whole"), *half, *closed, *finished, note, *text("n", "new"), FINISHED]
    assert [one for one in streamed(*events) if one[0] != "STOP"] == [
        ("START", {"runId": "r", "sessionId": "t"}), ("CONTENT_DELTA", "whole"), ("CONTENT_DONE", "whole"),
        ("CONTENT_DELTA", "half"), ("CONTENT_DELTA", "new"), ("CONTENT_DONE", "new"),
    ]  # fmt: skip
    assert [payload["content"] for _, kind, payload in durable(*events) if kind == "LLM_RESPONSE"] == ["whole", "new"]
    state, _ = told(stream_word, *events)
    assert run_response(state)["content"] == "new" and run_response(state)["tools"] == []


def test_what_is_closed_over_a_cancelled_run_is_not_told_as_said_or_done() -> None:
    cancel = asked("ask.cancel", reason=None, **IDS)
    ends = [{"type": "TEXT_MESSAGE_END", "messageId": "m"}, {"type": "TOOL_CALL_END", "toolCallId": "c"}]
    cancelled = FINISHED | {"outcome": {"type": "cancelled"}}
    events = [start(), STARTED, *call("b"), result("b"), *text("m", "half")[:-1], *call("c")[:-1], cancel, *ends,
              result("c", "stopped"), cancelled]  # fmt: skip
    assert [name for name, _ in streamed(*events)] == ["START", "TOOL_START", "TOOL_END", "CONTENT_DELTA", "CANCELLED"]
    assert [kind for _, kind, _ in durable(*events)] == [
        "RUN_START", "TOOL_INVOKED", "TOOL_COMPLETED", "RUN_CANCELLED"]  # fmt: skip
    state, _ = told(stream_word, *events)
    shown = run_response(state)
    assert (shown["status"], shown["content"]) == ("CANCELLED", "")
    assert [one["result"] for one in shown["tools"]] == ["found"]


def test_a_failed_run_says_why_in_both_streams_and_in_its_record() -> None:
    events = [start(), STARTED, {"type": "RUN_ERROR", "message": "Went wrong.", "code": "ODD"}]
    assert streamed(*events)[-1] == ("ERROR", {"code": "ODD", "message": "Went wrong."})
    assert durable(*events)[-1] == (3, "RUN_FAILED", {"errorCode": "ODD", "errorMessage": "Went wrong."})
    state, _ = told(stream_word, *events)
    assert run_response(state)["metadata"] == {"errorCode": "ODD", "errorMessage": "Went wrong."}
    assert {name: agent_run(state)[name] for name in ("errorType", "errorMessage", "output", "durationMs")} == {
        "errorType": "ODD", "errorMessage": "Went wrong.", "output": None, "durationMs": 1}  # fmt: skip


def test_a_paused_run_is_told_with_the_call_that_it_waits_for() -> None:
    asking = interrupt("i", toolCallId="c", message="Sure?", responseSchema={"type": "object"})
    state, _ = told(stream_word, start(), STARTED, *call("c", '{"to":"bob"}'), asking)
    assert orjson.loads(agent_run(state)["requiredAction"]) == [
        {"approvalId": "g-r-0", "toolName": "find", "toolArguments": {"to": "bob"}, "message": "Sure?",
         "schema": {"type": "object"}}]  # fmt: skip
    assert streamed(start(), STARTED, *call("c", '{"to":"bob"}'), asking)[-1] == (
        "PAUSED", {"approvals": [{"approvalId": "g-r-0", "toolName": "find", "toolArguments": {"to": "bob"}}]}
    )  # fmt: skip
    assert agent_run(state)["durationMs"] == 4 and agent_run(state)["updatedAt"] == "1970-01-01T00:00:01.006Z"


def test_what_the_agent_reported_is_told_and_nothing_else() -> None:
    reports = [{"model": "acme-large", "inputTokens": 800, "outputTokens": 64, "costUsd": 0.25}]
    state, _ = told(stream_word, start(), STARTED, *text("m", "Hi."), FINISHED | {"usage": reports, "result": {"n": 1}})
    assert run_response(state)["metadata"] == {
        "model": "acme-large", "promptTokens": 800, "completionTokens": 64, "totalTokens": 864}  # fmt: skip
    assert run_response(state)["content"] == "Hi." and agent_run(state)["totalCostUsd"] == 0.25
    silent, _ = told(stream_word, start(), STARTED, FINISHED | {"result": {"n": 1}})
    assert run_response(silent)["content"] == '{"n":1}' and run_response(silent)["metadata"] == {}


@pytest.mark.anyio
async def test_the_stream_of_a_start_under_the_same_key_is_the_same_stream(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, bare=Reviewing().bare) as house:

        async def posted() -> list[bytes]:
            path, key = "/operativus/api/agents/bare/runs/stream", {"idempotency-key": "k"}
            answer = await house.client.post(path, json={"message": "hi"}, headers=key)
            assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
            return [frame for frame in answer.content.split(b"\n\n") if b"data: " in frame]

        first = await posted()
        shown = [orjson.loads(frame.partition(b"data: ")[2]) for frame in first]
        assert [one["event"] for one in shown] == ["START", "PAUSED"]
        run_id = orjson.loads(shown[0]["data"])["runId"]
        path = f"/operativus/api/agents/bare/runs/{run_id}/continue"
        assert (await house.client.post(path, json={"action": "APPROVE"})).json()["status"] == "COMPLETED"
        assert await posted() == first
        head = await house.client.head(f"/operativus/api/v1/runs/{run_id}/events")
        assert (head.status_code, head.content) == (200, b"")
        over = await house.client.get(
            f"/operativus/api/v1/runs/{run_id}/events?sinceId=3", headers={"last-event-id": "99"}
        )
        assert over.status_code == 200 and b"data:" not in over.content and b"retry: 30000" in over.content
