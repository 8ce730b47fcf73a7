"""When a process is to end: the first SIGTERM, SIGINT or SIGHUP asks it to, the second does not ask."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def stop_signals(at_once: Callable[[], None] = lambda: None) -> Iterator[asyncio.Event]:
    """An event that the first signal sets; the second calls `at_once` and ends the process there and then.

    A Python handler instead of the loop's own: it runs even while an agent blocks the loop.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    told: list[int] = []

    def handle(sig: int, frame: FrameType | None) -> None:
        told.append(sig)
        if len(told) > 1:
            at_once()
            os._exit(128 + sig)
        loop.call_soon_threadsafe(stop.set)

    before = {sig: signal.signal(sig, handle) for sig in _SIGNALS}
    try:
        yield stop
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)
