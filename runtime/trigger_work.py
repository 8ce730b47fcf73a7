"""The part of a worker that makes triggers fire: by the clock, by what runs come to, by what is told."""

import asyncio

from .engine import Engine
from .firing import Firing
from .keys import Keys
from .log import Log
from .settings import Settings
from .trigger_clock import TriggerClock
from .trigger_events import TriggerEvents


class TriggerWork:
    """Starts runs through the same engine as a gateway. It knows all keys, for a trigger fires only as long as the one
    who set it may start runs."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self._keys = Keys(log)
        firing = Firing(Engine(log, settings), self._keys)
        self._clock, self._events = TriggerClock(log, firing, settings.append_timeout_s), TriggerEvents(log, firing)

    async def start(self) -> None:
        """Raises Unavailable or Refused."""
        await self._keys.start()
        await self._events.start()
        await self._clock.start()

    async def stop(self) -> None:
        await asyncio.gather(self._clock.stop(), self._events.stop())
        await self._keys.stop()
