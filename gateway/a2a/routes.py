"""Where A2A is spoken: `/a2a/{agent}` and, for the default agent, `/a2a`; JSON-RPC, HTTP+JSON and cards under each.

request ── who asks, which agent ── is it a request? ──> the SDK's routes ──> handler ──> engine
                                          └── tasks of 1.0 ──> tasks.py, streams.py ────────┘
"""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from a2a import types
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.utils.errors import A2AError, ContentTypeNotSupportedError, InvalidRequestError, JSONParseError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from protocol.errors import AgentNotFound, Invalid, TooLarge
from runtime.engine import Engine

from ..auth import principal
from ..body import check_declared, loads, read_body, replayed
from ..errors import MalformedJson
from ..idempotency import idempotency_key
from ..json_answer import json_answer
from ..resource import Handlers, Resource
from ..stream import Streams
from .call import Call, Context, attach, echo, extensions_of, version_of
from .cards import BASE, CARD_PATH, KEYS_PATH, Cards
from .checks import check_envelope, check_params, check_version, parsed, parsed_query, request_id
from .handler import Handler
from .paths import At, Place, Under, media_of, place_of, raw_path
from .refusals import rest_error, rpc_error
from .streams import BARE, Frame, TaskStreams, in_rpc
from .tasks import Tasks

_TASK = re.compile(r"/tasks/(?P<id>[^/]+?)(?P<verb>:subscribe|:cancel)?")
_CONFIGS = re.compile(r"/tasks/[^/]+/pushNotificationConfigs")
_STREAMS: dict[str, Callable[..., Awaitable[ASGIApp]]] = {
    "SendStreamingMessage": TaskStreams.send,
    "SubscribeToTask": TaskStreams.subscribe,
}
_TASKS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "SendMessage": Tasks.send,
    "GetTask": Tasks.get,
    "ListTasks": Tasks.list,
    "CancelTask": Tasks.cancel,
}
_MAX_AGE = "public, max-age=60"


class A2a:
    """The face over an engine."""

    def __init__(self, engine: Engine, streams: Streams, cards: Cards, agent: str | None, body_bytes_max: int) -> None:
        self._engine, self._cards, self._agent, self._body_bytes_max = engine, cards, agent, body_bytes_max
        self._tasks = Tasks(engine, streams)
        handler = Handler(engine, streams, cards, self._tasks)
        self._streams = TaskStreams(engine, streams, cards)
        self._rpc = JsonRpcDispatcher(handler, Context(), enable_v0_3_compat=True)
        self._rest = Router(create_rest_routes(handler, Context(), enable_v0_3_compat=True), redirect_slashes=False)
        logging.getLogger("a2a").setLevel(logging.ERROR)  # what peers do wrong is told to them

    def routes(self) -> list[BaseRoute]:
        cards: Handlers = {"GET": self.get_card}
        served = [Resource(path, cards) for path in (CARD_PATH, f"{BASE}/{{agent}}{CARD_PATH}")]
        if self._cards.signer is not None:
            served.append(Resource(KEYS_PATH, {"GET": self.get_keys}))
        return [*served, Under(BASE, self)]

    # ── cards ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_card(self, request: Request) -> Response:
        """For anyone: a peer reads it to learn what credential it needs."""
        named = request.path_params.get("agent")
        options = await self._engine.agent(named or await self._default())
        etag, modified, body = self._cards.served(options, request, default=named is None)
        headers = {"etag": etag, "last-modified": modified, "cache-control": _MAX_AGE, "vary": "Host, A2A-Version"}
        if _known(request, etag, modified):
            return Response(status_code=304, headers=headers)
        return Response(body, 200, headers, "application/json")

    async def get_keys(self, _: Request) -> Response:
        assert self._cards.signer is not None
        return JSONResponse(self._cards.signer.jwks, headers={"cache-control": _MAX_AGE})

    async def _default(self) -> str:
        if self._agent is not None:
            return self._agent
        known = await self._engine.agents()
        if not known:
            raise AgentNotFound("", [])
        return next(iter(known))

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = place_of(raw_path(scope).removeprefix(BASE))
        answer = await self.answer(Request(scope, receive, send), place)
        await answer(scope, receive, send)

    async def answer(self, request: Request, place: Place, **more: Any) -> ASGIApp:
        """Raises what HTTP is to tell: Unauthorized, Forbidden, AgentNotFound, Unavailable, HTTPException."""
        by = principal(request)
        agent = str((await self._engine.agent(place.agent or await self._default()))["name"])
        call = Call(by, agent, request, pushes=self._cards.pushes, extensions=extensions_of(request), **more)
        attach(call)
        told = self._tell_rpc if place.operation == "" else self._tell_rest
        answer = await told(call, place)
        if call.refused is not None:
            raise call.refused
        return answer

    async def rpc(self, request: Request, face: str, run_id_name: str) -> ASGIApp:
        """JSON-RPC to the default agent, for a dialect that has it under a path of its own."""
        return await self.answer(request, Place(None, "", ""), face=face, run_id_name=run_id_name)

    async def _tell_rpc(self, call: Call, _: Place) -> ASGIApp:
        request, given = call.request, None
        if request.method != "POST":
            raise HTTPException(
                405, f"{request.method} is not possible here: POST a JSON-RPC request.", {"allow": "POST"}
            )
        try:
            call.key = _key(request)
            body = await self._body(request, declared=True)
            given = _json(body, JSONParseError)
            asked = check_envelope(given)
            params = check_params(asked["method"], asked, version_of(request))
            told = await self._of_tasks(asked["method"], params, request, in_rpc(request_id(given)))
        except A2AError as error:
            return rpc_error(request_id(given), error)
        if isinstance(told, dict):
            return json_answer({"jsonrpc": "2.0", "id": request_id(given), "result": told}, 200, echo(call))
        if told is not None:
            return told
        answer = await self._rpc.handle_requests(Request(request.scope, replayed(body, request.receive)))
        answer.headers.update(echo(call))
        return answer

    async def _tell_rest(self, call: Call, place: Place) -> ASGIApp:
        request, operation = call.request, place.operation
        try:
            call.key = _key(request)
            body = await self._body(request, declared=False)
            call.check_tenant(place.tenant)
            check_version(version_of(request), "0.3" if operation.startswith("/v1/") else "1.0")
            method, params = self._asked(request, operation, body)
            told = await self._of_tasks(method, params, request, BARE)
        except A2AError as error:
            return rest_error(error)
        if isinstance(told, dict):
            return json_answer(told, 200, echo(call), media_of(request))
        return told or At(self._rest, operation, body, call)

    async def _of_tasks(
        self, method: str, params: Any, request: Request, frame: Frame
    ) -> ASGIApp | dict[str, Any] | None:
        """A stream, or what is told in ProtoJSON; None for what the SDK's routes serve. Raises A2AError."""
        if method in _TASKS:
            return await _TASKS[method](self._tasks, params, Context().build(request))
        if method in _STREAMS:
            return await _STREAMS[method](self._streams.framed(frame), params, Context().build(request))
        return None

    def _asked(self, request: Request, operation: str, body: bytes) -> tuple[str, Any]:
        """The method that an operation of 1.0 is, "" where the SDK's routes serve it, and what it is sent. Raises
        A2AError."""
        get, post = request.method in ("GET", "HEAD"), request.method == "POST"
        task = _TASK.fullmatch(operation)
        if task is not None:
            task_id = unquote(task["id"])
            if task["verb"] == ":subscribe" and (post or request.method == "GET"):
                return "SubscribeToTask", types.SubscribeToTaskRequest(id=task_id)
            if task["verb"] == ":cancel" and post:
                return "CancelTask", types.CancelTaskRequest(id=task_id)
            if task["verb"] is None and get:
                asked: Any = parsed_query(types.GetTaskRequest(), request.query_params)
                asked.id = task_id
                return "GetTask", asked
        elif operation == "/tasks" and get:
            return "ListTasks", parsed_query(types.ListTasksRequest(), request.query_params)
        elif operation == "/message:send" and post:
            return "SendMessage", parsed(types.SendMessageRequest(), _json(body))
        elif operation == "/message:stream" and post:
            return "SendStreamingMessage", parsed(types.SendMessageRequest(), _json(body))
        elif _CONFIGS.fullmatch(operation) and post:
            parsed(types.TaskPushNotificationConfig(), _json(body))
        return "", None

    async def _body(self, request: Request, declared: bool) -> bytes:
        """Raises A2AError: what is too large, or declared as something else, is told in the face's own words."""
        try:
            if declared:
                check_declared(request)
            return await read_body(request, self._body_bytes_max)
        except HTTPException as bad:
            raise ContentTypeNotSupportedError(bad.detail) from None
        except TooLarge as large:
            raise InvalidRequestError(large.message) from None
        except Invalid as bad:
            raise InvalidRequestError(bad.message) from None


def _json(body: bytes, malformed: type[A2AError] = InvalidRequestError) -> Any:
    try:
        return loads(body)
    except MalformedJson as bad:
        raise malformed(bad.message) from None
    except Invalid as bad:
        raise InvalidRequestError(bad.message) from None


def _key(request: Request) -> str | None:
    try:
        return idempotency_key(request)
    except Invalid as bad:
        raise InvalidRequestError(bad.message) from None


def _known(request: Request, etag: str, modified: str) -> bool:
    """Whether the client holds this card (RFC 9110, 13.1)."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or etag.removeprefix("W/") in [
            one.strip().removeprefix("W/") for one in tags.split(",")
        ]
    return request.headers.get("if-modified-since") == modified
