"""The log for a command that is over in a moment: the NATS that is named, or the embedded one, running or not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from protocol.errors import Refused

from .log import Log
from .nats_server import EmbeddedServer, in_use, running_url
from .settings import Settings
from .storage import check_log

Result = TypeVar("Result")

_SECONDS_MAX = 10.0


async def with_log(settings: Settings, work: Callable[[Log], Awaitable[Result]]) -> Result:
    """What `work` makes of the log. Raises what it raises, and Unavailable or Refused if the log cannot be had."""
    async with _server(settings) as url:
        log = await Log.open(url, "hocket-command", min(settings.append_timeout_s, _SECONDS_MAX), settings.replicas)
        try:
            return await work(log)
        finally:
            await log.close()


@contextlib.asynccontextmanager
async def _server(settings: Settings) -> AsyncIterator[str]:
    """HOCKET_NATS_URL; or the server of the hocket that has the data folder; or one for the moment."""
    if settings.nats_url is not None:
        yield settings.nats_url
        return
    server = EmbeddedServer(settings.data, settings.sync_interval_s)
    running = await _started(server)
    try:
        if running is None:
            await check_log(settings.data, server.url)
        yield running or server.url
    finally:
        if running is None:
            await server.stop()


async def _started(server: EmbeddedServer) -> str | None:
    """None once `server` has its folder to itself, else the address of the one that has it, which may be starting."""
    deadline = asyncio.get_running_loop().time() + _SECONDS_MAX
    while True:
        try:
            await server.start()
            return None
        except Refused:
            if not in_use(server.folder):
                raise
            running = running_url(server.folder)
            if running is not None:
                return running
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.05)
