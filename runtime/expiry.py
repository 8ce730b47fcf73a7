"""When time decides: the expiry of an open question, planned in the log's clock and turned into an ask when it is due.

A scheduled message cannot compare-and-set, so it never writes into a run. Whoever takes what is due looks whether the
question is still open, and then appends `ask.expire` by compare-and-set like any other ask.
"""

import logging
import time
import uuid

from protocol.entries import ASK_EXPIRE, Principal, ask, encode
from protocol.instants import rfc3339
from protocol.interrupts import expired, next_expiry_ms
from protocol.state import RunState

from .checkpoints import load_state
from .layout import CLOCK
from .log import Log, WrongRevision
from .pull import Delivery
from .settle import settle
from .shared import Shared

logger = logging.getLogger("hocket.expiry")

FACE = "clock"
_CONSUMER = "expiry"
_PLAN = "expiry"
_ROOM = 200
_ACK_WAIT_SECONDS = 1.5
_NEAR_MS = 60_000
PLAN_MS_MAX = 7_258_118_400_000
"""The year 2200: the server counts nanoseconds in 64 bits, and what is later than those would be due at once."""


async def plan_expiry(log: Log, run: str, state: RunState) -> None:
    """Sets the clock for the first of the run's open questions that expires; for none, nothing is set. May be said
    again. Raises Unavailable."""
    at_ms = next_expiry_ms(state)
    if at_ms is not None and at_ms < PLAN_MS_MAX:
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
    """Takes what is due, shared by all workers."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._due = Shared(log, _CONSUMER, CLOCK, [f"clock.due.{_PLAN}.*.*"], self._deal_with, _ROOM, _ACK_WAIT_SECONDS)

    async def start(self) -> None:
        await self._due.start()

    async def stop(self) -> None:
        await self._due.stop()

    async def _deal_with(self, delivery: Delivery) -> None:
        run = f"run{delivery.subject.removeprefix(f'clock.due.{_PLAN}')}"
        left = await expire(self._log, run, time.time_ns() // 1_000_000)
        await (delivery.ack() if left is None else delivery.nak(left))
