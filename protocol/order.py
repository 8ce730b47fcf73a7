"""What may follow what in a leg, and which events are owed to close what is open.

The rules are the union of what `@ag-ui/client` 1.0.0 and 0.0.59 check, so a sequence that passes is legal for both
(reference: docs.ag-ui.com, events; AG-UI verify). Each has a name, which the refusal carries.
"""

from typing import Any

import orjson

from .errors import IllegalEvent
from .events import check_message, check_patch, check_shape
from .messages import patched
from .state import OpenPart, RunState, step_id

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
        _check_open(state, event, needs[0], event[needs[1]])
        return
    opens = _OPENS.get(kind)
    if opens is not None:
        _check_opening(state, event, opens[0], event[opens[1]])
        return
    more = _MORE.get(kind)
    if more is not None:
        more(state, event)


def _check_open(state: RunState, event: Event, part: str, part_id: str) -> None:
    kind, tag = event["type"], event.get("subagentRunId")
    if part == "step":
        _check_step_open(state, part_id, tag)
        return
    held = state.open.get((part, part_id))
    if held is None:
        raise IllegalEvent("not-open", f"{kind} for {part} {part_id!r}, which is not open")
    if tag is not None and tag != held.owner and part != "subagent":
        raise IllegalEvent("owner", f"{kind} for {part} {part_id!r} is tagged with another subagent")


def _check_step_open(state: RunState, name: str, owner: str | None) -> None:
    if ("step", step_id(name, owner)) in state.open:
        return
    if any(part.kind == "step" and part.id == name for part in state.open.values()):
        raise IllegalEvent("owner", f"STEP_FINISHED for step {name!r}, which another subagent or the agent has open")
    raise IllegalEvent("not-open", f"STEP_FINISHED for step {name!r}, which is not open")


def _check_opening(state: RunState, event: Event, part: str, part_id: str) -> None:
    kind, tag = event["type"], event.get("subagentRunId")
    place = (part, part_id if part != "step" else step_id(part_id, tag))
    if place in state.open:
        raise IllegalEvent("already-open", f"{kind} for {part} {part_id!r}, which is open already")
    if part == "subagent":
        if part_id in state.closed_subagents:
            raise IllegalEvent("subagent-closed", f"{kind} for subagent {part_id!r}, which has ended")
        parent = event.get("parentSubagentRunId")
        if parent is not None and ("subagent", parent) not in state.open:
            raise IllegalEvent("subagent-parent", f"{kind} names parent {parent!r}, which is not active")
    elif part == "tool":
        _check_call_owner(state, event, part_id, tag)
    elif part != "step" and tag is not None:
        held = state.messages.get(part_id)
        owners = [] if held is None else [held.rest.get("subagentRunId")]
        if part != "text":
            spans = [state.open.get(("reasoning", part_id)), state.open.get(("reasoning_message", part_id))]
            owners += [span.owner for span in spans if span is not None]
        if any(owner != tag for owner in owners):
            raise IllegalEvent("owner", f"{kind} for {part} {part_id!r}, which is not the subagent's of its tag")


def _check_call_owner(state: RunState, event: Event, call_id: str, tag: str | None) -> None:
    """A call is its message's: what is named, known and tagged must be one subagent's, or the agent's."""
    holder, parent = state.messages.owner(call_id), state.messages.get(event.get("parentMessageId", ""))
    owners = {message.rest.get("subagentRunId") for message in (holder, parent) if message is not None}
    if len(owners | ({tag} if tag is not None else set())) > 1:
        raise IllegalEvent("owner", f"TOOL_CALL_START for tool {call_id!r}, whose message is another subagent's")


def _check_state_delta(state: RunState, event: Event) -> None:
    check_patch("STATE_DELTA", event["delta"])
    try:
        orjson.dumps(patched(state.state, event["delta"]))  # patch by patch a state can grow deeper than JSON goes
    except (ValueError, TypeError) as bad:
        raise IllegalEvent("state-patch", f"STATE_DELTA: {bad}") from bad


def _check_activity_delta(state: RunState, event: Event) -> None:
    check_patch("ACTIVITY_DELTA", event["patch"])
    held = state.messages.get(event["messageId"])
    if held is None or held.role != "activity":
        return
    if event.get("subagentRunId") not in (None, held.rest.get("subagentRunId")):
        raise IllegalEvent("owner", f"ACTIVITY_DELTA for {held.id!r} is tagged with another subagent")
    try:
        orjson.dumps(patched(held.rest.get("content", {}), event["patch"]))
    except (ValueError, TypeError) as bad:
        raise IllegalEvent("activity-patch", f"ACTIVITY_DELTA: {bad}") from bad


def _check_encrypted(state: RunState, event: Event) -> None:
    of_call = event["subtype"] == "tool-call"
    held = state.messages.owner(event["entityId"]) if of_call else state.messages.get(event["entityId"])
    if held is not None and event.get("subagentRunId") not in (None, held.rest.get("subagentRunId")):
        raise IllegalEvent("owner", f"REASONING_ENCRYPTED_VALUE for {event['entityId']!r} has another subagent's tag")


def _check_snapshot(state: RunState, event: Event) -> None:
    for message in event["messages"]:
        check_message(message)


def _check_custom(state: RunState, event: Event) -> None:
    if event["name"].startswith(RESERVED):
        raise IllegalEvent("reserved-name", f"CUSTOM events named {RESERVED}* are not an agent's to say")


RESERVED = "hocket."
_MORE = {
    "STATE_DELTA": _check_state_delta,
    "ACTIVITY_DELTA": _check_activity_delta,
    "REASONING_ENCRYPTED_VALUE": _check_encrypted,
    "MESSAGES_SNAPSHOT": _check_snapshot,
    "CUSTOM": _check_custom,
}


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
