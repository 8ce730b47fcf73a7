"""Holding a request until there is something to say, but never past the client's leaving or the gateway's end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from .stream import Streams, gone

Answer = TypeVar("Answer")


async def hold(work: Coroutine[Any, Any, Answer], request: Request, streams: Streams) -> Answer | None:
    """What `work` returns or raises; None if the client has left or the gateway is stopping before that."""
    doing = asyncio.ensure_future(work)
    others = [asyncio.ensure_future(gone(request.receive)), asyncio.ensure_future(streams.stopping.wait())]
    try:
        await asyncio.wait([doing, *others], return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, *others):
            task.cancel()
        await asyncio.gather(doing, *others, return_exceptions=True)
