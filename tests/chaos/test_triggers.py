"""Workers killed in the middle of a trigger's ticks: the next one goes on, and each tick has made one run."""

import asyncio

import pytest

from protocol.entries import Principal
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.trigger import Wanted
from tests.chaos.processes import Process
from tests.command import once
from tests.runtime.stage import open_engine
from tests.runtime.trigger_stage import quiet, runs_of, said, sleep_through

pytestmark = pytest.mark.anyio

TICKS = 150


async def test_a_worker_killed_between_the_start_of_a_run_and_the_next_plan_is_followed_by_one_that_plans(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    workers = [Process("worker", nats.url, name) for name in ("w1", "w2", "w3")]
    try:
        await asyncio.gather(*(worker.start() for worker in workers[:2]))
        async with open_engine(nats.url, settings) as engine:
            want = Wanted("echo", said(), "cron", cron="0 * * * *", catch_up="all")
            made = await engine.triggers.set(want, by, "t1")
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
