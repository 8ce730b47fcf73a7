"""Following a run: what is recorded, then what comes, each entry once and in order, from any number on.

    log.read ──> ┌───────┐ <── live copy        Tail: one a watched run and process. It subscribes first, reads the
                 │ cache │                      head, then takes each live message that continues the head; on a
    Follow ────> └───────┘                      hole, or after a lost connection, it reads from the head again.

A follower is a cursor, not a queue: it looks up the message that begins right after its cursor in the cache and
reads the log where the cache has none. So a slow one costs nothing and a thousand share the same bytes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from protocol import sse
from protocol.errors import HocketError, RunNotFound, Unavailable

from .chunks import Chunk, ChunkCache, chunk, locate
from .log import Log, Stored

logger = logging.getLogger("hocket.follow")

SEND_BYTES_MAX = 64 << 10
_RETRY_SECONDS = 0.2
_READ_BYTES = 256 << 10
"""What one follower reads ahead of what it sends, where the cache has nothing for it."""
_AWAY_SECONDS_MAX = 15.0
_AHEAD_MAX = 10_000


class Tail:
    """The live end of one run in this process. `head` is the last entry known to be recorded."""

    def __init__(self, log: Log, cache: ChunkCache, run: str) -> None:
        self.run = run
        self.head = 0
        self.ends = ""
        self.followers: dict[int, Callable[[Chunk], None]] = {}
        self.refills = 0
        self._log, self._cache = log, cache
        self._head_rev = 0
        self._ahead: list[Stored] | None = []
        self._read_again = False
        self._refilling: asyncio.Task[None] | None = None
        self._end: Callable[[], Any] | None = None

    @property
    def ended(self) -> bool:
        return self.ends == "run"

    async def open(self) -> None:
        """Raises RunNotFound, Unavailable."""
        self._end = await self._log.listen(self.run, self.heard)
        last = await self._log.last(self.run, exact=True)
        if last is None:
            raise RunNotFound(self.run)
        self._take_head(last)
        self._catch_up_with_live()

    async def close(self) -> None:
        try:
            if self._end is not None:
                await self._end()
        finally:  # after the end, or what is heard last could begin another
            if self._refilling is not None:
                self._refilling.cancel()

    def _catch_up_with_live(self) -> None:
        """What was heard meanwhile continues what was read, or shows that there is more to read."""
        ahead, self._ahead = self._ahead or [], None
        again, self._read_again = self._read_again, False
        for stored in ahead:
            self.heard(stored)
        if again:
            self.refill()

    def heard(self, stored: Stored) -> None:
        """A live message: taken if it continues the head, dropped if it is known, else the hole is refilled."""
        if self._ahead is not None:
            if len(self._ahead) < _AHEAD_MAX:
                self._ahead.append(stored)
            else:
                self._read_again = True
            return
        piece = chunk(stored)
        if piece.first == self.head + 1:
            self._take(piece)
        elif piece.last > self.head:
            self.refill()

    def refill(self) -> None:
        """Reads on from the head; live messages wait until that is done. While it goes on, it is done once more."""
        if self._refilling is not None and not self._refilling.done():
            self._read_again = True
        else:
            self._ahead = [] if self._ahead is None else self._ahead
            self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def _refill(self) -> None:
        self.refills += 1
        while True:
            try:
                async for batch in self._log.read(self.run, self._head_rev):
                    for stored in batch:
                        piece = chunk(stored)
                        if piece.first == self.head + 1:
                            self._take(piece)
                break
            except HocketError as away:
                logger.info("Refilling %s waits: %s", self.run, away.message)
                await asyncio.sleep(_RETRY_SECONDS)
        self._refilling = None
        self._catch_up_with_live()

    async def reach(self) -> None:
        """Reads on to what the log holds now: who asks after more than the head may have appended it itself, and the
        live copy of that may still be on its way."""
        last = await self._log.last(self.run, exact=True)
        if last is not None and last.rev > self._head_rev:
            self.refill()
            if self._refilling is not None:
                await asyncio.shield(self._refilling)

    async def audit(self) -> None:
        """Looks whether something was missed without anyone noticing, as a broken route in a cluster can make it."""
        last = await self._log.last(self.run)
        if last is not None and last.rev > self._head_rev and self._ahead is None:
            self.refill()

    def _take_head(self, last: Stored) -> None:
        piece = chunk(last)
        self.head, self._head_rev, self.ends = piece.last, piece.rev, piece.ends
        self._cache.put(self.run, piece)

    def _take(self, piece: Chunk) -> None:
        self._cache.put(self.run, piece)
        self.head, self._head_rev, self.ends = piece.last, piece.rev, piece.ends
        for told in list(self.followers.values()):
            told(piece)


class Tails:
    """The watched runs of this process: one Tail each, as long as somebody follows."""

    def __init__(self, log: Log, cache_bytes_max: int) -> None:
        self._log = log
        self.cache = ChunkCache(cache_bytes_max)
        self._open: dict[str, tuple[Tail, asyncio.Task[None]]] = {}
        self._users: dict[str, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        log.on_reconnect(self._refill_all)

    async def follow(self, run: str, after_seq: int) -> "Follow":
        """A follower from the entry after `after_seq` on. Raises RunNotFound, Unavailable. `close` it."""
        if run not in self._open:
            tail = Tail(self._log, self.cache, run)
            self._open[run] = tail, asyncio.get_running_loop().create_task(tail.open())
        tail, opening = self._open[run]
        self._users[run] = self._users.get(run, 0) + 1
        follow = Follow(self, tail, max(after_seq, 0))
        try:
            if not opening.done():
                await asyncio.shield(opening)
            opening.result()
            if after_seq > tail.head and not tail.ended:
                await tail.reach()
        except BaseException:
            follow.close()
            raise
        return follow

    def left(self, tail: Tail) -> None:
        run = tail.run
        self._users[run] -= 1
        if self._users[run] == 0:
            del self._users[run]
            _, opening = self._open.pop(run)
            task = asyncio.get_running_loop().create_task(_close(tail, opening))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    @property
    def watched(self) -> int:
        return len(self._open)

    def tail(self, run: str) -> Tail | None:
        return self._open[run][0] if run in self._open else None

    async def audit(self) -> None:
        """Audits every open tail; one that cannot be asked now is asked the next time."""
        for tail, _ in list(self._open.values()):
            if not tail.ended:
                try:
                    await tail.audit()
                except HocketError:
                    return

    def _refill_all(self) -> None:
        for tail, opening in self._open.values():
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                tail.refill()

    async def read(self, run: str, after_seq: int, after_rev: int | None) -> list[Chunk]:
        """Some recorded messages from the one that holds entry `after_seq + 1` on, put into the cache on the way.

        `after_rev` is the revision of the message that ends in `after_seq`, where that is known.
        """
        if after_rev is None:
            after_rev = await locate(self._log, run, after_seq + 1) - 1 if after_seq else 0
        pieces = [chunk(stored) for stored in await self._log.read_some(run, after_rev, _READ_BYTES)]
        for piece in pieces:
            self.cache.put(run, piece)
        return pieces


async def _close(tail: Tail, opening: "asyncio.Task[None]") -> None:
    """Everybody may leave while a tail is still being opened; what it has subscribed to by then must not stay."""
    await asyncio.wait([opening])
    if not opening.cancelled():
        opening.exception()  # retrieved: there is nobody left to tell
    await tail.close()


class Follow:
    """A cursor on a run: `cursor` is the last entry handed out. One user at a time."""

    __slots__ = ("cursor", "ended", "_tails", "_tail", "_rev", "_read_ahead", "_closed")

    def __init__(self, tails: Tails, tail: Tail, after_seq: int) -> None:
        self.cursor = after_seq
        self.ended = False
        self._tails, self._tail = tails, tail
        self._rev: int | None = None
        self._read_ahead: list[Chunk] | None = None
        self._closed = False

    @property
    def behind(self) -> bool:
        """Something is recorded after the cursor."""
        return self._tail.head > self.cursor

    @property
    def head(self) -> int:
        return self._tail.head

    def over(self, leg_only: bool) -> bool:
        """Nothing will come after the cursor: the run has ended, or its present leg has if only that is asked for."""
        if self.ended:
            return True
        return self.cursor >= self._tail.head and (self._tail.ended or (leg_only and self._tail.ends == "leg"))

    def ready(self, bytes_max: int = SEND_BYTES_MAX) -> list[Chunk]:
        """What the cache holds right after the cursor, up to about `bytes_max`; the cursor moves behind it."""
        taken: list[Chunk] = []
        size = 0
        cache, run, cursor = self._tails.cache, self._tail.run, self.cursor
        while size < bytes_max and not self.ended:
            piece = cache.get(run, cursor + 1)
            if piece is None or piece.last > self._tail.head:
                break
            taken.append(piece)
            size += len(piece.body)
            cursor, self._rev = piece.last, piece.rev
            self.ended = piece.ends == "run"
        self.cursor = cursor
        return taken

    def take(self, piece: Chunk) -> bool:
        """Moves the cursor behind `piece` if that is what comes right after it; the fast way of `ready`."""
        if piece.first != self.cursor + 1 or self.ended:
            return False
        self.cursor, self._rev = piece.last, piece.rev
        self.ended = piece.ends == "run"
        return True

    async def fill(self) -> list[Chunk]:
        """What is recorded right after the cursor, read from the log where the cache has lost it.

        Raises Unavailable if the log has been away for too long.
        """
        if self.cursor >= self._tail.head:
            self.ended = self._tail.ended
            return []
        taken = self.ready()
        away_s = 0.0
        while not taken:
            try:
                await self._read(taken)
                break
            except Unavailable:
                if taken:
                    break
                if away_s >= _AWAY_SECONDS_MAX:
                    raise
                away_s += _RETRY_SECONDS
                await asyncio.sleep(_RETRY_SECONDS)
        return taken

    async def _read(self, taken: list[Chunk]) -> None:
        """Appends to `taken` as the cursor moves, so that what was read stays read whatever comes then."""
        ahead = self._read_ahead or await self._tails.read(self._tail.run, self.cursor, self._rev)
        self._read_ahead, size = None, 0
        for number, piece in enumerate(ahead):
            if size >= SEND_BYTES_MAX:
                self._read_ahead = ahead[number:]
                return
            if piece.last <= self.cursor:
                continue
            if piece.first <= self.cursor:
                body = sse.after(piece.body, self.cursor)
                piece = piece._replace(first=self.cursor + 1, body=body)
            taken.append(piece)
            self.cursor, self._rev = piece.last, piece.rev
            self.ended = piece.ends == "run"
            size += len(piece.body)

    def attach(self, told: Callable[[Chunk], None]) -> None:
        """Calls `told` with each message that is recorded from now on, until `close`."""
        self._tail.followers[id(self)] = told

    def __aiter__(self) -> AsyncIterator[list[Chunk]]:
        return self._each()

    async def _each(self) -> AsyncIterator[list[Chunk]]:
        """Batches as they are recorded, until the run has ended."""
        more = asyncio.Event()
        self.attach(lambda _: more.set())
        while not self.ended:
            more.clear()
            batch = await self.fill()
            if batch:
                yield batch
            elif self.behind:  # read by a replica that has not all of it yet
                await asyncio.sleep(_RETRY_SECONDS)
            elif not self.ended:
                await more.wait()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._tail.followers.pop(id(self), None)
            self._tails.left(self._tail)
