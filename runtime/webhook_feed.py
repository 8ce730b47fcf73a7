"""What a tenant's webhooks would be told, for who looks on: read from the log as it grows, each once and in order.

    live copy ──> something is there ──> read the tenant's life lane on from the place ──> fold ──> told

The live copy only wakes the reader; what is told comes from the log. So nothing is lost with a connection, nothing is
kept for a reader that is slow, and no consumer is made for one that looks on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from protocol.entries import Entry, decode
from protocol.errors import HocketError, Unavailable
from protocol.subjects import encode_token, parse_subject

from .log import Log, Stored
from .push_update import Update
from .webhook_message import message_of

logger = logging.getLogger("hocket.webhook_feed")

_RETRY_SECONDS = 0.2
_AWAY_SECONDS_MAX = 15.0
_AUDIT_SECONDS = 15.0
"""A look at the log without having been woken: a broken route in a cluster can lose a live copy unnoticed."""


class Place(NamedTuple):
    """Where to go on: at the message of the revision `rev`, after its entry `seq`."""

    rev: int
    seq: int


class Told(NamedTuple):
    """A message for webhooks; who has it goes on from `place`."""

    place: Place
    run_id: str
    kind: str
    body: bytes


class _Coming(NamedTuple):
    run: str
    update: Update


class WebhookFeed:
    """One reader, from `place` on: everything before it was told, or is not told to who asks for these events and this
    agent. `close` it."""

    def __init__(
        self, log: Log, tenant: str, place: Place, events: Collection[str], agent: str | None, left: Callable[[], None]
    ) -> None:
        self.place = place
        self._log, self._tenant, self._events, self._agent = log, encode_token(tenant), events, agent
        self._left = left
        self._coming: deque[_Coming] = deque()
        self._grown = asyncio.Event()
        self._heard_rev = 0
        self._forget = log.on_reconnect(self._grown.set)
        self._end: Callable[[], Any] | None = None

    async def open(self) -> None:
        """Raises Unavailable."""
        self._end = await self._log.listen(f"run.{self._tenant}.*", self._heard, "life")

    async def close(self) -> None:
        self._left()
        self._forget()
        if self._end is not None:
            await self._end()

    async def next(self) -> Told:
        """What is told next, once there is something. Raises Unavailable where the log has been away for too long; what
        was not told by then is told by the next call."""
        away_s = 0.0
        while True:
            try:
                while self._coming:
                    if (told := await self._advance(self._coming[0])) is not None:
                        return told
                if not await self._read():
                    await self._wait()
                away_s = 0.0
            except Unavailable:
                if away_s >= _AWAY_SECONDS_MAX:
                    raise
                away_s += _RETRY_SECONDS
                await asyncio.sleep(_RETRY_SECONDS)

    async def _advance(self, one: _Coming) -> Told | None:
        """The place moves behind the entry once its message is made."""
        try:
            message = await message_of(self._log, one.run, one.update, self._events, self._agent)
        except HocketError:
            raise
        except Exception:  # it would be no better the next time, and what comes after it must not wait for ever
            logger.exception("%s: what %d tells cannot be made", one.run, one.update.entry.seq)
            message = None
        self._coming.popleft()
        rev = one.update.rev
        whole = not self._coming or self._coming[0].update.rev > rev
        self.place = Place(rev + 1, 0) if whole else Place(rev, one.update.entry.seq)
        return message and Told(self.place, parse_subject(f"{one.run}.life")[1], message.kind, message.body)

    async def _read(self) -> bool:
        """Takes in what the log has from the place on; whether there was anything."""
        self._grown.clear()
        found = await self._log.read_lane(self._tenant, "life", self.place.rev)
        for stored in found:
            run = f"run.{self._tenant}.{stored.lane.rpartition('.')[0]}"
            self._coming.extend(
                _Coming(run, Update(entry, stored.rev))
                for entry in _entries(stored)
                if (stored.rev, entry.seq) > self.place
            )
        if found and not self._coming:
            self.place = Place(found[-1].rev + 1, 0)
        return bool(found)

    async def _wait(self) -> None:
        if self._heard_rev >= self.place.rev:  # read by a replica that has not all of it yet
            raise Unavailable("The log was read by a replica that has not all of it yet.")
        try:
            async with asyncio.timeout(_AUDIT_SECONDS):
                await self._grown.wait()
        except TimeoutError:
            pass

    def _heard(self, stored: Stored) -> None:
        self._heard_rev = max(self._heard_rev, stored.rev)
        self._grown.set()


def _entries(stored: Stored) -> list[Entry]:
    try:
        return list(decode(stored.body))
    except (HocketError, ValueError, KeyError, TypeError):  # what cannot be read must not stop what comes after it
        logger.exception("The message %d is left out", stored.rev)
        return []
