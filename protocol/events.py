"""AG-UI 1.0 event types by name, and the fields each needs (reference: docs.ag-ui.com, events).

Events are plain JSON objects kept as received. A type that is not listed here survives: it is stored, folded
into nothing and passed on.
"""

from typing import Any

from .errors import IllegalEvent

_TEXT = {"messageId": str}
_CALL = {"toolCallId": str}
_RUN = {"threadId": str, "runId": str}

FIELDS: dict[str, dict[str, type]] = {
    "RUN_STARTED": _RUN,
    "RUN_FINISHED": _RUN,
    "RUN_ERROR": {"message": str},
    "STEP_STARTED": {"stepName": str},
    "STEP_FINISHED": {"stepName": str},
    "TEXT_MESSAGE_START": _TEXT,
    "TEXT_MESSAGE_CONTENT": {**_TEXT, "delta": str},
    "TEXT_MESSAGE_END": _TEXT,
    "TEXT_MESSAGE_CHUNK": {},
    "TOOL_CALL_START": {**_CALL, "toolCallName": str},
    "TOOL_CALL_ARGS": {**_CALL, "delta": str},
    "TOOL_CALL_END": _CALL,
    "TOOL_CALL_CHUNK": {},
    "TOOL_CALL_RESULT": {**_TEXT, **_CALL, "content": object},
    "STATE_SNAPSHOT": {"snapshot": object},
    "STATE_DELTA": {"delta": list},
    "MESSAGES_SNAPSHOT": {"messages": list},
    "ACTIVITY_SNAPSHOT": {**_TEXT, "activityType": str, "content": dict},
    "ACTIVITY_DELTA": {**_TEXT, "activityType": str, "patch": list},
    "RAW": {"event": object},
    "CUSTOM": {"name": str, "value": object},
    "REASONING_START": _TEXT,
    "REASONING_END": _TEXT,
    "REASONING_MESSAGE_START": _TEXT,
    "REASONING_MESSAGE_CONTENT": {**_TEXT, "delta": str},
    "REASONING_MESSAGE_END": _TEXT,
    "REASONING_MESSAGE_CHUNK": {},
    "REASONING_ENCRYPTED_VALUE": {"subtype": str, "entityId": str, "encryptedValue": str},
    "SUBAGENT_STARTED": {"subagentRunId": str, "name": str},
    "SUBAGENT_FINISHED": {"subagentRunId": str},
    "SUBAGENT_ERROR": {"subagentRunId": str, "message": str},
}
KNOWN = frozenset(FIELDS)
PROTOCOL_VERSION = "1.0"

_NEVER_NULL = ("timestamp", "subagentRunId", "role", "parentMessageId", "name")


def check_shape(event: dict[str, Any]) -> None:
    """Raises IllegalEvent if a field that the type needs is absent or of another JSON type.

    An agent's slip is told to its author here, because one bad field is fatal to every attached client.
    """
    kind = event.get("type")
    if type(kind) is not str or not kind:
        raise IllegalEvent("event-type", "An event needs a field 'type' that names it")
    if kind.startswith("ask."):
        raise IllegalEvent("event-type", f"{kind} is not an event that an agent may say")
    for name, expected in FIELDS.get(kind, {}).items():
        value = event.get(name, _ABSENT)
        if value is _ABSENT or (expected is not object and not isinstance(value, expected)):
            given = "nothing" if value is _ABSENT else type(value).__name__
            raise IllegalEvent("event-fields", f"{kind} needs '{name}' as {_JSON[expected]}, and has {given}")
    if kind in KNOWN:
        for name in _NEVER_NULL:
            if name in event and event[name] is None:
                raise IllegalEvent("event-fields", f"{kind} has '{name}': null; leave the field out instead")
        if "timestamp" in event and type(event["timestamp"]) is not int:
            raise IllegalEvent("event-fields", f"{kind} needs 'timestamp' as integer milliseconds")


_ABSENT = object()
_JSON = {str: "text", list: "a list", dict: "an object", object: "a value"}
