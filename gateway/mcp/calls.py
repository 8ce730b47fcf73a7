"""What the SDK's server asks for: the list of tools, and a call of one, from its arguments to its result."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import mcp_types as types
import orjson
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from pydantic import ValidationError

from protocol.errors import HocketError, Unavailable
from runtime.engine import Engine

from ..stream import Streams
from .definitions import AGENT_PREFIX
from .tool import TICKET, Call, Ticket, Tool, shown

logger = logging.getLogger("hocket.mcp")

Context = ServerRequestContext[Any, Any]
MoreTools = Callable[[], Awaitable[Mapping[str, Tool]]]

_LISTED_MS = 300_000
_CHANGING_MS = 5_000
_FAULTS_MAX = 3


class Calls:
    """The tools of one endpoint. `more` tells those that come and go with the agents."""

    def __init__(
        self, engine: Engine, streams: Streams, tools: tuple[Tool, ...], more: MoreTools | None = None
    ) -> None:
        self._engine, self._streams, self._more = engine, streams, more
        self._tools = {tool.name: tool for tool in tools}
        self._listed = [tool.listed() for tool in tools]
        self._mirrored = {tool.name: tool.input_schema for tool in tools if _mirrors(tool)}
        self._seen: Mapping[str, Tool] = {}

    def slow(self, name: object) -> bool:
        """Whether a call of that name may take its time, and tell of it."""
        if not isinstance(name, str):
            return False
        tool = self._tools.get(name)
        return not tool.quick if tool is not None else self._more is not None and name.startswith(AGENT_PREFIX)

    def schema_of(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of a tool whose arguments are repeated in headers, which the SDK then compares. It is
        asked for at every call."""
        known = self._mirrored.get(name)
        if known is None and name in self._seen and _mirrors(self._seen[name]):
            return self._seen[name].input_schema
        return known

    async def list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        listed, lasts_ms = self._listed, _LISTED_MS
        if self._more is not None:
            self._seen = await away_is_http(context, self._more())
            listed, lasts_ms = [*listed, *(tool.listed() for tool in self._seen.values())], _CHANGING_MS
        return types.ListToolsResult(tools=listed, ttl_ms=lasts_ms, cache_scope="private")

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> Any:
        tool = self._tools.get(params.name)
        if tool is None and self._more is not None:
            self._seen = await away_is_http(context, self._more())
            tool = self._seen.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name[:80]!r}.")
        try:
            given = tool.given.model_validate(params.arguments or {})
        except ValidationError as bad:
            return tool.misread(" ".join(_told(fault) for fault in bad.errors(include_url=False)[:_FAULTS_MAX]))
        ticket, request = ticket_of(context), context.request
        assert request is not None
        call = Call(self._engine, self._streams, ticket.by, request, context, params, ticket.holds)
        try:
            return shown(await away_is_http(context, tool.call(call, given)))
        except HocketError as error:
            return shown(tool.refuse(error, given))


def ticket_of(context: Context) -> Ticket:
    """What the HTTP side has noted of the request."""
    assert context.request is not None
    ticket: Ticket = context.request.scope[TICKET]
    return ticket


async def away_is_http(context: Context, work: Awaitable[Any]) -> Any:
    """What `work` returns or raises. A log that cannot be reached is for HTTP to tell, with 503, not for a result."""
    try:
        return await work
    except Unavailable as away:
        ticket_of(context).fault = away
        raise MCPError(types.INTERNAL_ERROR, "The log cannot be reached; ask again.") from None


def _mirrors(tool: Tool) -> bool:
    return b'"x-mcp-header"' in orjson.dumps(tool.input_schema)


def _told(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"]) or "arguments"
    return f"{where}: {fault['msg']}."
