"""A durable consumer that all workers share: one of them deals with a message, and if that one dies, another."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from protocol.errors import HocketError

from .log import Log
from .pull import Delivery, Pull, ensure_consumer

logger = logging.getLogger("hocket.shared")

_LATER_SECONDS = 1.0
_BROKEN_SECONDS = 5.0


class Shared:
    """Calls `deal_with` for each message, for at most `room` of them at once. It answers the delivery itself; where it
    raises, the message comes again. One that nobody has answered or kept for `ack_wait_s` comes again, too. With
    `after_rev` a consumer that is made anew begins behind that revision."""

    def __init__(
        self,
        log: Log,
        name: str,
        stream: str,
        subjects: Sequence[str],
        deal_with: Callable[[Delivery], Awaitable[None]],
        room: int,
        ack_wait_s: float,
        after_rev: int | None = None,
    ) -> None:
        self._log, self._name, self._stream, self._subjects = log, name, stream, list(subjects)
        self._deal_with, self._ack_wait_s, self._after_rev = deal_with, ack_wait_s, after_rev
        self._tasks: set[asyncio.Task[None]] = set()
        self._pull = Pull(log, name, room, self._take, lambda: self._spawn(self._ensure()), stream=stream)

    async def start(self) -> None:
        """Raises Unavailable, or Refused where the consumer cannot be made."""
        await self._ensure()
        await self._pull.start()

    async def stop(self) -> None:
        """Takes no more; what is in work has a second."""
        await self._pull.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LATER_SECONDS)

    async def _ensure(self) -> None:
        await ensure_consumer(
            self._log, self._name, self._subjects, self._ack_wait_s, self._stream, after_rev=self._after_rev
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(_told)
        task.add_done_callback(self._tasks.discard)

    def _take(self, delivery: Delivery) -> None:
        self._spawn(self._work(delivery))

    async def _work(self, delivery: Delivery) -> None:
        try:
            await self._deal_with(delivery)
        except HocketError as fault:
            logger.warning("%s is put off: %s", delivery.subject, fault.message)
            await _put_off(delivery, _LATER_SECONDS)
        except Exception:  # where the task ends: one message that cannot be dealt with must not stop the others
            logger.exception("%s is put off", delivery.subject)
            await _put_off(delivery, _BROKEN_SECONDS)
        finally:
            self._pull.done()


async def _put_off(delivery: Delivery, seconds: float) -> None:
    with contextlib.suppress(HocketError):  # then its claim runs out
        await delivery.nak(seconds)


def _told(task: "asyncio.Task[None]") -> None:
    """Where the task ends: what was not made again is made at the next sign that it is gone."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("A shared consumer failed", exc_info=task.exception())
