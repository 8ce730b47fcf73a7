"""Entries of a run in the words of Operativus' two streams: `/runs/stream`, which belongs to the call that started the
run, and `/events`, which goes on over every pause."""

from collections.abc import Callable
from typing import Any

import orjson

from protocol.entries import ASK_RESUME, Entry
from protocol.instants import rfc3339
from protocol.messages import Message
from protocol.run import abandoned, ends_as
from protocol.state import RunState, Status
from protocol.tool_calls import arguments, called

from .operativus_object import decision, required, run_response

Json = dict[str, Any]


def stream_word(state: RunState, entry: Entry) -> bytes:
    """What `/runs/stream` says: unnamed frames, whose data is always text."""
    tell = _STREAM.get(entry.event["type"])
    told = tell(state, entry) if tell is not None else None
    if told is None:
        return b""
    name, data = told
    text = data if isinstance(data, str) else orjson.dumps(data).decode()
    frame = {"event": name, "data": text, "timestamp": entry.event["timestamp"]}
    return b"id: %d\ndata: %b\n\n" % (entry.seq, orjson.dumps(frame))


def event_word(state: RunState, entry: Entry) -> bytes:
    """What `/events` says: named frames, each with the run it is of."""
    tell = _EVENTS.get(entry.event["type"])
    told = tell(state, entry) if tell is not None else []
    frames = [_event(state, entry, name, payload) for name, payload in told]
    return b"".join([*frames[:-1], b"id: %d\n" % entry.seq, frames[-1]]) if frames else b""


def _event(state: RunState, entry: Entry, name: str, payload: Json) -> bytes:
    told = {
        "id": entry.seq,
        "eventType": name,
        "runId": state.id,
        "agentId": state.agent,
        "parentRunId": state.parent,
        "sessionId": state.thread_id,
        "orgId": state.tenant,
        "orchestrationDepth": 0 if state.parent is None else 1,
        "payload": payload,
        "eventTs": rfc3339(entry.event["timestamp"]),
    }
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(told))


# ── what both tell ────────────────────────────────────────────────────────────────────────────────────────────────


def _begins(state: RunState) -> bool:
    """Whether a RUN_STARTED is that of the run, and not of another leg."""
    return len(state.legs) == 1 and len(state.leg.attempts) == 1


def _said(state: RunState, message_id: str, role: str) -> Message | None:
    """A message of that role, unless another attempt has replaced it or the run was ended over it."""
    message = state.messages.get(message_id)
    if message is None or message.role != role or state.closing:
        return None
    return None if abandoned(message.rest) else message


def _invoked(state: RunState, entry: Entry) -> Json | None:
    """A call at its first end, when its arguments are known."""
    call_id = entry.event["toolCallId"]
    first = state.begun.get(f"ended {call_id}") == entry.seq and not state.closing
    call = state.messages.call(call_id) if first else None
    return {"id": call_id, "name": call.name, "arguments": arguments("".join(call.args))} if call is not None else None


def _completed(state: RunState, entry: Entry) -> Json | None:
    call_id = entry.event["toolCallId"]
    call = called(state, call_id) if not state.closing else None
    return {"id": call_id, "name": call.name, "result": call.result} if call is not None else None


# ── /runs/stream ──────────────────────────────────────────────────────────────────────────────────────────────────

Told = tuple[str, str | Json] | None


def _start(state: RunState, entry: Entry) -> Told:
    return ("START", _ids(state)) if _begins(state) else None


def _ids(state: RunState) -> Json:
    return {"runId": state.id, "sessionId": state.thread_id}


def _content(state: RunState, entry: Entry) -> Told:
    event = entry.event
    return ("CONTENT_DELTA", event["delta"]) if _said(state, event["messageId"], "assistant") is not None else None


def _content_done(state: RunState, entry: Entry) -> Told:
    message = _said(state, entry.event["messageId"], "assistant")
    return ("CONTENT_DONE", "".join(message.text or ())) if message is not None else None


def _reasoning(state: RunState, entry: Entry) -> Told:
    event = entry.event
    return ("REASONING_DELTA", event["delta"]) if _said(state, event["messageId"], "reasoning") is not None else None


def _tool_start(state: RunState, entry: Entry) -> Told:
    told = _invoked(state, entry)
    return ("TOOL_START", told) if told is not None else None


def _tool_end(state: RunState, entry: Entry) -> Told:
    told, error = _completed(state, entry), entry.event.get("error")
    if told is None:
        return None
    return ("TOOL_ERROR", told | {"error": error}) if isinstance(error, str) else ("TOOL_END", told)


def _finished(state: RunState, entry: Entry) -> Told:
    status = ends_as(entry.event)
    if status is Status.WAITING:
        return "PAUSED", {"approvals": required(state)}
    return ("CANCELLED", _ids(state)) if status is Status.CANCELLED else ("STOP", run_response(state))


def _failed(state: RunState, entry: Entry) -> Told:
    return "ERROR", _error(state)


def _error(state: RunState) -> Json:
    assert state.error is not None  # a RUN_ERROR has been folded
    return {"code": state.error["code"], "message": state.error["message"]}


_STREAM: dict[str, Callable[[RunState, Entry], Told]] = {
    "RUN_STARTED": _start,
    "TEXT_MESSAGE_CONTENT": _content,
    "TEXT_MESSAGE_END": _content_done,
    "REASONING_MESSAGE_CONTENT": _reasoning,
    "TOOL_CALL_END": _tool_start,
    "TOOL_CALL_RESULT": _tool_end,
    "RUN_FINISHED": _finished,
    "RUN_ERROR": _failed,
}

# ── /events ───────────────────────────────────────────────────────────────────────────────────────────────────────

Events = list[tuple[str, Json]]


def _run_start(state: RunState, entry: Entry) -> Events:
    return [("RUN_START", {})] if _begins(state) else []


def _llm_response(state: RunState, entry: Entry) -> Events:
    message = _said(state, entry.event["messageId"], "assistant")
    text = "".join(message.text or ()) if message is not None else ""
    return [("LLM_RESPONSE", {"messageId": entry.event["messageId"], "content": text})] if text else []


def _tool_invoked(state: RunState, entry: Entry) -> Events:
    told = _invoked(state, entry)
    return [("TOOL_INVOKED", _named(told) | {"toolArguments": told["arguments"]})] if told is not None else []


def _tool_completed(state: RunState, entry: Entry) -> Events:
    told = _completed(state, entry)
    return [("TOOL_COMPLETED", _named(told) | {"result": told["result"]})] if told is not None else []


def _named(told: Json) -> Json:
    return {"toolCallId": told["id"], "toolName": told["name"]}


def _ended(state: RunState, entry: Entry) -> Events:
    status = ends_as(entry.event)
    if status is Status.WAITING:
        shown = ("approvalId", "toolName")
        return [("RUN_PAUSED", {"approvals": [{name: one[name] for name in shown} for one in required(state)]})]
    if status is Status.CANCELLED:
        return [("RUN_CANCELLED", {})]
    told = run_response(state)
    return [("RUN_COMPLETE", {"content": told["content"], "metadata": told["metadata"]})]


def _run_failed(state: RunState, entry: Entry) -> Events:
    error = _error(state)
    return [("RUN_FAILED", {"errorCode": error["code"], "errorMessage": error["message"]})]


def _resumed(state: RunState, entry: Entry) -> Events:
    by = entry.event["by"]["id"]
    return [
        (
            "RUN_RESUMED",
            {"approvalId": one["gate"], "decision": decision(one["status"], one["decision"]), "resolvedBy": by},
        )
        for one in entry.event["answers"]
    ]


_EVENTS: dict[str, Callable[[RunState, Entry], Events]] = {
    "RUN_STARTED": _run_start,
    "TEXT_MESSAGE_END": _llm_response,
    "TOOL_CALL_END": _tool_invoked,
    "TOOL_CALL_RESULT": _tool_completed,
    "RUN_FINISHED": _ended,
    "RUN_ERROR": _run_failed,
    ASK_RESUME: _resumed,
}
