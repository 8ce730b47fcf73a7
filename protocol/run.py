"""`fold`: what a run is, as a pure function of its entries. There is no other fold.

`fold(state, entry)` takes the state over: it returns the state after the entry, and the one handed in must not be
used again (it grows in place, so that a run of n events costs n and not n²). The state after entries 1..n depends
on nothing but them; an entry that AG-UI does not define changes nothing but `seq`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from . import usage
from .entries import (
    ASK_CANCEL,
    ASK_EXPIRE,
    ASK_RESUME,
    ASK_START,
    NOTE_ATTEMPT,
    NOTE_HANDED_BACK,
    Entry,
    Principal,
)
from .flow import FLOW, own
from .interrupts import gate_id
from .messages import Transcript, from_wire
from .state import Attempt, Gate, Leg, RunState, Status

Event = dict[str, Any]

ABANDONED = {"hocket": {"abandoned": True}}
"""Metadata of what an attempt said that another attempt has replaced: no face may show it as final. It comes with
events that every client applies, so that a poll and a stream agree on it too."""


def abandoned(rest: Event) -> bool:
    """Whether a message, call or event with these fields is of an attempt that another has replaced."""
    metadata = rest.get("metadata")
    return isinstance(metadata, dict) and metadata.get("hocket") == ABANDONED["hocket"]


def fold(state: RunState, entry: Entry) -> RunState:
    """The state after `entry`, which must be the one after `state.seq`."""
    state.seq, event = entry
    state.updated_at_ms = event.get("timestamp", state.updated_at_ms)
    change = _CHANGES.get(event["type"])
    if change is not None:
        change(state, event)
    return state


def fold_all(state: RunState, entries: Iterable[Entry]) -> RunState:
    for entry in entries:
        state = fold(state, entry)
    return state


def ends_as(event: Event) -> Status | None:
    """What a run is after an event that ends one of its legs; None for any other event."""
    if event["type"] == "RUN_ERROR":
        return Status.FAILED
    if event["type"] != "RUN_FINISHED":
        return None
    outcome = (event.get("outcome") or {"type": "success"})["type"]
    return {"interrupt": Status.WAITING, "cancelled": Status.CANCELLED}.get(outcome, Status.COMPLETED)


def _start(state: RunState, event: Event) -> None:
    given = event["input"]
    state.id, state.tenant = event["runId"], event["by"]["tenant"]
    state.agent, state.thread_id = event["agent"], event["threadId"]
    state.previous, state.digest = event.get("previous"), event.get("digest", "")
    state.requester, state.face = Principal(**event["by"]), event["face"]
    state.created_at_ms = event["timestamp"]
    state.metadata = event.get("metadata") or {}
    state.timeout_s = event.get("timeoutSeconds")
    state.input = {key: value for key, value in given.items() if key not in ("messages", "state")}
    state.messages = Transcript(from_wire(message) for message in given.get("messages", ()))
    state.state = {} if given.get("state") is None else given["state"]
    if state.state != {}:
        state.begun["state"] = state.seq
    parent = event.get("parent")
    if parent is not None:
        state.parent, state.parent_thread = parent["runId"], parent["threadId"]
    state.legs = [Leg(event.get("legId", state.id), state.seq)]
    _note(state, "started", event)


def _resume(state: RunState, event: Event) -> None:
    """Somebody's answers. The next leg begins with the last that was missing."""
    if state.status is Status.WAITING:
        _answer(state, event)
        _note(state, "answered", event, answers=_told(event["answers"]))
        if not state.open_gates:
            _begin_leg(state, event["legId"], event.get("messages"))


def _cancel(state: RunState, event: Event) -> None:
    if not state.terminal:
        _note(state, "cancelled", event, reason=event.get("reason"))
        state.cancelled_by = Principal(**event["by"])
        _close(state, Status.CANCELLED, event)


def _expire(state: RunState, event: Event) -> None:
    """What time has decided: the run goes on with default answers, or it ends."""
    if state.status is not Status.WAITING:
        return
    outcome = event["outcome"]
    _answer(state, event)
    _note(state, "expired", event, answers=_told(event["answers"]), outcome=outcome)
    if outcome == "cancel":
        state.cancelled_by = Principal(**event["by"])
    if outcome != "answer":
        _close(state, Status.CANCELLED if outcome == "cancel" else Status.FAILED, event)
    elif not state.open_gates:
        _begin_leg(state, event["legId"])


def _answer(state: RunState, event: Event) -> None:
    """Closes the gates that are answered."""
    told = {answer["gate"]: answer for answer in event["answers"]}
    for gate in state.open_gates:
        if gate.id in told:
            answer = told[gate.id]
            gate.answer = {name: answer[name] for name in ("payload", "text", "isError", "decision") if name in answer}
            gate.digest, gate.answered_seq = event.get("digest", ""), state.seq
            _shut(gate, answer["status"], event)


def _shut(gate: Gate, status: str, event: Event) -> None:
    gate.status, gate.by, gate.face = status, Principal(**event["by"]), event["face"]
    gate.at_ms = event["timestamp"]


def _begin_leg(state: RunState, leg_id: str, messages: list[Event] | None = None) -> None:
    state.status, state.outcome = Status.RUNNING, None
    state.legs.append(Leg(leg_id, state.seq, messages=messages or []))


def _close(state: RunState, status: Status, event: Event) -> None:
    """The run is over, and its end is owed: within its leg, or in one of its own if that has ended."""
    for gate in state.open_gates:
        _shut(gate, "closed", event)
    if state.status is Status.WAITING:
        _begin_leg(state, state.leg.run_id)
    state.status = status


def _note(state: RunState, what: str, event: Event, **more: Any) -> None:
    by = event.get("by")
    who = {"id": by["id"], "kind": by["kind"], "name": by["name"]} if by else None
    told = {"what": what, "seq": state.seq, "at_ms": event["timestamp"], "by": who, "face": event.get("face")}
    state.audit.append(told | {name: value for name, value in more.items() if value is not None})


def _told(answers: list[Event]) -> list[Event]:
    """Answers without what was answered."""
    return [
        {"interrupt_id": answer["interruptId"], "status": answer["status"], "decision": answer["decision"]}
        for answer in answers
    ]


def _run_started(state: RunState, event: Event) -> None:
    at_ms = event["timestamp"]
    if not state.terminal:  # the end of a run that was cancelled may need a leg to stand in
        state.status = Status.RUNNING
    state.started_at_ms = state.started_at_ms or at_ms
    state.leg.started_at_ms = at_ms
    state.closed_subagents, state.owners = set(), {}
    for message in event.get("input", {}).get("messages", ()):
        if state.messages.get(message["id"]) is None:
            state.messages.append(from_wire(message))
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
        for step in state.steps:
            step.abandoned = step.abandoned or step.started_seq > state.leg.asked_seq
        _begin_attempt(state, event["value"], event["timestamp"], "worker_lost")


def _run_finished(state: RunState, event: Event) -> None:
    outcome = event.get("outcome") or {"type": "success"}
    _end_leg(state, event)
    state.outcome, state.status = outcome, ends_as(event) or state.status
    if state.status is Status.WAITING:
        _wait(state, event, outcome["interrupts"])
        return
    state.result = event.get("result")
    state.ended_at_ms = event["timestamp"]


def _wait(state: RunState, event: Event, interrupts: list[Event]) -> None:
    for interrupt in interrupts:
        state.gates.append(Gate(gate_id(state.id, len(state.gates)), interrupt, state.seq, event["timestamp"]))
    _note(state, "waiting", event, interrupts=[interrupt["id"] for interrupt in interrupts])


def _run_error(state: RunState, event: Event) -> None:
    _end_leg(state, event)
    state.status = Status.FAILED
    state.error = {"code": event.get("code", "AGENT_ERROR"), "message": event["message"]}
    state.ended_at_ms = event["timestamp"]


def _end_leg(state: RunState, event: Event) -> None:
    state.leg.ended_at_ms = event["timestamp"]
    state.open = {}
    usage.add(state, event.get("usage"))


_CHANGES: dict[str, Callable[[RunState, Event], None]] = {
    **FLOW,
    ASK_START: _start,
    ASK_RESUME: _resume,
    ASK_CANCEL: _cancel,
    ASK_EXPIRE: _expire,
    "RUN_STARTED": _run_started,
    "RUN_FINISHED": _run_finished,
    "RUN_ERROR": _run_error,
    "CUSTOM": _custom,
}
