"""A hocket with agents for the run page, and how its tests start runs and cut streams."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.page.browser import Room, open_room
from tests.house import House, bearer, give_key, open_house


class Stage:
    """A running hocket and a browser before it."""

    def __init__(self, house: House, room: Room) -> None:
        self.house, self.room = house, room
        self.headers: dict[str, str] = {}

    async def lock(self) -> str:
        """From now on everybody needs a key; this one is the stage's own."""
        key = await give_key(self.house)
        self.headers = bearer(key)
        return key

    async def token(self, run_id: str = "r1") -> str:
        """A token for the run's page."""
        answer = await self.house.client.post(f"/v1/runs/{run_id}/token", headers=self.headers)
        token: str = answer.json()["token"]
        return token

    async def start(self, agent: str, run_id: str = "r1", text: str = "hi") -> None:
        want = {"agent": agent, "run_id": run_id, "input": text}
        started = await self.house.client.post("/v1/runs", json=want, headers=self.headers)
        assert started.status_code == 201, started.text

    async def cut_streams(self) -> None:
        """Ends every open stream, as a gateway that goes away does."""
        for stream in list(self.house.gateway.streams._open.values()):
            stream.finish()


class OpenStage:
    """Opens stages on one nats-server."""

    def __init__(self, nats: EmbeddedServer, settings: Settings) -> None:
        self._nats, self._settings = nats, settings

    @contextlib.asynccontextmanager
    async def __call__(self, renderers: Path | None = None, **agents: Callable[..., Any]) -> AsyncIterator[Stage]:
        settings = self._settings.model_copy(update={"page_renderers": renderers})
        async with open_house(self._nats, settings, **agents) as house, open_room(house.url) as room:
            yield Stage(house, room)
