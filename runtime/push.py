"""Webhooks: what became of a run is told to whoever asked for it, in order, until it is taken or given up.

Workers share one durable consumer on the life lane. How far each receiver is stands in the run's record, and who sends
to it holds a claim there, so order and retries outlive every process; the consumer's redelivery is the alarm clock.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import orjson

from protocol.errors import HocketError, Refused
from protocol.subjects import parse_subject

from . import dead_letters, push_configs
from .addresses import AddressRefused
from .chunks import chunk
from .dead_letters import DeadLetter
from .layout import PUSH, STREAM
from .log import Log, Stored
from .outbound import Answer, Outbound, Undelivered
from .pull import Delivery, Pull, ensure_consumer
from .push_configs import Record, Standing
from .push_hooks import Hook, RunHook, TenantHook
from .push_update import Update, next_update
from .settings import Settings
from .webhook_book import WebhookBook

logger = logging.getLogger("hocket.push")

CONSUMER = "push"
AT_ONCE = 50
AT_ONCE_PER_ORIGIN = 10
PAUSE_SECONDS_MAX = 300.0
_ROOM = 1_000
_LATER_SECONDS = 1.0
_SLOT_SECONDS = 2.0
_END_SECONDS = 0.5
_CLAIMED_SECONDS_MIN = 0.05
_PASSING = frozenset({408, 409, 425, 429})
"""Of 4xx those that a later try may not get."""


class _Fault(NamedTuple):
    """Why an update was not taken. `final` says that no further try is worth making, `gone` that none ever will be."""

    words: str
    final: bool = False
    gone: bool = False
    retry_after_s: float | None = None


class Pusher:
    """One of any number, in any processes. An update that was sent and whose end was not recorded is sent again."""

    def __init__(self, log: Log, settings: Settings, outbound: Outbound | None = None) -> None:
        self._log, self._settings = log, settings
        self._outbound = outbound or Outbound(settings.push_timeout_s, settings.push_loopback_enabled)
        self._claim_s = 2 * settings.push_timeout_s  # a post has ended long before, also by a clock that is slow
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: set[Delivery] = set()
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._origins: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = WeakValueDictionary()
        self._webhooks = WebhookBook(log)
        self._pull = Pull(log, CONSUMER, _ROOM, self._take, self._ensure_soon)

    async def start(self) -> None:
        """Raises Unavailable or Refused if the log cannot be read."""
        await self._ensure()
        await self._webhooks.start()
        await self._pull.start()
        self._beat = asyncio.get_running_loop().create_task(self._heartbeats())

    async def stop(self) -> None:
        """Takes no more; what is being sent has half a second to end, and is sent again by another otherwise."""
        await self._pull.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * _END_SECONDS)
        self._beat.cancel()
        await self._webhooks.stop()

    # ── the consumer ──────────────────────────────────────────────────────────────────────────────────────────

    async def _ensure(self) -> None:
        """No webhook is older than the bucket of webhooks, so nothing before it is for anyone."""
        info = orjson.loads(await self._log.request(f"$JS.API.STREAM.INFO.KV_{PUSH}", b""))
        args = self._log, CONSUMER, ["run.*.*.life"], self._claim_s, STREAM, info.get("created")
        try:
            await ensure_consumer(*args)
        except Refused:  # the bucket is another than it was, and with it every webhook
            await self._log.request(f"$JS.API.CONSUMER.DELETE.{STREAM}.{CONSUMER}", b"")
            await ensure_consumer(*args)

    def _ensure_soon(self) -> None:
        async def ensure() -> None:
            with contextlib.suppress(HocketError):
                await self._ensure()

        self._spawn(ensure())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self, delivery: Delivery) -> None:
        self._held.add(delivery)
        self._spawn(self._deal_with(delivery))

    async def _deal_with(self, delivery: Delivery) -> None:
        pause: float | None = _LATER_SECONDS
        try:
            pause = await self._advance(delivery)
        except HocketError as fault:
            logger.warning("The updates of %s are put off: %s", delivery.subject, fault.message)
        except asyncio.CancelledError:
            pause = 0.0
        except Exception:  # where the task ends: one run that cannot be told of must not stop the others
            logger.exception("The updates of %s are put off", delivery.subject)
        finally:
            self._held.discard(delivery)
            with contextlib.suppress(HocketError):
                await (delivery.ack() if pause is None else delivery.nak(pause))
            self._pull.done()

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self._claim_s / 3)
            for delivery in list(self._held):
                with contextlib.suppress(HocketError):
                    await delivery.keep()

    # ── a run ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _advance(self, delivery: Delivery) -> float | None:
        """Tells every webhook of the run what it is due up to this message; None once all are told, else the seconds
        after which to look again. Most runs have no webhook, and this is all that they cost."""
        run = delivery.subject.rpartition(".")[0]
        question = self._webhooks.ask()
        record, _ = await push_configs.load(self._log, run)
        names = await self._webhooks.of(run, question)
        if not record and not names:
            return None
        last = chunk(Stored(delivery.rev, "life", delivery.body)).last
        hooks: list[Hook] = [RunHook(run, name) for name, one in record.items() if one.seq < last]
        hooks += [TenantHook(run, name, self._webhooks.finder(run, name)) for name in names]
        pauses = await asyncio.gather(
            *(self._tell(run, hook, last, delivery.rev) for hook in hooks), return_exceptions=True
        )
        for pause in pauses:
            if isinstance(pause, BaseException):
                raise pause
        return min((pause for pause in pauses if isinstance(pause, float)), default=None)

    async def _tell(self, run: str, hook: Hook, last: int, rev: int) -> float | None:
        """One webhook, up to the entry `last`, which lies at `rev`, one update after the other."""
        turn = self._turns.get((hook.record, hook.name))
        if turn is None:
            turn = self._turns[hook.record, hook.name] = asyncio.Lock()
        async with turn:
            while True:
                one = hook.standing((await push_configs.load(self._log, hook.record))[0])
                if one is None or one.seq >= last or one.rev > rev:
                    return None
                if (pause := self._not_yet(one)) is not None:
                    return pause
                update = await next_update(self._log, run, one, rev)
                async with self._slot(hook.url(one)) as free:
                    if not free:
                        return random.uniform(_LATER_SECONDS, 3 * _LATER_SECONDS)
                    claimed = await self._claim(hook, one)
                    if claimed is not None:
                        await self._send(run, hook, claimed, update)

    def _not_yet(self, one: Standing) -> float | None:
        """In how many seconds to look again. A claim nearly always ends long before its time: the longer it has lasted,
        the longer it is let be."""
        now = _now_ms()
        if one.claimed_until_ms > now:
            left = (one.claimed_until_ms - now) / 1000
            return min(left, max(_CLAIMED_SECONDS_MIN, (self._claim_s - left) / 2))
        return max((one.retry_at_ms - now) / 1000, 0.01) if one.retry_at_ms > now else None

    @contextlib.asynccontextmanager
    async def _slot(self, url: str) -> AsyncIterator[bool]:
        """A place among those that send at once, or False: so a receiver that hangs cannot take all of them, nor hold
        up whoever waits behind it."""
        parts = urlsplit(url)
        key = parts.scheme, parts.netloc
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = asyncio.Semaphore(AT_ONCE_PER_ORIGIN)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_SLOT_SECONDS):
                    await stack.enter_async_context(origin)
                    await stack.enter_async_context(self._slots)
            except TimeoutError:
                yield False
                return
            yield True

    async def _claim(self, hook: Hook, one: Standing) -> Standing | None:
        """The webhook in this sender's hands alone, None if it is not as it was any more."""
        mine = replace(one, claim=secrets.token_hex(8), claimed_until_ms=_now_ms() + int(self._claim_s * 1000))
        done = await push_configs.change(
            self._log, hook.record, lambda record: _with(mine)(record) if hook.standing(record) == one else None
        )
        return mine if done is not None else None

    async def _send(self, run: str, hook: Hook, one: Standing, update: Update) -> None:
        """One try, and what follows from it. What became of the webhook meanwhile goes before."""
        tenant, run_id, _ = parse_subject(f"{run}.life")
        seq = update.entry.seq
        try:
            fault = await self._try(run_id, hook, one, update)
        except (HocketError, asyncio.CancelledError):
            await self._finish(hook, one, _with(one.freed()))
            raise
        told = one.told(seq, update.rev)
        if fault is None:
            await self._finish(hook, one, _with(told))
            return
        now, attempts = _now_ms(), one.attempts + 1
        first = one.first_at_ms or now
        logger.info("Run %s: the webhook %r has not taken %d (try %d)", run_id, one.config.id, seq, attempts)
        if not fault.final and attempts < self._settings.push_attempts_max:
            pause = self._pause(attempts, fault.retry_after_s)
            failed = replace(
                one.freed(), attempts=attempts, first_at_ms=first, retry_at_ms=now + int(pause * 1000),
                error=fault.words,
            )  # fmt: skip
            await self._finish(hook, one, _with(failed))
            return
        if hook.standing((await push_configs.load(self._log, hook.record))[0]) == one:
            letter = DeadLetter(
                "", run_id, hook.name, hook.url(one), seq, update.rev, fault.words, attempts, first, now, hook.of_tenant
            )
            await dead_letters.bury(self._log, tenant, letter)
            logger.warning("Run %s: the webhook %r is not told %d: %s", run_id, hook.name, seq, fault.words)
        if fault.gone:
            await hook.end(self._log)
        await self._finish(hook, one, (lambda record: _without(record, one)) if fault.gone else _with(told))

    async def _try(self, run_id: str, hook: Hook, one: Standing, update: Update) -> _Fault | None:
        try:
            post = await hook.post(self._log, run_id, one, update)
        except HocketError:
            raise
        except Exception:  # it would be no better the next time, and what comes after it must not wait for ever
            logger.exception("Run %s: what %d tells cannot be made", run_id, update.entry.seq)
            return _Fault("What it tells cannot be made.", final=True)
        if post is None:
            return None
        began, status, fault = time.monotonic(), None, None
        try:
            answer = await self._outbound.post(post.url, post.headers, post.body)
            status, fault = answer.status, _judged(answer)
        except AddressRefused as refused:
            fault = _Fault(refused.message, final=True)
        except Undelivered as failed:
            fault = _Fault(failed.message)
        words = fault.words if fault is not None else ""
        await hook.note(self._log, update, post, one.attempts + 1, status, words, began)
        return fault

    async def _finish(self, hook: Hook, one: Standing, how: Callable[[Record], Record]) -> None:
        """Writes what follows from a try, if the webhook is still in this sender's hands; one that was put in its place
        meanwhile need not wait for it any longer."""

        def turn(record: Record) -> Record | None:
            held = record.get(one.config.id)
            if held == one:
                return how(record)
            if held is not None and held.claimed_until_ms == one.claimed_until_ms:
                return _with(held.freed())(record)
            return None

        await push_configs.change(self._log, hook.record, turn)

    def _pause(self, attempts: int, retry_after_s: float | None) -> float:
        """Exponential, with full jitter; a receiver that asks for more is given it."""
        longest = min(self._settings.push_retry_s * 2.0 ** (attempts - 1), PAUSE_SECONDS_MAX)
        return max(random.uniform(0.0, longest), retry_after_s or 0.0)


def _judged(answer: Answer) -> _Fault | None:
    if answer.good:
        return None
    final = 400 <= answer.status < 500 and answer.status not in _PASSING
    words = f"{answer.status} {answer.reason}".strip()
    return _Fault(words, final, answer.status == 410, answer.retry_after_s)


def _with(one: Standing) -> Callable[[Record], Record]:
    return lambda record: {**record, one.config.id: one}


def _without(record: Record, one: Standing) -> Record:
    return {name: kept for name, kept in record.items() if name != one.config.id}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
