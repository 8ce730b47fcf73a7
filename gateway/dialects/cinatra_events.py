"""Entries of a run as Cinatra's AG-UI channel tells them: one `RUN_STARTED`, a question and its answer as events of
their own, one end. Ids are `<ms>-<seq>`, of which only the seq counts on the way back."""

import re
from collections.abc import Callable
from typing import Any

import orjson

from protocol import sse
from protocol.entries import ASK_EXPIRE, ASK_RESUME, Entry, lane_of
from protocol.events import KNOWN
from protocol.state import RunState

from ..cursor import SEQ_MAX
from .cinatra_snapshot import screen

Event = dict[str, Any]

_FIRST_START_SEQ_MAX = 3
"""A run's first RUN_STARTED is entry 2, or 3 where a cancel came before it; another leg's is entry 5 at the earliest,
behind a start, a RUN_STARTED, the leg's end and an ask."""
_CURSOR = re.compile(r"\d+-0*(\d+)", re.ASCII)


def cursor(last_event_id: str | None) -> int:
    """The entry after which to go on. What is no id of this channel is passed over: 0, the whole run."""
    found = _CURSOR.fullmatch(last_event_id or "")
    if found is None:
        return 0
    return min(int(found[1]), SEQ_MAX) if len(found[1]) <= len(str(SEQ_MAX)) else SEQ_MAX


def word(state: RunState, entry: Entry) -> bytes:
    """What the channel says of an entry; nothing where it has no form here."""
    seq, event = entry
    if lane_of(event) != "flow":
        ids = {"threadId": state.thread_id, "runId": state.id}
        return _frames(seq, event, _shown(seq, event), ids)
    return _frame(seq, event | {"threadId": state.thread_id}) if event["type"] in KNOWN else b""


def _frame(seq: int, event: Event) -> bytes:
    return b"id: %d-%d\ndata: %b\n\n" % (max(event["timestamp"], 0), seq, orjson.dumps(event))


def _frames(seq: int, entry: Event, told: list[Event], ids: Event) -> bytes:
    """Only the last frame of an entry moves the client's cursor: cut inside the group, it is told the group again."""
    events = [{"type": one["type"], "timestamp": entry["timestamp"], **ids, **one} for one in told]
    return b"".join(sse.loose_frame(event) for event in events[:-1]) + b"".join(
        _frame(seq, event) for event in events[-1:]
    )


def _shown(seq: int, event: Event) -> list[Event]:
    """What is told of an ask or a life event, without what every event has; nothing for what has no form here."""
    if event["type"] == "RUN_STARTED":
        return [{"type": "RUN_STARTED"}] if seq <= _FIRST_START_SEQ_MAX else []
    form = _FORMS.get(event["type"])
    return form(event) if form is not None else []


def _finished(event: Event) -> list[Event]:
    outcome = event.get("outcome") or {"type": "success"}
    if outcome["type"] == "interrupt":
        return [_interrupt(one) for one in outcome["interrupts"]]
    return [{"type": "RUN_FINISHED", "status": "stopped" if outcome["type"] == "cancelled" else "completed"}]


def _interrupt(asked: Event) -> Event:
    shown = screen(asked)
    told = {
        "type": "INTERRUPT",
        "reviewTaskId": shown.review_task_id,
        "schema": shown.schema,
        "xRenderer": shown.renderer,
        "values": shown.values,
    }
    if shown.field_name is not None:
        told["fieldName"] = shown.field_name
    if shown.expires_at is not None:
        told["expiresAt"] = shown.expires_at
    return told


def _failed(event: Event) -> list[Event]:
    return [{name: event[name] for name in ("type", "message", "code") if name in event}]


def _resumed(event: Event) -> list[Event]:
    by = {name: event["by"][name] for name in ("id", "kind", "name")}
    return [{"type": "RESUME", "reviewTaskId": one["gate"], "resumedBy": by} for one in event["answers"]]


def _expired(event: Event) -> list[Event]:
    """A default answer is a resume by hocket itself; any other expiry is told by the end that follows it."""
    return _resumed(event) if event["outcome"] == "answer" else []


_FORMS: dict[str, Callable[[Event], list[Event]]] = {
    "RUN_FINISHED": _finished,
    "RUN_ERROR": _failed,
    ASK_RESUME: _resumed,
    ASK_EXPIRE: _expired,
}
