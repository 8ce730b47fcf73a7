"""What may follow what in a leg, and which events are owed to close what is open.

The rules are the union of what `@ag-ui/client` 1.0.0 and 0.0.59 check, so a sequence that passes is legal for both
(reference: docs.ag-ui.com, events; AG-UI verify). Each has a name, which the refusal carries.
"""

from typing import Any

from . import depth
from .errors import IllegalEvent
from .events import check_message, check_patch, check_shape
from .flow import after_snapshot
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
_DELTAS = {kind: opened for kind, opened in _NEEDS.items() if kind.endswith(("_CONTENT", "_ARGS"))}
_CLOSER = {
    "text": ("TEXT_MESSAGE_END", "messageId"),
    "tool": ("TOOL_CALL_END", "toolCallId"),
    "reasoning": ("REASONING_END", "messageId"),
    "reasoning_message": ("REASONING_MESSAGE_END", "messageId"),
    "step": ("STEP_FINISHED", "stepName"),
}


def check(state: RunState, event: Event) -> None:
    """Raises IllegalEvent if `event` may not come next in the running leg of `state`."""
    kind = event.get("type")
    delta = _DELTAS.get(kind) if type(kind) is str else None
    if delta is not None and len(event) == 3:  # most of what is said: three fields and nothing else to look at
        part, name = delta
        part_id = event.get(name)
        if type(part_id) is str and type(event.get("delta")) is str and (part, part_id) in state.open:
            return
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
    elif part != "step":
        if not _owned_by(state, tag, "message" if part == "text" else "reasoning", part_id):
            raise IllegalEvent("owner", f"{kind} for {part} {part_id!r}, which is not the subagent's of its tag")


def _owned_by(state: RunState, tag: str | None, bucket: str, one: str) -> bool:
    """Whether a client that has seen it all and one that has seen the transcript both hold it to be `tag`'s."""
    held = state.messages.get(one)
    if held is not None and held.rest.get("subagentRunId") != tag:
        return False
    return state.owners.get(f"{bucket} {one}", tag) == tag


def _check_call_owner(state: RunState, event: Event, call_id: str, tag: str | None) -> None:
    """A call is its message's: what is named, known and tagged must be one subagent's, or the agent's."""
    holder, parent = state.messages.owner(call_id), state.messages.get(event.get("parentMessageId", ""))
    owners = {message.rest.get("subagentRunId") for message in (holder, parent) if message is not None}
    recorded = (f"tool {call_id}", f"message {event.get('parentMessageId')}")
    owners |= {state.owners[one] for one in recorded if one in state.owners}
    apart = holder is None and (parent is None or parent.role != "assistant")  # it will have a message of its own
    if tag is not None or apart:
        owners.add(tag)
    if len(owners) > 1:
        raise IllegalEvent("owner", f"TOOL_CALL_START for tool {call_id!r}, whose message is another subagent's")


def _check_state_delta(state: RunState, event: Event) -> None:
    check_patch("STATE_DELTA", event["delta"])
    try:
        after = patched(state.state, event["delta"])
    except (ValueError, TypeError) as bad:
        raise IllegalEvent("state-patch", f"STATE_DELTA: {bad}") from bad
    _check_depth("STATE_DELTA", after)


def _check_activity_delta(state: RunState, event: Event) -> None:
    check_patch("ACTIVITY_DELTA", event["patch"])
    held, tag = state.messages.get(event["messageId"]), event.get("subagentRunId")
    if tag is not None and not _owned_by(state, tag, "activity", event["messageId"]):
        raise IllegalEvent("owner", f"ACTIVITY_DELTA for {event['messageId']!r} is tagged with another subagent")
    if held is None or held.role != "activity":
        return
    try:
        content = patched(held.rest.get("content", {}), event["patch"])
    except (ValueError, TypeError) as bad:
        raise IllegalEvent("activity-patch", f"ACTIVITY_DELTA: {bad}") from bad
    if not isinstance(content, dict):
        raise IllegalEvent("activity-patch", f"ACTIVITY_DELTA leaves {held.id!r} with a content that is no object")
    _check_depth("ACTIVITY_DELTA", content)


def _check_depth(kind: str, after: Any) -> None:
    """Patch by patch something can grow deep."""
    if depth.is_deeper(after, depth.SAID):
        raise IllegalEvent("event-depth", f"{kind} leaves what is nested deeper than {depth.SAID} levels")


def _check_encrypted(state: RunState, event: Event) -> None:
    entity, tag = event["entityId"], event.get("subagentRunId")
    if tag is None:
        return
    if event["subtype"] == "tool-call":
        holder = state.messages.owner(entity)
        fits = state.owners.get(f"tool {entity}", tag) == tag
        fits = fits and (holder is None or holder.rest.get("subagentRunId") == tag)
    else:
        fits = _owned_by(state, tag, "message", entity) and _owned_by(state, tag, "reasoning", entity)
    if not fits:
        raise IllegalEvent("owner", f"REASONING_ENCRYPTED_VALUE for {event['entityId']!r} has another subagent's tag")


def _check_snapshot(state: RunState, event: Event) -> None:
    for message in event["messages"]:
        check_message(message)
    named = [call["id"] for message in event["messages"] for call in message.get("toolCalls", ())]
    if len(set(named)) < len(named):
        raise IllegalEvent("event-fields", "MESSAGES_SNAPSHOT names one tool call twice")
    if not state.open:
        return
    told = after_snapshot(state, event)
    ids = {message.id for message in told}
    calls = {call.id for message in told for call in message.calls}
    for part in state.open.values():
        if part.id not in (calls if part.kind == "tool" else ids) and part.kind in _BUILDERS:
            raise IllegalEvent("snapshot-drops", f"MESSAGES_SNAPSHOT leaves out {part.kind} {part.id!r}, which is open")


_BUILDERS = ("text", "tool", "reasoning_message")


def _check_activity_snapshot(state: RunState, event: Event) -> None:
    held = state.messages.get(event["messageId"])
    if held is not None and any(("tool", call.id) in state.open for call in held.calls) and event.get("replace", True):
        raise IllegalEvent("snapshot-drops", f"ACTIVITY_SNAPSHOT replaces {held.id!r}, which holds an open call")


def _check_custom(state: RunState, event: Event) -> None:
    if event["name"].startswith(RESERVED):
        raise IllegalEvent("reserved-name", f"CUSTOM events named {RESERVED}* are not an agent's to say")


RESERVED = "hocket."
_MORE = {
    "STATE_DELTA": _check_state_delta,
    "ACTIVITY_DELTA": _check_activity_delta,
    "ACTIVITY_SNAPSHOT": _check_activity_snapshot,
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
    """A result for each call of this attempt, or of a question of the run, that nobody will answer any more: model
    providers refuse a history with a call that has none. Calls of tools that the client brought are the client's."""
    answered = {message.rest.get("toolCallId") for message in state.messages}
    brought = {tool.get("name") for tool in state.input.get("tools") or ()}
    said, gated = set(state.said), {gate.interrupt.get("toolCallId") for gate in state.gates}
    calls = [call for message in state.messages for call in message.calls if message.id in said or call.id in gated]
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
