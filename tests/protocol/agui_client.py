"""A client of AG-UI in small: what `@ag-ui/client` 1.0.0 refuses (verify) and what it makes of the rest (apply).

Written from that package's source, on plain wire dicts and apart from `protocol/`, so that the two can be compared.
"""

import copy
from typing import Any

import jsonpatch
import jsonpointer
import orjson

Event = dict[str, Any]

_START = {
    "TEXT_MESSAGE_START": ("message", "messageId"),
    "TOOL_CALL_START": ("call", "toolCallId"),
    "REASONING_START": ("span", "messageId"),
    "REASONING_MESSAGE_START": ("thought", "messageId"),
}
_GOES_ON = {
    "TEXT_MESSAGE_CONTENT": ("message", "messageId"),
    "TEXT_MESSAGE_END": ("message", "messageId"),
    "TOOL_CALL_ARGS": ("call", "toolCallId"),
    "TOOL_CALL_END": ("call", "toolCallId"),
    "REASONING_END": ("span", "messageId"),
    "REASONING_MESSAGE_CONTENT": ("thought", "messageId"),
    "REASONING_MESSAGE_END": ("thought", "messageId"),
}
_BUCKET = {"message": "message", "call": "call", "span": "reasoning", "thought": "reasoning"}


class Refused(Exception):
    """The client would end the run here."""


class Client:
    """`messages` and `state` as the application sees them after the events it was sent."""

    def __init__(self, messages: list[Event] | None = None, state: Any = None) -> None:
        self.messages = copy.deepcopy(messages or [])
        self.state = copy.deepcopy(state if state is not None else {})
        self.pending_interrupts: list[Event] = []
        self._phase = "new"
        self._open: set[tuple[str, str]] = set()
        self._steps: set[tuple[str | None, str]] = set()
        self._subagents: set[str] = set()
        self._closed: set[str] = set()
        self._owners: dict[tuple[str, str], str | None] = {}

    def take(self, event: Event) -> None:
        event = orjson.loads(orjson.dumps(event))  # from the wire: nothing in it is shared
        self._verify(event)
        apply = getattr(self, f"_on_{event['type'].lower()}", None)
        if apply is not None:
            apply(event)

    # ── verify ────────────────────────────────────────────────────────────────────────────────────────────────

    def _verify(self, event: Event) -> None:
        kind = event["type"]
        if kind == "RUN_STARTED":
            if self._phase == "running":
                raise Refused("a run is active")
            self._open, self._steps, self._subagents, self._closed, self._owners = set(), set(), set(), set(), {}
            self._phase = "running"
            return
        if self._phase == "error" or (self._phase in ("new", "finished") and kind != "RUN_ERROR"):
            raise Refused(f"{kind} in phase {self._phase}")
        tag = event.get("subagentRunId")
        if kind in _START:
            self._verify_start(event, *_START[kind], tag)
        elif kind in _GOES_ON:
            part, field = _GOES_ON[kind]
            if (part, event[field]) not in self._open:
                raise Refused(f"{kind}: {event[field]} is not open")
            self._verify_tag(tag, _BUCKET[part], event[field])
            if kind.endswith("_END"):
                self._open.discard((part, event[field]))
        else:
            self._verify_other(event, kind, tag)

    def _verify_start(self, event: Event, part: str, field: str, tag: str | None) -> None:
        place = part, event[field]
        if place in self._open:
            raise Refused(f"{place} is open")
        owner, bucket = tag, _BUCKET[part]
        if part == "call" and ("message", event.get("parentMessageId")) in self._owners:
            inherited = self._owners["message", event["parentMessageId"]]
            known = self._owners.get(("call", event[field]), inherited)
            if (tag is not None and tag != inherited) or (tag is None and known != inherited):
                raise Refused("the call's message is another's")
            owner = inherited
        self._verify_tag(tag, bucket, event[field])
        self._owners.setdefault((bucket, event[field]), owner)
        self._open.add(place)

    def _verify_tag(self, tag: str | None, bucket: str, one: str) -> None:
        if tag is not None and self._owners.get((bucket, one), tag) != tag:
            raise Refused(f"{one} is not {tag}'s")

    def _verify_other(self, event: Event, kind: str, tag: str | None) -> None:
        if kind in ("STEP_STARTED", "STEP_FINISHED"):
            step, begins = (tag, event["stepName"]), kind == "STEP_STARTED"
            if (step in self._steps) == begins:
                raise Refused(f"{kind} {step}")
            self._steps ^= {step}
        elif kind == "SUBAGENT_STARTED":
            parent = event.get("parentSubagentRunId")
            if tag in self._subagents | self._closed or (parent and parent not in self._subagents | self._closed):
                raise Refused(f"{kind} {tag}")
            self._subagents.add(str(tag))
        elif kind in ("SUBAGENT_FINISHED", "SUBAGENT_ERROR"):
            if tag not in self._subagents:
                raise Refused(f"{kind} {tag}")
            self._subagents.discard(str(tag))
            self._closed.add(str(tag))
        elif kind == "TOOL_CALL_RESULT":
            self._owners["message", event["messageId"]] = tag
        elif kind == "ACTIVITY_SNAPSHOT":
            if event.get("replace", True) or ("activity", event["messageId"]) not in self._owners:
                self._owners["activity", event["messageId"]] = tag
        elif kind == "ACTIVITY_DELTA":
            self._verify_tag(tag, "activity", event["messageId"])
        elif kind == "REASONING_ENCRYPTED_VALUE":
            self._verify_tag(tag, self._bucket_of(event), event["entityId"])
        elif kind == "MESSAGES_SNAPSHOT":
            for message in event["messages"]:
                bucket = message["role"] if message["role"] in ("reasoning", "activity") else "message"
                self._owners[bucket, message["id"]] = message.get("subagentRunId")
                for call in message.get("toolCalls", ()):
                    self._owners["call", call["id"]] = message.get("subagentRunId")
        elif kind == "RUN_FINISHED":
            if self._open or self._steps or self._subagents:
                raise Refused(f"{kind} with {self._open | self._steps | self._subagents}")
            self._phase = "finished"
        elif kind == "RUN_ERROR":
            self._phase = "error"

    def _bucket_of(self, event: Event) -> str:
        if event["subtype"] == "tool-call":
            return "call"
        return "message" if ("message", event["entityId"]) in self._owners else "reasoning"

    # ── apply ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, message_id: str) -> Event | None:
        return next((message for message in self.messages if message["id"] == message_id), None)

    def _call(self, call_id: str) -> tuple[Event, Event] | None:
        held = ((message, call) for message in self.messages for call in message.get("toolCalls", ()))
        return next(((message, call) for message, call in held if call["id"] == call_id), None)

    def _start(self, event: Event, made: Event) -> None:
        message = self._find(event["messageId"])
        if message is None:
            message = {"id": event["messageId"], "content": "", **made, **_tagged(event)}
            self.messages.append(message)
        if message["role"] != "activity":
            _merge(message, event)

    def _on_text_message_start(self, event: Event) -> None:
        named = {"name": event["name"]} if "name" in event else {}
        self._start(event, {"role": event.get("role", "assistant"), **named})

    def _on_reasoning_message_start(self, event: Event) -> None:
        self._start(event, {"role": "reasoning"})

    def _on_text_message_content(self, event: Event) -> None:
        message = self._find(event["messageId"])
        if message is not None and message["role"] != "activity":
            before = message.get("content")
            message["content"] = (before if isinstance(before, str) else "") + event["delta"]
            _merge(message, event)

    _on_reasoning_message_content = _on_text_message_content

    def _on_text_message_end(self, event: Event) -> None:
        message = self._find(event["messageId"])
        if message is not None and message["role"] != "activity":
            _merge(message, event)

    _on_reasoning_message_end = _on_text_message_end

    def _on_tool_call_start(self, event: Event) -> None:
        known = self._call(event["toolCallId"])
        if known is not None:
            known[1]["function"]["name"] = event["toolCallName"]
            _merge(known[1], event)
            return
        parent = event.get("parentMessageId")
        holder = self._find(parent) if parent else None
        if holder is None or holder["role"] != "assistant":
            made = event["toolCallId"] if holder is not None or not parent else parent
            holder = {"id": made, "role": "assistant", **_tagged(event)}
            self.messages.append(holder)
        call: Event = {"id": event["toolCallId"], "type": "function"}
        call["function"] = {"name": event["toolCallName"], "arguments": ""}
        holder.setdefault("toolCalls", []).append(call)
        _merge(call, event)

    def _on_tool_call_args(self, event: Event) -> None:
        known = self._call(event["toolCallId"])
        if known is not None:
            known[1]["function"]["arguments"] += event["delta"]
            _merge(known[1], event)

    def _on_tool_call_end(self, event: Event) -> None:
        known = self._call(event["toolCallId"])
        if known is not None:
            _merge(known[1], event)

    def _on_tool_call_result(self, event: Event) -> None:
        message = {"id": event["messageId"], "role": "tool", "toolCallId": event["toolCallId"]}
        message |= {"content": event["content"], **_tagged(event)}
        _merge(message, event)
        known = self._call(event["toolCallId"])
        at = len(self.messages)
        if known is not None:
            at = next(n for n, held in enumerate(self.messages) if held is known[0]) + 1
            while at < len(self.messages) and self.messages[at]["role"] == "tool":
                at += 1
        self.messages.insert(at, message)

    def _on_state_snapshot(self, event: Event) -> None:
        self.state = event["snapshot"]

    def _on_state_delta(self, event: Event) -> None:
        done, state = _patched(self.state, event["delta"])
        self.state = state if done else self.state

    def _on_messages_snapshot(self, event: Event) -> None:
        told = {message["id"]: message for message in event["messages"]}
        roles = {message["role"] for message in event["messages"]}
        kept = [
            told.get(held["id"], held)
            for held in self.messages
            if held["id"] in told or held["role"] in {"activity", "reasoning"} - roles
        ]
        known = {message["id"] for message in kept}
        self.messages = kept + [message for message in event["messages"] if message["id"] not in known]

    def _on_activity_snapshot(self, event: Event) -> None:
        made = {"id": event["messageId"], "role": "activity", "activityType": event["activityType"]}
        made |= {"content": event["content"], **_tagged(event)}
        held = self._find(event["messageId"])
        if held is None:
            self.messages.append(made)
            held = made
        elif event.get("replace", True):
            spread = held if held["role"] == "activity" else {}
            at = self.messages.index(held)
            held = {**{key: value for key, value in spread.items() if key != "subagentRunId"}, **made}
            self.messages[at] = held
        if held["role"] == "activity":
            _merge(held, event)

    def _on_activity_delta(self, event: Event) -> None:
        held = self._find(event["messageId"])
        if held is None or held["role"] != "activity":
            return
        _merge(held, event)
        done, content = _patched(held["content"], event["patch"])
        if done:
            held |= {"content": content, "activityType": event["activityType"]}

    def _on_reasoning_encrypted_value(self, event: Event) -> None:
        known = self._call(event["entityId"]) if event["subtype"] == "tool-call" else None
        held = known[1] if known is not None else None
        if event["subtype"] == "message":
            held = self._find(event["entityId"])
        if held is not None and held.get("role") != "activity":
            held["encryptedValue"] = event["encryptedValue"]

    def _on_run_started(self, event: Event) -> None:
        for message in event.get("input", {}).get("messages", ()):
            if self._find(message["id"]) is None:
                self.messages.append(message)

    def _on_run_finished(self, event: Event) -> None:
        self.pending_interrupts = event.get("outcome", {}).get("interrupts", [])


def _tagged(event: Event) -> Event:
    return {"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {}


def _merge(target: Event, event: Event) -> None:
    if "metadata" in event:
        target["metadata"] = {**target.get("metadata", {}), **event["metadata"]}


def _patched(document: Any, patch: list[Any]) -> tuple[bool, Any]:
    try:
        return True, jsonpatch.apply_patch(document, patch)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError, IndexError):
        return False, document
