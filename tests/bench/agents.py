"""The agents of the bench: what they say follows from the user's text, a list of words."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

_DELTA = "hello, wor"


def _words(run: Any) -> list[str]:
    return str(run.input.messages[-1].content).split()


async def burst(run: Any) -> AsyncIterator[Any]:
    """`n`: n events as fast as it can."""
    for _ in range(int(_words(run)[0]) - 4):
        yield _DELTA


async def paced(run: Any) -> AsyncIterator[Any]:
    """`start_s n period_s`: from the instant `start_s` on, n events, each saying when it was yielded (ns)."""
    start, count, period = (float(word) for word in _words(run))
    for number in range(int(count)):
        await asyncio.sleep(max(0.0, start + number * period - time.time()))
        yield f"@{time.time_ns()};"


async def asking(run: Any) -> AsyncIterator[Any]:
    """Asks whether to go on, and does."""
    if run.answers:
        yield "On."
    else:
        yield run.interrupt("Go on?", id="go")


async def silent(run: Any) -> AsyncIterator[Any]:
    """`n seconds`: n events, then silence for so long."""
    count, seconds = _words(run)
    for _ in range(int(count) - 3):
        yield _DELTA
    await asyncio.sleep(float(seconds))
