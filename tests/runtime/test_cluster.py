"""The log in three copies: races that a single server settles at once, and reads that may come too early."""

import asyncio
from pathlib import Path

import pytest

from protocol.entries import Principal
from runtime.layout import PUSH
from runtime.log import Log, WrongRevision
from runtime.push_configs import PushConfig
from runtime.settings import Settings
from tests.runtime.cluster import NODES, open_cluster
from tests.runtime.pushing import life, numbers, talks, to_loopback
from tests.runtime.receiver import open_receiver
from tests.runtime.stage import open_engine, open_worker, want

pytestmark = pytest.mark.anyio

RACERS = 10
RUNS = 10


async def test_a_cluster_settles_races_and_tells_webhooks_in_order(
    tmp_path: Path, settings: Settings, by: Principal
) -> None:
    settings = to_loopback(settings).model_copy(update={"replicas": NODES, "append_timeout_s": 20.0})
    async with open_cluster(tmp_path) as (one, two, three):
        log = await Log.open(one, "test", settings.append_timeout_s, NODES)

        async def append(number: int) -> bool:
            try:
                await log.append("run.other.race", "flow", b"%d" % number, 0)
            except WrongRevision:
                return False
            return True

        async def put(number: int) -> bool:
            try:
                await log.put(PUSH, "race", b"%d" % number, expected=0)
            except WrongRevision:
                return False
            return True

        for racing in (append, put):  # the losers are told so, and not that what they wrote was too large
            assert sorted(await asyncio.gather(*map(racing, range(RACERS)))) == [False] * (RACERS - 1) + [True]
        workers = open_worker(two, settings, "w1", talks=talks), open_worker(three, settings, "w2", talks=talks)
        async with open_receiver() as receiver, workers[0], workers[1], open_engine(one, settings) as engine:
            for number in range(RUNS):
                await engine.push.set(f"r{number}", PushConfig("c1", receiver.url), by, new_run=True)
                await engine.start(want("talks", f"r{number}", f"t{number}"), by, "test")
            await receiver.has_taken(2 * RUNS)
            for number in range(RUNS):
                expected: list[int] = []
                async with asyncio.timeout(5):
                    while len(expected) < 2:  # a copy may answer that has not all of it yet
                        expected = await life(log, f"r{number}")
                assert numbers(receiver.seen, f"r{number}") == expected
            assert not receiver.overlapped
        await log.close()
