"""What a tool is, what its function is given, and the three kinds of answer that become a result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
import orjson
from mcp.server.context import ServerRequestContext
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from protocol.entries import Caller
from protocol.errors import HocketError
from runtime.engine import Engine

from ..stream import Streams

FACE = "mcp"
TICKET = "hocket.mcp"
"""Key of the scope under which the call's ticket goes through the SDK to the handlers."""

READS = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
STARTS = types.ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False)
ANSWERS = types.ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False)
REPLACES = types.ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False)
STOPS = types.ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True)

Schema = dict[str, Any]


class Form(BaseModel):
    """The arguments of a tool: a name that is not known is a mistake, not a wish to be passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(slots=True)
class Ticket:
    """What the HTTP side of a request and its handler tell each other: who asks, for how long that holds, and where
    clients reach the gateway. `fault` is what only HTTP can answer."""

    by: Caller
    holds: Callable[[], bool]
    reached_at: str
    fault: HocketError | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool: who, with what at hand. `params` has the answers that a client brings along."""

    engine: Engine
    streams: Streams
    by: Caller
    request: Request
    context: ServerRequestContext[Any, Any]
    params: types.CallToolRequestParams
    holds: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: one object, shown as JSON text too, unless `text` is shown in its place. `hint` says how to draw it,
    `links` lead to more of it."""

    told: dict[str, Any]
    hint: dict[str, Any] | None = None
    links: list[types.ResourceLink] = field(default_factory=list)
    failed: bool = False
    text: str | None = None


Reply = Told | types.InputRequiredResult | dict[str, Any]
"""An answer, a question to the client's user, or the result of an extension as it is."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool. `given` checks its arguments; `takes` and `gives` are the schemas that clients are shown.

    `refuse` words an error of the engine, `misread` arguments that break the schema. One that is not `quick` may wait
    and tells of its progress, so its answer may become a stream.
    """

    name: str
    title: str
    about: str
    given: type[BaseModel]
    gives: Schema
    call: Callable[[Call, Any], Awaitable[Reply]]
    hints: types.ToolAnnotations
    refuse: Callable[[HocketError, Any], Told]
    misread: Callable[[str], types.CallToolResult]
    takes: Schema | None = None
    quick: bool = True

    @property
    def input_schema(self) -> Schema:
        return self.takes if self.takes is not None else _tidy(self.given.model_json_schema())

    def listed(self) -> types.Tool:
        """As `tools/list` shows it."""
        return types.Tool(name=self.name, title=self.title, description=self.about, annotations=self.hints,
                          input_schema=self.input_schema, output_schema=self.gives or None)  # fmt: skip


def shown(reply: Reply) -> Any:
    """The result of a reply: plain values, for a poll is the hot path of many clients."""
    if not isinstance(reply, Told):
        return reply
    text = reply.text if reply.text is not None else orjson.dumps(reply.told).decode()
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    content += [link.model_dump(mode="json", by_alias=True, exclude_none=True) for link in reply.links]
    result: dict[str, Any] = {"content": content, "resultType": "complete"}
    if reply.failed:
        return result | {"isError": True}
    if reply.hint is not None:
        result["_meta"] = {"io.cinatra.render": reply.hint}
    return result | {"structuredContent": reply.told}


def problem(error: HocketError, given: Any = None) -> Told:
    """An error in hocket's own words: a stable code, and a sentence for whoever reads it."""
    return Told({"error": {"code": error.code, "message": error.message}}, failed=True)


def misread(told: str) -> types.CallToolResult:
    """Arguments that break the schema, in hocket's own words."""
    text = orjson.dumps({"error": {"code": "invalid_arguments", "message": told}}).decode()
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _tidy(schema: Any) -> Any:
    """Without the titles that pydantic makes of names, and without the null of what may be left out: a model reads
    every word of it."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _tidy(value) for name, value in schema.items() if name != "title" or not isinstance(value, str)}
    choices = told.get("anyOf")
    if "default" in told and told["default"] is None and choices is not None:
        kept = [one for one in choices if one != {"type": "null"}]
        del told["default"]
        told = (
            {**told, "anyOf": kept} if len(kept) > 1 else {**kept[0], **{n: v for n, v in told.items() if n != "anyOf"}}
        )
    return told


def closed(model: type[BaseModel]) -> Schema:
    """The schema of an output model."""
    told: Schema = _tidy(model.model_json_schema(mode="serialization"))
    return told


def closed_or_error(model: type[BaseModel]) -> Schema:
    """The schema of an output that may be `{"error": text}` instead: an ordinary result in Cinatra. The root stays an
    object, as clients before 2026-07-28 want it."""
    whole = closed(model)
    definitions = whole.pop("$defs", None)
    error = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
        "required": ["error"],
        "additionalProperties": False,
    }
    told: Schema = {"type": "object", "anyOf": [whole, error]}
    return told | ({"$defs": definitions} if definitions else {})
