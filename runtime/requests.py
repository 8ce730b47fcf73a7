"""Requests to NATS and their answers: one inbox for all, one timer for all, headers read only where needed.

nats-py's own `request` parses every header and takes a task and a timer an answer; a poll and an append are little
more than that, so they go this way.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable

from protocol.errors import Unavailable

from .nats_server import Link

ANSWER_SECONDS = 2.0
_READ_SECONDS = 10.0

Answer = tuple[bytes, bytes]
"""Raw headers and body."""


class Requests:
    """Over one connection. `start` before the first request."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._inbox = link.new_inbox()
        self._numbers = itertools.count(1)
        self._takers: dict[bytes, Callable[[Answer | None], None]] = {}
        self._due: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        await self._link.listen(f"{self._inbox}.*", self._answered)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def ask(self, subject: str, body: bytes, headers: bytes = b"") -> Answer:
        """One answer. Raises Unavailable if there is none in time, or nobody to give it."""
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def take(answer: Answer | None) -> None:
            if not future.done():
                future.set_result(answer)

        token = self.ask_soon(subject, body, headers, take)
        try:
            answer = await future
        finally:
            self._takers.pop(token, None)
        if answer is None:
            raise Unavailable("The log did not answer in time.")
        if not answer[1] and status(answer[0]) == 503:
            raise Unavailable("The log is away: nobody answers.")
        return answer

    def ask_soon(self, subject: str, body: bytes, headers: bytes, take: Callable[[Answer | None], None]) -> bytes:
        """The hot way of `ask`, without a future: `take` is called once, with None if no answer came in time.

        Raises Unavailable if nothing could be sent. The answer is a token that nobody need keep.
        """

        def once(answer: Answer | None) -> None:
            if self._takers.pop(token, None) is not None:
                take(answer)

        token = self._send(subject, body, headers, once)
        loop = asyncio.get_running_loop()
        self._due.append((loop.time() + ANSWER_SECONDS, token))
        if self._timer is None:
            self._timer = loop.call_later(ANSWER_SECONDS, self._expire)
        return token

    async def ask_for_many(self, subject: str, body: bytes, take: Callable[[Answer], bool]) -> None:
        """Answers until `take` says that one was the last. Raises Unavailable if that takes too long."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def taken(answer: Answer | None) -> None:
            if done.done():
                return
            if answer is None:
                done.set_exception(Unavailable("The log was lost in the middle of a read."))
            elif take(answer):
                done.set_result(None)

        token = self._send(subject, body, b"", taken)
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await done
        except TimeoutError:
            raise Unavailable("The log did not answer a read.") from None
        finally:
            self._takers.pop(token, None)

    def lost(self) -> None:
        """The connection is gone, and with it every answer under way: nobody need wait for one."""
        for take in list(self._takers.values()):
            take(None)

    def _send(self, subject: str, body: bytes, headers: bytes, take: Callable[[Answer | None], None]) -> bytes:
        token = b"%d" % next(self._numbers)
        if not self._link.send_soon(subject, f"{self._inbox}.{token.decode()}", headers, body):
            raise Unavailable("The log is away: there is no connection.")
        self._takers[token] = take
        return token

    def _answered(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes) -> None:
        take = self._takers.get(subject.rpartition(b".")[2])
        if take is not None:
            take((headers or b"", data))

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        while self._due and self._due[0][0] <= loop.time():
            taker = self._takers.get(self._due.popleft()[1])
            if taker is not None:
                taker(None)
        self._timer = loop.call_at(self._due[0][0] + 0.05, self._expire) if self._due else None


def status(headers: bytes) -> int:
    """The status of a message that bears one in its header line, else 0."""
    line = headers[8:12] if headers.startswith(b"NATS/1.0") else b""
    return int(line) if line.strip().isdigit() else 0


def header(headers: bytes, name: bytes) -> bytes:
    """The value of one header, empty if it is not there."""
    at = headers.find(b"\r\n" + name + b": ")
    if at < 0:
        return b""
    start = at + len(name) + 4
    return headers[start : headers.find(b"\r\n", start)].strip()
