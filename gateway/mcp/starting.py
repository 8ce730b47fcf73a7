"""Starting a run with an agent's parameters, as every tool that starts one does."""

from typing import Any

import orjson

from protocol.errors import Invalid
from runtime.asks import Start, Started

from ..body import loads
from ..idempotency import idempotency_key, message_id
from .definitions import check_parameters, input_schema
from .tool import FACE, Call

PARAMETERS_BYTES_MAX = 65_536


async def start(call: Call, agent_name: str, parameters: dict[str, Any], timeout_s: int | None = None) -> Started:
    """Records the start, and is the same start again under the same `Idempotency-Key`.

    The parameters are the run's `forwardedProps`; `message` or `prompt` of them, else all of them as JSON, is the
    user's message. Raises Invalid, AgentNotFound, Forbidden, RunMismatch, Unavailable.
    """
    check_size(parameters)
    check_parameters(input_schema(await call.engine.agent(agent_name)), parameters)
    key = idempotency_key(call.request)
    sent_id = message_id(key, call.by)
    want = Start(agent_name, input_of(parameters, sent_id), key=key, timeout_s=timeout_s)
    return await call.engine.start(want, call.by, FACE)


def input_of(parameters: dict[str, Any], message_id: str) -> dict[str, Any]:
    """The input of a run that is started with these parameters."""
    text = _message(parameters)
    return {
        "messages": [{"id": message_id, "role": "user", "content": text}] if text is not None else [],
        "state": None,
        "tools": [],
        "context": [],
        "forwardedProps": parameters,
    }


def check_size(parameters: dict[str, Any]) -> None:
    """Raises Invalid."""
    if len(orjson.dumps(parameters)) > PARAMETERS_BYTES_MAX:
        raise Invalid(f"inputParams: at most {PARAMETERS_BYTES_MAX} bytes of JSON.")


def parameters_of(given: str | dict[str, Any] | None) -> dict[str, Any]:
    """An object, or the JSON text of one. Raises Invalid."""
    if isinstance(given, dict):
        return given
    if not given:
        return {}
    if len(given) > PARAMETERS_BYTES_MAX:
        raise Invalid(f"inputParams: at most {PARAMETERS_BYTES_MAX} bytes of JSON.")
    try:
        told = loads(given.encode())
    except Invalid as bad:
        raise Invalid(f"inputParams: {bad.message}") from None
    if not isinstance(told, dict):
        raise Invalid("inputParams must be a JSON object.")
    return told


def _message(parameters: dict[str, Any]) -> str | None:
    for name in ("message", "prompt"):
        if isinstance(parameters.get(name), str):
            return str(parameters[name])
    return orjson.dumps(parameters).decode() if parameters else None
