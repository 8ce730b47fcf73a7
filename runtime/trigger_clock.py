"""When a trigger's tick is due: whoever takes it starts the run, notes that, and plans the next tick.

    plan(tick) ──> due ──> read the record ──> start the run (its id follows from trigger, generation and tick)
                    ▲         │ other generation: stale            │
                    │         └ tick dealt with: plan the next     ▼
                    └────────────── plan(next tick) <── write `last` and the next tick by compare-and-set

What is due stays until all of it is done, so whoever dies on the way has it done again by another, with the same run.
"""

import logging
from dataclasses import replace

import orjson

from .firing import Firing, now_ms
from .layout import CLOCK
from .log import Log, WrongRevision
from .pull import Delivery
from .shared import Shared
from .trigger import Due, Fired, Occasion, Trigger, due
from .triggers import PLAN, Held, noted, plan, read, write

logger = logging.getLogger("hocket.triggers")

_CONSUMER = "triggers"
_ROOM = 128
"""More at once takes longer altogether: the server's own work grows with what is asked of it at the same time."""
_ACK_WAIT_SECONDS = 5.0
_KEEP_MS = 1_000
_NEAR_MS = 60_000
_UNWRITTEN_SECONDS = 2.0
_AT_ONCE_SECONDS = 0.02
_AT_ONCE_MS = 1_000
_GRACE_MS = 5_000


class TriggerClock:
    """Takes the ticks that are due, shared by all workers."""

    def __init__(self, log: Log, firing: Firing, append_timeout_s: float) -> None:
        self._log, self._firing = log, firing
        self._grace_ms = append_timeout_s * 1000 + _GRACE_MS
        subjects = [f"clock.due.{PLAN}.>"]
        self._due = Shared(log, _CONSUMER, CLOCK, subjects, self._deal_with, _ROOM, _ACK_WAIT_SECONDS)

    async def start(self) -> None:
        await self._due.start()

    async def stop(self) -> None:
        await self._due.stop()

    async def _deal_with(self, delivery: Delivery) -> None:
        try:
            told = orjson.loads(delivery.body)
            tenant, trigger_id, generation = str(told["tenant"]), str(told["trigger"]), str(told["generation"])
            at_ms, planned_ms = int(told["at"]), int(told["planned"])
        except (ValueError, KeyError, TypeError):
            logger.warning("What is due under %s is no plan of a trigger", delivery.subject)
            await delivery.ack()
            return
        held = await read(self._log, tenant, trigger_id)
        now = now_ms()
        if held is None or held.trigger.generation != generation:
            # stale; or planned and not written yet, for which the log may take its time
            age_ms = now - planned_ms
            if age_ms > self._grace_ms:
                await delivery.ack()
            else:
                await delivery.nak(_UNWRITTEN_SECONDS if age_ms > _AT_ONCE_MS else _AT_ONCE_SECONDS)
            return
        next_at_ms = held.trigger.next_at_ms
        if next_at_ms is not None and now < next_at_ms == at_ms and next_at_ms - now < _NEAR_MS:
            await delivery.nak((next_at_ms - now) / 1000)  # this clock is behind the server's
            return
        if next_at_ms is not None and next_at_ms <= now:
            next_one = await self._fire(held, due(held.trigger, now), delivery)
        else:
            next_one = held.trigger
        if next_one is not None:
            await plan(self._log, next_one)
        await delivery.ack()

    async def _fire(self, held: Held, now_due: Due, delivery: Delivery) -> Trigger | None:
        """The trigger with its next tick, None if it was changed or deleted meanwhile."""
        trigger = held.trigger
        fired = None
        if now_due.missed_at_ms is not None:
            fired = Fired(now_due.missed_at_ms, now_ms(), None, _MISSED)
        kept_ms = now_ms()
        for tick in now_due.ticks:
            fired = await self._firing.fire(trigger, Occasion(f"tick\n{trigger.generation}\n{tick}", tick))
            if fired.error is not None:
                logger.warning("Trigger %s starts no run: %s", trigger.id, fired.error["message"])
            if now_ms() - kept_ms > _KEEP_MS:
                await delivery.keep()
                kept_ms = now_ms()
        while True:
            next_one = replace(held.trigger, next_at_ms=now_due.next_at_ms)
            if fired is not None:
                next_one = noted(next_one, fired)
            try:
                await write(self._log, Held(next_one, held.rev))
                return next_one
            except WrongRevision:
                again = await read(self._log, trigger.by.tenant, trigger.id)
                if again is None or again.trigger.generation != trigger.generation:
                    return None
                if again.trigger.next_at_ms != trigger.next_at_ms:
                    return again.trigger  # another has dealt with this tick
                held = again


_MISSED = {"code": "missed", "message": "Nobody was there to take the tick, and catch_up is none."}
