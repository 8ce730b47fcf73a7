"""The MCP face: Streamable HTTP of both eras without sessions, so that any replica answers any call.

POST ──> who asks ──> body within its bounds ──> SDK: era, envelope, dispatch ──> a tool ──> JSON, or a stream
                                                                                   of progress for a slow one
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Any

import mcp_types as types
import orjson
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol.errors import Invalid
from runtime.engine import Engine
from runtime.settings import Settings

from ..address import reached_at
from ..auth import check_origin, holding, tenant_wide
from ..body import check_declared, loads, read_body, replayed
from ..errors import MalformedJson
from ..resource import Resource
from ..stream import Streams
from .calls import Calls
from .resources import Library, get_prompt, list_prompts
from .table import ALL, CINATRA, INSTRUCTIONS, VERYFRONT
from .tasks import Tasks
from .tool import TICKET, Ticket, Tool
from .waiting import AgentTools

logging.getLogger("mcp").setLevel(logging.WARNING)  # the SDK tells of every request and of every session

PATH = "/mcp"

_ACCEPT = (b"accept", b"application/json, text/event-stream")
_JSON = {"application/json", "application/*", "*/*"}
_STREAM = {"text/event-stream", "text/*"}
"""A client that takes anything is a script: it would not know what to do with a stream."""
_NO_CHECKS = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""hocket's own auth judges Host and Origin, as for every face."""


class Endpoint:
    """One server behind one or more paths: in JSON for what answers at once, as a stream for what does not."""

    def __init__(self, calls: Calls, server: Server[Any], settings: Settings, streams: bool) -> None:
        self._calls, self._body_bytes_max, self._public_url = calls, settings.body_bytes_max, settings.public_url
        self._json = _manager(server, True, settings.body_bytes_max)
        self._stream = _manager(server, False, settings.body_bytes_max) if streams else None

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """The SDK's tasks for as long as the gateway serves."""
        async with self._json.run():
            if self._stream is None:
                yield
            else:
                async with self._stream.run():
                    yield

    async def post(self, request: Request) -> ASGIApp:
        """Raises Unauthorized, Forbidden, TooLarge, HTTPException 406 and 415, before the SDK is asked."""
        by = tenant_wide(request)
        check_origin(request)
        check_declared(request)
        json, stream = _accepted(request)
        body = await read_body(request, self._body_bytes_max)
        try:
            given = loads(body)
        except MalformedJson:
            return _error(types.PARSE_ERROR, "The body is not JSON.")
        except Invalid as bad:
            return _error(types.INVALID_REQUEST, bad.message)
        slow = stream and self._stream is not None and isinstance(given, dict) and self._slow(given, json)
        manager = self._stream if slow and self._stream is not None else self._json
        ticket = Ticket(by, holding(request, by), reached_at(request, self._public_url))
        return Handed(manager, orjson.dumps(given), ticket)

    def _slow(self, given: dict[str, Any], json: bool) -> bool:
        params = given.get("params")
        name = params.get("name") if isinstance(params, dict) and given.get("method") == "tools/call" else None
        return not json or (name is not None and self._calls.slow(name))


class Handed:
    """The response that the SDK makes of a body that was read already."""

    def __init__(self, manager: StreamableHTTPSessionManager, body: bytes, ticket: Ticket) -> None:
        self._manager, self._body, self._ticket = manager, body, ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] not in (b"accept", b"content-length")]
        started = False

        async def unless_faulty(message: Message) -> None:
            nonlocal started
            if self._ticket.fault is None or started:
                started = True
                await send(message)

        inner = {**scope, "headers": [*headers, _ACCEPT], TICKET: self._ticket}
        await self._manager.handle_request(inner, replayed(self._body, receive), unless_faulty)
        if self._ticket.fault is not None and not started:
            raise self._ticket.fault


class Mcp:
    """The face over an engine: all tools at `/mcp`, and those of two other systems at the paths that these have, if
    they are served."""

    def __init__(
        self, engine: Engine, streams: Streams, settings: Settings, cinatra: Sequence[str], veryfront: Sequence[str]
    ) -> None:
        def endpoint(tools: tuple[Tool, ...]) -> Endpoint:
            calls = Calls(engine, streams, tools)
            return Endpoint(calls, server_of(calls), settings, streams=False)

        calls = Calls(engine, streams, ALL, AgentTools(engine) if settings.mcp_agent_tools else None)
        server = server_of(calls, Library(engine))
        Tasks(engine, streams).serve(server)
        whole = Endpoint(calls, server, settings, streams=True)
        served = dict.fromkeys(cinatra, endpoint(CINATRA)) | dict.fromkeys(veryfront, endpoint(VERYFRONT))
        self._endpoints = {PATH: whole} | served

    def routes(self) -> list[Resource]:
        """A POST each: there is no session to end and no stream to open by GET."""
        return [Resource(path, {"POST": endpoint.post}) for path, endpoint in self._endpoints.items()]

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """To be entered before the first request is served.

        The SDK's task groups live in a task of their own: around the caller's body they would wrap what it raises.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        over = asyncio.Event()
        serving = asyncio.create_task(self._serve(ready, over))
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield
        finally:
            over.set()
            await serving

    async def _serve(self, ready: asyncio.Future[None], over: asyncio.Event) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for endpoint in dict.fromkeys(self._endpoints.values()):
                await stack.enter_async_context(endpoint.run())
            ready.set_result(None)
            await over.wait()


def server_of(calls: Calls, library: Library | None = None) -> Server[Any]:
    """The SDK's server of an endpoint; it advertises what it has a handler for."""
    read: dict[str, Any] = {}
    if library is not None:
        read = {
            "on_list_resources": library.list_resources,
            "on_list_resource_templates": library.list_templates,
            "on_read_resource": library.read,
            "on_list_prompts": list_prompts,
            "on_get_prompt": get_prompt,
        }
    server: Server[Any] = Server(
        "hocket", version=version("hocket"), title="hocket", instructions=INSTRUCTIONS,
        on_list_tools=calls.list_tools, on_call_tool=calls.call_tool, get_tool_input_schema=calls.schema_of, **read,
    )  # fmt: skip
    server.middleware.clear()  # spans that nothing in hocket exports
    return server


def _manager(server: Server[Any], json: bool, body_bytes_max: int) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(server, json_response=json, stateless=True, security_settings=_NO_CHECKS,
                                        max_request_body_size=2 * body_bytes_max)  # fmt: skip


def _accepted(request: Request) -> tuple[bool, bool]:
    """Whether the client takes JSON, and a stream. Raises HTTPException 406 where it takes neither."""
    given = request.headers.get("accept")
    named = {part.partition(";")[0].strip().lower() for part in given.split(",")} if given else {"*/*"}
    json, stream = not named.isdisjoint(_JSON), not named.isdisjoint(_STREAM)
    if not json and not stream:
        raise HTTPException(406, "Answers are application/json or text/event-stream; Accept excludes both.")
    return json, stream


def _error(code: int, message: str) -> Response:
    told = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return Response(orjson.dumps(told), 400, media_type="application/json")
