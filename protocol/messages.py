"""Messages and tool calls as an AG-UI client would hold them after the same events, and their wire form.

The rules of the client are followed to the letter (START of a known id reuses its message, a result stands behind
the call's own message), so that what is polled equals what was streamed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jsonpatch  # RFC 6902 by its library: what hocket exists for lies elsewhere
import jsonpointer
import orjson

REF = "hocket:ref"
"""Key of a message that stands for the thread's own message of that id, which the log holds already."""


@dataclass(slots=True)
class ToolCall:
    """`args` are the deltas of the JSON text, joined on reading."""

    id: str
    name: str
    args: list[str] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": "".join(self.args)}
        return {"id": self.id, "type": "function", "function": function, **self.rest}


@dataclass(slots=True)
class Message:
    """`text` holds the deltas of `content`, None where there is none; `rest` every other field of the wire form."""

    id: str
    role: str
    text: list[str] | None = None
    calls: list[ToolCall] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"id": self.id, "role": self.role}
        if self.text is not None:
            wire["content"] = "".join(self.text)
        wire |= self.rest
        if self.calls:
            wire["toolCalls"] = [call.wire() for call in self.calls]
        return wire


def from_wire(wire: dict[str, Any]) -> Message:
    """A message as a client sent it. Fields that are not ours are kept; null is the same as absent, because a
    client accepts the one and is ended by the other."""
    rest = {key: value for key, value in wire.items() if key not in ("id", "role") and value is not None}
    content = rest.get("content")
    text = [rest.pop("content")] if isinstance(content, str) else None
    calls = [_call_from_wire(call) for call in rest.pop("toolCalls")] if rest.get("toolCalls") else []
    return Message(str(wire.get("id", "")), str(wire.get("role", "")), text, calls, rest)


def _call_from_wire(wire: dict[str, Any]) -> ToolCall:
    function = wire.get("function") or {}
    rest = {key: value for key, value in wire.items() if key not in ("id", "type", "function") and value is not None}
    return ToolCall(str(wire.get("id", "")), str(function.get("name", "")), [_text(function.get("arguments"))], rest)


def _text(arguments: Any) -> str:
    """Arguments are JSON text; a value that came as itself is written as such."""
    return arguments if isinstance(arguments, str) else "" if arguments is None else orjson.dumps(arguments).decode()


class Transcript:
    """Messages in order, found by id; tool calls found by theirs. Of two with one id the first is found."""

    __slots__ = ("_by_id", "_calls", "_owner", "_order")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.replace(messages)

    def replace(self, messages: Iterable[Message]) -> None:
        self._order = list[Message]()
        self._by_id = dict[str, Message]()
        self._calls = dict[str, ToolCall]()
        self._owner = dict[str, Message]()
        for message in messages:
            self.append(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transcript) and [one.wire() for one in self] == [one.wire() for one in other]

    def __iter__(self) -> Iterator[Message]:
        return iter(self._order)

    def backwards(self) -> Iterator[Message]:
        """From the last on."""
        return reversed(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, message_id: str) -> Message | None:
        return self._by_id.get(message_id)

    def call(self, call_id: str) -> ToolCall | None:
        return self._calls.get(call_id)

    def owner(self, call_id: str) -> Message | None:
        """The message that holds the call."""
        return self._owner.get(call_id)

    def append(self, message: Message) -> Message:
        self._order.append(message)
        self._by_id.setdefault(message.id, message)
        for call in message.calls:
            self._own(call, message)
        return message

    def _own(self, call: ToolCall, message: Message) -> None:
        self._calls.setdefault(call.id, call)
        self._owner.setdefault(call.id, message)

    def open_call(self, call_id: str, name: str, parent_id: str | None) -> ToolCall:
        """A new call, made on the message `parent_id`, or on a new one if there is none that can hold it."""
        parent = self._by_id.get(parent_id) if parent_id else None
        if parent is None or parent.role != "assistant":
            parent = self.append(Message(call_id if parent or not parent_id else parent_id, "assistant"))
        call = ToolCall(call_id, name)
        parent.calls.append(call)
        self._own(call, parent)
        return call

    def add_result(self, message: Message, call_id: str) -> None:
        """Behind the message that owns the call and its other results; at the end if nobody owns it."""
        owner = self._owner.get(call_id)
        at = len(self._order)
        if owner is not None:
            while self._order[at - 1] is not owner:  # from the end, where it nearly always is
                at -= 1
            while at < len(self._order) and self._order[at].role == "tool":
                at += 1
        self._order.insert(at, message)
        if message.id in self._by_id:
            self.replace(self._order)
        else:
            self._by_id[message.id] = message


def resolve(own: Iterable[Message], history: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The wire form of a run's messages, with what only refers to the thread's history filled in from it."""
    known = {message["id"]: message for message in history}
    resolved = []
    for message in own:
        if not message.rest.get(REF):
            resolved.append(message.wire())
        elif message.id in known:
            resolved.append(_on_top_of(known[message.id], message))
    return resolved


def _on_top_of(known: dict[str, Any], ref: Message) -> dict[str, Any]:
    """The thread's message with what this run has said on it since."""
    wire = dict(known)
    if ref.text is not None:
        before = wire.get("content")
        wire["content"] = (before if isinstance(before, str) else "") + "".join(ref.text)
    if ref.calls:
        wire["toolCalls"] = [*wire.get("toolCalls", ()), *(call.wire() for call in ref.calls)]
    if "metadata" in ref.rest:
        wire["metadata"] = {**wire.get("metadata", {}), **ref.rest["metadata"]}
    return wire | {key: value for key, value in ref.rest.items() if key not in (REF, "metadata")}


def merge_metadata(target: dict[str, Any], event: dict[str, Any]) -> None:
    """An event's metadata belongs, key by key, to what the event builds."""
    if "metadata" in event:
        target["metadata"] = {**target.get("metadata", {}), **event["metadata"]}


def patched(document: Any, patch: list[Any]) -> Any:
    """A new document. Raises ValueError, with the reason, if the RFC 6902 patch does not apply."""
    try:
        return jsonpatch.apply_patch(document, patch)
    except (
        jsonpatch.JsonPatchException,
        jsonpointer.JsonPointerException,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
    ) as bad:
        raise ValueError(f"the patch does not apply: {bad}") from bad
