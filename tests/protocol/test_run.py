"""The fold of a run's life: status, times, attempts, usage, error; and of steps and subagents."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from protocol.entries import ASK_CANCEL, ASK_RESUME, NOTE_ATTEMPT, NOTE_HANDED_BACK, Entry, Principal, ask, note
from protocol.run import fold, fold_all
from protocol.state import Attempt, Leg, RunState, Status, Step
from tests.strategies import Growing, entries, folded, runs

Event = dict[str, Any]
BY = Principal("default", "tester", "development", "Tester")
STARTED: Event = {"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2}
FINISHED: Event = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "timestamp": 9}
CANCEL = ask(ASK_CANCEL, BY, "test", 8, runId="r", reason=None)


def after(*events: Event) -> RunState:
    growing = Growing(
        "r", {"messages": [{"id": "u1", "role": "user", "content": "hi"}], "state": {"n": 1}, "tools": [1]}
    )
    for event in events:
        growing.add(event)
    return growing.state


def test_a_run_that_was_asked_for_is_queued_with_all_that_was_asked() -> None:
    state = after()
    assert (state.seq, state.id, state.tenant, state.agent, state.thread_id) == (1, "r", "default", "demo", "t")
    assert (state.status, state.requester, state.created_at_ms, state.attempt) == (Status.QUEUED, BY, 1, 0)
    assert (state.state, state.input, state.digest, state.previous) == ({"n": 1}, {"tools": [1]}, "d", None)
    assert [message.wire() for message in state.messages] == [{"id": "u1", "role": "user", "content": "hi"}]
    assert state.legs == [Leg("r", 1)] and not state.terminal


def test_a_run_without_a_state_begins_with_an_empty_one_as_its_clients_do() -> None:
    assert Growing("r", {}).state.state == {} and Growing("r", {"state": None}).state.state == {}
    assert Growing("r", {"state": 0}).state.state == 0


def test_a_run_that_has_begun_runs() -> None:
    told = {"hocket": {"attempt": 1, "worker": "w"}}
    state = after(STARTED | {"metadata": told})
    assert (state.status, state.started_at_ms, state.attempt) == (Status.RUNNING, 2, 1)
    assert state.leg.attempts == [Attempt(1, "w", 2, "first")]


def test_a_state_without_a_leg_has_no_attempt() -> None:
    assert RunState().attempt == 0


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (FINISHED, Status.COMPLETED),
        (FINISHED | {"outcome": {"type": "success", "pendingToolCallIds": []}}, Status.COMPLETED),
        (FINISHED | {"outcome": {"type": "cancelled"}}, Status.CANCELLED),
        ({"type": "RUN_ERROR", "message": "no", "timestamp": 9}, Status.FAILED),
    ],
)
def test_a_run_ends_once_and_closes_what_is_open(end: Event, status: Status) -> None:
    state = after(STARTED, {"type": "TEXT_MESSAGE_START", "messageId": "m"}, end)
    assert (state.status, state.ended_at_ms, state.leg.ended_at_ms, state.open, state.terminal) == (
        status, 9, 9, {}, True
    )  # fmt: skip


def test_a_failed_run_has_its_error() -> None:
    state = after(STARTED, {"type": "RUN_ERROR", "message": "no", "code": "WHY", "timestamp": 9})
    assert state.error == {"code": "WHY", "message": "no"}


def test_a_finished_run_has_its_result_and_the_sum_of_what_was_used() -> None:
    usage = [{"model": "m", "inputTokens": 3, "outputTokens": 1}, {"inputTokens": 4, "cachedInputTokens": True}]
    state = after(STARTED, FINISHED | {"result": [1], "usage": usage})
    assert (state.result, state.usage) == ([1], {"inputTokens": 7, "outputTokens": 1})


def test_an_interrupted_run_waits_until_another_leg_begins() -> None:
    waits = {"type": "interrupt", "interrupts": [{"id": "i1", "reason": "confirmation"}]}
    state = after(STARTED, FINISHED | {"outcome": waits})
    assert (state.status, state.interrupts, state.ended_at_ms) == (Status.WAITING, waits["interrupts"], None)
    answers = [{"interruptId": "i1", "gate": "g-r-0", "status": "resolved", "payload": 1, "decision": "answer"}]
    asked = ask(ASK_RESUME, BY, "rest", 9, answers=answers, legId="leg2", digest="d")
    state = fold(state, Entry(4, asked))
    assert (state.status, state.interrupts, state.leg.run_id, state.leg.asked_seq) == (Status.RUNNING, [], "leg2", 4)
    state = fold(state, Entry(5, STARTED | {"timestamp": 10}))
    assert (state.status, state.started_at_ms, state.leg.started_at_ms) == (Status.RUNNING, 2, 10)


def test_a_cancelled_run_is_cancelling_until_its_end_is_recorded() -> None:
    state = after(STARTED, CANCEL)
    assert (state.status, state.cancelled_by, state.closing) == (Status.CANCELLED, BY, True)
    state = fold(state, Entry(4, FINISHED | {"outcome": {"type": "cancelled"}}))
    assert (state.status, state.closing) == (Status.CANCELLED, False)


def test_a_cancel_after_the_end_changes_nothing() -> None:
    assert after(STARTED, FINISHED, CANCEL).status is Status.COMPLETED


def test_a_run_that_another_worker_takes_over_counts_the_attempt_and_begins_its_leg_anew() -> None:
    state = after(
        STARTED,
        {"type": "TEXT_MESSAGE_START", "messageId": "m"},
        note(NOTE_HANDED_BACK, 5, {"worker": "w"}),
    )
    assert state.handed_back and state.said == ["m"]
    state = fold(state, Entry(5, note(NOTE_ATTEMPT, 6, {"attempt": 2, "worker": "w2", "reason": "shutdown"})))
    assert (state.attempt, state.handed_back, state.said) == (2, False, [])
    assert state.leg.attempts[1] == Attempt(2, "w2", 6, "shutdown")


@pytest.mark.parametrize(
    "event", [{"type": "OF_TOMORROW"}, {"type": "RAW", "event": 1}, {"type": "CUSTOM", "name": "x", "value": 1}]
)
def test_what_builds_nothing_changes_nothing_but_the_number(event: Event) -> None:
    before, state = after(STARTED), after(STARTED, event)
    before.seq += 1
    assert state == before


def test_steps_are_kept_with_their_times_whoever_takes_them() -> None:
    plan: Event = {"type": "STEP_STARTED", "stepName": "plan"}
    state = after(
        STARTED,
        plan | {"timestamp": 3},
        plan | {"timestamp": 4, "subagentRunId": "s1"},
        {"type": "STEP_FINISHED", "stepName": "plan", "timestamp": 5},
        plan | {"timestamp": 6},
        {"type": "STEP_FINISHED", "stepName": "plan", "timestamp": 7, "subagentRunId": "s1"},
        {"type": "STEP_FINISHED", "stepName": "never begun", "timestamp": 8},
    )
    assert state.steps == [Step("plan", 3, 3, 5, 5), Step("plan", 4, 4, 7, 7, "s1"), Step("plan", 6, 6)]
    assert list(state.open) == [("step", "plan")]


def test_subagents_that_have_ended_are_remembered_until_the_next_leg() -> None:
    begun: Event = {"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "n"}
    state = after(STARTED, begun, {"type": "SUBAGENT_ERROR", "subagentRunId": "s1", "message": "no"})
    assert (state.open, state.closed_subagents) == ({}, {"s1"})
    assert fold(state, Entry(5, STARTED)).closed_subagents == set()


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_the_fold_depends_on_nothing_but_the_entries(events: list[Event]) -> None:
    told = entries(events)
    state = fold_all(RunState(), told)
    assert state == folded(events)
    assert state.seq == len(events)
    assert [entry.event for entry in told] == events
