"""An entry of the log, who asked for it, and how both look as bytes.

Lanes: `ask` is what someone wants, `life` what became of it, `flow` what the agent says. An entry's lane follows
from its type alone. Every entry carries `timestamp`, integer milliseconds since the epoch, UTC.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from . import sse
from .events import KNOWN
from .subjects import Lane

ASK_START = "ask.start"
ASK_CANCEL = "ask.cancel"

NOTE_ATTEMPT = "hocket.attempt"
"""CUSTOM event in the life lane: another worker took the leg over, and what that abandoned."""
NOTE_HANDED_BACK = "hocket.handed_back"
"""CUSTOM event in the life lane: a worker that is stopping gave the leg back."""

_LIFE = frozenset({"RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"})
_NOTES = frozenset({NOTE_ATTEMPT, NOTE_HANDED_BACK})
_ALWAYS_FLOW = KNOWN - _LIFE - {"CUSTOM"}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, taken from credentials alone. `kind` is user, api_key, service, trigger, system or development."""

    tenant: str
    id: str
    kind: str
    name: str = ""


class Entry(NamedTuple):
    """Entry `seq` (1..n, dense per run) of a log. `event` is the stored JSON as received."""

    seq: int
    event: dict[str, Any]


def ask(kind: str, by: Principal, face: str, at_ms: int, **fields: Any) -> dict[str, Any]:
    """The event of an ask entry: who, through which face, when, and what."""
    return {"type": kind, "timestamp": at_ms, "by": asdict(by), "face": face, **fields}


def public(event: dict[str, Any]) -> dict[str, Any]:
    """An ask as any reader of the run may see it: who, through which face, when; not what was sent with it."""
    by = event["by"]
    shown = {"type": event["type"], "timestamp": event["timestamp"], "face": event["face"]}
    shown["by"] = {"id": by["id"], "kind": by["kind"], "name": by["name"]}
    for name in ("agent", "runId", "threadId", "reason"):
        if event.get(name) is not None:
            shown[name] = event[name]
    return shown


def note(name: str, at_ms: int, value: dict[str, Any]) -> dict[str, Any]:
    """The event of a life note: a CUSTOM event, legal for every AG-UI client."""
    return {"type": "CUSTOM", "name": name, "value": value, "timestamp": at_ms}


def lane_of(event: dict[str, Any]) -> Lane:
    kind = event["type"]
    if kind in _ALWAYS_FLOW:
        return "flow"
    if kind in _LIFE:
        return "life"
    if kind.startswith("ask."):
        return "ask"
    return "life" if kind == "CUSTOM" and event.get("name") in _NOTES else "flow"


def encode(seq: int, event: dict[str, Any]) -> bytes:
    """The stored frame of an entry. Asks and unknown types travel under an SSE event name of their own,
    so that a client of AG-UI, which reads unnamed events, is never handed a type it must refuse."""
    kind = event["type"]
    if kind in KNOWN:
        return sse.frame(seq, orjson.dumps(event))
    return sse.frame(seq, orjson.dumps(event), "ask" if kind.startswith("ask.") else "unknown")


def decode(body: bytes) -> list[Entry]:
    """The entries of a stored body, in order."""
    return [Entry(found.seq or 0, orjson.loads(found.data)) for found in sse.split(body)]
