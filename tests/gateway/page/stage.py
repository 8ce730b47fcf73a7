"""A hocket with agents for the run page, and how its tests start runs and cut streams."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.gateway.page.browser import Room, open_room
from tests.gateway.page.fake import open_fake


class Stage:
    """A running hocket and a browser before it."""

    def __init__(self, house: Any, room: Room) -> None:
        self.house, self.room = house, room

    async def start(self, agent: str, run_id: str = "r1", text: str = "hi") -> None:
        await self.house.start(agent, run_id, text)

    async def cut_streams(self) -> None:
        """Ends every open stream, as a gateway that goes away does."""
        await self.house.cut()


@contextlib.asynccontextmanager
async def open_stage(
    keys: dict[str, str] | None = None, renderers: Path | None = None, **agents: Callable[..., Any]
) -> AsyncIterator[Stage]:
    people = {key: {"id": f"key:{name}", "kind": "api_key", "name": name} for key, name in (keys or {}).items()}
    async with open_fake(people, renderers, **agents) as house, open_room(house.url) as room:
        yield Stage(house, room)
