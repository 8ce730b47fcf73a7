"""The CopilotKit runtime's HTTP surface, so that `@copilotkit/core` needs no Node runtime in between (1.75).

Routes under /copilotkit: GET info, POST agent/{id}/run, agent/{id}/connect, agent/{id}/stop/{threadId}; and all of
them as one POST with {"method", "params", "body"}. Its clients are of AG-UI 0.0.x and reconnect by connect only.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

from ag_ui.core import RunAgentInput
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from protocol.errors import AgentNotFound, Forbidden, HocketError, Invalid, Unauthorized
from protocol.state import Status
from runtime.engine import Engine

from .agui_stream import AgUiStreams, ended, opened, whole_stream
from .auth import tenant_wide
from .body import check_declared, loads, parse, read_body, read_json
from .errors import MalformedJson, plain, render, status_of

FACE = "copilotkit"
_BASE = "/copilotkit"
_STOPPED = {"type": "RUN_ERROR", "message": "Run stopped by user", "code": "STOPPED"}
_VERBS = ("run", "connect")


class CopilotKit:
    """The face over an engine and what all faces of AG-UI share."""

    def __init__(self, engine: Engine, runs: AgUiStreams, body_bytes_max: int) -> None:
        self._engine, self._runs, self._body_bytes_max = engine, runs, body_bytes_max

    def routes(self) -> list[BaseRoute]:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [
            Route(path, self._answer, methods=methods, name=f"copilotkit{number}")
            for number, path in enumerate((_BASE, _BASE + "/{rest:path}"))
        ]

    async def _answer(self, request: Request) -> Response | ASGIApp:
        try:
            tenant_wide(request)  # nothing is read from whoever may not ask; a run page's token is for its page
            segments = _segments(request)
            return await (self._by_path(request, segments) if segments else self._single(request))
        except HocketError as bad:
            return _refused(request, bad)

    # ── which route ───────────────────────────────────────────────────────────────────────────────────────────

    async def _by_path(self, request: Request, segments: list[str]) -> Response | ASGIApp:
        """By the segments as they were sent: an agent's name or a thread's id may itself hold a slash."""
        wanted: tuple[str, Callable[[], Awaitable[Response | ASGIApp]]]
        if segments == ["info"]:
            wanted = "GET", self._info
        elif segments[0] == "agent" and len(segments) > 3 and segments[-2] == "stop":
            wanted = "POST", partial(self._stop_by_path, request, "/".join(segments[1:-2]), segments[-1])
        elif segments[0] == "agent" and len(segments) > 2 and segments[-1] in _VERBS:
            wanted = "POST", partial(self._stream_by_path, request, "/".join(segments[1:-1]), segments[-1])
        else:
            return JSONResponse({"error": "Not found"}, 404)
        method, answer = wanted
        if request.method != method:
            return JSONResponse({"error": "Method not allowed"}, 405, {"allow": method})
        return await answer()

    async def _stream_by_path(self, request: Request, agent: str, verb: str) -> ASGIApp:
        return await self._stream(request, agent, verb, await read_json(request, self._body_bytes_max))

    async def _stop_by_path(self, request: Request, agent: str, thread_id: str) -> Response:
        check_declared(request)
        body = await read_body(request, self._body_bytes_max)
        return await self._stop(request, agent, thread_id, loads(body) if body.strip() else None)

    async def _single(self, request: Request) -> Response | ASGIApp:
        """One POST for everything: what is wanted stands in the body."""
        if request.method != "POST":
            return JSONResponse({"error": "Method not allowed"}, 405, {"allow": "POST"})
        try:
            given = await read_json(request, self._body_bytes_max)
        except HTTPException as bad:
            return _invalid_request(bad.status_code, bad.detail)
        except MalformedJson as bad:
            return _invalid_request(400, bad.message)
        if not isinstance(given, dict) or not isinstance(given.get("method"), str):
            return _invalid_request(400, "The body must be an object with a method.")
        params = given.get("params") or {}
        method, body = given["method"], given.get("body")
        if method == "info":
            return await self._info()
        names = {"agent/run": ("agentId",), "agent/connect": ("agentId",), "agent/stop": ("agentId", "threadId")}
        if method not in names:
            return _invalid_request(400, f"There is no method {method[:80]!r}.")
        for name in names[method]:
            if not isinstance(params, dict) or not isinstance(params.get(name), str) or not params[name]:
                return _invalid_request(400, f"params.{name} must be text.")
        if method == "agent/stop":
            return await self._stop(request, params["agentId"], params["threadId"], body)
        return await self._stream(request, params["agentId"], method.removeprefix("agent/"), body)

    # ── what it does ──────────────────────────────────────────────────────────────────────────────────────────

    async def _info(self) -> Response:
        agents = {
            name: {"name": name, "description": told["description"], "className": "HocketAgent"}
            for name, told in (await self._engine.agents()).items()
        }
        return JSONResponse(
            {"version": version("hocket"), "agents": agents, "audioFileTranscriptionEnabled": False, "mode": "sse"}
        )

    async def _stream(self, request: Request, agent: str, verb: str, given: Any) -> Response | ASGIApp:
        if verb == "run":
            return await self._runs.run(request, agent, given, FACE)
        form = parse(RunAgentInput, given)
        await self._engine.agent(agent)
        by = tenant_wide(request)
        latest = await self._engine.thread_head(form.thread_id, by)
        if latest is None:
            return _nothing_yet(form)
        return await self._runs.join(request, latest.id, by, form.protocol_version is not None)

    async def _stop(self, request: Request, agent: str, thread_id: str, given: Any) -> Response:
        """Cancels the thread's run. A key that is not known is refused: a typo must not stop a whole thread."""
        wanted = _run_to_stop(given)
        await self._engine.agent(agent)
        by = tenant_wide(request)
        latest = await self._engine.thread_head(thread_id, by)
        if latest is None or latest.status not in (Status.QUEUED, Status.RUNNING):
            return _not_stopped("The thread has no run in progress.")
        if wanted is not None and wanted not in (latest.id, latest.leg.run_id):
            return _not_stopped("The thread's run in progress is another one.")
        state = await self._engine.cancel(latest.id, by, FACE, _STOPPED["message"])
        if state.status is not Status.CANCELLED:
            return _not_stopped("The run had ended by itself.")
        return JSONResponse({"stopped": True, "interrupt": _STOPPED})


def _segments(request: Request) -> list[str]:
    raw = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.split(b"?")[0].decode(errors="replace").split(_BASE, 1)[-1]
    return [unquote(segment) for segment in path.strip("/").split("/") if segment]


def _run_to_stop(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, dict) or set(given) - {"runId"}:
        raise Invalid("The body of a stop must be empty or an object with runId and nothing else.")
    run_id = given.get("runId")
    if "runId" in given and (not isinstance(run_id, str) or not run_id.strip()):
        raise Invalid("runId must be text that is not blank.")
    return run_id


def _nothing_yet(form: RunAgentInput) -> Response:
    """A stream for a thread without runs. It says nothing of messages, so the client keeps what it has."""
    return whole_stream([opened(form), ended(form)])


def _not_stopped(message: str) -> Response:
    return JSONResponse({"stopped": False, "message": message})


def _invalid_request(status: int, message: str) -> Response:
    return JSONResponse({"error": "invalid_request", "message": message}, status)


def _refused(request: Request, bad: HocketError) -> Response:
    """In the words of CopilotKit's own runtime; what it has no words for as every AG-UI face says it."""
    if isinstance(bad, AgentNotFound):
        return JSONResponse({"error": "Agent not found", "message": bad.message}, 404)
    if isinstance(bad, Invalid):
        return JSONResponse({"error": "Invalid request body", "details": bad.message}, 400)
    if isinstance(bad, Unauthorized | Forbidden):
        status = status_of(bad)
        return plain(status, HTTPStatus(status).phrase, bad.message)
    return render(request, bad)
