"""The messages of a run's log as followers see them, the cache of those lately streamed, and finding one by number."""

from collections import OrderedDict
from typing import NamedTuple

import orjson

from protocol import sse
from protocol.errors import RunNotFound, Unavailable

from .log import Log, Stored

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
    if event["type"] == "RUN_FINISHED":
        return "leg" if event.get("outcome", {}).get("type") == "interrupt" else "run"
    return "run" if event["type"] == "RUN_ERROR" else ""


class ChunkCache:
    """Messages lately streamed, by run and first entry, the least recently used given up beyond `bytes_max`.
    `ended_rev` is the newest of them that has ended a leg or a run."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self.ended_rev = 0
        self._held: OrderedDict[tuple[str, int], Chunk] = OrderedDict()

    def put(self, run: str, piece: Chunk) -> None:
        key = run, piece.first
        if piece.ends:
            self.ended_rev = max(self.ended_rev, piece.rev)
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
