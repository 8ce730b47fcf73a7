"""Asking a client's user what a run asks, inside the call: for clients that can show a form (MCP 2026-07-28).

Nothing of it is kept here: the request's state is the run's id, and the log holds the truth.
"""

from typing import Any

import mcp_types as types
import orjson
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from protocol.answers import Answer, find
from protocol.state import Gate, RunState
from runtime.asks import Resume

from .calls import Context
from .tool import FACE, Call

APPROVE: dict[str, Any] = {
    "type": "object",
    "properties": {"approved": {"type": "boolean", "title": "Approve"}},
    "required": ["approved"],
}
"""The form of a question that has no schema and asks for a decision."""

_KEPT = ("type", "title", "description", "minLength", "maxLength", "format", "minimum", "maximum", "default", "enum")
_SIMPLE = frozenset({"string", "number", "integer", "boolean"})
_FORMATS = frozenset({"email", "uri", "date", "date-time"})
_FIELDS_MAX = 50


def can_ask(context: Context) -> bool:
    """Whether the client has said that it shows forms, in an era that knows how to ask it."""
    declared = context.session.client_capabilities
    asks = declared.elicitation if declared is not None else None
    if asks is None or context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return False
    return asks.form is not None or asks.url is None


def questions(state: RunState, fault: str = "") -> dict[str, types.InputRequest]:
    """The run's open questions as forms, by gate; none at all if one of them cannot be a form."""
    asked: dict[str, types.InputRequest] = {}
    for gate in state.open_gates:
        form = _form(gate)
        if form is None:
            return {}
        message = str(gate.interrupt.get("message") or f"Run {state.id} of agent {state.agent} waits for your answer.")
        params = types.ElicitRequestFormParams(message=f"{fault} {message}".strip(), requested_schema=form)
        asked[gate.id] = types.ElicitRequest(params=params)
    return asked


def required(state: RunState, fault: str = "") -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=questions(state, fault), request_state=state.id)


async def take_answers(call: Call, run_id: str, given: types.InputResponses) -> None:
    """Records what the user has accepted; what was declined or put aside decides nothing, and stays open.

    Raises what the engine's resume does.
    """
    state = await call.engine.state(run_id, call.by)
    answers = [
        Answer(gate.id, payload=response.content or {}, text=orjson.dumps(response.content or {}).decode())
        for name, response in given.items()
        if (gate := find(state, name)) is not None
        and isinstance(response, types.ElicitResult)
        and response.action == "accept"
    ]
    if answers:
        await call.engine.resume(run_id, Resume(answers, partial=True), call.by, FACE)


def _form(gate: Gate) -> dict[str, Any] | None:
    """The question's schema where it is flat, as MCP's forms are. None where it is not."""
    schema = gate.interrupt.get("responseSchema")
    if schema is None:
        return APPROVE if gate.interrupt.get("reason") in ("confirmation", "tool_call") else None
    fields = schema.get("properties") if isinstance(schema, dict) and schema.get("type") == "object" else None
    if not isinstance(fields, dict) or not 0 < len(fields) <= _FIELDS_MAX:
        return None
    if not set(schema) <= {"type", "title", "description", "properties", "required", "additionalProperties", "$schema"}:
        return None
    values = (gate.interrupt.get("metadata") or {}).get("values")
    told = {name: _field(field, values.get(name) if isinstance(values, dict) else None)
            for name, field in fields.items()}  # fmt: skip
    needed = schema.get("required", [])
    if None in told.values() or not set(needed) <= set(told):
        return None
    return {"type": "object", "properties": told, "required": needed}


def _field(field: Any, value: Any) -> dict[str, Any] | None:
    if not isinstance(field, dict) or field.get("type") not in _SIMPLE:
        return None
    if not set(field) <= {*_KEPT, "const", "pattern", "examples"}:
        return None
    told = {name: field[name] for name in _KEPT if name in field}
    if told.get("format") not in _FORMATS:
        told.pop("format", None)
    if isinstance(value, str | int | float | bool):
        told["default"] = value
    return told
