"""Veryfront's stream, its pages of events and its snapshot: one run, whatever legs and attempts it has."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.veryfront_events import events, word
from protocol import sse
from protocol.entries import ASK_RESUME, ASK_START, Entry, Principal, ask, note
from protocol.interrupts import asked
from protocol.run import fold
from protocol.state import RunState
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.veryfront_client import (
    Asking,
    owned,
    place,
    reached,
    resume,
    start,
    streamed,
    types,
    waiting,
)
from tests.house import House, open_house

Event = dict[str, Any]

BY = Principal("default", "ann", "user", "Ann")
ONE_RUN = ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]
SHOWN = ("RUN_", "TEXT_MESSAGE_", "REASONING_MESSAGE_", "TOOL_CALL_", "STATE_")


async def big(run: Any) -> AsyncIterator[Any]:
    """States of several megabytes in all."""
    for number in range(8):
        yield run.state({"number": number, "blob": "x" * 700_000})
    yield "Done."


async def stateful(run: Any) -> AsyncIterator[Any]:
    """Sets its state, or changes what its thread has left."""
    yield run.state({"n": 1}) if not run.input.state else run.state_delta({"op": "replace", "path": "/n", "value": 2})


@pytest.fixture
async def house(nats: EmbeddedServer, settings: Settings) -> AsyncIterator[House]:
    asking = Asking()
    names = ("sending", "bare", "two", "hasty", "failing", "plain")
    agents = {name: getattr(asking, name) for name in names}
    async with open_house(nats, settings, **agents, big=big, stateful=stateful) as opened:
        yield opened


# ── what is told of a run ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.anyio
async def test_a_question_about_a_call_is_that_call_and_its_answer_the_result(house: House) -> None:
    run_id, call_id = await waiting(house, "sending")
    await resume(house, run_id, call_id, {"sent": True})
    frames = await streamed(house, run_id)
    assert types(frames) == [
        *ONE_RUN, "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT", *ONE_RUN[1:], "RUN_FINISHED"
    ]  # fmt: skip
    assert frames[7][1]["content"] == '{"sent":true}' and frames[7][1]["toolCallId"] == "call_7"
    assert frames[-1][1].keys() == {"type", "timestamp", "threadId", "runId"}
    assert {event["runId"] for _, event in frames if "runId" in event} == {run_id}


@pytest.mark.anyio
async def test_a_question_outside_of_a_call_is_a_call_of_its_own(house: House) -> None:
    run_id, call_id = await waiting(house, "bare")
    await resume(house, run_id, call_id, {"approved": True})
    frames = await streamed(house, run_id)
    shown = [(seq, event) for seq, event in frames if event["type"].startswith("TOOL_CALL_")]
    assert types(shown) == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"]
    assert {event["toolCallId"] for _, event in shown} == {call_id} and shown[0][1]["toolCallName"] == "request_input"
    question = orjson.loads(shown[1][1]["delta"])
    assert question["message"] == "OK?" and question["response_schema"]["required"] == ["approved"]
    assert question["metadata"] == {"name": "ok", "renderer": "acme:ok"}
    assert [seq is None for seq, _ in shown] == [True, True, False, False]


@pytest.mark.anyio
async def test_every_end_closes_the_stream_and_is_its_head(house: House) -> None:
    for agent, text, ends, code in (
        ("plain", "hi", "RUN_FINISHED", None), ("failing", "hi", "RUN_ERROR", "agent_error"),
        ("hasty", "cancel", "RUN_ERROR", "cancelled"), ("hasty", "fail", "RUN_ERROR", "INTERRUPT_EXPIRED"),
        ("hasty", "answer", "RUN_FINISHED", None),
    ):  # fmt: skip
        run_id = (await start(house, agent, text=text))["run_id"]
        frames = await streamed(house, run_id)
        seq, last = frames[-1]
        assert (last["type"], last.get("code")) == (ends, code) and "hunter2" not in str(last)
        assert types(frames).count("RUN_STARTED") == 1 and types(frames)[0] == "RUN_STARTED"
        assert seq == (await owned(house, run_id))["latest_event_id"]
        assert await streamed(house, run_id, seq) == []


@pytest.mark.anyio
async def test_a_cancelled_run_ends_as_an_error_whatever_it_was_doing(house: House) -> None:
    run_id, call_id = await waiting(house, "sending")
    await house.client.post(f"/veryfront/runs/{run_id}/cancel")
    frames = await streamed(house, run_id)
    assert types(frames)[-2:] == ["TOOL_CALL_RESULT", "RUN_ERROR"] and frames[-1][1]["code"] == "cancelled"
    assert types(frames).count("RUN_STARTED") == 1 and frames[-2][1]["toolCallId"] == call_id


@pytest.mark.anyio
async def test_a_state_that_the_thread_has_left_is_told_before_its_deltas(house: House) -> None:
    first = await start(house, "stateful")
    await streamed(house, first["run_id"])
    second = await start(
        house, "stateful", conversation=first["owner"]["id"],
        input={"messages": [{"id": "m2", "role": "user", "parts": [{"type": "text", "text": "again"}]}]},
    )  # fmt: skip
    frames = await streamed(house, second["run_id"])
    assert types(frames) == ["RUN_STARTED", "STATE_SNAPSHOT", "STATE_DELTA", "RUN_FINISHED"]
    assert frames[1][1]["snapshot"] == {"n": 1} and [seq is None for seq, _ in frames[:2]] == [True, False]


# ── cursors and pages ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.anyio
async def test_from_any_event_on_the_stream_the_pages_and_the_snapshot_tell_the_rest(house: House) -> None:
    run_id, first = await waiting(house, "two")
    await resume(house, run_id, first, "A")
    await resume(house, run_id, (await owned(house, run_id))["waiting_tool_call_id"], "B")
    whole = _numbered(await streamed(house, run_id))
    at = await place(house, run_id)
    for after in range(0, whole[-1][0] + 2):
        rest = [one for one in whole if one[0] > after]
        assert _numbered(await streamed(house, run_id, after)) == rest
        told = (await house.client.get(f"{at}/snapshot", params={"after_event_id": after})).json()
        assert told["after_event_id"] == after
        assert [(one["event_id"], one["event"]) for one in told["events"]] == rest
        for limit in (1, 4, 100):
            assert await _paged(house, run_id, after, limit) == rest


def _numbered(frames: list[tuple[int | None, Event]]) -> list[tuple[int, Event]]:
    """Every event with the number of its entry, which only the last of an entry's frames bears."""
    told, held = [], list[Event]()
    for seq, event in frames:
        held.append(event)
        if seq is not None:
            told += [(seq, one) for one in held]
            held = []
    assert not held
    return told


async def _paged(house: House, run_id: str, after: int, limit: int) -> list[tuple[int, Event]]:
    """All pages of a run's events."""
    told, cursor = list[tuple[int, Event]](), str(after)
    while True:
        query = {"after_event_id": cursor, "limit": limit}
        answer = await house.client.get(f"/veryfront/runs/{run_id}/events", params=query)
        page = answer.json()
        assert len(page["data"]) <= max(limit, len({one["event_id"] for one in page["data"]}) * 6)
        for one in page["data"]:
            assert one["event_type"] == one["payload"]["type"] and one["created_at"].endswith("Z")
            told.append((one["event_id"], one["payload"]))
        assert page["page_info"].keys() == {"self", "first", "next", "prev"}
        if page["page_info"]["next"] is None:
            return told
        cursor = page["page_info"]["next"]


@pytest.mark.anyio
async def test_the_first_page_needs_no_cursor(house: House) -> None:
    run_id = (await start(house, "plain"))["run_id"]
    await reached(house, run_id, "completed")
    page = (await house.client.get(f"/veryfront/runs/{run_id}/events")).json()
    assert page["page_info"] == {"self": None, "first": None, "next": None, "prev": None}
    assert [one["event_id"] for one in page["data"]] == [2, 3, 4, 5, 6]


@pytest.mark.anyio
async def test_pages_of_a_run_that_is_larger_than_what_is_kept_have_no_gaps(house: House) -> None:
    run_id = (await start(house, "big"))["run_id"]
    whole = _numbered(await streamed(house, run_id))
    assert [event["snapshot"]["number"] for _, event in whole if event["type"] == "STATE_SNAPSHOT"] == list(range(8))
    assert await _paged(house, run_id, 0, 100) == whole
    at, told = await place(house, run_id), list[tuple[int, Event]]()
    while found := await _after(house, at, told[-1][0] if told else 0):
        told += found
    assert told == whole


async def _after(house: House, at: str, after: int) -> list[tuple[int, Event]]:
    """A snapshot of what comes after an event."""
    told = (await house.client.get(f"{at}/snapshot", params={"after_event_id": after})).json()["events"]
    return [(one["event_id"], one["event"]) for one in told]


@pytest.mark.anyio
async def test_a_cursor_that_is_no_number_is_refused(house: House) -> None:
    run_id = (await start(house, "plain"))["run_id"]
    at = await place(house, run_id)
    for path in (f"/veryfront/runs/{run_id}/events", f"{at}/snapshot", f"{at}/stream"):
        for bad in ("-1", "x", "1.5", "9" * 17):
            answer = await house.client.get(path, params={"after_event_id": bad})
            assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_REQUEST")
    for bad in ("0", "101", "x"):
        assert (await house.client.get(f"/veryfront/runs/{run_id}/events", params={"limit": bad})).status_code == 400
    assert (await house.client.get(f"{at}/stream", headers={"last-event-id": "x"})).status_code == 400


# ── entries by themselves ─────────────────────────────────────────────────────────────────────────────────────────


def run_of(*said: Event) -> list[tuple[RunState, Entry, list[Event]]]:
    """What is told of each entry of a run that says these events."""
    first = ask(ASK_START, BY, "rest", 1, agent="a", runId="r", threadId="t", input={"messages": []}, metadata={})
    begins = {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}
    state, told = RunState(), []
    for seq, event in enumerate([first, begins, *said], 1):
        entry = Entry(seq, {"timestamp": seq, **event})
        state = fold(state, entry)
        told.append((state, entry, events(state, entry)))
    return told


def test_steps_subagents_activities_and_hockets_own_notes_are_not_told() -> None:
    tagged = {"subagentRunId": "s"}
    told = run_of(
        {"type": "STEP_STARTED", "stepName": "x"},
        {"type": "SUBAGENT_STARTED", **tagged, "name": "helper"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant", **tagged},
        {"type": "TEXT_MESSAGE_END", "messageId": "m"},
        {"type": "SUBAGENT_FINISHED", **tagged},
        {"type": "STEP_FINISHED", "stepName": "x"},
        {"type": "ACTIVITY_SNAPSHOT", "messageId": "a", "activityType": "PLAN", "content": {}},
        {"type": "RAW", "event": 1},
        {"type": "X_PRIVATE"},
        note("hocket.attempt", 1, {"attempt": 2, "worker": "w", "abandoned": ["m"]}),
        {"type": "CUSTOM", "name": "own", "value": None},
        {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m", "role": "assistant", "content": "x", **tagged}]},
    )
    shown = [event for _, _, one in told for event in one]
    kinds = [event["type"] for event in shown]
    assert kinds == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "CUSTOM", "MESSAGES_SNAPSHOT"]
    assert "subagentRunId" not in str(shown) and shown[3]["name"] == "own"


def test_a_question_about_a_call_that_has_its_result_is_a_call_of_its_own() -> None:
    call = {"toolCallId": "c"}
    question = [{"id": "i", "reason": "tool_call", "toolCallId": "c"}]
    state = run_of()[0][0]
    ends = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}
    ends["outcome"] = {"type": "interrupt", "interrupts": asked(state, question, None, "cancel", None)}
    start_call = {"type": "TOOL_CALL_START", **call, "toolCallName": "look"}
    result = {"type": "TOOL_CALL_RESULT", "messageId": "m", **call, "content": "seen"}
    told = run_of(start_call, {"type": "TOOL_CALL_END", **call}, result, ends)
    assert [(one["type"], one["toolCallId"]) for one in told[-1][2]] == [
        ("TOOL_CALL_START", "g-r-0"), ("TOOL_CALL_ARGS", "g-r-0"), ("TOOL_CALL_END", "g-r-0")
    ]  # fmt: skip
    answer = {"interruptId": "i", "gate": "g-r-0", "status": "cancelled", "decision": None}
    given_up = ask(ASK_RESUME, BY, "agui", 9, runId="r", legId="l", answers=[answer], digest="")
    assert run_of(start_call, {"type": "TOOL_CALL_END", **call}, result, ends, given_up)[-1][2][0]["content"] == (
        '{"status":"cancelled"}'
    )
    unknown = run_of(ends)
    assert [one["toolCallId"] for one in unknown[-1][2]] == ["c"] * 3
    assert unknown[-1][2][0]["toolCallName"] == "request_input"


@given(st.lists(st.sampled_from(["text", "step", "private"]), max_size=8))
def test_the_frames_of_an_entry_bear_its_number_on_the_last_alone(kinds: list[str]) -> None:
    said: list[Event] = []
    for number, kind in enumerate(kinds):
        if kind == "text":
            said.append({"type": "TEXT_MESSAGE_START", "messageId": f"m{number}", "role": "assistant"})
            said.append({"type": "TEXT_MESSAGE_END", "messageId": f"m{number}"})
        else:
            said.append(
                {"type": "X_PRIVATE"} if kind == "private" else {"type": "STEP_STARTED", "stepName": str(number)}
            )
    for _, _, shown in run_of(*said):
        assert all(event["type"].startswith(SHOWN) for event in shown)
    for state, entry, shown in run_of(*said)[-1:]:
        frames = list(sse.split(word(state, entry)))
        assert [frame.seq for frame in frames] == [None] * (len(shown) - 1) + [entry.seq] * bool(shown)
