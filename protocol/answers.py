"""Which answer fits which question, and what is recorded of it (reference: AG-UI 1.0, resume)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import schema
from .entries import Principal
from .errors import AlreadyResolved, InterruptExpired, InterruptsMissing, InvalidAnswer, NotWaiting, UnknownInterrupt
from .interrupts import decision, has_expired
from .state import Gate, RunState, Status

FAULTS_MAX = 20
"""Most faults that are told of one call's answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one interrupt, named by its own id or its gate's. `supplied` is False for a bare approval, whose
    payload is hocket's own words and is not held against the schema. `text` is for agents that take text. Where it
    `is_error`, the payload tells why there is no answer, as the result of a tool that has failed does; that never
    approves."""

    interrupt_id: str
    status: Literal["resolved", "cancelled"] = "resolved"
    payload: Any = None
    text: str | None = None
    supplied: bool = True
    is_error: bool = False


def find(state: RunState, name: str) -> Gate | None:
    """The gate of an interrupt's id or of its own."""
    return next((gate for gate in state.gates if name in (gate.interrupt_id, gate.id)), None)


def relevant(state: RunState, answers: Sequence[Answer]) -> tuple[list[Answer], list[str]]:
    """The answers to what is open, and the names of the others. Where none is to anything open, those to what the
    run has asked at all are left, so that they are refused for what they are."""
    found = [(answer, find(state, answer.interrupt_id)) for answer in answers]
    to_open = [answer for answer, gate in found if gate is not None and gate.status == "open"]
    kept = to_open or [answer for answer, gate in found if gate is not None] or list(answers)
    return kept, [answer.interrupt_id for answer in answers if answer not in kept]


def repeated(state: RunState, answers: Sequence[Answer], by: Principal, digest: str) -> int | None:
    """The entry of these very answers, if the same principal has given them before under the same key."""
    gates = [find(state, answer.interrupt_id) for answer in answers]
    if not digest or not gates:
        return None
    same = all(
        gate is not None and gate.digest == digest and gate.by is not None and gate.by.id == by.id for gate in gates
    )
    return gates[0].answered_seq if same and gates[0] is not None else None


def echoes(gate: Gate, answer: Answer) -> bool:
    """Whether a gate was closed by this very answer, whoever gave it: for callers that are told so instead of refused.
    Payloads are compared as JSON, in which 1 is 1.0 and is not true."""
    held = gate.answer
    return (
        held is not None
        and gate.status == answer.status
        and bool(held.get("isError")) == answer.is_error
        and _same(held.get("payload"), answer.payload)
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def requester(state: RunState) -> dict[str, Any]:
    """Who started the run and through which face, as every answer records it beside who answers."""
    by = state.requester
    assert by is not None  # a run begins with its start
    return {"id": by.id, "kind": by.kind, "name": by.name, "face": state.face}


def fit(state: RunState, answers: Sequence[Answer], now_ms: int, partial: bool = False) -> list[dict[str, Any]]:
    """The answers as they are recorded, if they may be. `partial` is for callers that can name but one interrupt.

    Raises UnknownInterrupt, NotWaiting, AlreadyResolved, InterruptExpired, InterruptsMissing, InvalidAnswer.
    """
    gates = [(_open_gate(state, answer, now_ms), answer) for answer in answers]
    if not gates and state.status is not Status.WAITING:
        raise NotWaiting(state.id, state.status.value)
    named = [gate.id for gate, _ in gates]
    missing = [gate.interrupt_id for gate in state.open_gates if gate.id not in named]
    if not gates or (missing and not partial):
        raise InterruptsMissing(missing)
    if len(set(named)) < len(named):
        raise InvalidAnswer([{"interrupt_id": gates[0][1].interrupt_id, "path": "", "message": "answered twice"}])
    faults = [fault for gate, answer in gates for fault in _faults(gate, answer)]
    if faults:
        raise InvalidAnswer(faults[:FAULTS_MAX])
    return [_recorded(gate, answer) for gate, answer in gates]


def _open_gate(state: RunState, answer: Answer, now_ms: int) -> Gate:
    gate = find(state, answer.interrupt_id)
    if gate is None:
        if not state.gates:
            raise NotWaiting(state.id, state.status.value)
        raise UnknownInterrupt(answer.interrupt_id, [one.interrupt_id for one in state.open_gates])
    if gate.status == "expired" or (gate.status == "open" and has_expired(gate, now_ms)):
        raise InterruptExpired(answer.interrupt_id, str(gate.interrupt["expiresAt"]))
    if gate.status != "open":
        raise AlreadyResolved(answer.interrupt_id, resolved(gate))
    return gate


def _faults(gate: Gate, answer: Answer) -> Iterator[dict[str, str]]:
    wanted = gate.interrupt.get("responseSchema")
    if answer.status == "resolved" and answer.supplied and isinstance(wanted, dict):
        for path, message in schema.faults(wanted, answer.payload):
            yield {"interrupt_id": gate.interrupt_id, "path": path, "message": message}


def _recorded(gate: Gate, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"interruptId": gate.interrupt_id, "gate": gate.id, "status": answer.status}
    if answer.payload is not None:
        told["payload"] = answer.payload
    if answer.text is not None:
        told["text"] = answer.text
    if answer.is_error:
        told["isError"] = True
    return told | {"decision": decision(answer.status, None if answer.is_error else answer.payload)}


def resolved(gate: Gate) -> dict[str, Any]:
    """How a gate was closed, in plain values: status, decision, by, face and at_ms."""
    by = gate.by
    return {
        "status": gate.status,
        "decision": (gate.answer or {}).get("decision"),
        "by": {"id": by.id, "kind": by.kind, "name": by.name} if by is not None else None,
        "face": gate.face,
        "at_ms": gate.at_ms,
    }
