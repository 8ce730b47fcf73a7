"""Who runs what: asks are claimed from the log itself, kept by heartbeats, and handed back on the way out.

All workers share one durable pull consumer on the ask lane. An ask that no worker has kept alive for `ack_wait_s`
comes back to another one. The claim says who should work; that nobody else writes is for the log's
compare-and-set to hold (an acknowledgement of a first delivery still counts after the second).
"""

import asyncio
import logging
import os
import secrets
import socket

import orjson

from protocol.entries import ASK_CANCEL, decode
from protocol.errors import HocketError, Unavailable
from protocol.subjects import encode_token, parse_subject, run_subject

from .agents.contract import Agents
from .execution import Execution, Outcome, Workshop, now_ms
from .log import AGENTS, Log, Stored
from .pull import Delivery, Pull, ensure_consumer
from .settings import Settings
from .settle import settle_cancel

logger = logging.getLogger("hocket.worker")

CONSUMER = "workers"
_ELSEWHERE_SECONDS = 1.0
_LATER_SECONDS = 5.0


class Worker:
    """Runs up to `settings.concurrency` legs at once until `stop`, which hands them back within seconds."""

    def __init__(self, log: Log, agents: Agents, settings: Settings, name: str | None = None) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._log, self._agents, self._settings = log, agents, settings
        self._shop = Workshop(log, settings, self.name)
        self._running: dict[str, tuple[Execution, Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pull: Pull
        self._beat: asyncio.Task[None]

    @property
    def running(self) -> int:
        return len(self._running)

    async def start(self) -> None:
        """Announces the agents and begins to take asks."""
        await ensure_consumer(self._log, CONSUMER, ["run.*.*.ask"], self._settings.ack_wait_s)
        for agent in self._agents.values():
            await self._log.put(
                AGENTS, encode_token(agent.name), orjson.dumps(agent.options.model_dump() | {"name": agent.name})
            )
        self._end_listening = await self._log.listen("run.*.*", self._heard, lane="ask")
        self._pull = Pull(self._log, CONSUMER, self._settings.concurrency, self._take)
        await self._pull.start()
        self._beat = asyncio.get_running_loop().create_task(self._heartbeats())

    async def stop(self, seconds: float = 10.0) -> None:
        """Takes no more asks, hands the running legs back, and waits for that at most so long."""
        await self._pull.stop()
        for execution, _ in list(self._running.values()):
            execution.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        self._beat.cancel()
        if self._shop.tasks:
            await asyncio.wait(self._shop.tasks, timeout=2.0)

    def _take(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._work(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, delivery: Delivery) -> None:
        tenant, run_id, _ = parse_subject(delivery.subject)
        run = run_subject(tenant, run_id)
        try:
            await self._answer(delivery, run)
        except Unavailable as away:
            logger.error("The answer to the ask of %s is lost: %s", run, away.message)
        except HocketError as fault:
            logger.error("The ask of %s is put off: %s", run, fault.message)
        finally:
            self._pull.done()

    async def _answer(self, delivery: Delivery, run: str) -> None:
        event = decode(delivery.body)[0].event
        if event["type"] == ASK_CANCEL:
            await settle_cancel(self._log, run, now_ms())
            await delivery.ack()
            return
        agent = self._agents.get(event.get("agent", ""))
        if agent is None:
            await delivery.nak(_ELSEWHERE_SECONDS)
            return
        if run in self._running:  # the claim ran out while this worker was frozen, and nobody else took it
            self._running[run] = self._running[run][0], delivery
            return
        execution = Execution(self._shop, run, agent)
        self._running[run] = execution, delivery
        try:
            outcome = await execution.execute()
        finally:
            _, delivery = self._running.pop(run)
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
        held = self._running.get(run_subject(event["by"]["tenant"], event["runId"]))
        if held is not None:
            held[0].cancel()

    async def _heartbeats(self) -> None:
        """Keeps the claims. After a freeze longer than a claim lasts it keeps quiet: the claims are others' now."""
        loop = asyncio.get_running_loop()
        beat_at = loop.time()
        stale: set[int] = set()
        while True:
            await asyncio.sleep(self._settings.ack_wait_s / 3)
            late = loop.time() - beat_at > self._settings.ack_wait_s
            beat_at = loop.time()
            if late:
                logger.warning("Worker %s was frozen for longer than its claims last", self.name)
                stale |= {id(delivery) for _, delivery in self._running.values()}
            for _, delivery in list(self._running.values()):
                if id(delivery) in stale:
                    continue
                try:
                    await delivery.keep()
                except Unavailable:
                    break
