"""Following a run: what is recorded, then what comes, each entry once and in order, from any number on.

    log.read ──> ┌───────┐ <── live copy        Tail: one a watched run and process. It subscribes first, reads the
                 │ cache │                      head, then takes each live message that continues the head; on a
    Follow ────> └───────┘                      hole, or after a lost connection, it reads from the head again.

A follower is a cursor, not a queue: it looks up the message that begins right after its cursor in the cache and
reads the log where the cache has none. So a slow one costs nothing and a thousand share the same bytes.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import orjson

from protocol import sse
from protocol.errors import HocketError, RunNotFound, Unavailable

from .log import Log, Stored

logger = logging.getLogger("hocket.follow")

SEND_BYTES_MAX = 64 << 10
_RETRY_SECONDS = 0.2
_AHEAD_MAX = 10_000
_END_MARKS = (b'"type":"RUN_FINISHED"', b'"type":"RUN_ERROR"')


class Chunk(NamedTuple):
    """One message of a run's log: entries `first` to `last`. `ends` says what its last entry ended: leg, run or ''."""

    first: int
    last: int
    lane: str
    body: bytes
    rev: int
    ends: str


def chunk(stored: Stored) -> Chunk:
    first = sse.first_seq(stored.body)
    ends = ""
    if stored.lane == "life" and any(mark in stored.body for mark in _END_MARKS):
        ends = _ended(stored.body)
    return Chunk(first, first + sse.frame_count(stored.body) - 1, stored.lane, stored.body, stored.rev, ends)


def _ended(body: bytes) -> str:
    """Read from the event itself: what an agent finishes with may hold anything, in any order."""
    *_, last = sse.split(body)
    event = orjson.loads(last.data)
    if event["type"] not in ("RUN_FINISHED", "RUN_ERROR"):
        return ""
    return "leg" if (event.get("outcome") or {}).get("type") == "interrupt" else "run"


class ChunkCache:
    """Messages lately streamed, by run and first entry, the least recently used given up beyond `bytes_max`."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: OrderedDict[tuple[str, int], Chunk] = OrderedDict()

    def put(self, run: str, piece: Chunk) -> None:
        key = run, piece.first
        if key in self._held:
            return
        self._held[key] = piece
        self._bytes += len(piece.body)
        while self._bytes > self._bytes_max and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= len(dropped.body)

    def get(self, run: str, first: int) -> Chunk | None:
        key = run, first
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found


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

    async def read(self, run: str, after_seq: int) -> AsyncIterator[Chunk]:
        """The recorded messages from the one that holds entry `after_seq + 1` on, put into the cache on the way."""
        rev = await locate(self._log, run, after_seq + 1)
        async for batch in self._log.read(run, rev - 1):
            for stored in batch:
                piece = chunk(stored)
                self.cache.put(run, piece)
                yield piece


async def _close(tail: Tail, opening: "asyncio.Task[None]") -> None:
    """Everybody may leave while a tail is still being opened; what it has subscribed to by then must not stay."""
    await asyncio.wait([opening])
    if not opening.cancelled():
        opening.exception()  # retrieved: there is nobody left to tell
    await tail.close()


async def locate(log: Log, run: str, seq: int) -> int:
    """The revision of the message that holds entry `seq`, found by interpolation between two known messages.

    Revisions are places in a stream that many runs share, so a run's entries are spread over them unevenly;
    each probe asks for the run's first message at or after a guess, and the range shrinks to one message.
    """
    first, last = await log.first_after(run, 0), await log.last(run)
    if first is None or last is None:
        raise RunNotFound(run)
    low, high = chunk(first), chunk(last)
    if seq >= high.first:
        return high.rev
    high_rev, high_first, rounds = high.rev, high.first, 0
    while not low.first <= seq <= low.last:
        rounds += 1
        share = (seq - low.last) / max(high_first - low.last, 1) if rounds % 3 else 0.5
        guess = min(low.rev + 1 + int((high_rev - low.rev) * share), high_rev - 1)
        found = await log.first_after(run, guess - 1)
        if found is None:
            raise Unavailable("The log has lost entries of this run.")
        probe = chunk(found)
        if probe.first <= seq:
            low = probe
        else:
            high_rev, high_first = guess, probe.first
    return low.rev


class Follow:
    """A cursor on a run: `cursor` is the last entry handed out. One user at a time."""

    __slots__ = ("cursor", "ended", "_tails", "_tail", "_closed")

    def __init__(self, tails: Tails, tail: Tail, after_seq: int) -> None:
        self.cursor = after_seq
        self.ended = False
        self._tails, self._tail = tails, tail
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
            cursor = piece.last
            self.ended = piece.ends == "run"
        self.cursor = cursor
        return taken

    def take(self, piece: Chunk) -> bool:
        """Moves the cursor behind `piece` if that is what comes right after it; the fast way of `ready`."""
        if piece.first != self.cursor + 1 or self.ended:
            return False
        self.cursor = piece.last
        self.ended = piece.ends == "run"
        return True

    async def fill(self) -> list[Chunk]:
        """What is recorded right after the cursor, read from the log where the cache has lost it."""
        if self.cursor >= self._tail.head:
            self.ended = self._tail.ended
            return []
        taken = self.ready()
        if taken:
            return taken
        size = 0
        async for piece in self._tails.read(self._tail.run, self.cursor):
            if piece.last <= self.cursor:
                continue
            if piece.first <= self.cursor:
                body = sse.after(piece.body, self.cursor)
                piece = piece._replace(first=self.cursor + 1, body=body)
            taken.append(piece)
            self.cursor = piece.last
            self.ended = piece.ends == "run"
            size += len(piece.body)
            if size >= SEND_BYTES_MAX or self.ended:
                break
        return taken

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
