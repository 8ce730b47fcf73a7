"""What an agent may ask, which question is open, and when it has expired (reference: AG-UI 1.0, interrupts).

A gate is an interrupt of a run with an id of its own, `g-<run>-<number>`, which names its run: whoever holds a gate's
id needs nothing else to find it.
"""

import calendar
import re
from typing import Any

from . import schema
from .errors import IllegalEvent
from .state import Gate, RunState, own_metadata
from .subjects import ID_BYTES_MAX

Interrupt = dict[str, Any]

INTERRUPTS_MAX = 100
"""Most questions that one leg may end with."""
ON_EXPIRY = ("answer", "cancel", "fail")
"""What may become of a run whose question nobody has answered in time."""

_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)  # fmt: skip


def gate_id(run_id: str, number: int) -> str:
    return f"g-{run_id}-{number}"


def run_of(gate: str) -> str | None:
    """The run that a gate's id names, None if it is no such id."""
    run_id, _, number = gate.removeprefix("g-").rpartition("-")
    return run_id if gate.startswith("g-") and run_id and number.isdecimal() and number.isascii() else None


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(state: RunState, interrupts: Any, expires_at: str | None, on_expiry: str, default: Any) -> list[Interrupt]:
    """The interrupts with which a leg may end, as they are recorded: each with an id that the run has not used, its
    gate, and what becomes of it when its time is over. The last three arguments stand in for what it leaves unsaid.

    Raises IllegalEvent.
    """
    if not isinstance(interrupts, list) or not interrupts:
        raise IllegalEvent("outcome", "RUN_FINISHED with outcome interrupt needs at least one interrupt")
    if len(interrupts) > INTERRUPTS_MAX:
        raise IllegalEvent(
            "interrupt", f"A leg may end with {INTERRUPTS_MAX} interrupts; this one has {len(interrupts)}"
        )
    used = {gate.interrupt_id for gate in state.gates}
    told: dict[str, Interrupt] = {}
    for number, interrupt in enumerate(interrupts, len(state.gates)):
        name = interrupt.get("id") if isinstance(interrupt, dict) else None
        if not isinstance(name, str) or not 0 < len(name.encode(errors="replace")) <= ID_BYTES_MAX:
            raise IllegalEvent("event-fields", f"An interrupt needs an 'id' as text of 1 to {ID_BYTES_MAX} bytes")
        own_id = name if name not in used else f"{name}~{number}"
        if own_id in told or own_id in used:
            raise IllegalEvent("interrupt", f"Two interrupts have the id {own_id!r}")
        if run_of(name) == state.id:
            raise IllegalEvent("interrupt", f"An interrupt's id may not look like a gate's, as {name!r} does")
        noted = {"gate": gate_id(state.id, number), "name": _name(interrupt, name)}
        one = {key: value for key, value in interrupt.items() if value is not None} | {"id": own_id}
        if expires_at is not None:
            one.setdefault("expiresAt", expires_at)
        one["metadata"] = {**_metadata(one), "hocket": noted | _at_expiry(one, on_expiry, default)}
        if "responseSchema" in one:
            _check_schema(one)
        told[own_id] = one
    return list(told.values())


def _metadata(interrupt: Interrupt) -> dict[str, Any]:
    metadata = interrupt.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise IllegalEvent("event-fields", f"Interrupt {interrupt['id']!r} needs 'metadata' as an object")
    return metadata or {}


def _name(interrupt: Interrupt, own: str) -> str:
    named = _metadata(interrupt).get("name")
    return named if isinstance(named, str) and named else own


def _at_expiry(interrupt: Interrupt, on_expiry: str, default: Any) -> dict[str, Any]:
    """What becomes of it, where it expires at all."""
    if expiry_ms(interrupt) is None:
        return {}
    metadata = interrupt.get("metadata") or {}
    wanted = metadata.get("on_expiry", on_expiry)
    if wanted not in ON_EXPIRY:
        raise IllegalEvent(
            "interrupt", f"Interrupt {interrupt['id']!r}: on_expiry must be one of {', '.join(ON_EXPIRY)}"
        )
    if wanted != "answer":
        return {"on_expiry": wanted}
    answer = metadata.get("default", default)
    if answer is None:
        raise IllegalEvent("interrupt", f"Interrupt {interrupt['id']!r}: on_expiry answer needs a default")
    return {"on_expiry": wanted, "default": answer}


def _check_schema(interrupt: Interrupt) -> None:
    wanted = interrupt["responseSchema"]
    fault = schema.fault_of(wanted)
    if fault is not None:
        told = f"Interrupt {interrupt['id']!r}: its responseSchema is no JSON Schema 2020-12: {fault}"
        raise IllegalEvent("interrupt-schema", told)
    noted = own_metadata(interrupt)
    for _, message in schema.faults(wanted, noted["default"]) if "default" in noted else ():
        raise IllegalEvent("interrupt-schema", f"Interrupt {interrupt['id']!r}: its default does not fit: {message}")


def decision(status: str, payload: Any) -> str | None:
    """What an answer comes to: approve, reject or answer; None if it is none."""
    if status == "cancelled":
        return None
    approved = payload.get("approved") if isinstance(payload, dict) else None
    return {True: "approve", False: "reject"}.get(approved, "answer") if isinstance(approved, bool) else "answer"


# ── expiry ────────────────────────────────────────────────────────────────────────────────────────────────────────


def expiry_ms(interrupt: Interrupt) -> int | None:
    """When an interrupt expires, None for never; an `expiresAt` that cannot be read is never, as AG-UI has it."""
    given = interrupt.get("expiresAt")
    found = _INSTANT.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        return None
    year, month, day, hour, minute = (int(part) for part in found.groups()[:5])
    try:
        seconds = calendar.timegm((year, month, day, hour, minute, int(found[6] or 0)))
    except ValueError:
        return None
    zone = (found[8] or "Z").upper().replace(":", "")
    if zone != "Z":
        seconds -= (1 if zone[0] == "+" else -1) * (int(zone[1:3]) * 3600 + int(zone[3:5]) * 60)
    return max(seconds * 1000 + int(float(found[7] or 0) * 1000), 0)


def has_expired(gate: Gate, now_ms: int) -> bool:
    at_ms = expiry_ms(gate.interrupt)
    return at_ms is not None and now_ms >= at_ms


def next_expiry_ms(state: RunState) -> int | None:
    """When the first of the open questions expires, None if none does."""
    times = [at_ms for gate in state.open_gates if (at_ms := expiry_ms(gate.interrupt)) is not None]
    return min(times, default=None)


def expired(state: RunState, now_ms: int) -> tuple[str, list[dict[str, Any]]] | None:
    """What time has decided of the open questions: how the run goes on (`answer`, `cancel` or `fail`) and the
    answers that it goes on with. None if the time of none is over."""
    due = [gate for gate in state.open_gates if has_expired(gate, now_ms)]
    if not due:
        return None
    outcomes = {own_metadata(gate.interrupt).get("on_expiry", "cancel") for gate in due}
    outcome = next(one for one in ("fail", "cancel", "answer") if one in outcomes)
    return outcome, [_expired(gate, outcome) for gate in due]


def _expired(gate: Gate, outcome: str) -> dict[str, Any]:
    told: dict[str, Any] = {"interruptId": gate.interrupt_id, "gate": gate.id, "status": "expired", "decision": None}
    if outcome == "answer":
        payload = own_metadata(gate.interrupt).get("default")
        told |= {"payload": payload, "decision": decision("resolved", payload)}
    return told
