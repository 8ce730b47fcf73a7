"""Arkloop's stream as a function of the log: each entry one frame, with a type of its own or as `hocket.<name>`."""

from typing import Any

import orjson
import pytest

from gateway.dialects.arkloop_events import word
from protocol.entries import ASK_CANCEL, ASK_EXPIRE, ASK_RESUME, ASK_START, Entry, Principal, ask, encode
from protocol.order import closers, unanswered
from protocol.run import fold
from protocol.sse import split
from protocol.state import RunState
from runtime.settle import end_of
from runtime.takeover import takeover

ALICE = Principal("acme", "user:alice", "user", "Alice")
BOT = Principal("acme", "key:bot", "api_key", "Bot")
IDS = {"threadId": "t", "runId": "r"}
START: dict[str, Any] = {"agent": "checker", "digest": "", "input": {"messages": [], "forwardedProps": {"secret": 1}}}
BEGUN = [ask(ASK_START, ALICE, "rest", 0, **IDS, **START, metadata={}), {"type": "RUN_STARTED", **IDS}]
CALL = [
    {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "send"},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"to":'},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '"you"}'},
    {"type": "TOOL_CALL_END", "toolCallId": "c"},
]
TEXT = {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"}


def interrupt(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"i{number}", "metadata": {"hocket": {"gate": f"g-r-{number}"}}, **more}


def asking(*interrupts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RUN_FINISHED", **IDS, "outcome": {"type": "interrupt", "interrupts": list(interrupts)}}


def answered(number: int, **answer: Any) -> dict[str, Any]:
    return {"interruptId": f"i{number}", "gate": f"g-r-{number}", "status": "resolved", "decision": "answer", **answer}


def told(*events: dict[str, Any]) -> list[dict[str, Any]]:
    """What is told of a run of these entries."""
    return run_of(*events)[1]


def run_of(*events: dict[str, Any]) -> tuple[RunState, list[dict[str, Any]]]:
    state, frames = RunState(), list[dict[str, Any]]()
    for seq, event in enumerate(events, 1):
        (found,) = split(encode(seq, {"timestamp": 1_000 * seq, **event}))
        state = fold(state, entry := Entry(seq, orjson.loads(found.data)))
        (frame,) = split(word(state, entry))
        shown = orjson.loads(frame.data)
        assert (frame.seq, frame.name, list(shown)) == (seq, None, ["seq", "type", "data", "created_at"])
        assert shown["seq"] == seq
        frames.append(shown)
    return state, frames


def last(*events: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    frame = told(*events)[-1]
    return frame["type"], frame["data"]


def noted(**fields: Any) -> dict[str, Any]:
    return ask(ASK_START, ALICE, "arkloop", 0, **IDS, **START, metadata={"arkloop": fields})


def test_a_run_says_which_persona_was_asked_for() -> None:
    assert last(noted(persona_id=None, route_id=None)) == ("run.started", {"persona_id": None})
    assert last(noted(persona_id="checker@1", route_id="fast"))[1] == {"persona_id": "checker@1", "route_id": "fast"}
    assert last(BEGUN[0])[1] == {"persona_id": "checker"}  # it came through another face
    assert told(BEGUN[0])[0]["created_at"] == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("junk", [7, "x", [], {"persona_id": 7, "route_id": []}, None])
def test_metadata_that_a_client_of_another_face_sent_breaks_nothing(junk: Any) -> None:
    start = ask(ASK_START, ALICE, "rest", 0, **IDS, **START, metadata={"arkloop": junk})
    assert last(start)[1]["persona_id"] in (None, "checker")


def test_what_the_agent_says_has_its_types() -> None:
    thought = {"type": "REASONING_MESSAGE_CONTENT", "messageId": "w", "delta": "hm"}
    frames = told(
        *BEGUN, TEXT, {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Total is "},
        {"type": "TEXT_MESSAGE_END", "messageId": "m"},
        {"type": "REASONING_MESSAGE_START", "messageId": "w", "role": "reasoning"}, thought, *CALL,
        {"type": "TOOL_CALL_RESULT", "messageId": "c-result", "toolCallId": "c", "content": "sent"},
        {"type": "RUN_FINISHED", **IDS, "result": {"sum": 3}},
    )  # fmt: skip
    assert [frame["type"] for frame in frames] == [
        "run.started", "hocket.run_started", "hocket.text_message_start", "message.delta", "hocket.text_message_end",
        "hocket.reasoning_message_start", "message.delta", "hocket.tool_call_start", "hocket.tool_call_args",
        "hocket.tool_call_args", "tool.call", "tool.result", "run.completed",
    ]  # fmt: skip
    assert frames[3]["data"] == {"content": "Total is ", "role": "assistant"}
    assert frames[6]["data"] == {"content": "hm", "role": "assistant", "channel": "thinking"}
    assert frames[10]["data"] == {"tool_call_id": "c", "tool_name": "send", "arguments": {"to": "you"}}
    assert frames[11]["data"] == {"tool_call_id": "c", "tool_name": "send", "result": "sent"}
    assert frames[12]["data"] == {"output": {"sum": 3}}


def test_a_text_that_is_not_the_agents_own_is_no_delta_of_its() -> None:
    said = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"}
    assert last(*BEGUN, {**TEXT, "role": "user"}, said)[0] == "hocket.text_message_content"


def test_a_result_in_parts_is_told_as_text_and_an_unknown_call_has_no_name() -> None:
    parts = [{"type": "text", "text": "seen"}]
    result = {"type": "TOOL_CALL_RESULT", "messageId": "x", "toolCallId": "gone", "content": parts}
    assert last(*BEGUN, result)[1] == {
        "tool_call_id": "gone", "tool_name": None, "result": '[{"type":"text","text":"seen"}]'
    }  # fmt: skip


def test_questions_are_told_in_one_frame_and_so_are_answers() -> None:
    schema = {"type": "object"}
    first = {"request_id": "g-r-0", "message": "Send it?", "requestedSchema": schema, "tool_call_id": "c",
             "tool_name": "send"}  # fmt: skip
    one = asking(interrupt(0, message="Send it?", responseSchema=schema, toolCallId="c"))
    assert last(*BEGUN, *CALL, one) == ("run.waiting_for_input", first)
    two = asking(interrupt(0, message="Send it?", responseSchema=schema, toolCallId="c"), interrupt(1))
    second = {"request_id": "g-r-1", "message": "", "requestedSchema": {}}
    assert last(*BEGUN, *CALL, two)[1] == first | {"requests": [first, second]}
    answers = [answered(0, payload={"approved": True}), answered(1, payload="x", text="in words")]
    given = ask(ASK_RESUME, BOT, "agui", 9, **IDS, legId="l", answers=answers)
    assert last(*BEGUN, *CALL, two, given) == (
        "run.input_provided",
        {
            "request_id": "g-r-0", "content": '{"approved":true}', "provided_by": {"id": "key:bot", "kind": "api_key"},
            "inputs": [{"request_id": "g-r-0", "content": '{"approved":true}'},
                       {"request_id": "g-r-1", "content": "in words"}],
        },
    )  # fmt: skip
    dropped = ask(ASK_RESUME, BOT, "agui", 9, **IDS, legId="l", answers=[answered(0, status="cancelled")])
    assert last(*BEGUN, *CALL, one, dropped)[1]["content"] == ""


def test_a_cancel_is_told_with_who_asked_and_the_end_without_a_reason() -> None:
    asked = ask(ASK_CANCEL, BOT, "arkloop", 9, runId="r", reason="secret", seenSeq=4)
    state, frames = run_of(*BEGUN, *CALL[:2], asked)
    assert (frames[-1]["type"], frames[-1]["data"]) == (
        "run.cancel_requested", {"requested_by": {"id": "key:bot", "kind": "api_key"}, "last_seen_seq": 4}
    )  # fmt: skip
    owed = [*closers(state, 9), *unanswered(state, 9), end_of(state, 9)]
    ends = told(*BEGUN, *CALL[:2], asked, *owed)[-3:]
    assert [(one["type"], one["data"]) for one in ends] == [
        ("tool.call", {"tool_call_id": "c", "tool_name": "send", "arguments": {"input": '{"to":'}}),
        ("tool.result", {"tool_call_id": "c", "tool_name": "send", "is_error": True,
                         "result": '{"status":"stopped","reason":"cancelled"}'}),
        ("run.cancelled", {}),
    ]  # fmt: skip


def test_an_expiry_tells_no_answer_and_gives_the_end_its_reason() -> None:
    default = [answered(0, status="expired", payload={"password": "hunter2"}, text="hunter2")]
    clock = Principal("acme", "hocket", "system", "hocket")
    for outcome, end in (("cancel", "run.cancelled"), ("fail", "run.failed"), ("answer", None)):
        expired = ask(ASK_EXPIRE, clock, "clock", 9, **IDS, outcome=outcome, legId="l", answers=default)
        state, frames = run_of(*BEGUN, asking(interrupt(0)), expired)
        assert frames[-1]["type"] == "hocket.expire" and "hunter2" not in str(frames[-1])
        assert frames[-1]["data"]["outcome"] == outcome and frames[-1]["data"]["by"]["kind"] == "system"
        if end is not None:
            last_frame = told(*BEGUN, asking(interrupt(0)), expired, end_of(state, 9))[-1]
            assert last_frame["type"] == end
            assert last_frame["data"] == (
                {"reason": "gate_expired"}
                if outcome == "cancel"
                else {"error_class": "INTERRUPT_EXPIRED", "message": "Nobody answered in time."}
            )


def test_what_another_worker_begins_anew_is_not_told_as_final() -> None:
    state, _ = run_of(*BEGUN, TEXT, *CALL[:2])
    taken = takeover(state, "w2", 9)
    frames = told(*BEGUN, TEXT, *CALL[:2], *taken)[5:]
    assert {frame["type"] for frame in frames} >= {"hocket.tool_call_end", "hocket.text_message_end", "hocket.custom"}
    assert all(frame["type"].startswith("hocket.") for frame in frames)
    assert frames[-1]["data"]["name"] == "hocket.attempt"


def test_a_start_and_an_unknown_type_tell_what_every_reader_may_see() -> None:
    frames = told(*BEGUN, {"type": "X_Private\n", "detail": 1}, {"type": "CUSTOM", "name": "n", "value": None})
    assert "secret" not in str(frames[0])
    assert (frames[2]["type"], frames[2]["data"]) == ("hocket.x_private\n", {"detail": 1})
    assert frames[3]["data"] == {"name": "n", "value": None}


def nested(levels: int) -> Any:
    given: Any = 1
    for _ in range(levels):
        given = [given]
    return given


def test_what_is_nested_as_deep_as_the_log_takes_is_told() -> None:
    deep = {"type": "RAW", "event": nested(253), "timestamp": 1}
    assert encode(3, deep)
    assert last(*BEGUN, deep) == ("hocket.raw", {"event": nested(253)})
    arguments = {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": orjson.dumps({"a": nested(252)}).decode()}
    call = last(*BEGUN, CALL[0], arguments, CALL[3])[1]
    assert call["arguments"] == {"input": arguments["delta"]}
    assert last(*BEGUN, {"type": "RUN_FINISHED", **IDS, "result": nested(253)})[1] == {"output": nested(253)}
