"""Reading some subjects of a stream on for ever, in order and without a hole, on every replica by itself."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from protocol.errors import HocketError

from .log import Log
from .pull import Delivery, Pull, create_reader

logger = logging.getLogger("hocket.reader")

_AGAIN_SECONDS = 0.5


class Reader:
    """Calls `take` for each message after the revision that `after` names at every beginning, in the order of the
    stream, until `stop`.

    A lost connection, a restarted server and a message lost on the way make it begin again; what `take` has had
    already may then come once more. `ready` is true once everything that stood there at the beginning was taken.
    """

    def __init__(
        self,
        log: Log,
        name: str,
        stream: str,
        subjects: Sequence[str],
        room: int,
        take: Callable[[Delivery], None],
        after: Callable[[], int],
    ) -> None:
        self._log, self._name, self._stream, self._subjects = log, name, stream, list(subjects)
        self._room, self._take, self._after = room, take, after
        self._taken = 0
        self._pull: Pull | None = None
        self._restart: asyncio.Task[None] | None = None
        self._stopped = False
        self.ready = False

    async def start(self) -> None:
        """Raises Unavailable or Refused if the log cannot be read."""
        self._forget = self._log.on_reconnect(self.again)
        await self._read_on()

    async def stop(self) -> None:
        self._stopped = True
        self._forget()
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.wait({self._restart})
        if self._pull is not None:
            await self._pull.stop()

    def again(self) -> None:
        """The server has forgotten the consumer, as a restart makes it, or something was lost on the way, which is not
        sent again: a new one goes on from what `after` says then."""
        if not self._stopped and (self._restart is None or self._restart.done()):
            self._restart = asyncio.get_running_loop().create_task(self._again())

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            try:
                pull, self._pull = self._pull, None
                if pull is not None:
                    await pull.stop()
                await self._read_on()
                return
            except HocketError as fault:
                logger.info("The reader of %s waits for the log: %s", self._name, fault.message)

    async def _read_on(self) -> None:
        name = f"{self._name}-{secrets.token_hex(8)}"
        pending = await create_reader(self._log, name, self._subjects, self._after() + 1, self._stream)
        self._taken = 0
        pull = Pull(self._log, name, self._room, self._heard, self.again, hand_back=False, stream=self._stream)
        await pull.start()
        self._pull = pull
        self.ready = pending == 0

    def _heard(self, delivery: Delivery) -> None:
        if self._pull is None:
            return
        self._pull.done()
        if delivery.number != self._taken + 1:
            self.again()
            return
        self._taken = delivery.number
        self._take(delivery)
        if delivery.pending == 0:
            self.ready = True
