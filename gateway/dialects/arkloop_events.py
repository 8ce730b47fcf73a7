"""Entries of a run as Arkloop's stream tells them: each is one frame, so its numbers have no hole.

A frame is an unnamed message of four keys. What has no type here comes as `hocket.<name>`, which its clients skip as
any type that they do not know.
"""

from collections.abc import Callable
from typing import Any

import orjson

from protocol.entries import ASK_CANCEL, ASK_RESUME, ASK_START, Entry, lane_of, public
from protocol.run import abandoned, ends_as
from protocol.state import RunState, Status, own_metadata
from protocol.tool_calls import arguments

from ..run_object import rfc3339
from .arkloop_object import persona, route

Event = dict[str, Any]
Told = tuple[str, Event]
"""A type and its data."""

_FRAME = b'id: %d\ndata: {"seq":%d,"type":%b,"data":%b,"created_at":"%b"}\n\n'


def word(state: RunState, entry: Entry) -> bytes:
    seq, event = entry
    # what closes what another worker has begun anew is never told as final
    form = _FORMS.get(event["type"]) if not abandoned(event) else None
    kind, data = (form(state, event) if form is not None else None) or _own(event)
    at = rfc3339(event["timestamp"]) or ""
    # put together of two parts, for an event may be nested as deep as the encoder goes
    return _FRAME % (seq, seq, orjson.dumps(kind), orjson.dumps(data), at.encode())


def _own(event: Event) -> Told:
    """What has no type here, as any reader of the run may see it."""
    shown = public(event) if lane_of(event) == "ask" else event
    name = str(event["type"]).removeprefix("ask.").lower()
    return f"hocket.{name}", {key: value for key, value in shown.items() if key not in ("type", "timestamp")}


def _started(state: RunState, event: Event) -> Told:
    routed = route(state)
    return "run.started", {"persona_id": persona(state)} | ({"route_id": routed} if routed is not None else {})


def _delta(state: RunState, event: Event) -> Told | None:
    held = state.messages.get(event["messageId"])
    if held is not None and held.role != "assistant":
        return None
    return "message.delta", {"content": event["delta"], "role": "assistant"}


def _thought(state: RunState, event: Event) -> Told:
    return "message.delta", {"content": event["delta"], "role": "assistant", "channel": "thinking"}


def _call(state: RunState, event: Event) -> Told:
    call = state.messages.call(event["toolCallId"])
    told = {"tool_call_id": event["toolCallId"], "tool_name": call.name if call is not None else None}
    return "tool.call", told | {"arguments": arguments("".join(call.args) if call is not None else "")}


def _result(state: RunState, event: Event) -> Told:
    """Of a run that is being ended it stands for the result that will never come."""
    told = {"tool_call_id": event["toolCallId"], "tool_name": _tool(state, event["toolCallId"])}
    told["result"] = _as_text(event["content"])
    return "tool.result", told | ({"is_error": True} if state.closing or event.get("error") else {})


def _finished(state: RunState, event: Event) -> Told:
    ended = ends_as(event)
    if ended is Status.WAITING:
        asked = [_asked(state, interrupt) for interrupt in event["outcome"]["interrupts"]]
        return "run.waiting_for_input", asked[0] | ({"requests": asked} if len(asked) > 1 else {})
    if ended is Status.CANCELLED:
        expired = any(note["what"] == "expired" and note.get("outcome") == "cancel" for note in state.audit)
        return "run.cancelled", {"reason": "gate_expired"} if expired else {}
    result = event.get("result")
    return "run.completed", {"output": result} if result is not None else {}


def _asked(state: RunState, interrupt: Event) -> Event:
    told = {"request_id": own_metadata(interrupt).get("gate"), "message": interrupt.get("message") or ""}
    told["requestedSchema"] = interrupt.get("responseSchema") or {}
    call_id = interrupt.get("toolCallId")
    if not isinstance(call_id, str):
        return told
    name = _tool(state, call_id)
    return told | {"tool_call_id": call_id} | ({"tool_name": name} if name is not None else {})


def _failed(state: RunState, event: Event) -> Told:
    return "run.failed", {"error_class": event.get("code", "AGENT_ERROR"), "message": event["message"]}


def _provided(state: RunState, event: Event) -> Told:
    given = [{"request_id": one["gate"], "content": _content(one)} for one in event["answers"]]
    told = given[0] | {"provided_by": _who(event)}
    return "run.input_provided", told | ({"inputs": given} if len(given) > 1 else {})


def _cancelled(state: RunState, event: Event) -> Told:
    seen = event.get("seenSeq")
    return "run.cancel_requested", {"requested_by": _who(event)} | ({"last_seen_seq": seen} if seen is not None else {})


def _who(event: Event) -> Event:
    return {"id": event["by"]["id"], "kind": event["by"]["kind"]}


def _content(answer: Event) -> str:
    """An answer in words, empty for one that was to abandon the question."""
    text, payload = answer.get("text"), answer.get("payload")
    if isinstance(text, str):
        return text
    return _as_text(payload) if payload is not None else ""


def _as_text(given: Any) -> str:
    return given if isinstance(given, str) else orjson.dumps(given).decode()


def _tool(state: RunState, call_id: str) -> str | None:
    call = state.messages.call(call_id)
    return call.name if call is not None else None


_FORMS: dict[str, Callable[[RunState, Event], Told | None]] = {
    ASK_START: _started,
    ASK_RESUME: _provided,
    ASK_CANCEL: _cancelled,
    "TEXT_MESSAGE_CONTENT": _delta,
    "REASONING_MESSAGE_CONTENT": _thought,
    "TOOL_CALL_END": _call,
    "TOOL_CALL_RESULT": _result,
    "RUN_FINISHED": _finished,
    "RUN_ERROR": _failed,
}
