"""Who runs what: asks are claimed from the log itself, kept by heartbeats, and handed back on the way out.

All workers share one durable pull consumer on the ask lane. An ask that no worker has kept alive for `ack_wait_s`
comes back to another one. The claim says who should work; that nobody else writes is for the log's
compare-and-set to hold (an acknowledgement of a first delivery still counts after the second).
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Coroutine
from typing import Any

import orjson

from protocol.entries import ASK_CANCEL, decode
from protocol.errors import HocketError, Unavailable
from protocol.subjects import encode_token, parse_subject, run_subject

from .agents.contract import Agents
from .announcement import announce
from .execution import Execution, Outcome, Workshop, now_ms
from .expiry import ExpiryClock
from .layout import AGENTS, STREAM
from .log import Log, Stored
from .pull import Delivery, Pull, ensure_consumer
from .push import Pusher
from .settings import Settings
from .settle import settle
from .trigger_work import TriggerWork

logger = logging.getLogger("hocket.worker")

CONSUMER = "workers"
_ELSEWHERE_SECONDS = 1.0
_LATER_SECONDS = 5.0
_FREED_SECONDS = 0.01
_FREEING_SECONDS = 0.3


class Worker:
    """Runs up to `settings.concurrency` legs at once until `stop`, which hands them back within seconds."""

    def __init__(self, log: Log, agents: Agents, settings: Settings, name: str | None = None) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._log, self._agents, self._settings = log, agents, settings
        self._shop = Workshop(log, settings, self.name)
        self._running: dict[str, dict[int, tuple[Execution, Delivery]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lately: set[str] = set()
        self._stopping = False
        self._clock, self._triggers = ExpiryClock(log), TriggerWork(log, settings)
        self._pusher = Pusher(log, settings)
        self._pull: Pull
        self._beat: asyncio.Task[None]

    @property
    def running(self) -> int:
        return len(self._legs())

    def _legs(self) -> list[tuple[Execution, Delivery]]:
        """Every leg in work. A run has at most two: one that ends, and the one that its answer has opened."""
        return [leg for legs in self._running.values() for leg in legs.values()]

    async def start(self, sole: bool = False) -> None:
        """Announces the agents and begins to take asks. `sole` says that no other worker is at work on this log:
        what one that is gone has claimed is free at once, and the agents that only it had are withdrawn."""
        if sole:
            await self._succeed()
        await self._ensure_queue()
        for agent in self._agents.values():
            await announce(self._log, agent, now_ms())
        self._end_listening = await self._log.listen("run.*.*", self._heard, lane="ask")
        self._log.on_reconnect(lambda: self._spawn(self._look_all()))
        self._pull = Pull(
            self._log, CONSUMER, self._settings.concurrency, self._take, lambda: self._spawn(self._queue_again())
        )
        await self._pull.start()
        await self._clock.start()
        await self._triggers.start()
        await self._pusher.start()
        self._beat = asyncio.get_running_loop().create_task(self._heartbeats())

    async def stop(self, seconds: float = 10.0) -> None:
        """Takes no more asks, hands the running legs back, and waits for that at most so long."""
        self._stopping = True
        pushing = asyncio.get_running_loop().create_task(self._pusher.stop())
        await self._pull.stop()
        await asyncio.gather(self._clock.stop(), self._triggers.stop())
        for execution, _ in self._legs():
            execution.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        self._beat.cancel()
        await self._end_listening()
        await pushing
        if self._shop.tasks:
            await asyncio.wait(self._shop.tasks, timeout=2.0)

    def _take(self, delivery: Delivery) -> None:
        self._spawn(self._work(delivery))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, delivery: Delivery) -> None:
        try:
            await self._answer(delivery)
        except Unavailable as away:
            logger.error("The answer to the ask %s is lost: %s", delivery.subject, away.message)
        except Exception:  # where the task ends: one ask that cannot be dealt with must not stop the others
            logger.exception("The ask %s is put off", delivery.subject)
            with contextlib.suppress(Unavailable):
                await delivery.nak(_LATER_SECONDS)
        finally:
            self._pull.done()

    async def _answer(self, delivery: Delivery) -> None:
        tenant, run_id, _ = parse_subject(delivery.subject)
        run = run_subject(tenant, run_id)
        seq, event = decode(delivery.body)[0]
        if event["type"] == ASK_CANCEL or event.get("outcome", "answer") != "answer":
            self._cancel(run)
            await settle(self._log, run, now_ms())
            await delivery.ack()
            return
        agent = self._agents.get(event.get("agent", ""))
        if agent is None or self._stopping:
            await delivery.nak(0.0 if self._stopping else _ELSEWHERE_SECONDS)
            return
        self._lately.add(delivery.reply)
        legs = self._running.setdefault(run, {})
        if seq in legs:  # the claim ran out while this worker was frozen, and nobody else took it
            legs[seq] = legs[seq][0], delivery
            return
        execution = Execution(self._shop, run, agent, seq)
        legs[seq] = execution, delivery
        try:
            outcome = await execution.execute()
        finally:
            _, delivery = legs.pop(seq)
            if not legs:
                self._running.pop(run, None)
        if outcome is Outcome.DONE:
            await delivery.ack()
        elif outcome is Outcome.HANDED_BACK:
            await delivery.nak(0.0)
        elif outcome is Outcome.LATER:
            await delivery.nak(_LATER_SECONDS)

    def _heard(self, asked: Stored) -> None:
        """Every ask as it is recorded: a cancel stops the agent at once, not only at its next word."""
        if not self._running or b'"type":"ask.cancel"' not in asked.body:
            return
        event = decode(asked.body)[0].event
        self._cancel(run_subject(event["by"]["tenant"], event["runId"]))

    def _cancel(self, run: str) -> None:
        for execution, _ in self._running.get(run, {}).values():
            execution.cancel()

    async def _heartbeats(self) -> None:
        """Keeps the claims. After a freeze longer than a claim lasts it keeps quiet: the claims are others' now."""
        loop = asyncio.get_running_loop()
        beat_at = loop.time()
        stale: set[str] = set()
        while True:
            await asyncio.sleep(self._settings.ack_wait_s / 3)
            late = loop.time() - beat_at > self._settings.ack_wait_s
            beat_at = loop.time()
            held = {delivery.reply: delivery for _, delivery in self._legs()}
            stale &= held.keys()
            if late:
                logger.warning("Worker %s was frozen for longer than its claims last", self.name)
                stale |= held.keys() - self._lately
                self._spawn(self._look_all())
            self._lately.clear()
            for reply in held.keys() - stale:
                try:
                    await held[reply].keep()
                except Unavailable:
                    break

    async def _look_all(self) -> None:
        """After a time in which this worker was not told: which of its runs have gone on without it?"""
        for execution, _ in self._legs():
            try:
                await execution.look()
            except HocketError as away:
                logger.info("A run could not be looked at: %s", away.message)

    async def _ensure_queue(self, ack_wait_s: float | None = None) -> None:
        await ensure_consumer(self._log, CONSUMER, ["run.*.*.ask"], ack_wait_s or self._settings.ack_wait_s)

    async def _succeed(self) -> None:
        """A claim outlives its worker by `ack_wait_s`, and even a hand-back if the server stops right after it; a
        shorter time, for as long as the server takes to apply it, makes the server let go of all of them."""
        queue = orjson.loads(await self._log.request(f"$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}", b""))
        if queue.get("num_ack_pending"):
            await self._ensure_queue(_FREED_SECONDS)
            await asyncio.sleep(_FREEING_SECONDS)
        mine = {encode_token(name) for name in self._agents}
        for key, value in (await self._log.keys(AGENTS)).items():
            if value and key not in mine:
                await self._log.put(AGENTS, key, b"")

    async def _queue_again(self) -> None:
        """The server does not know the queue: it has just started, or somebody has deleted it."""
        try:
            await self._ensure_queue()
        except HocketError as away:
            logger.info("The queue of asks waits for the log: %s", away.message)
