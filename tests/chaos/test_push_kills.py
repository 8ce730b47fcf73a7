"""Workers killed while they send webhooks: the next one goes on where they were, in order."""

import pytest

from protocol.entries import Principal, decode
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.push_configs import PushConfig
from runtime.settings import Settings
from tests.chaos.processes import Process
from tests.runtime.pushing import standing, tried
from tests.runtime.receiver import Reply, open_receiver
from tests.runtime.stage import ended, open_engine, stored, want

pytestmark = pytest.mark.anyio

SECONDS = "0.2"
"""How long the agent's question stays open; its default answer then ends the run."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"push_loopback_enabled": True})


async def told_of(log: Log) -> list[int]:
    return [entry.seq for one in await stored(log) if one.lane == "life" for entry in decode(one.body)]


async def test_a_worker_that_is_killed_between_two_tries_has_its_retries_gone_on_with(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        receiver.reply = lambda _: Reply(503)
        first, second = Process("worker", nats.url, "w1"), Process("worker", nats.url, "w2")
        try:
            await first.start()
            await engine.push.set("r1", PushConfig("c1", receiver.url), by, new_run=True)
            await engine.start(want("asking", text=SECONDS), by, "test")
            await tried(log, lambda attempts: attempts >= 2)
            await first.kill()
            before = (await standing(log)).attempts
            await second.start()
            assert await tried(log, lambda attempts: attempts != before) > before
            receiver.reply = lambda _: Reply()
            await ended(engine, by)
            await receiver.has_taken(4)
        finally:
            await first.kill()
            await second.kill()
    assert [one.seq for one in receiver.taken] == await told_of(log) and not receiver.overlapped


async def test_a_worker_that_is_killed_in_mid_try_leaves_that_one_update_to_be_repeated(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        receiver.reply = lambda _: Reply(hang=len(receiver.seen) == 1)
        first, second = Process("worker", nats.url, "w1"), Process("worker", nats.url, "w2")
        try:
            await first.start()
            await engine.push.set("r1", PushConfig("c1", receiver.url), by, new_run=True)
            await engine.start(want("asking", text=SECONDS), by, "test")
            await receiver.has_seen(1)
            await first.kill()
            receiver.let_go()
            await second.start()
            await ended(engine, by)
            await receiver.has_seen(5)
        finally:
            await first.kill()
            await second.kill()
    expected = await told_of(log)
    assert [one.seq for one in receiver.seen] == [expected[0], *expected]
