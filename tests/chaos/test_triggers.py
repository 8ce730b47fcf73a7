"""Workers killed in the middle of a trigger's ticks: the next one goes on, and each tick has made one run."""

import asyncio
import contextlib

import pytest

from protocol.entries import Principal
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.trigger import Wanted
from tests.chaos.processes import Process
from tests.command import once
from tests.runtime.stage import open_engine, restart
from tests.runtime.trigger_stage import back, hourly, now_ms, quiet, runs_of, said, sleep_through

pytestmark = pytest.mark.anyio

TICKS = 300


async def test_a_worker_killed_between_the_start_of_a_run_and_the_next_plan_is_followed_by_one_that_plans(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    workers = [Process("worker", nats.url, name) for name in ("w1", "w2", "w3")]
    try:
        await asyncio.gather(*(worker.start() for worker in workers[:2]))
        async with open_engine(nats.url, settings) as engine:
            made = await engine.triggers.set(hourly("echo", catch_up="all"), by, "t1")
            ticks = await sleep_through(log, made, TICKS)

            async def under_way() -> bool:
                return len(await runs_of(engine, by, "t1")) >= 10

            await once(under_way, 10)
            await asyncio.gather(*(worker.kill() for worker in workers[:2]))
            before = len(await runs_of(engine, by, "t1"))
            assert before < TICKS and (await engine.triggers.get("t1", by)).last is None
            await workers[2].start()

            async def over() -> bool:
                return (await engine.triggers.get("t1", by)).last is not None

            await once(over, 20)
            await quiet(log)
            told = await engine.triggers.get("t1", by)
            runs = await runs_of(engine, by, "t1")
            assert len(runs) == len({state.metadata["trigger"]["at"] for state in runs}) == len(ticks)
            assert told.next_at_ms == made.next_at_ms
    finally:
        for worker in workers:
            await worker.kill()


@pytest.mark.soak
async def test_a_thousand_triggers_fire_each_tick_once_over_a_restart_of_everything_with_two_replicas(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    """Half of them by the hour, with three ticks each that came while nothing was there; half of them at one instant
    that lies just behind the restart. Both workers, nats-server and the gateway's side are killed in between, and the
    workers once more in the middle of the ticks."""
    ids = [f"t{number}" for number in range(1_000)]
    cron = hourly("echo", catch_up="all")
    async with contextlib.AsyncExitStack() as closing:

        async def workers() -> list[Process]:
            both = [Process("worker", nats.url, name) for name in ("w1", "w2")]
            for one in both:
                closing.push_async_callback(one.kill)
            await asyncio.gather(*(one.start() for one in both))
            return both

        first = await workers()
        due_ms = now_ms() + 20_000
        once_each = Wanted("echo", said(), "at", at_ms=due_ms)
        async with open_engine(nats.url, settings) as engine:
            made = [await engine.triggers.set(cron, by, one) for one in ids[:500]]
            for one in ids[500:]:
                await engine.triggers.set(once_each, by, one)
        await asyncio.gather(*(one.kill() for one in first))
        await restart(nats)
        await back(log)
        for trigger in made:
            await sleep_through(log, trigger, 3)
        second = await workers()
        async with open_engine(nats.url, settings) as engine:

            async def made_so_far() -> int:
                return len(await runs_of(engine, by, *ids))

            async def under_way() -> bool:
                return await made_so_far() > 300

            async def over() -> bool:
                return all(trigger.last is not None for trigger in await engine.triggers.list(by))

            await once(under_way, 60)
            await asyncio.gather(*(one.kill() for one in second))
            await workers()
            await once(over, 120)
            runs = await runs_of(engine, by, *ids)
            ticks = [(state.metadata["trigger"]["id"], state.metadata["trigger"]["at"]) for state in runs]
            assert len(ticks) == len(set(ticks)) == 500 * 3 + 500
            for trigger in await engine.triggers.list(by):
                assert trigger.last is not None and trigger.last.error is None
                assert (trigger.next_at_ms is not None) == (trigger.want.kind == "cron")
