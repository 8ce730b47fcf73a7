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
        self._event_bytes_max = event_bytes_max
        self._pending: deque[_Said] = deque()
        self._pending_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._drained: list[tuple[int, asyncio.Future[None]]] = []
        self._failure: Exception | None = None
        self._after: Callable[[int, int], None] | None = None
        self._pump_task = asyncio.get_running_loop().create_task(self._pump())

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
        if self._wake is not None and not self._wake.done():
            if len(self._pending) == 1:
                self._gather.request(self._send)
            elif len(self._pending) == PACK_EVENTS_MAX:
                self._send()

    @property
    def full(self) -> bool:
        """More is pending than may be: `room` must be awaited before more is said."""
        return len(self._pending) >= PENDING_EVENTS_MAX or self._pending_bytes >= PENDING_BYTES_MAX

    @property
    def idle(self) -> bool:
        """Everything said is in the log."""
        return self._last_appended == self.seq

    @property
    def broken(self) -> "asyncio.Task[None]":
        """Done once an append has failed."""
        return self._pump_task

    async def room(self) -> None:
        """Returns once half of what is pending has been appended."""
        pending = len(self._pending)
        if pending:
            await self._appended(self._pending[pending // 2][0])

    async def flush(self) -> None:
        """Returns once everything said is in the log."""
        if self._pending and self._wake is not None:
            self._send()
        await self._appended(self.seq)

    def stop(self) -> None:
        """Ends the writer; what is pending is dropped."""
        self._pump_task.cancel()

    async def _appended(self, seq: int) -> None:
        if self._failure is not None:
            raise self._failure
        if self._last_appended >= seq:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drained.append((seq, waiter))
        await waiter

    _last_appended = 0

    def _send(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _pump(self) -> None:
        self._last_appended = self.seq
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake = loop.create_future()
                if self._pending:
                    self._gather.request(self._send)
                await self._wake
                self._wake = None
                while self._pending:
                    lane, body, last = self._take()
                    before, self.rev = self.rev, await self._log.append(self._run, lane, body, self.rev)
                    self._last_appended = last
                    self._tell(before, last)
                    if len(self._pending) < PACK_EVENTS_MAX:
                        break
        except Exception as fault:  # where the task ends: the leg hears of it at its next word
            self._failure = fault
            self._wake = None
            for _, waiter in self._drained:
                if not waiter.done():
                    waiter.set_exception(fault)
                    waiter.exception()

    def _take(self) -> tuple[str, bytes, int]:
        """The next message: frames of one lane, at most PACK_EVENTS_MAX and, unless one is larger, PACK_BYTES_MAX."""
        pending = self._pending
        last, lane, frame = pending.popleft()
        frames, size = [frame], len(frame)
        while pending and len(frames) < PACK_EVENTS_MAX:
            seq, its_lane, frame = pending[0]
            if its_lane != lane or size + len(frame) > PACK_BYTES_MAX:
                break
            pending.popleft()
            frames.append(frame)
            size += len(frame)
            last = seq
        self._pending_bytes -= size
        return lane, b"".join(frames), last

    def _tell(self, before: int, last: int) -> None:
        if self._after is not None:
            self._after(last, before)
        if self._drained:
            for seq, waiter in self._drained:
                if seq <= last and not waiter.done():
                    waiter.set_result(None)
            self._drained = [waiting for waiting in self._drained if waiting[0] > last]
