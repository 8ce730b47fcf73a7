"""What webhooks would be told as a server-sent event response without an end, for `GET /v1/webhooks/events`.

    id: <rev>-<seq>\\nevent: <type>\\ndata: <body>\\n\\n       a message, byte for byte as a webhook's body
    id: <rev>-<seq>\\nevent: listening\\ndata: {}\\n\\n        only the place: at the beginning and in silence

Its readers are few and nothing fans out, so it is written plainly and not pushed as in `stream.py`.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from protocol.errors import Invalid, Unavailable
from runtime.webhook_feed import Place, Told, WebhookFeed

from .stream import DRAINED, HEADERS, Streams, gone

logger = logging.getLogger("hocket.webhook_stream")

_PLACE = re.compile(r"([0-9]{1,16})-([0-9]{1,16})", re.ASCII)


def place_of(request: Request) -> Place | None:
    """Where the client goes on, None where it names no place. Raises Invalid."""
    given = request.headers.get("last-event-id")
    if not given:
        return None
    found = _PLACE.fullmatch(given)
    if found is None:
        raise Invalid(f"Last-Event-ID must be the id of an event of this stream, as 1234-5; it is {given[:40]!r}.")
    return Place(int(found[1]), int(found[2]))


class WebhookStream:
    """One reader's response. It ends when the gateway stops, when the reader takes nothing for `streams.stall_s`, and
    once `holds` is false, for its credential is no longer good."""

    def __init__(self, streams: Streams, feed: WebhookFeed, holds: Callable[[], bool]) -> None:
        self._streams, self._feed, self._holds = streams, feed, holds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        left, stopping = loop.create_task(gone(receive)), loop.create_task(self._streams.stopping.wait())
        coming = loop.create_task(self._feed.next())
        last: bytes | None = None
        stall_s, silence_s = self._streams.stall_s, self._streams.keep_alive_s
        try:
            async with asyncio.timeout(stall_s) as patience:
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                body = _place(self._feed.place)
                while not left.done() and last is None:
                    patience.reschedule(loop.time() + stall_s)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    patience.reschedule(None)
                    tasks = {left, stopping, coming}
                    await asyncio.wait(tasks, timeout=silence_s, return_when=asyncio.FIRST_COMPLETED)
                    if stopping.done() or not self._holds():
                        last = DRAINED if stopping.done() else b""
                    elif coming.done():
                        body = _message(coming.result())
                        coming = loop.create_task(self._feed.next())
                    else:
                        body = _place(self._feed.place)
                if last is not None:
                    patience.reschedule(loop.time() + stall_s)
                    await send({"type": "http.response.body", "body": last})
        except TimeoutError:
            logger.info("A client that took nothing for %g s is let go", stall_s)
        except Unavailable as away:  # too late for a status: the client comes back with its place
            logger.warning("A stream is cut off: %s", away.message)
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b""})
        finally:
            for task in (left, stopping, coming):
                task.cancel()
            await asyncio.gather(left, stopping, coming, return_exceptions=True)
            await self._feed.close()


def _message(told: Told) -> bytes:
    return _frame(told.place, told.kind, told.body)


def _place(place: Place) -> bytes:
    return _frame(place, "listening", b"{}")


def _frame(place: Place, name: str, data: bytes) -> bytes:
    return b"id: %d-%d\nevent: %b\ndata: %b\n\n" % (*place, name.encode(), data)
