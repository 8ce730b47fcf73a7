"""Entries of a run as Veryfront's stream tells them: AG-UI events of one run from its first RUN_STARTED to its end.

What hocket records as legs is one run here: a question is a tool call without a result, its answer that result.
Measured against `@ag-ui/client` 1.0.0, which takes the whole stream for one legal run.
"""

from collections.abc import Callable
from typing import Any

import orjson

from protocol import sse
from protocol.entries import ASK_EXPIRE, ASK_RESUME, NOTE_ATTEMPT, NOTE_HANDED_BACK, Entry
from protocol.events import KNOWN
from protocol.state import Gate, RunState

from .veryfront_object import call_of, conversation_id, error_code

Event = dict[str, Any]

_SHOWN = ("TEXT_MESSAGE_", "REASONING_MESSAGE_", "TOOL_CALL_", "STATE_")
_PASSED_ON = frozenset(kind for kind in KNOWN if kind.startswith(_SHOWN)) | {"MESSAGES_SNAPSHOT", "CUSTOM"}
_NOTES = frozenset({NOTE_ATTEMPT, NOTE_HANDED_BACK})
_CANCELLED = "The run was cancelled."
_EXPIRED = "Nobody answered in time, and so the run was cancelled."


def word(state: RunState, entry: Entry) -> bytes:
    """The frames of an entry, from the run right after it."""
    told = events(state, entry)
    if not told:
        return b""
    return b"".join(sse.loose_frame(event) for event in told[:-1]) + sse.loose_frame(told[-1], entry.seq)


def events(state: RunState, entry: Entry) -> list[Event]:
    """What is told of an entry; nothing for what has no form here."""
    kind = entry.event["type"]
    if kind in _PASSED_ON:
        return [] if kind == "CUSTOM" and entry.event["name"] in _NOTES else [_own(entry.event)]
    form = _FORMS.get(kind)
    if form is None:
        return []
    return [{"type": one.pop("type"), "timestamp": entry.event["timestamp"]} | one for one in form(state, entry)]


def _own(event: Event) -> Event:
    """Without whose subagent's it is: those begin and end in events that are not shown."""
    if event["type"] == "MESSAGES_SNAPSHOT":
        return {**event, "messages": [_untagged(message) for message in event["messages"]]}
    return _untagged(event)


def _untagged(told: Event) -> Event:
    return {name: value for name, value in told.items() if name != "subagentRunId"}


def _started(state: RunState, entry: Entry) -> list[Event]:
    """Once a run, and with the state that it begins with, on which its deltas build."""
    if len(state.legs) > 1:
        return []
    told: list[Event] = [{"type": "RUN_STARTED", **_ids(state)}]
    return told if state.state == {} else [*told, {"type": "STATE_SNAPSHOT", "snapshot": state.state}]


def _finished(state: RunState, entry: Entry) -> list[Event]:
    outcome = (entry.event.get("outcome") or {"type": "success"})["type"]
    if outcome == "interrupt":
        opened = [gate for gate in state.gates if gate.opened_seq == entry.seq]
        return [event for gate in opened for event in _asked(state, gate)]
    if outcome == "cancelled":
        expired = bool(state.audit) and state.audit[-1]["what"] == "expired"
        return [{"type": "RUN_ERROR", "message": _EXPIRED if expired else _CANCELLED, "code": "cancelled"}]
    result = {"result": entry.event["result"]} if entry.event.get("result") is not None else {}
    return [{"type": "RUN_FINISHED", **_ids(state), **result}]


def _asked(state: RunState, gate: Gate) -> list[Event]:
    """A question as a call, unless the call that it is about was told as the agent said it."""
    call_id, tool = call_of(state, gate)
    if f"call {call_id}" in state.begun:
        return []
    named = {"toolCallId": call_id}
    return [
        {"type": "TOOL_CALL_START", **named, "toolCallName": tool},
        {"type": "TOOL_CALL_ARGS", **named, "delta": orjson.dumps(_question(gate.interrupt)).decode()},
        {"type": "TOOL_CALL_END", **named},
    ]


def _question(interrupt: Event) -> Event:
    """What is asked, as the arguments of a call."""
    metadata = {name: value for name, value in (interrupt.get("metadata") or {}).items() if name != "hocket"}
    told = {
        "message": interrupt.get("message"),
        "reason": interrupt.get("reason"),
        "response_schema": interrupt.get("responseSchema"),
        "expires_at": interrupt.get("expiresAt"),
        "metadata": metadata or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _answered(state: RunState, entry: Entry) -> list[Event]:
    """The answers as results. Time that ends the run answers nothing: the end itself tells of it."""
    if entry.event.get("outcome", "answer") != "answer":
        return []
    named = {gate.id: gate for gate in state.gates}
    return [_result(state, named[one["gate"]], one) for one in entry.event["answers"] if one["gate"] in named]


def _result(state: RunState, gate: Gate, answer: Event) -> Event:
    call_id, _ = call_of(state, gate)
    told = {"messageId": f"{gate.id}-answer", "toolCallId": call_id, "role": "tool", "content": _text(answer)}
    return {"type": "TOOL_CALL_RESULT", **told}


def _text(answer: Event) -> str:
    if answer["status"] == "cancelled":
        return '{"status":"cancelled"}'
    if isinstance(answer.get("text"), str):
        return str(answer["text"])
    payload = answer.get("payload")
    return payload if isinstance(payload, str) else orjson.dumps(payload).decode()


def _failed(state: RunState, entry: Entry) -> list[Event]:
    code = {"code": error_code(entry.event["code"])} if "code" in entry.event else {}
    return [{"type": "RUN_ERROR", "message": entry.event["message"], **code}]


def _ids(state: RunState) -> Event:
    return {"threadId": conversation_id(state), "runId": state.id}


_FORMS: dict[str, Callable[[RunState, Entry], list[Event]]] = {
    "RUN_STARTED": _started,
    "RUN_FINISHED": _finished,
    "RUN_ERROR": _failed,
    ASK_RESUME: _answered,
    ASK_EXPIRE: _answered,
}
