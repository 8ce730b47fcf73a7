"""A task as a webhook of A2A 0.3 is told it: 0.3 sends the task itself, in words of its own (A2A 0.3.0, 9.5)."""

from typing import Any

from . import a2a
from .state import RunState

Wire = dict[str, Any]


def pushed(state: RunState, event: Wire, whole: bool = True) -> Wire | None:
    """What `a2a.pushed` tells, as a task of 0.3."""
    told = a2a.pushed(state, event, whole)
    if told is None:
        return None
    return _task(a2a.task(state, 0, artifacts=False) if "statusUpdate" in told else told["task"])


def _task(task: Wire) -> Wire:
    told = task | {"kind": "task", "status": _status(task["status"])}
    for name, form in (("artifacts", _artifact), ("history", _message)):
        if name in task:
            told[name] = [form(one) for one in task[name]]
    return told


def _status(status: Wire) -> Wire:
    told = status | {"state": status["state"].removeprefix("TASK_STATE_").lower().replace("_", "-")}
    return told | ({"message": _message(status["message"])} if "message" in status else {})


def _message(message: Wire) -> Wire:
    role = message["role"].removeprefix("ROLE_").lower()
    return message | {"kind": "message", "role": role, "parts": [_part(one) for one in message["parts"]]}


def _artifact(artifact: Wire) -> Wire:
    return artifact | {"parts": [_part(one) for one in artifact["parts"]]}


def _part(part: Wire) -> Wire:
    more = {"metadata": part["metadata"]} if part.get("metadata") else {}
    if "text" in part:
        return {"kind": "text", "text": part["text"]} | more
    if "data" in part:
        data = part["data"] if isinstance(part["data"], dict) else {"value": part["data"]}
        return {"kind": "data", "data": data} | more
    file = {"bytes": part["raw"]} if "raw" in part else {"uri": part["url"]}
    named = {theirs: part[ours] for ours, theirs in (("mediaType", "mimeType"), ("filename", "name")) if part.get(ours)}
    return {"kind": "file", "file": file | named} | more
