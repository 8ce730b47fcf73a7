"""What the tests of the running side share: engines and workers on one nats-server, and a wire that can fail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from protocol.entries import Principal, decode
from protocol.errors import Unavailable
from protocol.state import RunState
from protocol.subjects import run_subject
from runtime.agents.python import PythonAgent
from runtime.asks import Start
from runtime.engine import Engine
from runtime.index import Index
from runtime.log import Log, Stored
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.worker import Worker

WAIT_SECONDS = 5.0


@contextlib.asynccontextmanager
async def open_engine(url: str, settings: Settings) -> AsyncIterator[Engine]:
    log = await Log.open(url, "test-engine", settings.append_timeout_s)
    index = Index(log)
    await index.start()
    try:
        yield Engine(log, settings, index)
    finally:
        await index.stop()
        await log.close()


@contextlib.asynccontextmanager
async def open_worker(
    url: str, settings: Settings, name: str | None = None, **agents: Callable[..., Any]
) -> AsyncIterator[Worker]:
    log = await Log.open(url, "test-worker", settings.append_timeout_s)
    worker = Worker(log, {name: PythonAgent(name, call) for name, call in agents.items()}, settings, name)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()
        await log.close()


@contextlib.asynccontextmanager
async def open_stage(nats: EmbeddedServer, settings: Settings, **agents: Callable[..., Any]) -> AsyncIterator[Engine]:
    """One worker with `agents`, and an engine."""
    async with open_worker(nats.url, settings, "w1", **agents), open_engine(nats.url, settings) as engine:
        yield engine


def want(agent: str, run_id: str | None = "r1", thread_id: str | None = "t1", text: str = "hi", **more: Any) -> Start:
    message = {"id": f"user-{run_id}", "role": "user", "content": text}
    given = {"messages": [message], "state": {}, "tools": [], "context": [], "forwardedProps": {}, **more}
    return Start(agent, given, thread_id, run_id)


async def until(engine: Engine, by: Principal, holds: Callable[[RunState], Any], run_id: str = "r1") -> RunState:
    """The run's state once `holds`; fails after five seconds. A log that is away is asked again."""
    seconds, state = WAIT_SECONDS, RunState()
    while seconds > 0 and not holds(state):
        try:
            state = await engine.changed(run_id, by, lambda state: bool(holds(state)), seconds)
            break
        except Unavailable:
            seconds -= 0.05
            await asyncio.sleep(0.05)
    assert holds(state), f"run {run_id} is {state.status} at {state.seq} and the wait is over"
    return state


async def ended(engine: Engine, by: Principal, run_id: str = "r1") -> RunState:
    return await until(engine, by, lambda state: state.ended_at_ms is not None, run_id)


def text_of(state: RunState) -> str:
    """What the agent has said, all its messages joined."""
    return "".join("".join(message.text or ()) for message in state.messages if message.role == "assistant")


async def stored(log: Log, run_id: str = "r1", tenant: str = "default") -> list[Stored]:
    return [one async for batch in log.read(run_subject(tenant, run_id)) for one in batch]


async def events(log: Log, run_id: str = "r1") -> list[dict[str, Any]]:
    """Every event of the run, once it is certain that they are numbered 1..n."""
    entries = [entry for one in await stored(log, run_id) for entry in decode(one.body)]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    return [entry.event for entry in entries]


async def kinds(log: Log, run_id: str = "r1") -> list[str]:
    return [event["type"] for event in await events(log, run_id)]


def ends(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in told if event["type"] in ("RUN_FINISHED", "RUN_ERROR")]


async def eventually(holds: Callable[[], Any], seconds: float = WAIT_SECONDS) -> None:
    """Looks every few milliseconds for what tells nobody when it happens."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def restart(nats: EmbeddedServer, down: float = 0.0) -> None:
    """Kill -9 and a start on the same port."""
    port = int(nats.url.rpartition(":")[2])
    await nats.stop(kill=True)
    if down:
        await asyncio.sleep(down)
    await nats.start(port)


class Wire:
    """A TCP relay to nats-server. `deaf` loses what the server says, `mute` what the client says; `cut` ends both."""

    def __init__(self, nats: EmbeddedServer) -> None:
        self._token, _, address = nats.url.removeprefix("nats://").rpartition("@")
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.deaf = self.mute = False
        self.lost = asyncio.Event()
        self.accepts = True

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"nats://{self._token}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=WAIT_SECONDS)

    def cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepts:
            writer.close()
            return
        there, back = await asyncio.open_connection(self._host, self._port)
        for work in (self._relay(reader, back, lambda: self.mute), self._relay(there, writer, lambda: self.deaf)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, loses: Callable[[], bool]) -> None:
        self._open.add(sink)
        try:
            while part := await source.read(1 << 16):
                if loses():
                    self.lost.set()
                    continue
                sink.write(part)
                await sink.drain()
        except OSError:
            pass
        finally:
            self._open.discard(sink)
            sink.transport.abort()
            sink.close()


@contextlib.asynccontextmanager
async def open_wire(nats: EmbeddedServer) -> AsyncIterator[tuple[Wire, str]]:
    """The relay and the URL by which a client goes through it."""
    wire = Wire(nats)
    url = await wire.start()
    try:
        yield wire, url
    finally:
        await wire.stop()
