"""Taking messages from a pull consumer: as many as there is room for, and asking again when that may be needed.

nats-py's own `fetch` waits out its timeout on a lost request (its issue 986) and costs a subscription a call;
here one inbox and one standing request serve.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from protocol.errors import Refused, Unavailable

from .layout import STREAM
from .log import Log

logger = logging.getLogger("hocket.pull")

_EXPIRES_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a consumer. `rev` is its place in the stream, `number` (1, 2, …) its place among the consumer's
    deliveries, `pending` how many more wait behind it."""

    log: Log
    subject: str
    reply: str
    body: bytes
    rev: int
    number: int
    pending: int

    async def ack(self) -> None:
        await self.log.publish(self.reply, b"+ACK")

    async def nak(self, seconds: float) -> None:
        """Back to the queue, for any worker, after that long."""
        body = b'-NAK {"delay": %d}' % int(seconds * 1e9) if seconds else b"-NAK"
        await self.log.publish(self.reply, body)

    async def keep(self) -> None:
        """Still being worked on."""
        await self.log.publish(self.reply, b"+WPI")


async def ensure_consumer(
    log: Log, name: str, subjects: list[str], ack_wait_s: float, stream: str = STREAM, since: str | None = None
) -> None:
    """Creates the shared durable consumer, or gives it the present settings. What came before the instant `since`
    (RFC 3339) is not for it."""
    start = {"deliver_policy": "all"} if since is None else {
        "deliver_policy": "by_start_time", "opt_start_time": since}  # fmt: skip
    config = {
        "durable_name": name,
        "name": name,
        "ack_policy": "explicit",
        "ack_wait": int(ack_wait_s * 1e9),
        **start,
        "filter_subjects": subjects,
        "max_ack_pending": 100_000,
        "max_deliver": -1,
    }
    await _create(log, stream, config)


async def create_reader(log: Log, name: str, subjects: list[str], from_rev: int, stream: str = STREAM) -> int:
    """Creates a consumer of this process alone, which reads from `from_rev` on and acknowledges nothing;
    returns how many messages wait for it."""
    config = {
        "name": name,
        "ack_policy": "none",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": from_rev,
        "filter_subjects": subjects,
        "inactive_threshold": int(120e9),
        "mem_storage": True,
        "num_replicas": 1,
    }
    return await _create(log, stream, config)


async def _create(log: Log, stream: str, config: dict[str, object]) -> int:
    want = orjson.dumps({"stream_name": stream, "config": config})
    answer = orjson.loads(await log.request(f"$JS.API.CONSUMER.CREATE.{stream}.{config['name']}", want))
    if "error" in answer:
        raise Refused(f"The log's consumer {config['name']} cannot be made: {answer['error'].get('description')}.")
    return int(answer.get("num_pending", 0))


class Pull:
    """Calls `take` for each message, at most `room` of them between their arrival and their `done`.

    `on_gone` is called when the server no longer knows the consumer. `hand_back` says what becomes of a message
    that comes too late or over the room: back to the queue, or nothing where none is acknowledged.
    """

    def __init__(
        self,
        log: Log,
        consumer: str,
        room: int,
        take: Callable[[Delivery], None],
        on_gone: Callable[[], None] | None = None,
        hand_back: bool = True,
        stream: str = STREAM,
    ) -> None:
        self._log, self._take, self._room = log, take, room
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._on_gone, self._hand_back = on_gone, hand_back
        self._returns: set[asyncio.Task[None]] = set()
        self._asked = 0
        self._held = 0
        self._wake = asyncio.Event()
        self._stopped = False

    async def start(self) -> None:
        self._inbox, self._end = await self._log.subscribe(self._heard)
        self._forget = self._log.on_reconnect(self._ask_again)
        self._task = asyncio.get_running_loop().create_task(self._ask())

    async def stop(self) -> None:
        """Takes no more. What the server had sent already is handed back, not left to run out its claim."""
        self._stopped = True
        self._forget()
        self._task.cancel()
        await self._end()
        if self._returns:
            await asyncio.wait(self._returns)

    def done(self) -> None:
        """One message less in work."""
        self._held -= 1
        if self._asked == 0 or self._room - self._held - self._asked >= self._room // 4 + 1:
            self._wake.set()

    async def _ask(self) -> None:
        """Keeps one standing request; it is renewed when it has expired, is used up or much room has come free."""
        while True:
            room = self._room - self._held - self._asked
            if room > 0:
                want = {"batch": room, "expires": int(_EXPIRES_SECONDS * 1e9)}
                try:
                    await self._log.publish(self._subject, orjson.dumps(want), self._inbox)
                    self._asked += room
                except Unavailable:
                    await asyncio.sleep(0.5)
                    continue
            self._wake.clear()
            try:
                async with asyncio.timeout(_EXPIRES_SECONDS + 2.0):
                    await self._wake.wait()
            except TimeoutError:
                self._asked = 0

    def _ask_again(self) -> None:
        self._asked = 0
        self._wake.set()

    def _heard(self, subject: bytes, reply: bytes, body: bytes, headers: bytes) -> None:
        if not reply or not reply.startswith(b"$JS.ACK."):
            self._told(headers)
            return
        self._asked = max(self._asked - 1, 0)
        # an account or a domain in the reply moves the numbers by two (reference: NATS ADR-15)
        parts = reply.decode().split(".")
        at = 5 if len(parts) == 9 else 7
        rev, number, pending = int(parts[at]), int(parts[at + 1]), int(parts[at + 3])
        delivery = Delivery(self._log, subject.decode(), reply.decode(), body, rev, number, pending)
        if self._stopped or self._held >= self._room:
            self._return(delivery)
            return
        self._held += 1
        if self._asked == 0:
            self._wake.set()
        self._take(delivery)

    def _return(self, delivery: Delivery) -> None:
        if self._hand_back:
            task = asyncio.get_running_loop().create_task(_give_back(delivery, 0.0 if self._stopped else 1.0))
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)

    def _told(self, headers: bytes) -> None:
        """A status instead of a message: the request has ended, or the consumer has."""
        status = headers[9:12] if headers else b""
        if status == b"408":
            left = headers.partition(b"Nats-Pending-Messages: ")[2].partition(b"\r")[0]
            self._asked = max(self._asked - int(left or 0), 0) if left else 0
            self._wake.set()
        elif status in (b"404", b"409", b"503"):
            self._asked = 0
            if self._on_gone is not None and (status == b"503" or b"Consumer Deleted" in headers):
                self._on_gone()
            asyncio.get_running_loop().call_later(0.2, self._wake.set)


async def _give_back(delivery: Delivery, seconds: float) -> None:
    with contextlib.suppress(Unavailable):  # then its claim runs out
        await delivery.nak(seconds)
