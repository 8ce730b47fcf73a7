"""Paths of the face: what one names, and the SDK's routes under the path that they know."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from a2a.utils.constants import A2A_JSON_MEDIA_TYPE
from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..body import replayed
from .call import Call, echo

_ROOTS = ("message:send", "message:stream", "tasks", "extendedAgentCard", "v1")


class Place(NamedTuple):
    """A path of the face: the agent it names, if it does, and the tenant and operation of HTTP+JSON."""

    agent: str | None
    tenant: str
    operation: str


def place_of(path: str) -> Place:
    """What a path below the face's own names; segments are as they were sent. JSON-RPC is the operation ``."""
    segments = [part for part in path.split("/") if part]
    agent = unquote(segments.pop(0)) if segments and segments[0] not in _ROOTS else None
    tenant = unquote(segments.pop(0)) if len(segments) > 1 and segments[0] not in _ROOTS else ""
    return Place(agent, tenant, "".join(f"/{part}" for part in segments))


class Under(BaseRoute):
    """All paths at and below one, whatever is encoded in them."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        self.path, self.methods, self._app = path, ("GET", "POST"), app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope["path"] if scope["type"] == "http" else ""
        return (Match.FULL, {"endpoint": self._app}) if f"{path}/".startswith(f"{self.path}/") else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class At:
    """The SDK's routes under the path they know, with the body that was read already. What the call was refused is
    raised in place of their answer."""

    def __init__(self, app: ASGIApp, path: str, body: bytes, call: Call) -> None:
        self._app, self._path, self._body, self._call = app, path, body, call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answered(message: Message) -> None:
            if self._call.refused is not None:
                return
            if message["type"] == "http.response.start":
                more = [(name.encode(), value.encode()) for name, value in echo(self._call).items()]
                message = {**message, "headers": [*self._as_asked(message.get("headers", ())), *more]}
            await send(message)

        inner = {**scope, "path": unquote(self._path), "raw_path": self._path.encode(), "root_path": ""}
        await self._app(inner, replayed(self._body, receive), answered)
        if self._call.refused is not None:
            raise self._call.refused

    def _as_asked(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        media = media_of(self._call.request).encode()
        for name, value in headers:
            told = name == b"content-type" and value.startswith(A2A_JSON_MEDIA_TYPE.encode())
            yield name, media if told else value


def media_of(request: Request) -> str:
    """1.0.1 prefers application/a2a+json and 1.0.0 knew application/json alone: who sends that is answered so."""
    plain = request.headers.get("content-type", "").startswith("application/json")
    return "application/json" if plain else A2A_JSON_MEDIA_TYPE


def raw_path(scope: Scope) -> str:
    """The path as it was sent."""
    raw: bytes | None = scope.get("raw_path")
    return (raw.partition(b"?")[0] if raw is not None else str(scope["path"]).encode()).decode("latin-1")
