"""A follower as a server-sent event response: pushed without a task of its own, bounded, and free to come back.

    connect ──> replay: `send` awaited, 64 KB at a time ──> live: each commit pushes ──> end of the run, or leg
                                                             │        ▲
                                                  send suspends      it drained
                                                             └─ stalled ── stall_s ──> let go

In the live phase the handler only awaits `receive`, so that it hears of a disconnect; whoever brings an event
writes it to every client, through the server's `hocket.write` where there is one and else by stepping the `send`
coroutine itself. If a client reads slowly, a task waits for it and nothing is sent meanwhile: the cursor waits,
not the bytes. Figures: decision record in `gateway/README.md`.
"""

import asyncio
import contextlib
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any

from sse_starlette.sse import AppStatus
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol import sse
from protocol.errors import Unavailable
from runtime.chunks import Chunk
from runtime.follow import SEND_BYTES_MAX, Follow

logger = logging.getLogger("hocket.stream")

# The SDKs of A2A and MCP answer older peers by sse-starlette, which would cut every answer off in mid-frame at a
# signal, and for good in this process. What waits there ends by itself when the gateway stops.
AppStatus.enable_automatic_graceful_drain = False

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
DRAINED = b"retry: 1000\n: the gateway is stopping; come back with your last event id\n\n"
NO_HURRY = b"retry: 30000\n\n"
"""A browser comes back to a stream that has ended, again and again: all it can be told is not to hurry."""
_LATER = "hocket.later"
_TICKS = 3
_SLICE = 200

Render = Callable[[Chunk], bytes]
"""The bytes a face sends for a message of the log; empty for what it does not show."""


class Streams:
    """All open streams of a process: one timer for their keep-alives and stalls, one drain for their end."""

    def __init__(self, keep_alive_s: float, stall_s: float) -> None:
        self.keep_alive_s, self.stall_s = keep_alive_s, stall_s
        self._framed: tuple[Chunk | None, Render | None, bytes] = (None, None, b"")
        self._open: dict[int, EventStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, stream: "EventStream") -> None:
        self._open[id(stream)] = stream

    def remove(self, stream: "EventStream") -> None:
        self._open.pop(id(stream), None)

    def framed(self, piece: Chunk, render: Render) -> bytes:
        """A live message as a chunk of HTTP/1.1, made once for all the clients that it goes to now."""
        if self._framed[0] is not piece or self._framed[1] is not render:
            body = render(piece)
            self._framed = piece, render, b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return self._framed[2]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """The shared timer; ends by cancellation."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.keep_alive_s / _TICKS)
            now = loop.time()
            for number, stream in enumerate(list(self._open.values())):
                stream.tick(now, self.stall_s)
                if number % _SLICE == _SLICE - 1:
                    await asyncio.sleep(0)

    def drain(self) -> None:
        """Gives every stream its farewell and ends it; runs go on."""
        self.stopping.set()
        for stream in list(self._open.values()):
            stream.finish()


def head(more_headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
    """What HEAD of a stream is told: its headers, and that it is there."""
    return Response(headers={name.decode(): value.decode() for name, value in (*HEADERS, *more_headers)})


class EventStream:
    """One client's response, from `follow`'s cursor to the end: of the run, or of a leg if `leg_only`.

    `opening` goes out first (a prelude). `render` turns messages into the face's bytes. `farewell` is said last if the
    gateway stops before the end, and `keep_alive` is the comment that breaks a silence. Unless it is `live` it
    ends with what is recorded. Once `holds` is false, for its credential is no longer good, the client is cut off.
    `more_headers` are sent beside those of every stream.
    """

    __slots__ = ("_streams", "_follow", "_render", "_opening", "_leg_only", "_farewell", "_send", "_write", "_quiet",
                 "_stalled_at", "_over", "_live", "_task", "_keep_alive", "_holds", "_more_headers",
                 "_waits", "__weakref__")  # fmt: skip

    def __init__(
        self,
        streams: Streams,
        follow: Follow,
        render: Render,
        opening: bytes = b"",
        leg_only: bool = False,
        farewell: bytes = DRAINED,
        keep_alive: bytes = sse.KEEP_ALIVE,
        holds: Callable[[], bool] | None = None,
        more_headers: Sequence[tuple[bytes, bytes]] = (),
        live: bool = True,
    ) -> None:
        self._waits = live
        self._holds, self._more_headers = holds, more_headers
        self._streams, self._follow, self._render = streams, follow, render
        self._opening, self._leg_only, self._farewell = opening, leg_only, farewell
        self._keep_alive = keep_alive
        self._quiet = 0
        self._stalled_at: float | None = None
        self._over = False
        self._live = False
        self._task: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        later: list[EventStream] | None = scope.get(_LATER)
        if later is None:
            await self.serve(scope, receive, send)
        else:
            later.append(self)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole response."""
        self._send = send
        self._write = write_of(scope)
        self._task = asyncio.current_task()
        self._streams.add(self)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *self._more_headers]})
            await send({"type": "http.response.body", "body": self._opening or b":\n\n", "more_body": True})
            self._opening = b""
            if self._streams.stopping.is_set():
                await send({"type": "http.response.body", "body": self._farewell})
                return
            await self._replay(receive)
        except asyncio.CancelledError:
            if not self._over or self._task is None:
                raise
            self._task.uncancel()
        except Unavailable as away:  # too late for a status: the client is cut off, and comes back with its cursor
            logger.warning("A stream is cut off: %s", away.message)
            if self._streams.stopping.is_set() and self._stalled_at is None:
                await send({"type": "http.response.body", "body": self._farewell})
        finally:
            self._over = True
            self._streams.remove(self)
            self._follow.close()

    async def _replay(self, receive: Receive) -> None:
        """Sends what is recorded; then goes live, in the same turn in which it finds nothing more."""
        watch: asyncio.Task[Message] | None = None
        try:
            while not self._over:
                body = self._body(await self._follow.fill())
                if body:
                    self._quiet = 0
                    await self._send({"type": "http.response.body", "body": body, "more_body": True})
                    if watch is None:
                        watch = asyncio.get_running_loop().create_task(gone(receive))
                    await asyncio.sleep(0)
                    if watch.done():
                        return
                elif self._follow.over(self._leg_only) or not (self._waits or self._follow.behind):
                    self._over = True
                elif not self._follow.behind:
                    break
            if self._over:
                await self._send({"type": "http.response.body", "body": self._opening})
                return
            self._live = True
            self._follow.attach(self._heard)
            self._push()
            await (watch or gone(receive))
        finally:
            if watch is not None and not watch.done():
                watch.cancel()

    def _body(self, chunks: Iterable[Chunk]) -> bytes:
        parts = []
        for piece in chunks:
            parts.append(self._render(piece))
            if piece.ends == "run" or (piece.ends and self._leg_only):
                self._over = True
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _heard(self, piece: Chunk) -> None:
        """A message has been recorded. The hot path of a fan-out: one write, of bytes that all clients share."""
        write = self._write
        if write is None or piece.ends or self._stalled_at is not None or self._over or not self._follow.take(piece):
            self._push()
            return
        framed = self._streams.framed(piece, self._render)
        if framed:
            self._quiet = 0
            if not write(framed):
                self._stalled_at = asyncio.get_running_loop().time()
                self._streams.spawn(self._drained(self._send({"type": "http.response.body", "more_body": True})))

    def _push(self) -> None:
        """Sends what has come, unless the client is still busy with what it was sent before."""
        try:
            self._send_ready()
        except Unavailable as late:
            logger.info("A client is let go: %s", late.message)
            self._let_go()

    def _send_ready(self) -> None:
        while self._stalled_at is None and not self._over:
            chunks = self._follow.ready(SEND_BYTES_MAX)
            if not chunks:
                if self._follow.behind:  # fallen out of the cache: read the log, then go on
                    self._stalled_at = asyncio.get_running_loop().time()
                    self._streams.spawn(self._catch_up())
                elif self._follow.over(self._leg_only):
                    self._over = True
                    self._drive(b"", False)
                return
            body = self._body(chunks)
            if body or self._over:
                self._quiet = 0
                self._drive(body, not self._over)

    def _drive(self, body: bytes, more: bool) -> None:
        """Steps `send` once by hand; a task takes it over if it suspends."""
        sending = self._send({"type": "http.response.body", "body": body, "more_body": more})
        assert isinstance(sending, Coroutine)
        try:
            waiting = sending.send(None)
        except StopIteration:
            return
        except OSError:
            return  # the client has gone; `receive` tells the handler
        self._stalled_at = asyncio.get_running_loop().time()
        self._streams.spawn(self._drained(_rest(sending, waiting)))

    async def _drained(self, sending: Awaitable[None]) -> None:
        with contextlib.suppress(OSError):
            await sending
        self._stalled_at = None
        self._push()

    async def _catch_up(self) -> None:
        try:
            body = self._body(await self._follow.fill())
            if body:
                await self._send({"type": "http.response.body", "body": body, "more_body": not self._over})
        except Exception as fault:  # where the task ends: the client comes back with its cursor
            logger.warning("A stream is given up: %r", fault)
            self._let_go()
            return
        self._stalled_at = None
        self._push()

    def tick(self, now: float, stall_s: float) -> None:
        """A third of the keep-alive time has passed."""
        if self._holds is not None and not self._holds():
            logger.info("A client whose credential is no longer good is let go")
            self._let_go()
            return
        if self._stalled_at is not None:
            if now - self._stalled_at > stall_s:
                logger.info("A client that took nothing for %g s is let go", stall_s)
                self._let_go()
            return
        self._quiet += 1
        if self._quiet >= _TICKS and self._live and not self._over:
            self._quiet = 0
            self._drive(self._keep_alive, True)

    def finish(self) -> None:
        """Ends the response now, with its farewell if the client takes it."""
        if self._over:
            return
        self._over = True
        if self._live and self._stalled_at is None:
            self._drive(self._farewell, False)
        elif self._task is not None:
            self._task.cancel()

    def _let_go(self) -> None:
        self._over = True
        if self._task is not None:
            self._task.cancel()


class Unwinding:
    """ASGI middleware, outermost: a stream is served after the routing that found it has returned.

    A waiting client then holds two frames instead of a dozen, with all that they refer to, and its bytes pass no
    middleware. Without it streams are served in place.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        later: list[EventStream] = []
        await self._app({**scope, _LATER: later}, receive, send)
        if later:
            await later.pop().serve(scope, receive, send)


def write_of(scope: Scope) -> Callable[[bytes], bool] | None:
    """The server's `hocket.write` extension where it may be used: takes a chunk of HTTP/1.1 as it is and says
    whether the client keeps up. Without it (any other ASGI server) `send` does the same, for more CPU."""
    if scope["http_version"] != "1.1" or scope["method"] == "HEAD":
        return None
    offered = (scope.get("extensions") or {}).get("hocket.write")
    return offered["write"] if offered else None


async def gone(receive: Receive) -> Message:
    """Returns once the client has left, or the response is complete."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message


@types.coroutine
def _rest(sending: Coroutine[Any, Any, None], waiting: Any) -> Generator[Any, Any, None]:
    """What is left of a coroutine that was stepped by hand until it yielded `waiting`."""
    while True:
        try:
            value = yield waiting
        except BaseException as fault:
            try:
                waiting = sending.throw(fault)
            except StopIteration:
                return
        else:
            try:
                waiting = sending.send(value)
            except StopIteration:
                return
