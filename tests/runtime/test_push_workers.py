"""Many who send webhooks, and what becomes of them: nobody overtakes, nobody delays others, nothing is lost."""

import asyncio
import time
from dataclasses import replace

import pytest

from protocol.entries import Principal
from protocol.subjects import run_subject
from runtime import push, push_configs
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.push import Pusher
from runtime.push_configs import PushConfig, Standing
from runtime.settings import Settings
from tests.runtime.pushing import (
    QUESTIONS,
    all_dealt_with,
    asks,
    begin,
    failing,
    go_through,
    life,
    numbers,
    talks,
    to_loopback,
)
from tests.runtime.receiver import Reply, open_receiver
from tests.runtime.stage import ended, eventually, open_engine, open_stage, open_worker, restart, want

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return to_loopback(settings)


async def test_a_receiver_that_hangs_delays_no_other_task_and_no_other_webhook_of_its_run(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as slow, open_receiver() as quick, open_stage(nats, settings, talks=talks) as engine:
        slow.reply = lambda _: Reply(hang=True)
        await engine.push.set("r1", PushConfig("quick", quick.url), by, new_run=True)
        await begin(engine, by, slow, "talks")
        await slow.has_seen(1)
        await quick.has_taken(2)
        await begin(engine, by, quick, "talks", "r2")
        await quick.has_taken(4)
        assert len(slow.seen) == 1 and numbers(quick.taken) == await life(log)
        slow.let_go()
        await slow.has_taken(2)
        assert numbers(slow.taken) == await life(log)


async def test_many_runs_with_one_receiver_are_sent_ten_at_once_at_most(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(hang=len(receiver.seen) <= push.AT_ONCE_PER_ORIGIN)
        for number in range(30):
            await begin(engine, by, receiver, "talks", f"r{number}")
        await receiver.has_seen(push.AT_ONCE_PER_ORIGIN)
        receiver.let_go()
        await receiver.has_taken(60)
        assert receiver.most_under_way == push.AT_ONCE_PER_ORIGIN


async def test_more_runs_with_a_hanging_receiver_than_have_a_place_delay_no_other_receiver(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"push_timeout_s": 20.0})
    runs = [f"r{number}" for number in range(push.AT_ONCE + 5)]
    async with open_receiver() as slow, open_receiver() as quick, open_stage(nats, settings, talks=talks) as engine:
        slow.reply = lambda _: Reply(hang=True)
        await asyncio.gather(*(begin(engine, by, slow, "talks", run_id) for run_id in runs))
        await slow.has_seen(push.AT_ONCE_PER_ORIGIN)
        await begin(engine, by, quick, "talks", "quick")
        await quick.has_taken(2)
        assert len(slow.seen) == push.AT_ONCE_PER_ORIGIN
        slow.let_go()
        await slow.has_taken(2 * len(runs))
        for run_id in runs:
            assert numbers(slow.taken, run_id) == await life(log, run_id)


async def test_workers_never_send_to_one_webhook_at_once_and_never_overtake(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        once = failing(1)
        receiver.reply = lambda came: replace(once(came), pause_s=0.01)
        async with open_worker(nats.url, settings, "w1", asks=asks), open_worker(nats.url, settings, "w2", asks=asks):
            others = [Pusher(log, settings) for _ in range(3)]
            for other in others:
                await other.start()
            runs = [f"r{number}" for number in range(6)]
            for run_id in runs:
                await begin(engine, by, receiver, "asks", run_id)
            await asyncio.gather(*(go_through(engine, by, run_id) for run_id in runs))
            await receiver.has_taken(len(runs) * 2 * (QUESTIONS + 1))
            for other in others:
                await other.stop()
        for run_id in runs:
            expected = await life(log, run_id)
            assert numbers(receiver.taken, run_id) == expected
            assert numbers(receiver.seen, run_id) == [seq for seq in expected for _ in range(2)]
        assert not receiver.overlapped


async def test_a_claim_of_a_sender_that_is_gone_is_let_be_until_it_is_over(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"push_timeout_s": 0.4})
    run = run_subject("default", "r1")
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        await engine.push.set("r1", PushConfig("c1", receiver.url), by, new_run=True)
        until_ms = time.time_ns() // 1_000_000 + 800

        def claimed(record: push_configs.Record) -> push_configs.Record:
            return {"c1": replace(record["c1"], claim="somebody", claimed_until_ms=until_ms)}

        await push_configs.change(log, run, claimed)
        async with open_worker(nats.url, settings, "w1", talks=talks):
            await engine.start(want("talks"), by, "test")
            await receiver.has_taken(2)
        assert time.time_ns() // 1_000_000 >= until_ms and numbers(receiver.seen) == await life(log)


async def test_updates_outlive_every_worker_and_the_log_itself(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        receiver.reply = lambda _: Reply(503)
        async with open_worker(nats.url, settings, "w1", talks=talks):
            await begin(engine, by, receiver, "talks")
            await ended(engine, by)
            await receiver.has_seen(2)
        await restart(nats)
        await eventually(lambda: log.connected and engine.ready)
        receiver.reply = lambda _: Reply()
        async with open_worker(nats.url, settings, "w2", talks=talks):
            await receiver.has_taken(2)
        assert numbers(receiver.taken) == await life(log)


async def test_a_run_that_is_cancelled_without_any_worker_is_told_once_there_is_one(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, "w1", talks=talks):
            pass
        await begin(engine, by, receiver, "talks")
        await engine.cancel("r1", by, "test")
        async with open_worker(nats.url, settings, "w2", talks=talks):
            await receiver.has_taken(2)
        assert receiver.taken[-1].state == "CANCELED"


async def test_a_consumer_that_was_deleted_is_made_again_and_tells_nothing_twice(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        await begin(engine, by, receiver, "talks")
        await receiver.has_taken(2)
        await log.request(f"$JS.API.CONSUMER.DELETE.RUNS.{push.CONSUMER}", b"")
        await begin(engine, by, receiver, "talks", "r2")
        await receiver.has_taken(4)
        await all_dealt_with(log)
    assert numbers(receiver.seen) == await life(log) and numbers(receiver.seen, "r2") == await life(log, "r2")


async def test_a_worker_starts_although_the_bucket_of_webhooks_was_deleted(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, "w1", talks=talks):
            pass
        await log.request("$JS.API.STREAM.DELETE.KV_PUSH", b"")
        async with open_worker(nats.url, settings, "w2", talks=talks):
            await begin(engine, by, receiver, "talks")
            await receiver.has_taken(2)


async def test_an_update_that_cannot_be_made_is_given_up_and_holds_nothing_up(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    """A version that only a newer hocket knows stands for it."""
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        newer = Standing(PushConfig("c1", receiver.url, version="9.9"), 0, 0)
        await push_configs.change(log, run_subject("default", "r1"), lambda _: {"c1": newer})
        async with open_worker(nats.url, settings, "w1", talks=talks):
            await engine.start(want("talks"), by, "test")
            await ended(engine, by)
            await all_dealt_with(log)
        assert [one.attempts for one in await engine.push.dead(by)] == [1, 1] and not receiver.seen
