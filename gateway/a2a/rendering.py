"""A task as one call is told it: the protocol's, with what the call has opted into."""

from typing import Any

from a2a.types import Task

from protocol import a2a
from protocol.state import RunState

from . import objects
from .call import CURSOR, Call


def wire_of(state: RunState, call: Call, history_length: int | None = None, artifacts: bool = True) -> dict[str, Any]:
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


def task_of(state: RunState, call: Call, history_length: int | None = None, artifacts: bool = True) -> Task:
    """As the SDK's object. Raises ParseError where the agent has said what A2A cannot carry."""
    return objects.task(wire_of(state, call, history_length, artifacts))


def seq_note(seq: int) -> dict[str, Any]:
    """The metadata that says which entry of the log something is as of (`cursor.md`)."""
    return {CURSOR: {"seq": seq}}
