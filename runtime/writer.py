"""What one leg says, on its way into the log: numbered, encoded, gathered, appended one message at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from protocol.entries import encode, lane_of
from protocol.errors import IllegalEvent, TooLarge
from protocol.subjects import Lane

from .gather import Gather
from .log import Log

PACK_EVENTS_MAX = 256
PACK_BYTES_MAX = 256 << 10
PENDING_EVENTS_MAX = 4 * PACK_EVENTS_MAX
PENDING_BYTES_MAX = 4 * PACK_BYTES_MAX


_Said = tuple[int, Lane, bytes]
"""seq, lane and frame; a plain tuple, for there is one an event."""


class Writer:
    """Appends the entries of one run from `seq` and `rev` on, in the order of `say`.

    While an append is in flight, what is said gathers and becomes the next message. A failed append ends the
    writer: `room` and `flush` then raise what it raised (WrongRevision, Unavailable, TooLarge), and nothing that
    was said later is written.
    """

    def __init__(self, log: Log, run: str, seq: int, rev: int, gather: Gather, event_bytes_max: int) -> None:
        self.seq = seq
        self.rev = rev
        self.bytes_said = 0
        self._log, self._run, self._gather = log, run, gather
        self._event_bytes_max = min(event_bytes_max, log.body_bytes_max)
        self._pack_bytes_max = min(PACK_BYTES_MAX, log.body_bytes_max)
        self._pending: deque[_Said] = deque()
        self._pending_bytes = 0
        self._last_appended = seq
        self._in_flight: tuple[Lane, bytes, int] | None = None
        self._asked = False
        self._resolving: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._failure: Exception | None = None
        self._after: Callable[[int, int], None] | None = None
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_append(self, told: Callable[[int, int], None]) -> None:
        """Calls `told(last seq of the message, revision before it)` after each append."""
        self._after = told

    def say(self, event: dict[str, Any]) -> None:
        """Queues the next entry. Raises IllegalEvent if it is no JSON, TooLarge if it is over the limit, and what
        ended the writer, if something has."""
        if self._failure is not None:
            raise self._failure
        try:
            frame = encode(self.seq + 1, event)
        except (TypeError, ValueError) as bad:
            raise IllegalEvent("event-json", f"{event.get('type')} cannot be written as JSON: {bad}") from bad
        size = len(frame)
        if size > self._event_bytes_max:
            raise TooLarge(f"{event['type']} has {size} bytes; an event may have {self._event_bytes_max}.")
        self.seq += 1
        self.bytes_said += size
        self._pending_bytes += size
        self._pending.append((self.seq, lane_of(event), frame))
        if self._in_flight is None:
            self._ask_to_send()

    @property
    def full(self) -> bool:
        """More is pending than may be: `room` must be awaited before more is said."""
        return len(self._pending) >= PENDING_EVENTS_MAX or self._pending_bytes >= PENDING_BYTES_MAX

    @property
    def idle(self) -> bool:
        """Everything said is in the log."""
        return self._last_appended == self.seq

    async def room(self) -> None:
        """Returns once half of what is pending has been appended."""
        pending = len(self._pending)
        if pending:
            await self._appended(self._pending[pending // 2][0])

    async def flush(self) -> None:
        """Returns once everything said is in the log."""
        self._send()
        await self._appended(self.seq)

    def stop(self) -> None:
        """Ends the writer; what is pending is dropped."""
        self._pending.clear()
        self._after = None
        if self._resolving is not None:
            self._resolving.cancel()

    async def _appended(self, seq: int) -> None:
        if self._failure is not None:
            raise self._failure
        if self._last_appended >= seq:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((seq, waiter))
        await waiter

    def _ask_to_send(self) -> None:
        if len(self._pending) >= PACK_EVENTS_MAX:
            self._send()
        elif not self._asked:
            self._asked = True
            self._gather.request(self._send)

    def _send(self) -> None:
        self._asked = False
        if self._in_flight is None and self._pending and self._failure is None:
            lane, body, last = self._in_flight = self._take()
            self._log.append_soon(self._run, lane, body, self.rev, self._answered)

    def _answered(self, rev: int | None) -> None:
        if rev is not None:
            self._arrived(rev)
        else:
            self._resolving = asyncio.get_running_loop().create_task(self._resolve())

    async def _resolve(self) -> None:
        """The slow way: the append was refused or its answer is lost, and the log is asked what became of it."""
        assert self._in_flight is not None
        lane, body, _ = self._in_flight
        try:
            rev = await self._log.append(self._run, lane, body, self.rev, doubtful=True)
        except Exception as fault:  # where the task ends: the leg hears of it at its next word
            self._failure = fault
            self.broken.set_result(None)
            for _, waiter in self._waiting:
                if not waiter.done():
                    waiter.set_exception(fault)
                    waiter.exception()  # it may be that nobody waits any more
        else:
            self._arrived(rev)

    def _arrived(self, rev: int) -> None:
        assert self._in_flight is not None
        last = self._in_flight[2]
        self._in_flight, before, self.rev, self._last_appended = None, self.rev, rev, last
        if self._after is not None:
            self._after(last, before)
        if self._waiting:
            for seq, waiter in self._waiting:
                if seq <= last and not waiter.done():
                    waiter.set_result(None)
            self._waiting = [one for one in self._waiting if one[0] > last]
        if self._pending:
            self._ask_to_send()

    def _take(self) -> tuple[Lane, bytes, int]:
        """The next message: frames of one lane, at most PACK_EVENTS_MAX and, unless one is larger, PACK_BYTES_MAX."""
        pending = self._pending
        last, lane, frame = pending.popleft()
        frames, size = [frame], len(frame)
        while pending and len(frames) < PACK_EVENTS_MAX:
            seq, its_lane, frame = pending[0]
            if its_lane != lane or size + len(frame) > self._pack_bytes_max:
                break
            pending.popleft()
            frames.append(frame)
            size += len(frame)
            last = seq
        self._pending_bytes -= size
        return lane, b"".join(frames), last
