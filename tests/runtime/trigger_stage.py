"""What the tests of triggers share: wants, and a past that a trigger has slept through."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from protocol.entries import Caller, Principal
from protocol.errors import Unavailable
from protocol.state import RunState
from runtime.engine import Engine
from runtime.index import Query
from runtime.layout import CLOCK
from runtime.log import Log
from runtime.schedule import latest_ticks
from runtime.trigger import Source, Trigger, Wanted
from runtime.triggers import Held, plan, read, write
from tests.runtime.stage import WAIT_SECONDS

HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def said(text: str = "hi") -> dict[str, Any]:
    message = {"id": "m1", "role": "user", "content": text}
    return {"messages": [message], "state": None, "tools": [], "context": [], "forwardedProps": {}}


def at(seconds: float, **more: Any) -> Wanted:
    """Once, so many seconds from now."""
    return Wanted("agent", said(), "at", at_ms=now_ms() + round(seconds * 1000), **more)


def hourly(agent: str = "agent", **more: Any) -> Wanted:
    """Each hour, at the minute that is farthest from now: no test meets a tick but those that it makes."""
    minute = (now_ms() // 60_000 + 30) % 60
    return Wanted(agent, said(), "cron", cron=f"{minute} * * * *", **more)


def on(agent: str, *statuses: str, **more: Any) -> Wanted:
    return Wanted("agent", said(), "event", event=Source(agent, statuses or ("completed",), **more))


async def echo(run: Any) -> Any:
    yield "done"


async def sleep_through(log: Log, trigger: Trigger, hours: int) -> list[int]:
    """As if nobody had been there for that many ticks of an hourly trigger: what is planned has long been due."""
    cron = trigger.want.cron
    assert cron is not None
    ticks = latest_ticks(cron, "UTC", now_ms() - (hours + 1) * HOUR_MS, now_ms(), hours)
    held = await read(log, trigger.by.tenant, trigger.id)
    assert held is not None
    slept = replace(held.trigger, next_at_ms=ticks[0])
    await write(log, Held(slept, held.rev))
    await plan(log, slept)
    return ticks


async def back(log: Log) -> None:
    """Once the log answers again."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await log.last_rev()
                return
            except Unavailable:
                await asyncio.sleep(0.02)


async def fired(
    engine: Engine, by: Principal, trigger_id: str, holds: Callable[[Trigger], Any] = lambda trigger: trigger.last
) -> Trigger:
    """The trigger once `holds` of it; fails after five seconds. A log that is away is asked again."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                trigger = await engine.triggers.get(trigger_id, by)
                if holds(trigger):
                    return trigger
            except Unavailable:
                pass
            await asyncio.sleep(0.02)


async def runs_of(engine: Engine, by: Principal, *trigger_ids: str) -> list[RunState]:
    """Every run that these triggers have started, the oldest first. Others have started them, so the list is waited
    for."""
    assert engine._index is not None
    newest = await engine._log.last("run.*.*", lane="ask")
    await engine._index.caught_up(newest.rev if newest is not None else 0, WAIT_SECONDS)
    found: list[RunState] = []
    before: tuple[int, str] | None = None
    while page := await engine.list(Query(limit=1000, before=before), by):
        found += page
        before = page[-1].created_at_ms, page[-1].id
    mine = [state for state in found if state.metadata.get("trigger", {}).get("id") in trigger_ids]
    return mine[::-1]


async def quiet(log: Log) -> None:
    """Once nothing is due or in work that is not planned for later."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            want = {"subjects_filter": "clock.due.>"}
            told = orjson.loads(await log.request(f"$JS.API.STREAM.INFO.{CLOCK}", orjson.dumps(want)))
            if not told["state"].get("subjects"):
                return
            await asyncio.sleep(0.02)


async def planned(log: Log) -> int:
    """How many ticks are planned."""
    want = orjson.dumps({"subjects_filter": "clock.plan.trigger.>"})
    told = orjson.loads(await log.request(f"$JS.API.STREAM.INFO.{CLOCK}", want))
    return len(told["state"].get("subjects") or {})


def caller(*scopes: str, tenant: str = "default", name: str = "ada", run: str | None = None) -> Caller:
    return Caller(tenant, name, "user", name, frozenset(scopes), run, "key_1")
