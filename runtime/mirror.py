"""A bucket that a process reads on and keeps, and of which it can be sure that nothing written before is missing."""

import asyncio
from collections.abc import Callable

from protocol.errors import Unavailable

from .log import Log
from .pull import Delivery
from .reader import Reader

_ROOM = 2_000
_SECONDS_MAX = 5.0


class Mirror:
    """`take` is called for each value of the bucket and each change of it, in order; what it keeps is its own."""

    def __init__(self, log: Log, name: str, bucket: str, take: Callable[[Delivery], None]) -> None:
        self._log, self._name, self._bucket, self._taken = log, name, bucket, take
        self._rev = 0
        self._grown = asyncio.Event()
        self._now: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._reader = Reader(log, name, f"KV_{bucket}", [f"$KV.{bucket}.>"], _ROOM, self._take, lambda: 0)

    async def start(self) -> None:
        """Raises Unavailable or Refused if the log cannot be read."""
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()

    def again(self) -> None:
        """Has everything taken once more."""
        self._rev = 0
        self._reader.again()

    async def current(self) -> None:
        """Returns once every change that was written before the question has been taken. Raises Unavailable."""
        await asked(self.ask())

    def ask(self) -> "asyncio.Task[None]":
        """The question of `current`, to be awaited by `asked`: so the log can be asked for more meanwhile."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._catch_up(self._now))
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._next

    async def _catch_up(self, before: "asyncio.Task[None] | None") -> None:
        """Who asks while the log is being asked waits for the next time, which all of them share."""
        if before is not None:
            await asyncio.wait({before})
        self._now, self._next = self._next, None
        newest = await self._log.get(self._bucket, ">", exact=True)
        if newest is None or self._rev >= newest.rev:
            return
        try:
            async with asyncio.timeout(_SECONDS_MAX):
                while self._rev < newest.rev:
                    self._grown.clear()
                    await self._grown.wait()
        except TimeoutError:
            raise Unavailable(f"The {self._name} could not be read in time.") from None

    def _take(self, delivery: Delivery) -> None:
        self._taken(delivery)
        self._rev = max(self._rev, delivery.rev)
        self._grown.set()


async def asked(question: "asyncio.Task[None]") -> None:
    """Raises Unavailable. Others may wait for the same answer, and go on waiting if this one is cancelled."""
    if question.done():
        question.result()
    else:
        await asyncio.shield(question)
