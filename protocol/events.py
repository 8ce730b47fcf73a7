"""AG-UI 1.0 event types by name, and the fields each needs (reference: docs.ag-ui.com, events).

Events are plain JSON objects kept as received. A type that is not listed here survives: it is stored, folded
into nothing and passed on.
"""

from typing import Any

from .errors import IllegalEvent

Kinds = dict[str, type | tuple[type, ...]]
"""The JSON type, or types, of each field by name."""

_TEXT: Kinds = {"messageId": str}
_CALL: Kinds = {"toolCallId": str}
_RUN: Kinds = {"threadId": str, "runId": str}
_STEP: Kinds = {"stepName": str}

FIELDS: dict[str, Kinds] = {
    "RUN_STARTED": _RUN,
    "RUN_FINISHED": _RUN,
    "RUN_ERROR": {"message": str},
    "STEP_STARTED": _STEP,
    "STEP_FINISHED": _STEP,
    "TEXT_MESSAGE_START": _TEXT,
    "TEXT_MESSAGE_CONTENT": {**_TEXT, "delta": str},
    "TEXT_MESSAGE_END": _TEXT,
    "TEXT_MESSAGE_CHUNK": {},
    "TOOL_CALL_START": {**_CALL, "toolCallName": str},
    "TOOL_CALL_ARGS": {**_CALL, "delta": str},
    "TOOL_CALL_END": _CALL,
    "TOOL_CALL_CHUNK": {},
    "TOOL_CALL_RESULT": {**_TEXT, **_CALL, "content": (str, list)},
    "STATE_SNAPSHOT": {"snapshot": object},
    "STATE_DELTA": {"delta": list},
    "MESSAGES_SNAPSHOT": {"messages": list},
    "ACTIVITY_SNAPSHOT": {**_TEXT, "activityType": str, "content": dict},
    "ACTIVITY_DELTA": {**_TEXT, "activityType": str, "patch": list},
    "RAW": {"event": object},
    "CUSTOM": {"name": str, "value": object},
    "REASONING_START": _TEXT,
    "REASONING_END": _TEXT,
    "REASONING_MESSAGE_START": {**_TEXT, "role": str},
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

_SET = (str, int, float, bool, list, dict)
_ANY: Kinds = {"timestamp": int, "metadata": dict, "subagentRunId": str, "rawEvent": _SET}
_OPTIONAL: dict[str, Kinds] = {
    "TEXT_MESSAGE_START": {"role": str, "name": str},
    "TOOL_CALL_START": {"parentMessageId": str},
    "TOOL_CALL_RESULT": {"role": str},
    "ACTIVITY_SNAPSHOT": {"replace": bool},
    "RAW": {"source": str},
    "SUBAGENT_STARTED": {
        "description": str,
        "parentSubagentRunId": str,
        "parentToolCallId": str,
        "parentMessageId": str,
    },
    "SUBAGENT_FINISHED": {"outcome": dict, "result": _SET},
    "SUBAGENT_ERROR": {"code": str},
}
_ONE_OF = {
    ("TEXT_MESSAGE_START", "role"): ("developer", "system", "assistant", "user"),
    ("TOOL_CALL_RESULT", "role"): ("tool",),
    ("REASONING_MESSAGE_START", "role"): ("reasoning",),
    ("REASONING_ENCRYPTED_VALUE", "subtype"): ("tool-call", "message"),
}
_EXPECTED: dict[str, Kinds] = {kind: _ANY | _OPTIONAL.get(kind, {}) | needed for kind, needed in FIELDS.items()}
_CHOSEN = frozenset(kind for kind, _ in _ONE_OF)
_SUCCESS = {"type": "success"}
_TIMESTAMP_MAX = 2**53 - 1


def check_shape(event: dict[str, Any]) -> None:
    """Raises IllegalEvent if a field that the type needs is absent, or one that AG-UI knows of another JSON type.

    An agent's slip is told to its author here, because one bad field is fatal to every attached client.
    """
    kind = event.get("type")
    if type(kind) is not str or not kind:
        raise IllegalEvent("event-type", "An event needs a field 'type' that names it")
    expected = _EXPECTED.get(kind)
    if expected is None:
        if kind.startswith("ask."):
            raise IllegalEvent("event-type", f"{kind} is not an event that an agent may say")
        return
    for name in FIELDS[kind]:
        if name not in event:
            raise IllegalEvent("event-fields", f"{kind} needs '{name}' as {_named(expected[name])}, and has nothing")
    for name, value in event.items():
        wanted = expected.get(name, object)
        if wanted is object or type(value) is wanted:
            continue
        if type(wanted) is tuple and type(value) in wanted:
            continue
        told = "null; leave the field out instead" if value is None else type(value).__name__
        raise IllegalEvent("event-fields", f"{kind} needs '{name}' as {_named(wanted)}, and has {told}")
    if kind in _CHOSEN:
        _check_choice(kind, event)
    if kind == "SUBAGENT_FINISHED" and event.get("outcome", _SUCCESS).get("type") not in ("success", "suspended"):
        raise IllegalEvent("event-fields", f"{kind} needs an outcome of type success or suspended")
    if abs(event.get("timestamp", 0)) > _TIMESTAMP_MAX:
        raise IllegalEvent("event-fields", f"{kind} needs 'timestamp' as milliseconds since the epoch")


def _check_choice(kind: str, event: dict[str, Any]) -> None:
    for (of, name), choice in _ONE_OF.items():
        if of == kind and event.get(name, choice[0]) not in choice:
            raise IllegalEvent("event-fields", f"{kind} needs '{name}' as one of: {', '.join(choice)}")


def check_patch(kind: str, patch: list[Any]) -> None:
    """Raises IllegalEvent for what is no RFC 6902 patch, whether or not it applies."""
    for step in patch:
        needed = _PATCH.get(str(step.get("op"))) if isinstance(step, dict) else None
        if needed is None or any(name not in step for name in needed):
            raise IllegalEvent("event-fields", f"{kind} needs RFC 6902 operations; one is {str(step)[:80]}")
        pointers = [step[name] for name in needed if name != "value"]
        if not all(type(one) is str and one[:1] in ("", "/") for one in pointers):
            raise IllegalEvent("event-fields", f"{kind} needs JSON pointers; an operation is {str(step)[:80]}")


_PATCH = {"add": ("path", "value"), "replace": ("path", "value"), "test": ("path", "value"), "remove": ("path",)}
_PATCH |= {"move": ("path", "from"), "copy": ("path", "from")}


def check_message(message: Any) -> None:
    """Raises IllegalEvent for a message of a MESSAGES_SNAPSHOT that a client could not hold."""
    if not isinstance(message, dict) or type(message.get("id")) is not str:
        raise IllegalEvent("event-fields", "MESSAGES_SNAPSHOT needs messages with an 'id' as text")
    role = message.get("role")
    needed = _MESSAGES.get(role) if isinstance(role, str) else None
    if needed is None:
        raise IllegalEvent("event-fields", f"MESSAGES_SNAPSHOT: message {message['id']!r} has no role of AG-UI")
    for name, wanted in (_ANY_MESSAGE | needed).items():
        if name not in message and name not in needed:
            continue
        if type(message.get(name)) not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            raise IllegalEvent(
                "event-fields", f"MESSAGES_SNAPSHOT: message {message['id']!r} needs '{name}' as {_named(wanted)}"
            )
    if not all(_is_call(call) for call in message.get("toolCalls", ())):
        raise IllegalEvent("event-fields", f"MESSAGES_SNAPSHOT: message {message['id']!r} has a malformed tool call")


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and call.get("type") == "function"
        and all(type(text) is str for text in (call.get("id"), function.get("name"), function.get("arguments")))
    )


_ANY_MESSAGE: Kinds = {"name": str, "metadata": dict, "subagentRunId": str, "encryptedValue": str, "error": str}
_ANY_MESSAGE |= {"toolCalls": list, "content": str}
_MESSAGES: dict[str, Kinds] = {
    "developer": {"content": str},
    "system": {"content": str},
    "user": {"content": (str, list)},
    "assistant": {},
    "tool": {"content": (str, list), "toolCallId": str},
    "reasoning": {"content": str},
    "activity": {"activityType": str, "content": dict},
}
_JSON = {str: "text", list: "a list", dict: "an object", object: "a value", int: "an integer", bool: "true or false"}


def _named(wanted: type | tuple[type, ...]) -> str:
    if wanted is _SET:
        return "a value"
    return " or ".join(_JSON[one] for one in (wanted if isinstance(wanted, tuple) else (wanted,)))
