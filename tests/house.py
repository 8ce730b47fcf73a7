"""A whole hocket for a test: worker and gateway on a given nats-server, on a real socket of loopback."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from starlette.applications import Starlette

from gateway.app import Gateway, open_gateway
from gateway.resource import Resources
from gateway.server import Server, bind
from runtime.agents.python import PythonAgent
from runtime.engine import Engine
from runtime.keys import Wanted, create, fresh_token, revoke
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.worker import Worker

WAIT_SECONDS = 5.0


class House:
    """A running hocket. `client` speaks to its gateway over HTTP; `agents` is what its worker serves."""

    def __init__(self, nats: EmbeddedServer, settings: Settings) -> None:
        self.nats, self.settings = nats, settings
        self.gateway: Gateway
        self.worker: Worker
        self.client: httpx.AsyncClient
        self.url = ""

    @property
    def engine(self) -> Engine:
        return self.gateway.engine

    def knows(self, token: str) -> bool:
        """Whether the gateway takes the key."""
        return self.gateway.auth._keys.find(token, now_ms()) is not None


def routes_of(gateway: Gateway) -> list[Any]:
    """Every route that a gateway serves; what is wrapped around them adds no path."""
    app: Any = gateway.app
    while not isinstance(app, Starlette):
        app = app._app
    return [one for route in app.routes for one in (route.resources if isinstance(route, Resources) else [route])]


@contextlib.asynccontextmanager
async def open_house(nats: EmbeddedServer, settings: Settings, **agents: Callable[..., Any]) -> AsyncIterator[House]:
    """A gateway on a free port and a worker with `agents`, on a running nats-server."""
    house = House(nats, settings)
    log = await Log.open(nats.url, "test-worker", settings.append_timeout_s)
    house.worker = Worker(log, {name: PythonAgent(name, call) for name, call in agents.items()}, settings)
    await house.worker.start()
    async with open_gateway(settings, nats.url) as house.gateway:
        listening = bind("127.0.0.1", 0)
        house.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = Server(house.gateway)
        serving = asyncio.create_task(server._serve([listening]))
        async with httpx.AsyncClient(base_url=house.url, timeout=WAIT_SECONDS) as house.client:
            try:
                yield house
            finally:
                server.stop()
                await asyncio.wait_for(serving, WAIT_SECONDS)
                await house.worker.stop()
                await log.close()


async def give_key(house: House, *others: House, **wanted: Any) -> str:
    """A new key, known to the gateways of these houses."""
    token = fresh_token()
    log = await Log.open(house.nats.url, "test-keys", house.settings.append_timeout_s)
    try:
        await create(log, token, Wanted(**wanted), now_ms())
    finally:
        await log.close()
    async with asyncio.timeout(WAIT_SECONDS):
        while not all(one.knows(token) for one in (house, *others)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return token


async def take_key(house: House, token: str) -> None:
    """Revokes a key; returns when that is recorded, not when a gateway knows of it."""
    log = await Log.open(house.nats.url, "test-keys", house.settings.append_timeout_s)
    try:
        await revoke(log, key_id(token), now_ms())
    finally:
        await log.close()


def key_id(token: str) -> str:
    return f"key_{hashlib.sha256(token.encode()).hexdigest()[:12]}"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def agui_input(thread_id: str = "t1", run_id: str = "r1", text: str = "hi", **more: Any) -> dict[str, Any]:
    """A RunAgentInput as a client of AG-UI 1.0 posts it."""
    message = {"id": f"user-{run_id}", "role": "user", "content": text}
    return {"threadId": thread_id, "runId": run_id, "protocolVersion": "1.0", "messages": [message], "state": {},
            "tools": [], "context": [], "forwardedProps": {}, **more}  # fmt: skip
