"""What a webhook of `/v1` is told of a run: one message for each entry of its life that is of interest outside."""

from typing import Any

from . import middesk
from .run import ends_as
from .run_object import rfc3339, run_object
from .state import RunState

EVENTS = ("run.started", "run.waiting", "run.completed", "run.failed", "run.cancelled")
FORMATS = ("hocket", "middesk")
"""In whose words a webhook is told; which of EVENTS it is told is said in hocket's."""


def possible(event: dict[str, Any]) -> str | None:
    """Which of EVENTS an entry of a run's life may be told as, as far as it alone says; None for none."""
    ended = ends_as(event)
    if ended is not None:
        return f"run.{ended.value}"
    return "run.started" if event["type"] == "RUN_STARTED" else None


def told(state: RunState, event: dict[str, Any]) -> dict[str, Any] | None:
    """The message of a run that stands right after `event`: `type` (one of EVENTS), `timestamp` (RFC 3339, when that
    was recorded) and `data`, the run object as it was then. None for what is not told, such as another attempt."""
    kind = possible(event)
    # a run that is cancelled in the queue is given a leg to end in; it has never started
    if kind is None or (kind == "run.started" and (len(state.legs) != 1 or state.terminal)):
        return None
    return {"type": kind, "timestamp": rfc3339(event["timestamp"]), "data": run_object(state)}


def in_format(name: str, message: dict[str, Any], state: RunState, event: dict[str, Any]) -> dict[str, Any]:
    """What `told` has made of an event, in another of FORMATS."""
    return middesk.told(message["type"], state, event) if name == "middesk" else message


def ping(name: str, message_id: str, webhook_id: str, at_ms: int) -> dict[str, Any]:
    """A message that tells of no run."""
    if name == "middesk":
        return middesk.ping(message_id, at_ms)
    return {"type": "ping", "timestamp": rfc3339(at_ms), "data": {"webhook_id": webhook_id}}


def cut(message: dict[str, Any]) -> dict[str, Any]:
    """The same without what an agent or a client may have made long; `data.truncated` says so where there is room for
    it."""
    if "object" in message:
        return middesk.cut(message)
    bare: dict[str, Any] = {"result": None, "metadata": {}, "interrupts": [], "decisions": [], "truncated": True}
    return message | {"data": message["data"] | bare}
