"""An entry of the log, who asked for it, and how both look as bytes.

Lanes: `ask` is what someone wants, `life` what became of it, `flow` what the agent says. An entry's lane follows
from its type alone. Every entry carries `timestamp`, integer milliseconds since the epoch, UTC.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from . import sse
from .events import KNOWN
from .subjects import Lane

ASK_START = "ask.start"
ASK_RESUME = "ask.resume"
ASK_CANCEL = "ask.cancel"
ASK_EXPIRE = "ask.expire"

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


SCOPES = ("runs:read", "runs:start", "runs:resume", "runs:cancel", "triggers:write", "admin")
"""What a credential may allow; `admin` allows all of it."""


@dataclass(frozen=True, slots=True)
class Caller(Principal):
    """A principal with what its credential allows: scopes, and one run alone if `run` names one. `credential` is the
    id of the key behind it, empty in development. What is recorded of it is the principal."""

    scopes: frozenset[str] = frozenset()
    run: str | None = None
    credential: str = ""

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class Entry(NamedTuple):
    """Entry `seq` (1..n, dense per run) of a log. `event` is the stored JSON as received."""

    seq: int
    event: dict[str, Any]


def ask(kind: str, by: Principal, face: str, at_ms: int, **fields: Any) -> dict[str, Any]:
    """The event of an ask entry: who, through which face, when, and what."""
    told = {"tenant": by.tenant, "id": by.id, "kind": by.kind, "name": by.name}
    return {"type": kind, "timestamp": at_ms, "by": told, "face": face, **fields}


def public(event: dict[str, Any]) -> dict[str, Any]:
    """An ask as any reader of the run may see it: who, through which face, when; not what was sent with it."""
    by = event["by"]
    shown = {"type": event["type"], "timestamp": event["timestamp"], "face": event["face"]}
    shown["by"] = {"id": by["id"], "kind": by["kind"], "name": by["name"]}
    for name in ("agent", "runId", "threadId", "legId", "requester", "outcome", "reason"):
        if event.get(name) is not None:
            shown[name] = event[name]
    if "answers" in event:
        shown["answers"] = [{name: answer[name] for name in _SHOWN_OF_AN_ANSWER} for answer in event["answers"]]
    return shown


_SHOWN_OF_AN_ANSWER = ("interruptId", "gate", "status", "decision")


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
