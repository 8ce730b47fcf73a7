"""Veryfront's one tool, `get_agent_run`: a run as an object of 31 keys, each there at every status."""

from typing import Annotated, Any

import mcp_types as types
import orjson
from pydantic import Field

from protocol.errors import Forbidden, HocketError, InvalidId, RunNotFound

from ..dialects.veryfront_object import NAMES, SOURCE, TARGET, is_conversation, run_object
from .tool import READS, Call, Form, Told, Tool

Json = dict[str, Any]

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_DRAFT = "http://json-schema.org/draft-07/schema#"
_TEXT: Json = {"type": "string"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}


class GetAgentRunForm(Form):
    """Which run of which conversation."""

    conversation_id: Annotated[str, Field(pattern=_UUID)]
    run_id: Annotated[str, Field(min_length=1)]


async def get_agent_run(call: Call, form: GetAgentRunForm) -> Told:
    state = await call.engine.state(form.run_id, call.by)
    if not is_conversation(state, form.conversation_id):
        raise RunNotFound(form.run_id)
    return Told(run_object(state))


def _refuse(error: HocketError, form: Any) -> Told:
    """One text for every run that there is not."""
    if isinstance(error, RunNotFound | InvalidId):
        return _fault("RUN_NOT_FOUND", "There is no such run in this conversation.")
    return _fault("FORBIDDEN" if isinstance(error, Forbidden) else error.code.upper(), error.message)


def _fault(code: str, message: str) -> Told:
    return Told({"error": {"code": code, "message": message}}, failed=True)


def _misread(told: str) -> types.CallToolResult:
    text = orjson.dumps({"error": {"code": "INVALID_ARGUMENTS", "message": told}}).decode()
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


# The schemas are the contract's own, word for word, and so they are not made of models.


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _kind(kind: str, *names: str) -> Json:
    return _object({"kind": {"type": "string", "const": kind}} | dict.fromkeys(names, _TEXT))


_AGENT = ("project_id", "agent_id")
_INSTALLED = ("catalog_entry_id", "agent_access_grant_id", "service_account_id")
_NEVER_NULL = {"run_id", "requested_by_user_id", "agent_id", "status", "created_at"}

_SNAPSHOT = _object(
    {
        "project_agent": {
            "anyOf": [
                {"anyOf": [_kind("source", *_AGENT), _kind("installed", *_AGENT, *_INSTALLED)]},
                {"type": "null"},
            ]
        },
        "source": _object(dict.fromkeys(SOURCE, _TEXT_OR_NULL)),
        "runtime_target": _object(dict.fromkeys(TARGET, _TEXT_OR_NULL)),
        "requester": _object({"user_id": _TEXT}),
    }
)
TAKES = _object({"conversation_id": {"type": "string", "format": "uuid"},
                 "run_id": {"type": "string", "minLength": 1}}) | {"$schema": _DRAFT}  # fmt: skip
GIVES = _object(
    {name: _TEXT if name in _NEVER_NULL else _TEXT_OR_NULL for name in NAMES}
    | {"latest_event_id": {"type": "number"}, "run_snapshot": _SNAPSHOT}
) | {"$schema": _DRAFT}

TOOLS = (
    Tool(
        "get_agent_run", "Get an agent run",
        "Gets a run by the conversation (thread) it belongs to and its own id: status, times, who asked, what it waits "
        "for, and the error of one that failed. latest_event_id is where its event stream stands.",
        GetAgentRunForm, GIVES, get_agent_run, READS, _refuse, _misread, TAKES,
    ),
)  # fmt: skip
