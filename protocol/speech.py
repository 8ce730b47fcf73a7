"""From what an agent yields to legal events: text becomes a message, chunks become START, CONTENT and END.

A `str` is a delta of the assistant message under way; a tool call, a result or any message of its own ends that
message, so that what is said afterwards is a new one. Ids come from the caller.
"""

from collections.abc import Callable
from typing import Any

from .errors import IllegalEvent
from .state import RunState

Event = dict[str, Any]

_ENDS_IMPLICIT_TEXT = frozenset(
    {"TEXT_MESSAGE_START", "TOOL_CALL_START", "TOOL_CALL_RESULT", "REASONING_START", "REASONING_MESSAGE_START"}
)
_CHUNKS = {
    "TEXT_MESSAGE_CHUNK": ("text", "messageId", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"),
    "TOOL_CALL_CHUNK": ("tool", "toolCallId", "TOOL_CALL_START", "TOOL_CALL_ARGS"),
    "REASONING_MESSAGE_CHUNK": (
        "reasoning_message",
        "messageId",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
    ),
}
_RESUMED = frozenset({"TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_CHUNK"})
_END = {"text": "TEXT_MESSAGE_END", "tool": "TOOL_CALL_END", "reasoning_message": "REASONING_MESSAGE_END"}
_ID_FIELDS = ("messageId", "parentMessageId", "toolCallId", "parentToolCallId", "entityId")
_SUBAGENT_FIELDS = ("subagentRunId", "parentSubagentRunId")


class Speech:
    """The events of one attempt. `new_id` gives ids for what the agent leaves unnamed.

    An id that an abandoned attempt has used is renamed, or the second telling would be appended to the first. A call
    that an earlier leg has asked about is on record: of it only the result is told again (AG-UI 1.0, resume).
    """

    def __init__(self, state: RunState, new_id: Callable[[], str]) -> None:
        self._state = state
        self._new_id = new_id
        self._text: str | None = None
        self._chunk: tuple[str, str, str] | None = None
        self._suffix = f"~{state.attempt}" if state.attempt > 1 else ""
        self._taken = _abandoned_ids(state) if self._suffix else frozenset[str]()
        self._asked_about = {gate.interrupt.get("toolCallId") for gate in state.gates} - {None}
        self._ended = frozenset(state.closed_subagents) if self._suffix else frozenset[str]()

    def events(self, item: Any) -> list[Event]:
        """The events that `item` stands for. Raises IllegalEvent for what cannot be one."""
        if type(item) is str:
            return self.say(item)
        event = as_event(item)
        if self._taken or self._ended:
            event = self._renamed(event)
        kind = event.get("type")
        if self._asked_about and kind in _RESUMED and event.get("toolCallId") in self._asked_about:
            return self.pause()
        if kind in _CHUNKS:
            return self._spread(event, *_CHUNKS[kind])
        before: list[Event] = []
        if kind in _ENDS_IMPLICIT_TEXT or (self._chunk and kind not in ("CUSTOM", "RAW")):
            before = self.pause()
        return [*before, event]

    def pause(self) -> list[Event]:
        """Closes the message or call that was opened here for the agent."""
        ended: list[Event] = []
        if self._text is not None:
            if ("text", self._text) in self._state.open:
                ended.append({"type": "TEXT_MESSAGE_END", "messageId": self._text})
            self._text = None
        if self._chunk is not None:
            part, field, part_id = self._chunk
            self._chunk = None
            if (part, part_id) in self._state.open:
                ended.append({"type": _END[part], field: part_id})
        return ended

    def say(self, delta: str) -> list[Event]:
        """The events of a delta of the assistant message."""
        said = self.pause() if self._chunk else []
        if self._text is None or ("text", self._text) not in self._state.open:
            self._text = self._new_id()
            said.append({"type": "TEXT_MESSAGE_START", "messageId": self._text, "role": "assistant"})
        if delta:
            said.append({"type": "TEXT_MESSAGE_CONTENT", "messageId": self._text, "delta": delta})
        return said

    def _spread(self, event: Event, part: str, field: str, start: str, content: str) -> list[Event]:
        part_id = event.get(field) or (self._chunk[2] if self._chunk and self._chunk[0] == part else None)
        if not isinstance(part_id, str):
            raise IllegalEvent("chunk-id", f"The first {event['type']} of a series needs '{field}' as text")
        said: list[Event] = []
        if self._chunk != (part, field, part_id):
            said = self.pause()
        opened = (part, part_id) not in self._state.open
        if opened:
            opener = {key: value for key, value in event.items() if key not in ("type", "delta")}
            if part == "reasoning_message":
                opener["role"] = "reasoning"
            said.append({"type": start, **opener, field: part_id})
        self._chunk = (part, field, part_id)
        late = {"metadata": event["metadata"]} if "metadata" in event and not opened else {}
        if event.get("delta") or late:
            owner = {"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {}
            said.append({"type": content, field: part_id, "delta": event.get("delta", ""), **owner, **late})
        return said

    def _renamed(self, event: Event) -> Event:
        clashes = {name: event[name] + self._suffix for name in _ID_FIELDS if _is_in(event, name, self._taken)}
        clashes |= {name: event[name] + self._suffix for name in _SUBAGENT_FIELDS if _is_in(event, name, self._ended)}
        return {**event, **clashes} if clashes else event


def _is_in(event: Event, name: str, ids: frozenset[str]) -> bool:
    value = event.get(name)
    return isinstance(value, str) and value in ids


def as_event(item: Any) -> Event:
    """A dict as it is, an `ag_ui.core` event by its aliases. Raises IllegalEvent for anything else."""
    if isinstance(item, dict):
        return item if type(item.get("type")) is str else _named_plainly(item)
    dump = getattr(item, "model_dump", None)
    if dump is None:
        given = type(item).__name__
        raise IllegalEvent(
            "event-type", f"An agent yields text, an event as a dict or an ag_ui.core event, not {given}"
        )
    event: Event = dump(mode="json", by_alias=True)
    return event


def _named_plainly(event: Event) -> Event:
    """With the text of its type where that is a member of `ag_ui.core.EventType`."""
    kind = event.get("type")
    if not isinstance(kind, str):
        raise IllegalEvent("event-type", "An event needs a field 'type' that names it")
    return {**event, "type": str.__str__(kind)}


def _abandoned_ids(state: RunState) -> frozenset[str]:
    lost = [message for message in state.messages if "hocket" in message.rest.get("metadata", {})]
    return frozenset(message.id for message in lost) | {call.id for message in lost for call in message.calls}
