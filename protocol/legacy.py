"""An event as a client of AG-UI 0.0.x takes it: what is fatal to one is told in a form that it knows, or left out.

Measured against `@ag-ui/client` 0.0.59. A type that it does not know, an outcome with more than its type, content
parts as a tool's result and files by reference each end its run; a cancel is told as RUN_ERROR with code `abort`. It
sends no answer at all to an interrupt whose time it takes to be over, so it is not told of that time.
"""

from typing import Any

import orjson

from .events import KNOWN

Event = dict[str, Any]

STRANGE = (b"\nevent: unknown\n", b'"type":"TOOL_CALL_RESULT"', b'"type":"MESSAGES_SNAPSHOT"')
"""One of these is in a stored body of the flow lane that may need `legacy`."""


def legacy(event: Event) -> Event | None:
    """The event for a client before 1.0, None if there is no form of it that such a client knows."""
    kind = event["type"]
    if kind not in KNOWN:
        return None
    if kind == "RUN_FINISHED":
        return _finished(event)
    if kind == "TOOL_CALL_RESULT":
        return _result(event)
    if kind == "MESSAGES_SNAPSHOT":
        return {**event, "messages": [_message(message) for message in event["messages"]]}
    return event


def _finished(event: Event) -> Event:
    outcome = event.get("outcome")
    if outcome is None:
        return event
    if outcome["type"] == "cancelled":
        error = {"type": "RUN_ERROR", "message": "The run was stopped.", "code": "abort"}
        return error | {key: event[key] for key in ("timestamp",) if key in event}
    if outcome["type"] == "interrupt":
        asked = [{key: value for key, value in one.items() if key != "expiresAt"} for one in outcome["interrupts"]]
        return {**event, "outcome": {"type": "interrupt", "interrupts": asked}}
    return {key: value for key, value in event.items() if key != "outcome"}


def _result(told: Event) -> Event:
    content = told.get("content")
    return told if isinstance(content, str) else {**told, "content": _text(content)}


def _message(message: Event) -> Event:
    if message.get("role") == "tool":
        return _result(message)
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [_part(part) for part in content]}


def _part(part: Any) -> Any:
    source = part.get("source") if isinstance(part, dict) else None
    if not isinstance(source, dict) or source.get("type") != "file":
        return part
    return {"type": "text", "text": f"[{part.get('type')}: {source.get('value')}]"}


def _text(content: Any) -> str:
    """The text of content parts, or the JSON of what has none."""
    parts = content if isinstance(content, list) else []
    if parts and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        return "".join(part["text"] for part in parts)
    return orjson.dumps(content).decode()
