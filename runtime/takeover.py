"""What the log is told when another worker takes a leg over, or when nobody may any more.

The abandoned attempt's messages stay on record and are marked, so that no face shows them as final: open ones by
the event that closes them, finished ones by a START and END that only carry the mark (a START of a known id keeps
its message), activities by an empty patch. The agent's state goes back to what it was when the leg began.
"""

from typing import Any

from protocol.entries import NOTE_ATTEMPT, note
from protocol.messages import Message
from protocol.order import closers
from protocol.run import ABANDONED
from protocol.state import RunState

from .agents.contract import Options
from .settings import Settings

Event = dict[str, Any]


def attempts_allowed(state: RunState, options: Options, settings: Settings) -> int:
    """How many workers may have a go at the leg. A hand-back by a stopping worker uses up none."""
    given_back = sum(attempt.reason == "shutdown" for attempt in state.leg.attempts) + state.handed_back
    if options.retry == "never":
        return 1
    return (options.attempts or settings.attempts_max) + given_back


def takeover(state: RunState, worker: str, at_ms: int) -> list[Event]:
    """The entries by which `worker` takes the leg over."""
    value = {
        "attempt": state.attempt + 1,
        "worker": worker,
        "reason": "shutdown" if state.handed_back else "worker_lost",
        "abandoned": list(state.said),
    }
    restored = [] if state.state == state.leg_state else [_state(state.leg_state, at_ms)]
    return [
        *closers(state, at_ms, ABANDONED),
        *_marks(state, at_ms),
        *restored,
        note(NOTE_ATTEMPT, at_ms, value),
    ]


def lost(state: RunState, at_ms: int) -> list[Event]:
    """The entries that end a run whose worker is gone and that nobody may take over."""
    end = {
        "type": "RUN_ERROR",
        "message": f"The worker of this run was lost, {_times(len(state.leg.attempts))}.",
        "code": "WORKER_LOST",
        "timestamp": at_ms,
    }
    return [*closers(state, at_ms, ABANDONED), *_marks(state, at_ms), end]


def _marks(state: RunState, at_ms: int) -> list[Event]:
    closed = {part.id for part in state.open.values() if part.kind in ("text", "reasoning_message")}
    said = set(state.said) - closed
    return [event for message in state.messages if message.id in said for event in _mark(message, at_ms)]


def _mark(message: Message, at_ms: int) -> list[Event]:
    """Events that change nothing of the message but its metadata."""
    told: Event = {"messageId": message.id, "timestamp": at_ms}
    mark = {**told, "metadata": ABANDONED}
    if message.role == "activity":
        return [{"type": "ACTIVITY_DELTA", **mark, "activityType": message.rest["activityType"], "patch": []}]
    if message.role == "reasoning":
        start: Event = {"type": "REASONING_MESSAGE_START", "role": "reasoning", **mark}
        return [start, {"type": "REASONING_MESSAGE_END", **told}]
    return [{"type": "TEXT_MESSAGE_START", "role": "assistant", **mark}, {"type": "TEXT_MESSAGE_END", **told}]


def _state(snapshot: Any, at_ms: int) -> Event:
    return {"type": "STATE_SNAPSHOT", "snapshot": snapshot, "timestamp": at_ms}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
