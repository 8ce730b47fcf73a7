"""What the tests of following share: random packings, logs that lose or hold back, and a follower's whole catch."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from protocol.entries import Entry, decode, encode, lane_of
from protocol.subjects import run_subject
from runtime.follow import Follow
from runtime.log import Log, Stored

Event = dict[str, Any]

WAIT_SECONDS = 5.0
_numbers = itertools.count(1)


def fresh_run() -> str:
    """The subject of a run that no other test of this process uses."""
    return run_subject("default", f"r.{next(_numbers)}")


def packed(events: list[Event], sizes: Iterable[int], first: int = 1) -> list[tuple[str, bytes]]:
    """The messages in which these entries are appended: of one lane each, at most as long as `sizes` says."""
    room = itertools.cycle(sizes)
    messages: list[tuple[str, list[bytes]]] = []
    left = 0
    for seq, event in enumerate(events, first):
        lane = lane_of(event)
        if left == 0 or messages[-1][0] != lane:
            messages.append((lane, []))
            left = max(next(room), 1)
        messages[-1][1].append(encode(seq, event))
        left -= 1
    return [(lane, b"".join(frames)) for lane, frames in messages]


async def append(log: Log, run: str, messages: Iterable[tuple[str, bytes]], rev: int = 0) -> int:
    for lane, body in messages:
        rev = await log.append(run, lane, body, rev)
    return rev


async def caught(follow: Follow, upto: int | None = None) -> list[Entry]:
    """The entries that a follower is given, until the run ends or entry `upto` has come; closes it."""
    told: list[Entry] = []
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            if upto is not None and follow.cursor >= upto:
                return told
            async for batch in follow:
                told += [entry for piece in batch for entry in decode(piece.body)]
                if upto is not None and follow.cursor >= upto:
                    break
    finally:
        follow.close()
    return told


def text_run(texts: int, end: bool = True) -> list[Event]:
    """A plain run: start, one message of so many deltas, end."""
    by = {"tenant": "default", "id": "t", "kind": "development", "name": ""}
    events: list[Event] = [
        {"type": "ask.start", "timestamp": 1, "by": by, "face": "test", "agent": "a", "runId": "r", "threadId": "t",
         "input": {}},
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2},
        {"type": "TEXT_MESSAGE_START", "messageId": "m"},
        *({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": f"{n} "} for n in range(texts)),
        {"type": "TEXT_MESSAGE_END", "messageId": "m"},
    ]  # fmt: skip
    return events + [{"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "timestamp": 3}] * end


class Watched:
    """A log that can lose live messages and hold back its answers; `listening` counts the subscriptions."""

    def __init__(self, log: Log, loses: Callable[[int], bool] = lambda number: False) -> None:
        self._log, self.loses = log, loses
        self.listening = 0
        self.heard = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def listen(self, run: str, heard: Callable[[Stored], None], lane: str = "*") -> Callable[[], Any]:
        def some(stored: Stored) -> None:
            self.heard += 1
            if not self.loses(self.heard):
                heard(stored)

        end = await self._log.listen(run, some, lane)
        self.listening += 1

        async def ended() -> None:
            self.listening -= 1
            await end()

        return ended

    async def last(self, run: str, exact: bool = False) -> Stored | None:
        self.asked.set()
        await self.go_on.wait()
        return await self._log.last(run, exact)
