"""The log on JetStream: compare-and-set append, ordered reading, the live copy, and small keyed values.

What the streams and buckets are called, and hold, is in `layout`.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import nats.errors
import orjson
from nats.js.errors import APIError, NotFoundError

from protocol.errors import HocketError, Refused, TooLarge, Unavailable

from .layout import CLOCK, EVENT_BYTES_MAX, STREAM, create
from .nats_server import Link, connect
from .requests import Answer, Requests, header, status

logger = logging.getLogger("hocket.log")

_OVERHEAD_BYTES = 1024
_READ_MESSAGES = 256
_READ_BYTES = 2 << 20
_WRONG_SEQUENCE = 10071
_OUTRUN = 10164
"""In a cluster: another's write to the same is under way, and which comes first is not settled yet."""
_SCHEDULE = b"NATS/1.0\r\nNats-Schedule: @at %b\r\nNats-Schedule-Target: clock.due.%b\r\n\r\n"
_ONCE = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n"
_EXPECTED = (
    b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %d\r\nNats-Expected-Last-Subject-Sequence-Subject: %b\r\n\r\n"
)


class WrongRevision(HocketError):
    """Somebody else has appended to the run, or written the key, since `expected`: look again."""

    code = "wrong_revision"


class Stored(NamedTuple):
    """A message of the log: one or more frames. `rev` is its place in the stream, growing along a run."""

    rev: int
    lane: str
    body: bytes


def _stored(headers: bytes, body: bytes) -> Stored:
    subject = header(headers, b"Nats-Subject")
    return Stored(int(header(headers, b"Nats-Sequence")), subject.rpartition(b".")[2].decode(), body)


def _valued(headers: bytes, body: bytes) -> Stored:
    """With all of the subject after its first two tokens for a lane: of a keyed value the key."""
    key = header(headers, b"Nats-Subject").split(b".", 2)[2]
    return Stored(int(header(headers, b"Nats-Sequence")), key.decode(), body)


class Log:
    """What the rest of hocket may rely on:

    - `append` returns once the entries are on the server's disk (fsync: see HOCKET_SYNC_INTERVAL_S), or raises:
      WrongRevision if the run has moved on, and then nothing was written; TooLarge; Unavailable after
      `append_timeout_s` of trying. An append whose answer was lost is looked up, never repeated blindly: it is
      written once.
    - `read` yields a run's messages in the order of their append, without a hole.
    - `listen` on a run's live copy is told every commit once, in order, while the connection holds. What is missed
      in between must be read: `on_reconnect` tells when.
    """

    def __init__(self, append_timeout_s: float = 60.0) -> None:
        self._append_timeout_s = append_timeout_s
        self._reconnect_listeners: list[Callable[[], None]] = []
        self._replicated = False
        self._link: Link
        self._requests: Requests

    @classmethod
    async def open(cls, url: str, name: str, append_timeout_s: float = 60.0, replicas: int = 1) -> "Log":
        """Connects and creates what is missing. Raises Unavailable, or Refused if the server has no JetStream."""
        log = cls(append_timeout_s)
        log._link = await connect(url, name, log._reconnected, log._lost)
        log._requests = Requests(log._link)
        await log._requests.start()
        try:
            log._replicated = await create(log._link, log.request, replicas)
        except (APIError, nats.errors.Error, NotFoundError) as bad:
            await log.close()
            raise Refused(f"NATS at {url.rpartition('@')[2]} cannot hold the log: {bad}.") from bad
        return log

    async def close(self) -> None:
        self._requests.close()
        await self._link.close()

    @property
    def connected(self) -> bool:
        return bool(self._link.is_connected)

    @property
    def body_bytes_max(self) -> int:
        """Largest body that one append can carry."""
        return int(self._link.max_payload) - _OVERHEAD_BYTES

    def on_reconnect(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` whenever the connection is back; the answer ends that."""
        self._reconnect_listeners.append(listener)
        return lambda: self._reconnect_listeners.remove(listener)

    async def created(self) -> str:
        """When the stream was made: another value means another log."""
        return str((await self._info()).get("created", ""))

    async def last_rev(self, stream: str = STREAM) -> int:
        """The revision of the newest message of all."""
        return int((await self._info(stream)).get("state", {}).get("last_seq", 0))

    async def _info(self, stream: str = STREAM) -> dict[str, Any]:
        info: dict[str, Any] = orjson.loads(await self.request(f"$JS.API.STREAM.INFO.{stream}", b""))
        return info

    # ── append ────────────────────────────────────────────────────────────────────────────────────────────────

    async def append(self, run: str, lane: str, body: bytes, expected: int, doubtful: bool = False) -> int:
        """Appends `body` to the run if its last revision is `expected` (0: it has none); returns the new one.

        `doubtful` says that this very append was sent before: it is looked for first.
        """
        return await self._put(STREAM, f"{run}.{lane}", f"{run}.>", body, expected, doubtful)

    def append_soon(self, run: str, lane: str, body: bytes, expected: int, told: Callable[[int | None], None]) -> None:
        """The hot way of `append`, without a task or a future: sends it, and calls `told` with the new revision,
        or with None where anything else happened, which a doubtful `append` finds out."""
        try:
            if len(body) > self.body_bytes_max:
                raise Unavailable("too large; the slow way says so")
            self._requests.ask_soon(f"{run}.{lane}", body, _expect(expected, f"{run}.>"), lambda got: told(_acked(got)))
        except Unavailable:
            asyncio.get_running_loop().call_soon(told, None)

    async def _put(
        self, stream: str, subject: str, scope: str, body: bytes, expected: int, doubtful: bool = False
    ) -> int:
        if len(body) > self.body_bytes_max:
            raise TooLarge(
                f"{len(body)} bytes do not fit into one write of the log, which takes {self.body_bytes_max}."
            )
        headers = _expect(expected, scope)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._append_timeout_s
        pause, tried, fault = 0.02, doubtful, ""
        while loop.time() < deadline:
            try:
                if tried:
                    found = await self._next(stream, scope, expected + 1)
                    if found is not None and found[0] == subject and found[1].body == body:
                        return found[1].rev
                    if found is not None:
                        raise WrongRevision(f"{scope} is at {found[1].rev}, not at {expected}.")
                answer = orjson.loads((await self._requests.ask(subject, body, headers))[1])
                error = answer.get("error")
                if error is None:
                    return int(answer["seq"])
                fault = error.get("description", "")
                if error.get("err_code") == _WRONG_SEQUENCE and not tried:
                    raise WrongRevision(f"{scope}: {fault}")
                if error.get("code") == 400 and error.get("err_code") not in (_WRONG_SEQUENCE, _OUTRUN):
                    raise TooLarge(f"The log refuses the write: {fault}.")
            except Unavailable as bad:
                fault = bad.message
            tried = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)
        raise Unavailable(f"The log took no write for {self._append_timeout_s:g} s: {fault}")

    # ── read ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def last(self, run: str, exact: bool = False, lane: str = ">") -> Stored | None:
        """The newest message of a run, or of one of its lanes. `exact` asks the leader, where there are replicas; one
        of those may answer a little late."""
        return await self._newest(STREAM, f"{run}.{lane}", exact)

    async def read(
        self, run: str, after_rev: int = 0, up_to: int | None = None, lane: str = ">"
    ) -> AsyncIterator[list[Stored]]:
        """The messages of a run, or of one of its lanes, with a revision above `after_rev` (and at most `up_to`), in
        order, in batches."""
        while up_to is None or after_rev < up_to:
            batch, pending = await self._direct_batch(f"{run}.{lane}", after_rev + 1)
            kept = batch if up_to is None else [stored for stored in batch if stored.rev <= up_to]
            if kept:
                yield kept
            if not pending or not batch:
                return
            after_rev = batch[-1].rev

    async def read_some(self, run: str, after_rev: int, bytes_max: int) -> list[Stored]:
        """The run's first messages with a revision above `after_rev`, up to about `bytes_max`."""
        return (await self._direct_batch(f"{run}.>", after_rev + 1, bytes_max=bytes_max))[0]

    async def read_lane(self, tenant: str, lane: str, from_rev: int) -> list[Stored]:
        """The first messages of one lane of all the tenant's runs from that revision on, `<run>.<lane>` for a lane."""
        return (await self._direct_batch(f"run.{tenant}.*.{lane}", from_rev, form=_valued))[0]

    async def first_after(self, run: str, rev: int) -> Stored | None:
        """The run's first message with a revision above `rev`."""
        batch, _ = await self._direct_batch(f"{run}.>", rev + 1, messages=1)
        return batch[0] if batch else None

    async def _next(self, stream: str, scope: str, rev: int | None) -> tuple[str, Stored] | None:
        """From the leader: the first message of `scope` from `rev` on, or its last one."""
        want = {"last_by_subj": scope} if rev is None else {"seq": rev, "next_by_subj": scope}
        answer = orjson.loads(await self.request(f"$JS.API.STREAM.MSG.GET.{stream}", orjson.dumps(want)))
        if "error" in answer:
            if answer["error"].get("code") == 404:
                return None
            raise Unavailable(f"The log cannot be read: {answer['error'].get('description', '')}")
        message = answer["message"]
        subject = message["subject"]
        body = base64.b64decode(message.get("data", ""))
        return subject, Stored(message["seq"], subject.rpartition(".")[2], body)

    async def _newest(self, stream: str, subject: str, exact: bool) -> Stored | None:
        if exact and self._replicated:
            found = await self._next(stream, subject, None)
            return found[1] if found else None
        want = orjson.dumps({"last_by_subj": subject})
        headers, body = await self._requests.ask(f"$JS.API.DIRECT.GET.{stream}", want)
        if status(headers) == 404:
            return None
        return _stored(headers, body)

    async def _direct_batch(
        self,
        scope: str,
        rev: int,
        messages: int = _READ_MESSAGES,
        bytes_max: int = _READ_BYTES,
        stream: str = STREAM,
        form: Callable[[bytes, bytes], Stored] = _stored,
    ) -> tuple[list[Stored], int]:
        """Up to `messages` from `rev` on, and how many more there are."""
        batch: list[Stored] = []
        pending = 0

        def take(answer: Answer) -> bool:
            nonlocal pending
            code = status(answer[0])
            if code == 0:
                batch.append(form(*answer))
                return False
            pending = int(header(answer[0], b"Nats-Num-Pending") or 0) if code == 204 else -code
            return True

        want = {"seq": rev, "next_by_subj": scope, "batch": messages, "max_bytes": bytes_max}
        await self._requests.ask_for_many(f"$JS.API.DIRECT.GET.{stream}", orjson.dumps(want), take)
        if pending < 0 and pending != -404:
            raise Unavailable(f"The log refused a read with status {-pending}.")
        return batch, max(pending, 0)

    async def listen(self, run: str, heard: Callable[[Stored], None], lane: str = "*") -> Callable[[], Any]:
        """Calls `heard` for every commit to the run (or to all that `run` matches) from now on, in order;
        the answer is an async end. Raises Unavailable."""

        def told(subject: bytes, _reply: bytes, body: bytes, headers: bytes) -> None:
            heard(Stored(int(header(headers, b"Nats-Sequence")), subject.rpartition(b".")[2].decode(), body))

        live = f"live{run.removeprefix('run')}.{lane}"

        end = await self._link.listen(live, told)
        try:
            await self._link.flush(timeout=5)
        except nats.errors.Error as bad:
            await end()
            raise Unavailable("The log is away.") from bad
        return end

    # ── keyed values: buckets of JetStream's key-value layout, with the same compare-and-set ─────────────────────

    async def get(self, bucket: str, key: str, exact: bool = False) -> Stored | None:
        """The value of a key; its body is empty where the key was deleted. `exact` asks the leader, as in `last`."""
        return await self._newest(f"KV_{bucket}", f"$KV.{bucket}.{key}", exact)

    async def put(self, bucket: str, key: str, value: bytes, expected: int | None = None) -> int:
        """Writes a key, if its revision is `expected` where that is given (0: absent). Raises WrongRevision."""
        subject = f"$KV.{bucket}.{key}"
        if expected is not None:
            return await self._put(f"KV_{bucket}", subject, subject, value, expected)
        if len(value) > self.body_bytes_max:
            raise TooLarge(f"{len(value)} bytes do not fit under one key, which takes {self.body_bytes_max}.")
        answer = orjson.loads(await self.request(subject, value))
        if "error" in answer:
            raise Unavailable(f"The log takes no value: {answer['error'].get('description', '')}")
        return int(answer["seq"])

    async def keys(self, bucket: str, under: str = "") -> dict[str, bytes]:
        """All values of a small bucket by key, or those whose key has `under` and a dot before the rest. Raises
        Unavailable.

        Read as messages, for a watcher of nats-py takes a bucket for empty if what it holds is delivered before the
        consumer is described."""
        found: dict[str, bytes] = {}
        stream, scope = f"KV_{bucket}", f"$KV.{bucket}.{under}.>" if under else f"$KV.{bucket}.>"
        rev, pending = 0, 1
        while pending:
            batch, more = await self._direct_batch(scope, rev + 1, stream=stream, form=_valued)
            found |= {stored.lane: stored.body for stored in batch if stored.body}
            rev, pending = (batch[-1].rev, more) if batch else (rev, 0)
        return found

    async def count(self, bucket: str, under: str) -> int:
        """How many keys have `under` and a dot before the rest; one that was deleted counts as well."""
        scope, stream = f"$KV.{bucket}.{under}.>", f"KV_{bucket}"
        first, more = await self._direct_batch(scope, 1, messages=1, stream=stream, form=_valued)
        return len(first) + more

    # ── plain streams: kept in the order in which they came ──────────────────────────────────────────────────────

    async def add(self, subject: str, body: bytes, once: str) -> int:
        """Appends to a stream; what was sent under the same `once` within two minutes is not added again. Raises
        Unavailable, and then it may be added or not."""
        answer = orjson.loads((await self._requests.ask(subject, body, _ONCE % once.encode()))[1])
        if "error" in answer:
            raise Unavailable(f"The log takes no message: {answer['error'].get('description', '')}")
        return int(answer["seq"])

    async def stretch(self, stream: str, subject: str, rev: int, before: int) -> list[Stored]:
        """Every message of the subject from `rev` on to below `before`, in order."""
        found, more = list[Stored](), 1
        while more and rev < before:
            batch, more = await self._direct_batch(subject, rev, stream=stream)
            found += [stored for stored in batch if stored.rev < before]
            rev = batch[-1].rev + 1 if batch else before
        return found

    # ── the clock: JetStream's scheduled messages ────────────────────────────────────────────────────────────────

    async def plan(self, key: str, body: bytes, at: str) -> None:
        """Makes `body` due under `clock.due.<key>` at the instant `at` (RFC 3339, UTC); one that has passed is due at
        once. What was planned under the key before is replaced. Raises Unavailable, and then it may be planned or not.
        """
        headers = _SCHEDULE % (at.encode(), key.encode())
        answer = orjson.loads((await self._requests.ask(f"clock.plan.{key}", body, headers))[1])
        if "error" in answer:
            raise Unavailable(f"The log plans nothing: {answer['error'].get('description', '')}")

    async def unplan(self, key: str) -> None:
        """Takes back what is planned under the key; what is due already stays so. Raises Unavailable."""
        want = orjson.dumps({"filter": f"clock.plan.{key}"})
        answer = orjson.loads(await self.request(f"$JS.API.STREAM.PURGE.{CLOCK}", want))
        if "error" in answer:
            raise Unavailable(f"The log takes no plan back: {answer['error'].get('description', '')}")

    async def tell(self, subject: str, body: bytes, name: str) -> int:
        """Stores an event and returns its number; one of the same name within two minutes is the same one. Raises
        TooLarge, Unavailable, and then it may be stored or not."""
        if len(body) > EVENT_BYTES_MAX:
            raise TooLarge(f"The event has {len(body)} bytes of JSON; it may have {EVENT_BYTES_MAX}.")
        return await self.add(subject, body, name)

    # ── requests ──────────────────────────────────────────────────────────────────────────────────────────────

    async def request(self, subject: str, body: bytes) -> bytes:
        """One answer of the server's own interface. Raises Unavailable if there is none within two seconds."""
        return (await self._requests.ask(subject, body))[1]

    async def publish(self, subject: str, body: bytes = b"", reply: str = "") -> None:
        """Without an answer and without a guarantee: acknowledgements of the queue, and pulls from it."""
        try:
            await self._link.publish(subject, body, reply)
        except nats.errors.Error as bad:
            raise Unavailable("The log is away.") from bad

    async def subscribe(self, heard: Callable[[bytes, bytes, bytes, bytes], None]) -> tuple[str, Callable[[], Any]]:
        """A fresh inbox whose messages go to `heard(subject, reply, body, headers)`, and its async end, after which
        none comes any more."""
        inbox = self._link.new_inbox()
        return inbox, await self._link.listen(inbox, heard, drain=True)

    def _lost(self) -> None:
        if hasattr(self, "_requests"):
            self._requests.lost()

    def _reconnected(self) -> None:
        for listener in list(self._reconnect_listeners):
            listener()


def _expect(rev: int, scope: str) -> bytes:
    """The headers of a compare-and-set: `scope` must stand at `rev`."""
    return _EXPECTED % (rev, scope.encode())


def _acked(answer: Answer | None) -> int | None:
    """The revision that an append was given, None if it was refused or not answered."""
    told = orjson.loads(answer[1]) if answer is not None and answer[1].startswith(b"{") else {}
    return None if "error" in told else told.get("seq")
