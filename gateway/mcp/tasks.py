"""The Tasks extension (SEP-2663) over runs: a task is a run under another name, and none is ever stored.

Task id and run id are the same, `tasks/update` resumes, `tasks/cancel` cancels. Only clients that declare the
extension in a request are handed a task, by the tools of the agents.
"""

from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from protocol.errors import Conflict, HocketError, InterruptExpired, Invalid
from protocol.state import RunState, Status
from runtime.engine import Engine

from ..run_object import rfc3339
from ..stream import Streams
from .calls import Context, away_is_http, ticket_of
from .cinatra_runs import status_url
from .elicitation import questions, take_answers
from .standing import stands
from .tool import FACE, Call, shown

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_MS = 3_000
_DONE = {"resultType": "complete"}


class TaskParams(types.RequestParams):
    """Which task."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers to what it asks."""

    input_responses: types.InputResponses = {}


def wanted(context: Context) -> bool:
    """Whether the client has declared that it takes tasks."""
    declared = context.session.client_capabilities
    listed = (declared.extensions or {}) if declared is not None else {}
    return EXTENSION in listed and context.protocol_version in MODERN_PROTOCOL_VERSIONS


def created(state: RunState, request: Request) -> dict[str, Any]:
    """The result of a call that has become a task."""
    return {"resultType": "task", **_task(state, request)}


class Tasks:
    """The three methods of the extension."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine, self._streams = engine, streams

    def serve(self, server: Server[Any]) -> None:
        """Advertises the extension and answers its methods."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", UpdateParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    async def get(self, context: Context, params: TaskParams) -> dict[str, Any]:
        request = _checked(context, params)
        state = await _known(context, self._engine.state(params.task_id, ticket_of(context).by))
        told = {**_DONE, **_task(state, request)}
        if told["status"] == "completed":
            result = shown(stands(state, status_url(request, state.id)))
            told["result"] = result | ({"isError": True} if state.status is Status.FAILED else {})
        elif told["status"] == "input_required":
            asked = questions(state).items()
            told["inputRequests"] = {
                name: one.model_dump(mode="json", by_alias=True, exclude_none=True) for name, one in asked
            }
        return told

    async def update(self, context: Context, params: UpdateParams) -> dict[str, Any]:
        """Answers to what is no longer open are passed over, as the extension has it."""
        request = _checked(context, params)
        ticket = ticket_of(context)
        call = Call(self._engine, self._streams, ticket.by, request, context, _NO_CALL, ticket.holds)
        try:
            await _known(context, take_answers(call, params.task_id, params.input_responses))
        except (Conflict, InterruptExpired):
            pass
        return _DONE

    async def cancel(self, context: Context, params: TaskParams) -> dict[str, Any]:
        _checked(context, params)
        await _known(context, self._engine.cancel(params.task_id, ticket_of(context).by, FACE))
        return _DONE


_NO_CALL = types.CallToolRequestParams(name="tasks/update")


def _task(state: RunState, request: Request) -> dict[str, Any]:
    times = [state.created_at_ms, state.started_at_ms, state.ended_at_ms, *(gate.opened_at_ms for gate in state.gates),
             *(gate.at_ms for gate in state.gates), *(leg.started_at_ms for leg in state.legs)]  # fmt: skip
    told = {
        "taskId": state.id,
        "status": _status(state),
        "createdAt": rfc3339(state.created_at_ms),
        "lastUpdatedAt": rfc3339(max(at_ms for at_ms in times if at_ms is not None)),
        "ttlMs": None,
        "pollIntervalMs": POLL_MS,
    }
    if state.status is Status.WAITING:
        told["statusMessage"] = f"A person must decide: {status_url(request, state.id)}"
    return told


def _status(state: RunState) -> str:
    """A run whose question is no form for MCP is at work for a client that can do nothing about it; its message says
    where a person can answer. One that failed has completed with a result that says so."""
    if state.status is Status.WAITING:
        return "input_required" if questions(state) else "working"
    if state.status in (Status.QUEUED, Status.RUNNING):
        return "working"
    return "cancelled" if state.status is Status.CANCELLED else "completed"


def _checked(context: Context, params: TaskParams) -> Request:
    """Raises MCPError for a client that has not declared the extension, or whose header names another task."""
    if context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(types.METHOD_NOT_FOUND, "Method not found", context.method)
    if not wanted(context):
        lacking: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"Declare {EXTENSION} to use tasks.", lacking)
    request: Request | None = context.request
    assert request is not None
    if request.headers.get("mcp-name") != params.task_id:
        raise MCPError(types.HEADER_MISMATCH, "The header Mcp-Name must be the taskId.")
    return request


async def _known(context: Context, work: Any) -> Any:
    """What `work` returns. Raises Conflict and InterruptExpired as they are, and the rest as MCPError."""
    try:
        return await away_is_http(context, work)
    except (Conflict, InterruptExpired):
        raise
    except HocketError as error:
        told = error.message if isinstance(error, Invalid) else "There is no such task, or it is not for you."
        raise MCPError(types.INVALID_PARAMS, told) from None
