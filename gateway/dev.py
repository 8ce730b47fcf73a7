"""All of hocket in one command: the gateway in this process, nats-server and a worker as its children.

What is stopped first still needs what is stopped later: streams and legs, then the gateway, then nats-server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from runtime.settings import Settings

from .children import NatsChild, WorkerChild
from .roles import listen, serving, url_of
from .stop import stop_signals

DEMO = "demo=gateway.demo:agent"
_STOP_SECONDS = 2.0
_CANCEL_SECONDS = 0.2


async def run_dev(settings: Settings, targets: Sequence[str], ready: Callable[[str, bool], None]) -> None:
    """Serves until a signal; `ready` is told the URL, and whether keys are asked for, once requests are served and
    the agents are announced.

    Raises Refused or Unavailable with one sentence if a part cannot start, or its log is lost on the way.
    """
    nats = NatsChild(settings) if settings.nats_url is None else None
    children: list[NatsChild | WorkerChild] = [nats] if nats is not None else []

    def kill() -> None:
        for child in children:
            child.kill()

    with contextlib.closing(listen(settings)) as listening, stop_signals(kill) as stop:
        async with _nats_url(settings, nats) as nats_url:
            worker = WorkerChild(targets, nats_url, sole=nats is not None)
            children.append(worker)
            async with serving(settings, nats_url, listening) as (gateway, server), _tasks() as tasks:
                try:
                    if nats is not None:
                        tasks.append(asyncio.create_task(nats.keep()))
                    starting = asyncio.create_task(worker.start())
                    tasks.append(starting)
                    await _first_of(stop, tasks)
                    if starting.done():
                        tasks.remove(starting)
                        tasks.append(asyncio.create_task(worker.keep()))
                        ready(url_of(listening), gateway.auth.keyed)
                        await _first_of(stop, tasks)
                finally:
                    server.stop()
                    await worker.stop(_STOP_SECONDS)


@contextlib.asynccontextmanager
async def _nats_url(settings: Settings, nats: NatsChild | None) -> AsyncIterator[str]:
    if nats is None:
        yield str(settings.nats_url)
        return
    try:
        yield await nats.start()
    finally:
        await nats.stop()


@contextlib.asynccontextmanager
async def _tasks() -> "AsyncIterator[list[asyncio.Task[None]]]":
    """Tasks that are cancelled on the way out, again where that gets lost: `wait_for` of Python 3.11 and the closing of
    a connection in nats-py may each swallow it."""
    tasks: list[asyncio.Task[None]] = []
    try:
        yield tasks
    finally:
        pending = set(tasks)
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first_of(stop: asyncio.Event, tasks: "list[asyncio.Task[None]]") -> None:
    """Returns at the stop or once the first task has returned; raises what a task raises."""
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
    for task in done:
        task.result() if task is not stopped else None
