"""What an agent is handed, and what is taken from it: a copy of our own that every AG-UI client can read.

An agent may go on changing a dict after it has yielded it, and one field of a wrong type is fatal to every
attached client; so an event that the fold keeps is copied and checked against the models of `ag_ui.core` first.
Text and argument deltas, which are most of what is said, need neither.
"""

from typing import Any

import orjson
from ag_ui.core import RunAgentInput
from ag_ui.core import events as models
from pydantic import BaseModel, ValidationError

from protocol import depth
from protocol.errors import IllegalEvent
from protocol.events import KNOWN, PROTOCOL_VERSION
from protocol.instants import rfc3339
from protocol.interrupts import asked
from protocol.run import abandoned
from protocol.state import Gate, RunState

from .agents.contract import Decision, Options

Event = dict[str, Any]

_DELTAS = frozenset({"TEXT_MESSAGE_CONTENT", "TOOL_CALL_ARGS", "REASONING_MESSAGE_CONTENT"})
_OUTCOMES = ("success", "interrupt", "cancelled")


def _model(kind: str) -> type[BaseModel] | None:
    name = "".join(part.capitalize() for part in kind.split("_")) + "Event"
    found: type[BaseModel] | None = getattr(models, name, None)
    return found


_MODELS = {kind: model for kind in KNOWN - _DELTAS if (model := _model(kind)) is not None}


def run_input(state: RunState, history: list[Event]) -> RunAgentInput:
    """What the agent is given: the run's own input with the thread's messages, without what was abandoned."""
    # An activity is for the eyes of people: clients of AG-UI hold it and never send it to an agent either.
    messages = [message for message in history if message.get("role") != "activity" and not abandoned(message)]
    whole = {"tools": [], "context": [], "forwardedProps": {}, "protocolVersion": PROTOCOL_VERSION, **state.input}
    whole |= {"threadId": state.thread_id, "runId": state.leg.run_id, "messages": messages, "state": state.state}
    if state.gates:
        whole["resume"] = [_resume(gate) for gate in state.gates if gate.opened_seq == state.gates[-1].opened_seq]
    try:
        # through bytes: the agent may change what it is given, and the fold's own state must not feel it
        return RunAgentInput.model_validate(orjson.loads(orjson.dumps(whole)))
    except ValidationError as bad:
        raise IllegalEvent("run-input", f"The run's input cannot be given to an agent: {_first(bad)}") from None


def _resume(gate: Gate) -> Event:
    """AG-UI's own form of an answer, which knows nothing of time."""
    answer = gate.answer or {}
    told: Event = {"interruptId": gate.name, "status": "cancelled" if gate.status == "cancelled" else "resolved"}
    return told | ({"payload": answer["payload"]} if "payload" in answer else {})


def decisions(state: RunState) -> dict[str, Decision]:
    """Every answer of the run so far, by the interrupt's id and by its name; of two with one name the later one."""
    told: dict[str, Decision] = {}
    for gate in state.gates:
        if gate.answer is not None and gate.by is not None:
            payload = gate.answer.get("payload")
            text = gate.answer.get("text", payload if isinstance(payload, str) else orjson.dumps(payload).decode())
            is_error = gate.answer.get("isError", False)
            decided = Decision(gate.status, payload, text, gate.by, gate.at_ms or 0, is_error)
            told[gate.interrupt_id] = told[gate.name] = decided
    return told


def own_copy(event: Event, at_ms: int) -> Event:
    """The event as it is recorded and folded. Raises IllegalEvent if no client could read it."""
    kind = event.get("type")
    if kind in _DELTAS and "metadata" not in event:
        return event if "timestamp" in event else {**event, "timestamp": at_ms}
    copy: Event = _copied(event)
    copy.setdefault("timestamp", at_ms)
    model = _MODELS.get(str(kind))
    if model is not None:
        _validate(model, copy)
    return copy


def own_end(event: Event, state: RunState, options: Options, interrupt_seconds: float | None, at_ms: int) -> Event:
    """The agent's RUN_FINISHED or RUN_ERROR, as far as it is the agent's to say. Raises IllegalEvent.

    An interrupt without an end expires after what its agent declares, else after `interrupt_seconds`, else never.
    """
    end = {key: value for key, value in _copied(event).items() if value is not None and key != "timestamp"}
    if end["type"] == "RUN_ERROR":
        end.setdefault("code", "AGENT_ERROR")
        end.pop("outcome", None)  # of a RUN_FINISHED: readers of ends would take this one for it
        _validate(models.RunErrorEvent, end)
        return end
    outcome = end.get("outcome")
    if outcome is not None and (not isinstance(outcome, dict) or outcome.get("type") not in _OUTCOMES):
        raise IllegalEvent("outcome", f"RUN_FINISHED has an outcome that is none of {', '.join(_OUTCOMES)}")
    if outcome is not None and outcome["type"] == "interrupt":
        told = [_timed(interrupt, at_ms) for interrupt in outcome.get("interrupts") or ()]
        seconds = options.interrupt_seconds or interrupt_seconds
        expires_at = _after(at_ms, seconds) if seconds else None
        questions = asked(state, told, expires_at, options.on_expiry, options.default)
        end["outcome"] = {"type": "interrupt", "interrupts": questions}
    end |= {"threadId": state.thread_id, "runId": state.leg.run_id}
    _validate(models.RunFinishedEvent, end)
    return end


def _timed(interrupt: Any, at_ms: int) -> Any:
    """With the instant at which it expires, where its metadata only tells how long it may stay open."""
    metadata = interrupt.get("metadata") if isinstance(interrupt, dict) else None
    seconds = metadata.get("expires_in_s") if isinstance(metadata, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or "expiresAt" in interrupt:
        return interrupt
    return {**interrupt, "expiresAt": _after(at_ms, min(max(seconds, 0), _EXPIRES_SECONDS_MAX))}


def _after(at_ms: int, seconds: float) -> str:
    return rfc3339(at_ms + int(seconds * 1000))


_EXPIRES_SECONDS_MAX = 10 * 366 * 86_400.0


def _copied(event: Event) -> Event:
    try:
        written = orjson.dumps(event)
        copy: Event = orjson.loads(written)
    except (TypeError, ValueError) as bad:
        raise IllegalEvent("event-json", f"{event.get('type')!r} cannot be written as JSON: {bad}") from None
    if depth.is_deeper(copy, depth.SAID, written):
        raise IllegalEvent("event-depth", f"{event.get('type')!r} is nested deeper than {depth.SAID} levels")
    return copy


def _validate(model: type[BaseModel], event: Event) -> None:
    try:
        model.model_validate(event)
    except ValidationError as bad:
        raise IllegalEvent("event-fields", f"{event['type']} is not what AG-UI defines: {_first(bad)}") from None


def _first(bad: ValidationError) -> str:
    fault = bad.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"


def error(code: str, message: str) -> Event:
    """A RUN_ERROR in text that any client can be sent, whatever an agent's own names are made of."""
    shown = message if len(message) <= _SHOWN_CHARACTERS else message[: _SHOWN_CHARACTERS - 1] + "…"
    return {"type": "RUN_ERROR", "message": shown.encode(errors="replace").decode(), "code": code}


_SHOWN_CHARACTERS = 2_000
