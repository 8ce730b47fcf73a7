"""`fold`: what a run is, as a pure function of its entries. There is no other fold.

`fold(state, entry)` takes the state over: it returns the state after the entry, and the one handed in must not be
used again (it grows in place, so that a run of n events costs n and not n²). The state after entries 1..n depends
on nothing but them; an entry that AG-UI does not define changes nothing but `seq`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from .entries import ASK_CANCEL, ASK_START, NOTE_ATTEMPT, NOTE_HANDED_BACK, Entry, Principal
from .flow import FLOW, own
from .messages import Transcript, from_wire
from .state import Attempt, Leg, RunState, Status

Event = dict[str, Any]

ABANDONED = {"hocket": {"abandoned": True}}
"""Metadata of what an attempt said that another attempt has replaced: no face may show it as final. It comes with
events that every client applies, so that a poll and a stream agree on it too."""


def fold(state: RunState, entry: Entry) -> RunState:
    """The state after `entry`, which must be the one after `state.seq`."""
    state.seq, event = entry
    change = _CHANGES.get(event["type"])
    if change is not None:
        change(state, event)
    return state


def fold_all(state: RunState, entries: Iterable[Entry]) -> RunState:
    for entry in entries:
        state = fold(state, entry)
    return state


def _start(state: RunState, event: Event) -> None:
    given = event["input"]
    state.id, state.tenant = event["runId"], event["by"]["tenant"]
    state.agent, state.thread_id = event["agent"], event["threadId"]
    state.previous, state.digest = event.get("previous"), event.get("digest", "")
    state.requester = Principal(**event["by"])
    state.created_at_ms = event["timestamp"]
    state.metadata = event.get("metadata") or {}
    state.input = {key: value for key, value in given.items() if key not in ("messages", "state")}
    state.messages = Transcript(from_wire(message) for message in given.get("messages", ()))
    state.state = {} if given.get("state") is None else given["state"]
    state.legs = [Leg(event.get("legId", state.id), state.seq)]


def _cancel(state: RunState, event: Event) -> None:
    if not state.terminal:
        state.status, state.cancelled_by = Status.CANCELLED, Principal(**event["by"])
        state.interrupts = []


def _run_started(state: RunState, event: Event) -> None:
    at_ms = event["timestamp"]
    state.status = Status.RUNNING
    state.started_at_ms = state.started_at_ms or at_ms
    state.interrupts = []
    state.leg.started_at_ms = at_ms
    state.closed_subagents, state.owners = set(), {}
    own(state, state.messages)
    _begin_attempt(state, event.get("metadata", {}).get("hocket", {}), at_ms, "first")


def _begin_attempt(state: RunState, told: Event, at_ms: int, reason: str) -> None:
    number = told.get("attempt", len(state.leg.attempts) + 1)
    state.leg.attempts.append(Attempt(number, told.get("worker", ""), at_ms, told.get("reason", reason)))
    state.said, state.leg_state, state.handed_back = [], state.state, False


def _custom(state: RunState, event: Event) -> None:
    if event["name"] == NOTE_HANDED_BACK:
        state.handed_back = True
    elif event["name"] == NOTE_ATTEMPT:
        _begin_attempt(state, event["value"], event["timestamp"], "worker_lost")


def _run_finished(state: RunState, event: Event) -> None:
    outcome = event.get("outcome") or {"type": "success"}
    _end_leg(state, event)
    state.outcome = outcome
    if outcome["type"] == "interrupt":
        state.status, state.interrupts = Status.WAITING, outcome["interrupts"]
        return
    state.status = Status.CANCELLED if outcome["type"] == "cancelled" else Status.COMPLETED
    state.result = event.get("result")
    state.ended_at_ms = event["timestamp"]


def _run_error(state: RunState, event: Event) -> None:
    _end_leg(state, event)
    state.status = Status.FAILED
    state.error = {"code": event.get("code", "AGENT_ERROR"), "message": event["message"]}
    state.ended_at_ms = event["timestamp"]


def _end_leg(state: RunState, event: Event) -> None:
    state.leg.ended_at_ms = event["timestamp"]
    state.open = {}
    reports = event.get("usage")
    for report in reports if isinstance(reports, list) else ():
        totals = state.usage = state.usage or {}
        for name, amount in report.items() if isinstance(report, dict) else ():
            if type(amount) is int:
                totals[name] = totals.get(name, 0) + amount


_CHANGES: dict[str, Callable[[RunState, Event], None]] = {
    **FLOW,
    ASK_START: _start,
    ASK_CANCEL: _cancel,
    "RUN_STARTED": _run_started,
    "RUN_FINISHED": _run_finished,
    "RUN_ERROR": _run_error,
    "CUSTOM": _custom,
}
