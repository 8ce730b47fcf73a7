"""RunState as bytes and back, for the cache of folded states.

A checkpoint of another form than this code writes reads as None: a cache may always be thrown away.
"""

from typing import Any

import orjson

from .entries import Principal
from .messages import Transcript, from_wire
from .state import Attempt, Gate, Leg, OpenPart, RunState, Status, Step

FORM = 6

_PLAIN = (
    "seq",
    "id",
    "tenant",
    "agent",
    "thread_id",
    "previous",
    "parent",
    "parent_thread",
    "digest",
    "created_at_ms",
    "updated_at_ms",
    "started_at_ms",
    "ended_at_ms",
    "input",
    "metadata",
    "timeout_s",
    "state",
    "leg_state",
    "said",
    "usage",
    "cost_usd",
    "model",
    "result",
    "error",
    "outcome",
    "face",
    "audit",
    "handed_back",
    "owners",
    "begun",
    "begun_ms",
)


def dump(state: RunState) -> bytes:
    """Bytes from which `load` makes an equal state."""
    whole: dict[str, Any] = {name: getattr(state, name) for name in _PLAIN}
    whole |= {
        "form": FORM,
        "status": state.status.value,
        "requester": state.requester,
        "cancelled_by": state.cancelled_by,
        "messages": [message.wire() for message in state.messages],
        "steps": state.steps,
        "open": list(state.open.values()),
        "closed_subagents": sorted(state.closed_subagents),
        "legs": state.legs,
        "gates": state.gates,
    }
    return orjson.dumps(whole)


def load(raw: bytes) -> RunState | None:
    """The state of `dump`, or None if the bytes are not of this form."""
    try:
        whole = orjson.loads(raw)
        if whole["form"] != FORM:
            return None
        state = RunState(**{name: whole[name] for name in _PLAIN})
        state.status = Status(whole["status"])
        state.requester = Principal(**whole["requester"]) if whole["requester"] else None
        state.cancelled_by = Principal(**whole["cancelled_by"]) if whole["cancelled_by"] else None
        state.gates = [
            Gate(**(gate | {"by": Principal(**gate["by"]) if gate["by"] else None})) for gate in whole["gates"]
        ]
        state.messages = Transcript(from_wire(message) for message in whole["messages"])
        state.steps = [Step(**step) for step in whole["steps"]]
        state.open = {part.key: part for part in (OpenPart(**told) for told in whole["open"])}
        state.closed_subagents = set(whole["closed_subagents"])
        state.legs = [Leg(**(leg | {"attempts": [Attempt(**one) for one in leg["attempts"]]})) for leg in whole["legs"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return state
