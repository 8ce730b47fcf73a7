"""What may follow what in a leg, and which events are owed to close what is open.

The rules are the union of what `@ag-ui/client` 1.0.0 and 0.0.59 check, so a sequence that passes is legal for both
(reference: docs.ag-ui.com, events; AG-UI verify). Each has a name, which the refusal carries.
"""

from typing import Any

from .errors import IllegalEvent
from .events import check_shape
from .messages import patched
from .state import OpenPart, RunState

Event = dict[str, Any]

_OPENS = {
    "TEXT_MESSAGE_START": ("text", "messageId"),
    "TOOL_CALL_START": ("tool", "toolCallId"),
    "REASONING_START": ("reasoning", "messageId"),
    "REASONING_MESSAGE_START": ("reasoning_message", "messageId"),
    "STEP_STARTED": ("step", "stepName"),
    "SUBAGENT_STARTED": ("subagent", "subagentRunId"),
}
_NEEDS = {
    "TEXT_MESSAGE_CONTENT": ("text", "messageId"),
    "TEXT_MESSAGE_END": ("text", "messageId"),
    "TOOL_CALL_ARGS": ("tool", "toolCallId"),
    "TOOL_CALL_END": ("tool", "toolCallId"),
    "REASONING_MESSAGE_CONTENT": ("reasoning_message", "messageId"),
    "REASONING_MESSAGE_END": ("reasoning_message", "messageId"),
    "REASONING_END": ("reasoning", "messageId"),
    "STEP_FINISHED": ("step", "stepName"),
    "SUBAGENT_FINISHED": ("subagent", "subagentRunId"),
    "SUBAGENT_ERROR": ("subagent", "subagentRunId"),
}
_CLOSER = {
    "text": ("TEXT_MESSAGE_END", "messageId"),
    "tool": ("TOOL_CALL_END", "toolCallId"),
    "reasoning": ("REASONING_END", "messageId"),
    "reasoning_message": ("REASONING_MESSAGE_END", "messageId"),
    "step": ("STEP_FINISHED", "stepName"),
}


def check(state: RunState, event: Event) -> None:
    """Raises IllegalEvent if `event` may not come next in the running leg of `state`."""
    check_shape(event)
    kind = event["type"]
    needs = _NEEDS.get(kind)
    if needs is not None:
        part = state.open.get((needs[0], event[needs[1]]))
        if part is None:
            raise IllegalEvent("not-open", f"{kind} for {needs[0]} {event[needs[1]]!r}, which is not open")
        if kind[:8] != "SUBAGENT" and event.get("subagentRunId", part.owner) != part.owner:
            raise IllegalEvent("owner", f"{kind} for {needs[0]} {part.id!r} is tagged with another subagent")
        return
    opens = _OPENS.get(kind)
    if opens is not None:
        _check_opening(state, event, opens[0], event[opens[1]])
    elif kind == "STATE_DELTA":
        try:
            patched(state.state, event["delta"])
        except ValueError as bad:
            raise IllegalEvent("state-patch", f"STATE_DELTA: {bad}") from bad
    elif kind == "MESSAGES_SNAPSHOT":
        for message in event["messages"]:
            if not isinstance(message, dict) or not isinstance(message.get("id"), str) or "role" not in message:
                raise IllegalEvent("event-fields", "MESSAGES_SNAPSHOT needs messages with 'id' and 'role'")


def _check_opening(state: RunState, event: Event, part: str, part_id: str) -> None:
    kind = event["type"]
    if (part, part_id) in state.open:
        raise IllegalEvent("already-open", f"{kind} for {part} {part_id!r}, which is open already")
    if kind == "SUBAGENT_STARTED":
        if part_id in state.closed_subagents:
            raise IllegalEvent("subagent-closed", f"{kind} for subagent {part_id!r}, which has ended")
        parent = event.get("parentSubagentRunId")
        if parent is not None and ("subagent", parent) not in state.open:
            raise IllegalEvent("subagent-parent", f"{kind} names parent {parent!r}, which is not active")
    if kind == "REASONING_MESSAGE_START" and event.get("role") != "reasoning":
        raise IllegalEvent("event-fields", f"{kind} needs 'role': \"reasoning\"")


def close(part: OpenPart, at_ms: int, metadata: Event | None = None) -> Event:
    """The event that closes an open part. A subagent that was cut off ends as an error."""
    owner = {"subagentRunId": part.owner} if part.owner is not None else {}
    if part.kind == "subagent":
        event: Event = {"type": "SUBAGENT_ERROR", "subagentRunId": part.id, "message": "The run ended first."}
    else:
        kind, name = _CLOSER[part.kind]
        event = {"type": kind, name: part.id, **owner}
    event["timestamp"] = at_ms
    if metadata is not None and part.kind not in ("subagent", "step"):
        event["metadata"] = metadata
    return event


def closers(state: RunState, at_ms: int, metadata: Event | None = None) -> list[Event]:
    """The events owed before the leg may end: last opened, first closed."""
    return [close(part, at_ms, metadata) for part in reversed(state.open.values())]


def unanswered(state: RunState, at_ms: int) -> list[Event]:
    """A result for each call of this attempt that nobody will answer any more: model providers refuse a history
    with a call that has none. Calls of tools that the client brought are the client's to answer."""
    answered = {message.rest.get("toolCallId") for message in state.messages}
    brought = {tool.get("name") for tool in state.input.get("tools") or ()}
    said = set(state.said)
    calls = [call for message in state.messages if message.id in said for call in message.calls]
    return [
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{call.id}-result",
            "toolCallId": call.id,
            "role": "tool",
            "content": '{"status":"stopped","reason":"cancelled"}',
            "timestamp": at_ms,
        }
        for call in calls
        if call.id not in answered and call.name not in brought
    ]
