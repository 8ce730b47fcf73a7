"""Routes matched on the path as it was sent, so that an id in it may hold anything, an encoded slash included.

Starlette matches the decoded path, in which `a%2Fb` is two segments. A resource also knows its own methods: it
answers OPTIONS, leaves out the body of HEAD, and names what is allowed when it refuses.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import URLPath
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from protocol.errors import Invalid

Handler = Callable[[Request], Awaitable[ASGIApp]]
Handlers = Mapping[str, Handler]
"""The handler of each method. HEAD is GET's unless it has its own."""


class BadSegment(Invalid):
    """An id in the path that is no text, so that nothing can have it."""


class Resource(BaseRoute):
    """`path` is made of literal segments and `{name}` ones; a name stands for exactly one non-empty segment. Text may
    follow the name in its segment, as in `{name}:verb`: it may come percent-encoded. Of two resources that fit a path
    the first is it, so such a one stands before a plain `{name}`."""

    def __init__(self, path: str, handlers: Handlers) -> None:
        self.path, self._handlers = path, dict(handlers)
        self._segments = [_pattern(segment.encode()) for segment in path.split("/")]
        if "GET" in handlers:
            self._handlers.setdefault("HEAD", handlers["GET"])
        self._allow = ", ".join([*self._handlers, "OPTIONS"])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        given = _raw_path(scope).split(b"/")
        if len(given) != len(self._segments):
            return Match.NONE, {}
        params: dict[str, bytes] = {}
        for (name, text), segment in zip(self._segments, given, strict=True):
            value = segment if name and not text else _before(text, segment) if name else b""
            if value:
                params[name] = value
            elif name or text != segment:
                return Match.NONE, {}
        return Match.FULL, {"path_params": params, "endpoint": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        if handler is not None:
            scope["path_params"] = {name: _decoded(name, raw) for name, raw in scope["path_params"].items()}
            answer = await handler(Request(scope, receive, send))
        elif scope["method"] == "OPTIONS":
            answer = Response(status_code=204, headers={"allow": self._allow})
        else:
            refusal = f"{scope['method']} is not possible here. Allowed: {self._allow}."
            raise HTTPException(405, refusal, {"allow": self._allow})
        await answer(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)


class Resources(BaseRoute):
    """Many resources behind one route, each path held only against those that begin as it does and are as long: a
    request costs the same however many there are. The first segment of each is a literal one."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = list(resources)
        self._near: dict[tuple[bytes, int], list[Resource]] = {}
        for one in self.resources:
            self._near.setdefault(_beginning(one.path.encode()), []).append(one)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http":
            for one in self._near.get(_beginning(_raw_path(scope)), ()):
                match, found = one.matches(scope)
                if match is Match.FULL:
                    return match, found
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["endpoint"].handle(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)


def _beginning(path: bytes) -> tuple[bytes, int]:
    """Its first segment and how many it has."""
    parts = path.split(b"/", 2)
    return parts[1] if len(parts) > 1 else b"", path.count(b"/")


def _pattern(segment: bytes) -> tuple[str, bytes]:
    """The name that a segment of a resource's path is for, empty for none, and the text that must be there."""
    if segment[:1] != b"{":
        return "", segment
    name, _, text = segment[1:].partition(b"}")
    return name.decode(), text


def _before(text: bytes, segment: bytes) -> bytes:
    """What stands in a segment before a text, encoded; empty if it does not end with that."""
    given = unquote_to_bytes(segment)
    return quote(given.removesuffix(text), safe="").encode() if given.endswith(text) else b""


def segment(value: str) -> str:
    """An id as one segment of a path. Dots alone are encoded too: bare, a client would resolve them away."""
    return quote(value, safe="") if value.strip(".") else "%2E" * len(value)


def _raw_path(scope: Scope) -> bytes:
    raw = scope.get("raw_path")
    return raw.partition(b"?")[0] if raw is not None else quote(scope["path"]).encode()


def _decoded(name: str, raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadSegment(f"The {name.replace('_', ' ')} in the path is not valid UTF-8.") from None
