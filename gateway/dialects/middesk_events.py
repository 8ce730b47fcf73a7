"""Entries of a run as Middesk's stream tells them: the whole run with its steps, as it was at that entry, under one of
three names.

Whole, it grows with every step, so a stream would grow with their square. Beyond the steps of STEPS_TOLD_EACH, what
says no more than that a step has begun or ended is told of some entries only, which their numbers choose.
"""

import orjson

from protocol import sse
from protocol.entries import ASK_EXPIRE, ASK_RESUME, NOTE_ATTEMPT, Entry
from protocol.middesk import run_object
from protocol.middesk_steps import size, steps
from protocol.run import abandoned, ends_as
from protocol.state import RunState

STEPS_TOLD_EACH = 200
"""As many steps as are told with each change of one, on average, however many there are."""

_STARTED, _CHANGED, _FINISHED = "RUN_STARTED", "STATE_SNAPSHOT", "RUN_FINISHED"
_OF_STEPS = frozenset(
    {"TEXT_MESSAGE_END", "TOOL_CALL_END", "TOOL_CALL_RESULT", "STEP_STARTED", "STEP_FINISHED", "MESSAGES_SNAPSHOT"}
)
_GOLDEN = 0x9E3779B1
"""2**32 by the golden ratio: its multiples lie evenly, whatever the pattern of the numbers is."""


def word(state: RunState, entry: Entry) -> bytes:
    """The frame of an entry, empty for what changes nothing that is shown."""
    name = _name(state, entry)
    if name is None:
        return b""
    run = run_object(state)
    snapshot = run | {"steps": steps(state)}
    return sse.frame(entry.seq, orjson.dumps({"run_id": run["id"], "snapshot": snapshot}), name)


def _name(state: RunState, entry: Entry) -> str | None:
    kind, event = entry.event["type"], entry.event
    if kind in _OF_STEPS:
        return _CHANGED if not abandoned(event) and _chosen(entry.seq, size(state)) else None
    if kind == "RUN_STARTED":
        return _STARTED if len(state.legs) == 1 else None
    if ends_as(event) is not None:
        return _FINISHED if state.ended_at_ms is not None else _CHANGED
    goes_on = kind == ASK_RESUME or (kind == ASK_EXPIRE and event["outcome"] == "answer")
    # what another attempt has replaced has no steps any more; a cancel is told by the end that follows at once
    return _CHANGED if goes_on or (kind == "CUSTOM" and event["name"] == NOTE_ATTEMPT) else None


def _chosen(seq: int, steps_now: int) -> bool:
    return (seq * _GOLDEN & 0xFFFFFFFF) * steps_now < STEPS_TOLD_EACH << 32
