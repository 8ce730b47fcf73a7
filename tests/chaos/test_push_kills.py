"""Workers killed while they send webhooks: the next one goes on where they were, in order."""

import pytest
from standardwebhooks import Webhook as Verifier

from protocol.entries import Principal, decode
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.push_configs import PushConfig
from runtime.settings import Settings
from runtime.webhooks import Change
from tests.chaos.processes import Process
from tests.runtime.pushing import standing, tried
from tests.runtime.receiver import Receiver, Reply, open_receiver
from tests.runtime.stage import ended, open_engine, stored, want

pytestmark = pytest.mark.anyio

SECONDS = "0.2"
"""How long the agent's question stays open; its default answer then ends the run."""
HUNG = (3, 11)
"""The posts, counted from 1, that are not answered until their worker has been killed."""


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


async def test_workers_that_are_killed_in_mid_delivery_leave_every_run_told_to_the_tenants_webhook_in_order(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    runs = [f"r{number}" for number in range(12)]
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        receiver.reply = lambda _: Reply(hang=len(receiver.seen) in HUNG)
        one = await engine.webhooks.create(Change(receiver.url), by)
        workers = [Process("worker", nats.url, f"w{number}") for number in range(len(HUNG) + 1)]
        try:
            for number, worker in enumerate(workers):
                await worker.start()
                mine = runs[number * 4 : number * 4 + 4]
                for run_id in mine:
                    await engine.start(want("asking", run_id, f"t-{run_id}", SECONDS), by, "test")
                if number < len(HUNG):
                    await receiver.has_seen(HUNG[number])
                    await worker.kill()
            for run_id in runs:
                await ended(engine, by, run_id)
            await receiver.has_told(lambda: all(finished(receiver, run_id) for run_id in runs))
        finally:
            for worker in workers:
                await worker.kill()
    told: dict[str, list[tuple[int, str]]] = {run_id: [] for run_id in runs}
    for came in receiver.taken:
        message = Verifier(one.secrets[0].value).verify(came.body, came.headers)
        told[message["data"]["id"]].append((message["data"]["seq"], message["type"]))
    for run_id in runs:
        in_order = list(dict.fromkeys(told[run_id]))
        assert in_order == sorted(in_order), f"{run_id} was told {told[run_id]}"
        assert [kind for _, kind in in_order] == ["run.started", "run.waiting", "run.completed"]
    repeated = len(receiver.seen) - sum(len(set(one)) for one in told.values())
    assert repeated >= len(HUNG), "nothing was cut off: this shows nothing"
    ids = {came.headers["webhook-id"] for came in receiver.seen}
    assert len(ids) == 3 * len(runs), "a repetition has the id of what it repeats"


def finished(receiver: Receiver, run_id: str) -> bool:
    return any(f'"id":"{run_id}"'.encode() in one.body and b'"run.completed"' in one.body for one in receiver.taken)
