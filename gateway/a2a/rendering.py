"""A task as one call is told it: the protocol's, with what the call has opted into."""

from typing import Any

from protocol import a2a
from protocol.state import RunState

from .call import CURSOR, Call


def task_of(state: RunState, call: Call, history_length: int | None = None, artifacts: bool = True) -> dict[str, Any]:
    """In ProtoJSON."""
    return _noted(a2a.task(state, history_length, artifacts), call, state.id, state.seq)


def asked_of(state: RunState, call: Call) -> dict[str, Any]:
    """The task as it was asked for, whatever has become of it since."""
    return _noted(a2a.asked(state), call, state.id, 1)


def _noted(told: dict[str, Any], call: Call, run_id: str, seq: int) -> dict[str, Any]:
    more: dict[str, Any] = {call.run_id_name: run_id} if call.run_id_name is not None else {}
    if call.numbered:
        more |= seq_note(seq)
    if more:
        told["metadata"] = told.get("metadata", {}) | more
    return told


def seq_note(seq: int) -> dict[str, Any]:
    """The metadata that says which entry of the log something is as of (`cursor.md`)."""
    return {CURSOR: {"seq": seq}}
