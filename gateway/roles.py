"""What a process of hocket can be: a gateway, or a worker, each on a NATS that is there already."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

from protocol.errors import Refused, Unavailable
from runtime.agents.contract import Agents
from runtime.log import Log
from runtime.settings import Settings
from runtime.worker import Worker

from .auth import check_bind
from .server import Server, bind
from .stop import stop_signals

if TYPE_CHECKING:
    from .app import Gateway

_STOP_SECONDS = 10.0


def settle_memory() -> None:
    """Lets the collector pass over what was loaded at the start, and look less often: events make no cycles, but
    each makes objects, and at the standard threshold it looks every few dozen of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def listen(settings: Settings) -> socket.socket:
    """The gateway's socket, which is served only once `serving` has found that it may be. Raises Refused if the address
    cannot be had."""
    return bind(settings.host, settings.port)


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, nats_url: str, listening: socket.socket
) -> AsyncIterator[tuple["Gateway", Server]]:
    """A gateway that serves; on the way out its streams get their last comment and its requests their time.

    Raises Refused, before anyone is served, if the address is open to others and there is no key to ask them for.
    """
    from .app import open_gateway  # the SDKs of its faces take a second, which a worker or a command need not spend

    async with open_gateway(settings, nats_url) as gateway:
        check_bind(listening.getsockname()[0], gateway.auth.keyed)
        settle_memory()
        server = Server(gateway)
        task = asyncio.create_task(server._serve([listening]))
        try:
            yield gateway, server
        finally:
            server.stop()
            await task


def nats_url_of(settings: Settings) -> str:
    """The NATS to use. Raises Refused where none is named."""
    if settings.nats_url is None:
        raise Refused("HOCKET_NATS_URL is not set: name the NATS to use, or start all in one with `hocket dev`.")
    return settings.nats_url


@contextlib.contextmanager
def _advised() -> Iterator[None]:
    """Tells what to do about a NATS that cannot be reached."""
    try:
        yield
    except Unavailable as away:
        raise Unavailable(f"{away.message.rstrip('.')}: start it, or correct HOCKET_NATS_URL.") from away


async def run_gateway(settings: Settings, ready: Callable[[str, bool], None]) -> None:
    """A gateway until a signal stops it; `ready` is told its URL and whether keys are asked for."""
    nats_url = nats_url_of(settings)
    with contextlib.closing(listen(settings)) as listening, stop_signals() as stop:
        url = url_of(listening)
        async with contextlib.AsyncExitStack() as stack:
            with _advised():
                gateway, _ = await stack.enter_async_context(serving(settings, nats_url, listening))
            ready(url, gateway.auth.keyed)
            await stop.wait()


async def run_worker(settings: Settings, agents: Agents, sole: bool, ready: Callable[[str], None]) -> None:
    """A worker until a signal stops it, and then its legs are handed back; `ready` is told its name.

    `sole` is for the one worker of an embedded log: it takes the place of the one before it at once.
    """
    nats_url = nats_url_of(settings)
    with stop_signals() as stop:
        with _advised():
            log = await Log.open(nats_url, "hocket-worker", settings.append_timeout_s, settings.replicas)
            worker = Worker(log, agents, settings)
            await worker.start(sole)
        settle_memory()
        ready(worker.name)
        await stop.wait()
        await worker.stop(_STOP_SECONDS)
        await log.close()
