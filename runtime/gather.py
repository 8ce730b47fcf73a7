"""When what has been said is sent: at once on an idle process, in shared ticks under load.

A single event costs what a message costs, most of it the wake-ups of three processes. Under load the writers of
all runs therefore send together: the window grows with the rate of appends, and is at most GATHER_SECONDS_MAX.
"""

import asyncio
from collections.abc import Callable

GATHER_SECONDS_MAX = 0.015
_IDLE_RATE = 500.0
_FULL_RATE = 8_000.0
_MEMORY_SECONDS = 0.25


def window(rate: float) -> float:
    """Seconds to gather at `rate` appends a second: 0 up to 500, growing to 15 ms at 8,000."""
    share = (rate - _IDLE_RATE) / (_FULL_RATE - _IDLE_RATE)
    return GATHER_SECONDS_MAX * min(max(share, 0.0), 1.0)


class Gather:
    """One per process. `request` calls `send` back on the loop: in this turn or, under load, in the next tick."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._rate = 0.0
        self._ticked_at = 0.0

    def request(self, send: Callable[[], None]) -> None:
        self._waiting.append(send)
        if len(self._waiting) > 1:
            return
        loop = asyncio.get_running_loop()
        pause = window(self._rate * _decay(loop.time() - self._ticked_at))
        if pause > 0.0:
            loop.call_later(pause, self._tick)
        else:
            loop.call_soon(self._tick)

    def _tick(self) -> None:
        waiting, self._waiting = self._waiting, []
        now = asyncio.get_running_loop().time()
        self._rate = self._rate * _decay(now - self._ticked_at) + len(waiting) / _MEMORY_SECONDS
        self._ticked_at = now
        for send in waiting:
            send()


def _decay(seconds: float) -> float:
    """What is left of a rate after that long: linear to first order, so that n appends a second read as n."""
    return float(max(0.0, 1.0 - seconds / _MEMORY_SECONDS))
