"""A run as Middesk shows it: the object, who asked for it, what it came to, and what a webhook is told."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from protocol import middesk
from protocol.checkpoint import dump, load
from protocol.entries import ASK_START, Entry, Principal, ask
from protocol.ids import as_uuid
from protocol.middesk import as_started, cut, run_object, told
from protocol.run import fold
from protocol.state import RunState, Status
from tests.strategies import Event, entries, folded, runs

KEYS = ["object", "id", "created_at", "updated_at", "status", "thread_id", "agent", "requester", "started_at",
        "ended_at", "output", "interrupts"]  # fmt: skip
ALICE = Principal("acme", "user:alice", "user", "Alice")


def start(by: Principal = ALICE) -> Event:
    return ask(ASK_START, by, "test", 1_000, agent="echo", runId="r1", threadId="t1", input={"messages": []})


BEGUN = {"type": "RUN_STARTED", "runId": "r1", "threadId": "t1", "timestamp": 2_000}
SAID: list[Event] = [
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant", "timestamp": 2_100},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hello", "timestamp": 2_200},
    {"type": "TEXT_MESSAGE_END", "messageId": "m", "timestamp": 2_300},
]


def ended(**more: Any) -> Event:
    return {"type": "RUN_FINISHED", "runId": "r1", "threadId": "t1", "timestamp": 3_000, **more}


def plain(value: Any) -> Any:
    """As a client reads it."""
    return orjson.loads(orjson.dumps(value))


def of(*events: Event) -> RunState:
    state = RunState()
    for seq, event in enumerate(events, 1):
        state = fold(state, Entry(seq, event))
    return state


def test_a_run_is_shown_with_its_times_and_uuids() -> None:
    assert plain(run_object(of(start(), BEGUN, *SAID, ended()))) == {
        "object": "run",
        "id": as_uuid("acme", "r1"),
        "created_at": "1970-01-01T00:00:01.000Z",
        "updated_at": "1970-01-01T00:00:03.000Z",
        "status": "completed",
        "thread_id": as_uuid("acme", "t1"),
        "agent": "echo",
        "requester": {"id": "user:alice", "name": "Alice"},
        "started_at": "1970-01-01T00:00:02.000Z",
        "ended_at": "1970-01-01T00:00:03.000Z",
        "output": {"artifacts": [{"title": "Output", "type": "text", "summary": "Hello", "sources": []}]},
        "interrupts": [],
    }


@pytest.mark.parametrize(
    ("kind", "requester"),
    [
        ("user", {"id": "x", "name": "X"}),
        ("development", {"id": "x", "name": "X"}),
        ("api_key", {"id": "acme", "name": "acme"}),
        ("service", {"id": "acme", "name": "acme"}),
        ("trigger", None),
        ("system", None),
    ],
)
def test_the_requester_is_a_person_an_account_or_nobody(kind: str, requester: dict[str, str] | None) -> None:
    assert run_object(of(start(Principal("acme", "x", kind, "X"))))["requester"] == requester


@pytest.mark.parametrize(
    ("result", "artifact"),
    [
        ("Short.", {"title": "Output", "type": "text", "summary": "Short.", "sources": []}),
        ({"sum": 3}, {"title": "Output", "type": "json", "data": {"sum": 3}, "sources": []}),
        ([1], {"title": "Output", "type": "json", "data": [1], "sources": []}),
        (False, {"title": "Output", "type": "json", "data": False, "sources": []}),
        ({"artifacts": [{"title": "A"}], "more": 1}, None),
    ],
)
def test_what_an_agent_has_made_is_an_artifact_unless_it_is_one_already(result: Any, artifact: Any) -> None:
    made = plain(middesk.output(of(start(), BEGUN, *SAID, ended(result=result))))
    assert made == ({"artifacts": [artifact]} if artifact is not None else result)


def test_a_result_as_deep_as_can_be_recorded_can_be_shown() -> None:
    deep: Any = "x"
    for _ in range(251):
        deep = [deep]
    event = plain(ended(result=deep))
    assert plain(told("run.completed", of(start(), BEGUN, event), event))["data"]["object"]["output"]["artifacts"]


def test_a_question_is_shown_with_what_it_has_and_nothing_else() -> None:
    call: list[Event] = [
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "send", "timestamp": 2_100},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"to":"you"}', "timestamp": 2_100},
        {"type": "TOOL_CALL_END", "toolCallId": "c", "timestamp": 2_100},
    ]
    bare = {"id": "a", "reason": "confirmation", "metadata": {"hocket": {"gate": "g-r1-0", "name": "a"}}}
    whole = {
        "id": "b", "reason": "tool_call", "message": "Send?", "toolCallId": "c", "responseSchema": {"type": "object"},
        "expiresAt": "2026-01-31T12:00:00+01:00", "metadata": {"values": {"n": 1}, "hocket": {"gate": "g-r1-1"}},
    }  # fmt: skip
    asked = ended(outcome={"type": "interrupt", "interrupts": [bare, whole]})
    first, second = plain(run_object(of(start(), BEGUN, *call, asked)))["interrupts"]
    assert first == {"id": "g-r1-0", "value": {}, "agent": "echo"}
    assert second["value"] == {
        "message": "Send?", "tool_name": "send", "tool_call_id": "c", "arguments": {"to": "you"},
        "schema": {"type": "object"}, "values": {"n": 1}, "expires_at": "2026-01-31T11:00:00.000Z",
    }  # fmt: skip


def test_a_start_is_answered_alike_whatever_has_become_of_the_run() -> None:
    assert run_object(as_started(of(start(), BEGUN, *SAID, ended()))) == run_object(of(start()))


def test_a_webhook_is_told_the_run_under_an_id_that_names_the_entry() -> None:
    event = ended(result={"text": "x" * 100})
    message = told("run.completed", of(start(), BEGUN, event), event)
    run = message["data"]["object"]
    assert (message["object"], message["type"], message["id"]) == ("event", "run.completed", f"{run['id']}-3")
    assert message["created_at"] == run["ended_at"] and "steps" not in run and list(run) == KEYS
    short = plain(cut(message))["data"]["object"]
    assert short == plain(run) | {"output": {"artifacts": []}}


@given(runs())
def test_every_run_has_the_same_keys_at_every_entry_from_a_checkpoint_too(events: list[Event]) -> None:
    for number in range(1, len(events) + 1):
        state = folded(events[:number])
        run = plain(run_object(state))
        assert list(run) == KEYS
        assert (run["output"] is not None) is (state.status is Status.COMPLETED)
        assert bool(run["interrupts"]) is (run["status"] == "interrupted")
        again = load(dump(state))
        assert again is not None and plain(run_object(again)) == run
    assert entries(events)
