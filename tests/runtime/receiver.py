"""A receiver of webhooks on a real socket of loopback: it keeps what it is sent and answers as it is told to."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

WAIT_SECONDS = 10.0


@dataclass
class Received:
    """One POST. `headers` are by lower-case name."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def seq(self) -> int:
        return int(self.headers["x-hocket-seq"])

    @property
    def run(self) -> str:
        return self.headers["x-hocket-run"]

    @property
    def state(self) -> str:
        """The state that the task is told to be in, by whichever kind of update."""
        (told,) = orjson.loads(self.body).values()
        return str(told["status"]["state"]).removeprefix("TASK_STATE_")


@dataclass
class Reply:
    """`status` 0 closes the connection without an answer; `hang` waits before it until `let_go`,
    `pause_s` for that long."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    pause_s: float = 0.0


class Receiver:
    """`taken` is what it has answered with 2xx, `seen` everything that came; `reply` decides from what came.
    `overlapped` is true once two posts of one webhook have been under way at once."""

    def __init__(self) -> None:
        self.seen: list[Received] = []
        self.taken: list[Received] = []
        self.reply: Callable[[Received], Reply] = lambda _: Reply()
        self.under_way = self.most_under_way = 0
        self.overlapped = False
        self._by_webhook: dict[str, int] = {}
        self.connections = 0
        self._open = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._server = await asyncio.start_server(self._accept, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=WAIT_SECONDS)

    def let_go(self) -> None:
        """Whoever hangs is answered now."""
        self._open.set()

    async def has_taken(self, count: int) -> None:
        await self._until(lambda: len(self.taken) >= count)

    async def has_seen(self, count: int) -> None:
        await self._until(lambda: len(self.seen) >= count)

    async def has_told(self, holds: Callable[[], bool]) -> None:
        """Returns once that holds of what has come."""
        await self._until(holds)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        came = Received(first.split()[1], headers, body)
        self.seen.append(came)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        webhook = headers.get("x-hocket-delivery", "").rpartition("/")[0]
        self._by_webhook[webhook] = at_once = self._by_webhook.get(webhook, 0) + 1
        self.overlapped |= at_once > 1
        try:
            reply = self.reply(came)
            await asyncio.sleep(reply.pause_s)
            if reply.hang:
                await self._open.wait()
        finally:
            self.under_way -= 1
            self._by_webhook[webhook] -= 1
        if reply.status:
            if reply.status < 300:
                self.taken.append(came)
            told = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
            writer.write(f"HTTP/1.1 {reply.status} Said\r\ncontent-length: 2\r\n{told}\r\nok".encode())
            await writer.drain()


@contextlib.asynccontextmanager
async def open_receiver(**how: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start(**how)
    try:
        yield receiver
    finally:
        await receiver.stop()
