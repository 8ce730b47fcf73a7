"""What each event that an agent says changes in a run: its messages, state, steps and open parts.

The rules are those by which `@ag-ui/client` 1.0.0 applies the same events, so a poll and a stream agree.
"""

from collections.abc import Callable, Iterable
from typing import Any

from .messages import Message, from_wire, merge_metadata, patched
from .state import OpenPart, RunState, Step, step_id

Event = dict[str, Any]


def _open(state: RunState, kind: str, part_id: str, event: Event) -> None:
    part = OpenPart(kind, part_id, event.get("subagentRunId"), event)
    state.open[part.key] = part


def _own(state: RunState, bucket: str, one: str, tag: str | None) -> None:
    state.owners.setdefault(f"{bucket} {one}", tag)


def _made_by(event: Event) -> Event:
    return {"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {}


def _start_message(state: RunState, event: Event, role: str, made: Event) -> None:
    message_id = event["messageId"]
    message = state.messages.get(message_id)
    if message is None:
        message = state.messages.append(Message(message_id, role, [""], rest=made))
        state.said.append(message_id)
    elif message.role == "activity":
        return
    merge_metadata(message.rest, event)


def _text_start(state: RunState, event: Event) -> None:
    _open(state, "text", event["messageId"], event)
    _own(state, "message", event["messageId"], event.get("subagentRunId"))
    name = {"name": event["name"]} if "name" in event else {}
    held = state.messages.get(event["messageId"])
    fresh = (held is None or held.text is None) and event.get("role", "assistant") == "assistant"
    if fresh and "hocket" not in event.get("metadata", ()):
        state.begin(f"message {event['messageId']}", event)
    _start_message(state, event, event.get("role", "assistant"), name | _made_by(event))


def _reasoning_message_start(state: RunState, event: Event) -> None:
    _open(state, "reasoning_message", event["messageId"], event)
    _own(state, "reasoning", event["messageId"], event.get("subagentRunId"))
    _start_message(state, event, "reasoning", _made_by(event))


def _content(state: RunState, event: Event) -> None:
    message = state.messages.get(event["messageId"])
    if message is None or message.role == "activity":
        return
    if message.text is None:
        message.rest.pop("content", None)
        message.text = []
    message.text.append(event["delta"])
    if "metadata" in event:
        merge_metadata(message.rest, event)


def _message_end(kind: str) -> Callable[[RunState, Event], None]:
    def end(state: RunState, event: Event) -> None:
        state.open.pop((kind, event["messageId"]), None)
        message = state.messages.get(event["messageId"])
        if message is not None and message.role != "activity":
            merge_metadata(message.rest, event)

    return end


def _reasoning_start(state: RunState, event: Event) -> None:
    _open(state, "reasoning", event["messageId"], event)
    _own(state, "reasoning", event["messageId"], event.get("subagentRunId"))


def _reasoning_end(state: RunState, event: Event) -> None:
    state.open.pop(("reasoning", event["messageId"]), None)


def _tool_start(state: RunState, event: Event) -> None:
    call_id, messages = event["toolCallId"], state.messages
    before = len(messages)
    call = messages.call(call_id)
    if call is None:
        state.begin(f"call {call_id}", event)
        call = messages.open_call(call_id, event["toolCallName"], event.get("parentMessageId"))
    call.name = event["toolCallName"]
    holder = messages.owner(call_id)
    assert holder is not None
    if len(messages) > before:
        holder.rest.update(_made_by(event))
        state.said.append(holder.id)
    owner, parent_owner = holder.rest.get("subagentRunId"), state.owners.get(f"message {event.get('parentMessageId')}")
    if (owner or parent_owner) and holder.id not in state.said:  # of an earlier leg, whose owners clients forget
        owner = parent_owner = None
        state.owners.pop(f"tool {call_id}", None)
    state.open["tool", call_id] = OpenPart("tool", call_id, event.get("subagentRunId", owner), event)
    _own(state, "tool", call_id, event.get("subagentRunId", parent_owner))
    merge_metadata(call.rest, event)


def _tool_args(state: RunState, event: Event) -> None:
    call = state.messages.call(event["toolCallId"])
    if call is not None:
        call.args.append(event["delta"])
        if "metadata" in event:
            merge_metadata(call.rest, event)


def _tool_end(state: RunState, event: Event) -> None:
    state.open.pop(("tool", event["toolCallId"]), None)
    if "hocket" not in event.get("metadata", ()):
        state.begun.setdefault(f"ended {event['toolCallId']}", state.seq)
    call = state.messages.call(event["toolCallId"])
    if call is not None:
        merge_metadata(call.rest, event)


def _tool_result(state: RunState, event: Event) -> None:
    rest = {"toolCallId": event["toolCallId"], **_made_by(event)}
    content = event["content"]
    if not isinstance(content, str):
        rest["content"] = content
    message = Message(event["messageId"], event.get("role") or "tool", rest=rest)
    message.text = [content] if isinstance(content, str) else None
    merge_metadata(message.rest, event)
    state.messages.add_result(message, event["toolCallId"])
    state.owners[f"message {message.id}"] = event.get("subagentRunId")
    if f"result {event['toolCallId']}" not in state.begun:
        state.begin(f"result {event['toolCallId']}", event)
    _settle_owners(state)
    state.said.append(message.id)


def _state_snapshot(state: RunState, event: Event) -> None:
    state.state = event["snapshot"]
    state.begun.setdefault("state", state.seq)


def _state_delta(state: RunState, event: Event) -> None:
    try:
        state.state = patched(state.state, event["delta"])
        state.begun.setdefault("state", state.seq)
    except ValueError:
        return  # as the client does: the run goes on with the state it had


def _messages_snapshot(state: RunState, event: Event) -> None:
    before = {held.id for held in state.messages}
    state.messages.replace(after_snapshot(state, event))
    fresh = [message for message in state.messages if message.id not in before]
    state.said += [message.id for message in fresh]
    state.begun |= {f"message {one.id}": state.seq for one in fresh if one.role == "assistant" and one.text is not None}
    own(state, (from_wire(message) for message in event["messages"]))
    _settle_owners(state)


def own(state: RunState, messages: Iterable[Message]) -> None:
    """Takes messages and their calls for whose they say they are, as a client does that is told of them."""
    for message in messages:
        tag = message.rest.get("subagentRunId")
        bucket = message.role if message.role in ("reasoning", "activity") else "message"
        state.owners[f"{bucket} {message.id}"] = tag
        for call in message.calls:
            state.owners[f"tool {call.id}"] = tag


def _settle_owners(state: RunState) -> None:
    """An open part goes over to the owner that a snapshot or a result gives to its id."""
    for key, part in list(state.open.items()):
        bucket = _OWNED.get(part.kind)
        owner = state.owners.get(f"{bucket} {part.id}")
        if bucket is not None and owner != part.owner:
            bare = {name: value for name, value in part.event.items() if name != "subagentRunId"}
            event = bare if owner is None else {**bare, "subagentRunId": owner}
            state.open[key] = OpenPart(part.kind, part.id, owner, event)


_OWNED = {"text": "message", "tool": "tool", "reasoning": "reasoning", "reasoning_message": "reasoning"}


def after_snapshot(state: RunState, event: Event) -> list[Message]:
    """The messages after a MESSAGES_SNAPSHOT: it replaces by id, adds, and drops what it leaves out, but reasoning
    and activities only if they are its to say."""
    told = [from_wire(wire) for wire in event["messages"]]
    by_id = {message.id: message for message in told}
    stays = _kept(event, {message.role for message in told})
    kept = [by_id.get(held.id, held) for held in state.messages if held.id in by_id or stays(held)]
    known = {message.id for message in kept}
    return [*kept, *(message for message in told if message.id not in known)]


def _kept(event: Event, roles: set[str]) -> Callable[[Message], bool]:
    """Whether a message that a snapshot leaves out stays: see `authoritativeActivityTypes` of `@ag-ui/client`."""
    scope = event.get("metadata", {}).get("@ag-ui/client", _UNSAID)
    if scope is not _UNSAID:
        scope = scope.get("authoritativeActivityTypes", _UNSAID) if isinstance(scope, dict) else []
    if scope is _UNSAID:
        scope = None if "activity" in roles else []
    elif scope is not None and not (isinstance(scope, list) and all(isinstance(one, str) for one in scope)):
        scope = []

    def stays(held: Message) -> bool:
        if held.role == "activity":
            return scope is not None and held.rest.get("activityType") not in scope
        return held.role == "reasoning" and "reasoning" not in roles

    return stays


_UNSAID = object()


def _activity_snapshot(state: RunState, event: Event) -> None:
    held = state.messages.get(event["messageId"])
    if event.get("replace", True) or f"activity {event['messageId']}" not in state.owners:
        state.owners[f"activity {event['messageId']}"] = event.get("subagentRunId")
    rest = {"activityType": event["activityType"], "content": event["content"], **_made_by(event)}
    state.begun.setdefault(f"activity {event['messageId']}", state.seq)
    if held is None:
        held = state.messages.append(Message(event["messageId"], "activity", rest=rest))
        state.said.append(held.id)
    elif event.get("replace", True):
        if held.role == "activity":
            rest = {key: value for key, value in held.rest.items() if key != "subagentRunId"} | rest
        calls, held.role, held.text, held.calls, held.rest = held.calls, "activity", None, [], rest
        if calls:
            state.messages.replace(list(state.messages))
    elif held.role != "activity":
        return
    merge_metadata(held.rest, event)


def _activity_delta(state: RunState, event: Event) -> None:
    held = state.messages.get(event["messageId"])
    if held is None or held.role != "activity":
        return
    merge_metadata(held.rest, event)
    try:
        held.rest["content"] = patched(held.rest.get("content") or {}, event["patch"])
    except ValueError:
        return
    held.rest["activityType"] = event["activityType"]


def _step_started(state: RunState, event: Event) -> None:
    _open(state, "step", event["stepName"], event)
    state.steps.append(Step(event["stepName"], event.get("timestamp", 0), state.seq, owner=event.get("subagentRunId")))


def _step_finished(state: RunState, event: Event) -> None:
    name, owner = event["stepName"], event.get("subagentRunId")
    state.open.pop(("step", step_id(name, owner)), None)
    for step in reversed(state.steps):
        if step.name == name and step.owner == owner and step.ended_at_ms is None:
            step.ended_at_ms, step.ended_seq = event.get("timestamp", 0), state.seq
            return


def _encrypted(state: RunState, event: Event) -> None:
    held: Any = state.messages.call if event["subtype"] == "tool-call" else state.messages.get
    target = held(event["entityId"])
    if target is not None and getattr(target, "role", "") != "activity":
        target.rest["encryptedValue"] = event["encryptedValue"]


def _subagent_started(state: RunState, event: Event) -> None:
    _open(state, "subagent", event["subagentRunId"], event)


def _subagent_ended(state: RunState, event: Event) -> None:
    state.open.pop(("subagent", event["subagentRunId"]), None)
    state.closed_subagents.add(event["subagentRunId"])


FLOW: dict[str, Callable[[RunState, Event], None]] = {
    "TEXT_MESSAGE_START": _text_start,
    "TEXT_MESSAGE_CONTENT": _content,
    "TEXT_MESSAGE_END": _message_end("text"),
    "TOOL_CALL_START": _tool_start,
    "TOOL_CALL_ARGS": _tool_args,
    "TOOL_CALL_END": _tool_end,
    "TOOL_CALL_RESULT": _tool_result,
    "STATE_SNAPSHOT": _state_snapshot,
    "STATE_DELTA": _state_delta,
    "MESSAGES_SNAPSHOT": _messages_snapshot,
    "ACTIVITY_SNAPSHOT": _activity_snapshot,
    "ACTIVITY_DELTA": _activity_delta,
    "STEP_STARTED": _step_started,
    "STEP_FINISHED": _step_finished,
    "REASONING_START": _reasoning_start,
    "REASONING_MESSAGE_START": _reasoning_message_start,
    "REASONING_MESSAGE_CONTENT": _content,
    "REASONING_MESSAGE_END": _message_end("reasoning_message"),
    "REASONING_END": _reasoning_end,
    "REASONING_ENCRYPTED_VALUE": _encrypted,
    "SUBAGENT_STARTED": _subagent_started,
    "SUBAGENT_FINISHED": _subagent_ended,
    "SUBAGENT_ERROR": _subagent_ended,
}
