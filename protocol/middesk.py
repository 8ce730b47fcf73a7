"""RunState as the run object of Middesk's API, and what a webhook in that dialect is told.

Pure, and of two rooms: the gateway answers and streams it, the runtime's sender of webhooks posts it.
"""

from typing import Any

import orjson

from .entries import Principal
from .ids import as_uuid
from .instants import rfc3339
from .interrupts import expiry_ms
from .spoken import output as output_text
from .state import Gate, RunState, Status
from .tool_calls import asked_about

STATUS = {
    Status.QUEUED: "running",
    Status.RUNNING: "running",
    Status.WAITING: "interrupted",
    Status.COMPLETED: "completed",
    Status.FAILED: "error",
    Status.CANCELLED: "error",
}
EVENTS = {
    "run.started": "run.created",
    "run.waiting": "run.interrupted",
    "run.completed": "run.completed",
    "run.failed": "run.completed",
    "run.cancelled": "run.completed",
}
"""What each of hocket's webhook events is called here; an error is a completion that has no output."""

_PERSONS = ("user", "development")
_ACCOUNTS = ("api_key", "service")


def run_object(state: RunState) -> dict[str, Any]:
    """The run without its steps, for which a client must ask. What an agent has made stands in it as JSON already."""
    return {
        "object": "run",
        "id": as_uuid(state.tenant, state.id),
        "created_at": rfc3339(state.created_at_ms),
        "updated_at": rfc3339(state.updated_at_ms),
        "status": STATUS[state.status],
        "thread_id": as_uuid(state.tenant, state.thread_id),
        "agent": state.agent,
        "requester": _requester(state.requester),
        "started_at": _instant(state.started_at_ms),
        "ended_at": _instant(state.ended_at_ms),
        "output": output(state),
        "interrupts": [_interrupt(state, gate) for gate in state.open_gates],
    }


def as_started(state: RunState) -> RunState:
    """The run as it was right after its start, whatever has become of it since: what a start is answered with."""
    return RunState(
        1, state.id, state.tenant, state.agent, state.thread_id, requester=state.requester, face=state.face,
        created_at_ms=state.created_at_ms, updated_at_ms=state.created_at_ms,
    )  # fmt: skip


def output(state: RunState) -> Any:
    """What a completed run came to: what its agent made in this form already, else one artifact of it. None for any
    other run."""
    if state.status is not Status.COMPLETED:
        return None
    result = state.result
    if isinstance(result, dict) and isinstance(result.get("artifacts"), list):
        return _as_recorded(result)
    if result is None or isinstance(result, str):
        made: dict[str, Any] = {"title": "Output", "type": "text", "summary": output_text(state)}
    else:
        made = {"title": "Output", "type": "json", "data": _as_recorded(result)}
    return {"artifacts": [made | {"sources": []}]}


def told(kind: str, state: RunState, event: dict[str, Any]) -> dict[str, Any]:
    """The webhook's message of a run that stands right after `event`, which hocket's own webhooks call `kind`. Its id
    is the same however often it is sent."""
    run = run_object(state)
    return {
        "object": "event",
        "id": f"{run['id']}-{state.seq}",
        "type": EVENTS[kind],
        "data": {"object": run},
        "created_at": rfc3339(event["timestamp"]),
    }


def ping(message_id: str, at_ms: int) -> dict[str, Any]:
    """A webhook's message that is about no run."""
    at = rfc3339(at_ms)
    return {"object": "event", "id": message_id, "type": "ping", "data": {"object": None}, "created_at": at}


def cut(message: dict[str, Any]) -> dict[str, Any]:
    """The same without what an agent may have made long."""
    run = message["data"]["object"]
    bare: dict[str, Any] = {
        "output": {"artifacts": []} if run["output"] is not None else None,
        "interrupts": [one | {"value": {}} for one in run["interrupts"]],
    }
    return message | {"data": {"object": run | bare}}


def _requester(by: Principal | None) -> dict[str, Any] | None:
    """A person is named; a key or a service stands for its account; what the system starts has nobody. Development is
    the person at this machine."""
    if by is None or by.kind not in _PERSONS + _ACCOUNTS:
        return None
    return {"id": by.id, "name": by.name or by.id} if by.kind in _PERSONS else {"id": by.tenant, "name": by.tenant}


def _interrupt(state: RunState, gate: Gate) -> dict[str, Any]:
    call, metadata = asked_about(state, gate), gate.interrupt.get("metadata") or {}
    value = {
        "message": gate.interrupt.get("message"),
        "tool_name": call.name if call is not None else None,
        "tool_call_id": gate.interrupt.get("toolCallId"),
        "arguments": _as_recorded(call.arguments) if call is not None else None,
        "schema": _as_recorded(gate.interrupt.get("responseSchema")),
        "values": _as_recorded(metadata.get("values")),
        "expires_at": _instant(expiry_ms(gate.interrupt)),
    }
    given = {name: one for name, one in value.items() if one is not None}
    return {"id": gate.id, "value": given, "agent": state.agent}


def _as_recorded(value: Any) -> Any:
    """Deeper within other JSON than it was recorded, it might be nested too deep for the encoder."""
    return orjson.Fragment(orjson.dumps(value)) if isinstance(value, dict | list) else value


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)
