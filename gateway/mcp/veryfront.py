"""Veryfront's one tool, `get_agent_run`: a run as an object of 31 keys, each there at every status."""

from typing import Annotated, Any

import mcp_types as types
import orjson
from pydantic import Field

from protocol.errors import Forbidden, HocketError, InvalidId, RunNotFound
from protocol.ids import as_uuid
from protocol.spoken import last_said
from protocol.state import RunState, Status

from ..run_object import rfc3339
from .tool import READS, Call, Form, Told, Tool

Json = dict[str, Any]

STATUS = {
    Status.QUEUED: "pending",
    Status.RUNNING: "running",
    Status.WAITING: "waiting_for_tool",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_DRAFT = "http://json-schema.org/draft-07/schema#"
_NO_CODE = "AGENT_ERROR"
_TEXT: Json = {"type": "string"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}


class GetAgentRunForm(Form):
    """Which run of which conversation."""

    conversation_id: Annotated[str, Field(pattern=_UUID)]
    run_id: Annotated[str, Field(min_length=1)]


async def get_agent_run(call: Call, form: GetAgentRunForm) -> Told:
    state = await call.engine.state(form.run_id, call.by)
    if not _same(state, form.conversation_id):
        raise RunNotFound(form.run_id)
    return Told(run_object(state))


def _same(state: RunState, given: str) -> bool:
    return given == state.thread_id or given.lower() == as_uuid(state.tenant, state.thread_id).lower()


def run_object(state: RunState) -> Json:
    """What hocket has no value for is null."""
    by = state.requester
    assert by is not None  # a run begins with its start
    asked = _last_asked(state)
    tool_call_id, tool_name = _waits_for(state)
    failed = state.error if state.status is Status.FAILED else None
    own: Json = {
        "run_id": state.id,
        "conversation_id": as_uuid(state.tenant, state.thread_id),
        "message_id": asked,
        "input_anchor_message_id": asked,
        "handoff_message_id": last_said(state) if state.status is Status.COMPLETED else None,
        "requested_by_user_id": by.id,
        "agent_id": state.agent,
        "status": STATUS[state.status],
        "latest_event_id": state.seq,
        "waiting_tool_call_id": tool_call_id,
        "waiting_tool_name": tool_name,
        "terminal_error_code": (_code(failed["code"]) if failed is not None else None),
        "terminal_error_message": failed["message"] if failed is not None else None,
        "created_at": rfc3339(state.created_at_ms),
        "started_at": rfc3339(state.started_at_ms),
        "finished_at": rfc3339(state.ended_at_ms),
        "run_snapshot": {
            "project_agent": None,
            "source": dict.fromkeys(_SOURCE),
            "runtime_target": dict.fromkeys(_TARGET),
            "requester": {"user_id": by.id},
        },
    }
    return {name: own.get(name) for name in GIVES["properties"]}


def _code(code: str) -> str:
    return "agent_error" if code == _NO_CODE else code


def _last_asked(state: RunState) -> str | None:
    """The id of the last user message of the start, not of what came with an answer."""
    later = {message.get("id") for leg in state.legs[1:] for message in leg.messages}
    found = (message.id for message in state.messages.backwards() if message.role == "user" and message.id not in later)
    return next(found, None)


def _waits_for(state: RunState) -> tuple[str | None, str | None]:
    """The oldest question's call and what it is called; a question outside a tool call goes by its gate's id."""
    if state.status is not Status.WAITING or not state.open_gates:
        return None, None
    gate = state.open_gates[0]
    call_id = gate.interrupt.get("toolCallId")
    if not isinstance(call_id, str):
        return gate.id, "request_input"
    made = state.messages.call(call_id)
    return call_id, made.name if made is not None else "request_input"


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
_SOURCE = ("type", "path", "hash", "catalog_entry_id")
_TARGET = ("kind", "environment_id", "branch_id", "resolved_target_id", "resolved_target_kind", "deployment_id")
_NEVER_NULL = {"run_id", "requested_by_user_id", "agent_id", "status", "created_at"}
_NAMES = """run_id conversation_id parent_conversation_id message_id project_id requested_by_user_id agent_id status
implementation_kind worker_key source_target_kind source_target_environment_id source_target_branch_id
runtime_target_kind runtime_target_environment_id runtime_target_branch_id parent_run_id spawned_from_message_id
spawned_from_tool_call_id input_anchor_message_id handoff_message_id resolved_deployment_id latest_event_id
waiting_tool_call_id waiting_tool_name terminal_error_code terminal_error_message created_at started_at
finished_at""".split()

_SNAPSHOT = _object(
    {
        "project_agent": {
            "anyOf": [
                {"anyOf": [_kind("source", *_AGENT), _kind("installed", *_AGENT, *_INSTALLED)]},
                {"type": "null"},
            ]
        },
        "source": _object(dict.fromkeys(_SOURCE, _TEXT_OR_NULL)),
        "runtime_target": _object(dict.fromkeys(_TARGET, _TEXT_OR_NULL)),
        "requester": _object({"user_id": _TEXT}),
    }
)
TAKES = _object({"conversation_id": {"type": "string", "format": "uuid"},
                 "run_id": {"type": "string", "minLength": 1}}) | {"$schema": _DRAFT}  # fmt: skip
GIVES = _object(
    {name: _TEXT if name in _NEVER_NULL else _TEXT_OR_NULL for name in _NAMES}
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
