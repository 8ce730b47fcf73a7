"""When time decides: the expiry of an open question, planned in the log's clock and turned into an ask when it is due.

A scheduled message cannot compare-and-set, so it never writes into a run. Whoever takes what is due looks whether the
question is still open, and then appends `ask.expire` by compare-and-set like any other ask.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Coroutine
from typing import Any

from protocol.entries import ASK_EXPIRE, Principal, ask, encode
from protocol.errors import HocketError
from protocol.instants import rfc3339
from protocol.interrupts import expired, next_expiry_ms
from protocol.state import RunState

from .checkpoints import load_state
from .layout import CLOCK
from .log import Log, WrongRevision
from .pull import Delivery, Pull, ensure_consumer
from .settle import settle

logger = logging.getLogger("hocket.expiry")

FACE = "clock"
_CONSUMER = "expiry"
_PLAN = "expiry"
_ROOM = 200
_ACK_WAIT_SECONDS = 1.5
_LATER_SECONDS = 1.0
_NEAR_MS = 60_000
_PLAN_MS_MAX = 7_258_118_400_000
"""The year 2200: the server counts nanoseconds in 64 bits, and what is later than those would be due at once."""


async def plan_expiry(log: Log, run: str, state: RunState) -> None:
    """Sets the clock for the first of the run's open questions that expires; for none, nothing is set. May be said
    again. Raises Unavailable."""
    at_ms = next_expiry_ms(state)
    if at_ms is not None and at_ms < _PLAN_MS_MAX:
        await log.plan(f"{_PLAN}{run.removeprefix('run')}", b"", rfc3339(at_ms))


async def expire(log: Log, run: str, now_ms: int) -> float | None:
    """Records what time has decided of the run's open questions and ends the run if that is its end. A run that has
    gone on meanwhile is left as it is. Raises Unavailable.

    For what is not over yet the clock is set again, or, where it is so near that two clocks may differ about it, the
    answer is in how many seconds to look again.
    """
    while True:
        loaded = await load_state(log, run, exact=True)
        if loaded is None:
            return None
        state, rev = loaded
        over = expired(state, now_ms)
        if over is None:
            at_ms = next_expiry_ms(state)
            if at_ms is not None and at_ms - now_ms < _NEAR_MS:
                return (at_ms - now_ms) / 1000
            await plan_expiry(log, run, state)
            return None
        outcome, answers = over
        by = Principal(state.tenant, "hocket", "system", "hocket")
        event = ask(
            ASK_EXPIRE, by, FACE, now_ms, agent=state.agent, runId=state.id, legId=str(uuid.uuid4()), outcome=outcome,
            answers=answers, reason="gate_expired",
        )  # fmt: skip
        try:
            await log.append(run, "ask", encode(state.seq + 1, event), rev)
        except WrongRevision:  # somebody's answer, a cancel, or another's expiry came first
            continue
        logger.info("Run %s: a question has expired: %s", state.id, outcome)
        if outcome != "answer":
            await settle(log, run, now_ms)
            return None  # else other questions may still be open, and expire later


class ExpiryClock:
    """Takes what is due, shared by all workers: one of them deals with it, and if that one dies, another."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._pull = Pull(log, _CONSUMER, _ROOM, self._take, lambda: self._spawn(self._ensure()), stream=CLOCK)

    async def start(self) -> None:
        await self._ensure()
        await self._pull.start()

    async def stop(self) -> None:
        await self._pull.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LATER_SECONDS)

    async def _ensure(self) -> None:
        await ensure_consumer(self._log, _CONSUMER, [f"clock.due.{_PLAN}.*.*"], _ACK_WAIT_SECONDS, CLOCK)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(_told)
        task.add_done_callback(self._tasks.discard)

    def _take(self, delivery: Delivery) -> None:
        self._spawn(self._deal_with(delivery))

    async def _deal_with(self, delivery: Delivery) -> None:
        run = f"run{delivery.subject.removeprefix(f'clock.due.{_PLAN}')}"
        try:
            left = await expire(self._log, run, time.time_ns() // 1_000_000)
            await (delivery.ack() if left is None else delivery.nak(left))
        except HocketError as fault:
            logger.warning("The expiry of %s is put off: %s", run, fault.message)
            with contextlib.suppress(HocketError):
                await delivery.nak(_LATER_SECONDS)
        finally:
            self._pull.done()


def _told(task: "asyncio.Task[None]") -> None:
    """Where the task ends: what is not dealt with comes again."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("The clock failed", exc_info=task.exception())
