"""RunState as the run object of `/v1` and of its webhooks: plain values, for a poll is the hot path of many clients."""

from typing import Any

from . import instants
from .answers import resolved
from .state import Gate, RunState


def run_object(state: RunState) -> dict[str, Any]:
    """The run without what must be asked for."""
    return {
        "id": state.id,
        "agent": state.agent,
        "thread_id": state.thread_id,
        "status": state.status.value,
        "created_at": rfc3339(state.created_at_ms),
        "started_at": rfc3339(state.started_at_ms),
        "ended_at": rfc3339(state.ended_at_ms),
        "seq": state.seq,
        "attempt": state.attempt,
        "error": state.error,
        "usage": state.usage,
        "metadata": state.metadata,
        "interrupts": state.interrupts,
        "decisions": [_decided(gate) for gate in state.gates if gate.status != "open"],
        "result": state.result,
    }


def _decided(gate: Gate) -> dict[str, Any]:
    return {"interrupt_id": gate.interrupt_id, "gate": gate.id, **told_decision(resolved(gate))}


def told_decision(decided: dict[str, Any]) -> dict[str, Any]:
    """How a question was decided, by whom, through which face and when."""
    return {name: value for name, value in decided.items() if name != "at_ms"} | {"at": rfc3339(decided["at_ms"])}


def rfc3339(at_ms: int | None) -> str | None:
    return None if at_ms is None else instants.rfc3339(at_ms)
