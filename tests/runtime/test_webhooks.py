"""A tenant's webhooks against real receivers, which verify what they are sent with the library of Standard Webhooks."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from protocol.entries import Caller, Principal
from protocol.errors import Conflict, Forbidden, Invalid, NotFound
from protocol.subjects import run_subject
from runtime import push_configs, webhook
from runtime.addresses import AddressRefused
from runtime.deliveries import Tried
from runtime.engine import Engine
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.push_configs import PushConfig
from runtime.push_hooks import record_of
from runtime.settings import Settings
from runtime.webhook import ROTATION_MS, SECRETS_MAX, WEBHOOKS_MAX, Webhook
from runtime.webhooks import Change
from tests.runtime.pushing import QUESTIONS, all_dealt_with, asks, begin, go_through, life, talks, to_loopback
from tests.runtime.receiver import Received, Receiver, Reply, open_receiver
from tests.runtime.stage import ended, open_engine, open_stage, open_worker, until, want

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return to_loopback(settings)


def verified(came: Received, one: Webhook) -> dict[str, Any]:
    """What was sent, if it was signed with the webhook's newest secret."""
    told: dict[str, Any] = Verifier(one.secrets[0].value).verify(came.body, came.headers)
    return told


def said(came: list[Received]) -> list[tuple[str, str, int]]:
    told = [orjson.loads(one.body) for one in came]
    return [(one["data"]["id"], one["type"], one["data"]["seq"]) for one in told]


async def made(engine: Engine, by: Principal, receiver: Receiver, **more: Any) -> Webhook:
    return await engine.webhooks.create(Change(receiver.url, **more), by)


async def tried(engine: Engine, one: Webhook, by: Principal, count: int) -> list[Tried]:
    """The list of deliveries once it is so long."""
    async with asyncio.timeout(8):
        while len(found := list(await engine.webhooks.deliveries(one.id, by))) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_a_webhook_is_told_of_every_run_of_its_tenant_signed_and_in_order(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks, talks=talks) as engine:
        one = await made(engine, by, receiver)
        await engine.start(want("asks", "r1", "t1"), by, "test")
        await go_through(engine, by)
        await engine.start(want("talks", "r2", "t2"), by, "test")
        await receiver.has_taken(QUESTIONS + 4)
        await all_dealt_with(log)
        first, *rest = await life(log)
    told = [verified(came, one) for came in receiver.taken]
    mine = [event for event in told if event["data"]["id"] == "r1"]
    assert [event["type"] for event in mine] == ["run.started", *["run.waiting"] * QUESTIONS, "run.completed"]
    assert [event["data"]["seq"] for event in mine] == [first, *rest[::2]]
    assert [event["data"]["status"] for event in mine] == ["running", *["waiting"] * QUESTIONS, "completed"]
    assert mine[1]["data"]["interrupts"][0]["id"] == "i0" and "messages" not in mine[1]["data"]
    assert mine[-1]["timestamp"] == mine[-1]["data"]["ended_at"]
    others = [event["type"] for event in told if event["data"]["id"] == "r2"]
    assert others == ["run.started", "run.completed"]
    assert len({came.headers["webhook-id"] for came in receiver.taken}) == len(told)
    assert {came.headers["content-type"] for came in receiver.taken} == {"application/json"}


async def test_a_failed_and_a_cancelled_run_are_told_and_one_that_never_started_has_not_started(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def breaks(run: Any) -> Any:
        yield "a"
        raise RuntimeError("no")

    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks, breaks=breaks) as engine:
        await made(engine, by, receiver)
        await engine.start(want("breaks", "r1", "t1"), by, "test")
        await ended(engine, by, "r1")
        await engine.start(want("asks", "r2", "t2"), by, "test")
        await until(engine, by, lambda state: bool(state.open_gates), "r2")
        await engine.cancel("r2", by, "test")
        await receiver.has_taken(5)
    told = [(run, kind) for run, kind, _ in said(receiver.taken)]
    assert [kind for run, kind in told if run == "r1"] == ["run.started", "run.failed"]
    assert [kind for run, kind in told if run == "r2"] == ["run.started", "run.waiting", "run.cancelled"]


async def test_events_and_agent_say_what_is_sent_and_what_is_not_enabled_is_sent_nothing(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks, others=talks) as engine:
        some = await made(engine, by, receiver, events=("run.completed",), agent="talks")
        off = await made(engine, by, receiver, enabled=False)
        await engine.start(want("others", "r1", "t1"), by, "test")
        await ended(engine, by, "r1")
        await engine.start(want("talks", "r2", "t2"), by, "test")
        await receiver.has_taken(1)
        await all_dealt_with(log)
        assert [(run, kind) for run, kind, _ in said(receiver.seen)] == [("r2", "run.completed")]
        await engine.webhooks.change(off.id, Change(enabled=True, events=("run.started",)), by)
        await engine.webhooks.delete(some.id, by)
        await engine.start(want("talks", "r3", "t3"), by, "test")
        await receiver.has_taken(2)
        await all_dealt_with(log)
    assert [(run, kind) for run, kind, _ in said(receiver.seen)][1:] == [("r3", "run.started")]


async def test_a_webhook_is_told_of_what_comes_after_it_also_of_a_run_that_was_there_before(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks) as engine:
        await engine.start(want("asks", "r1", "t1"), by, "test")
        await until(engine, by, lambda state: bool(state.open_gates), "r1")
        one = await made(engine, by, receiver)
        await go_through(engine, by)
        await receiver.has_taken(QUESTIONS)
        await all_dealt_with(log)
    assert [kind for _, kind, _ in said(receiver.seen)] == ["run.waiting"] * (QUESTIONS - 1) + ["run.completed"]
    assert verified(receiver.seen[0], one)["data"]["seq"] > 2


async def test_what_was_recorded_while_a_webhook_was_disabled_is_never_told(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks) as engine:
        one = await made(engine, by, receiver)
        await engine.start(want("asks", "r1", "t1"), by, "test")
        await receiver.has_taken(2)
        await engine.webhooks.change(one.id, Change(enabled=False), by)
        await go_through(engine, by)
        await all_dealt_with(log)
        await engine.webhooks.change(one.id, Change(enabled=True), by)
        await engine.start(want("asks", "r2", "t2"), by, "test")
        await receiver.has_taken(4)
        await all_dealt_with(log)
    assert [(run, kind) for run, kind, _ in said(receiver.seen)] == [
        ("r1", "run.started"), ("r1", "run.waiting"), ("r2", "run.started"), ("r2", "run.waiting"),
    ]  # fmt: skip


async def test_a_try_that_fails_is_made_again_under_the_same_id_and_both_are_listed(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(503 if len(receiver.seen) % 2 else 200)
        one = await made(engine, by, receiver)
        await engine.start(want("talks", "r1", "t1"), by, "test")
        await receiver.has_taken(2)
        newest, *older = await tried(engine, one, by, 4)
        ids = [came.headers["webhook-id"] for came in receiver.seen]
        assert ids[0] == ids[1] != ids[2] == ids[3]
        assert all(verified(came, one) for came in receiver.seen)
        assert (newest.message_id, newest.type, newest.run_id) == (ids[3], "run.completed", "r1")
        assert [(tried.attempt, tried.status, tried.error) for tried in (newest, *older)] == [
            (2, 200, ""), (1, 503, "503 Service Unavailable"),
        ] * 2  # fmt: skip
        assert newest.seq is not None and older[0].seq == newest.seq > 2 and newest.duration_ms >= 0
        for number in range(60):
            await engine.start(want("talks", f"n{number}", f"t-n{number}"), by, "test")
        await receiver.has_taken(122)
        await all_dealt_with(log)
        assert len(await engine.webhooks.deliveries(one.id, by)) == 100
        await engine.webhooks.delete(one.id, by)
        with pytest.raises(NotFound):
            await engine.webhooks.deliveries(one.id, by)


async def test_what_nobody_takes_goes_to_the_dead_letters_and_is_sent_again_from_there(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"push_attempts_max": 2})
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(500)
        one = await made(engine, by, receiver, events=("run.completed",))
        await engine.start(want("talks", "r1", "t1"), by, "test")
        async with asyncio.timeout(8):
            while not (letters := await engine.push.dead(by)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (letter,) = letters
        assert (letter.run_id, letter.config_id, letter.url) == ("r1", one.id, receiver.url)
        assert letter.of_tenant and (letter.attempts, letter.error) == (2, "500 Internal Server Error")
        receiver.reply = lambda _: Reply()
        elsewhere = receiver.url + "/else"
        await engine.webhooks.change(one.id, Change(elsewhere), by)
        assert (await engine.push.redeliver(letter.id, by)).delivered and not await engine.push.dead(by)
        (taken,) = receiver.taken
        assert taken.path == "/hook/else" and verified(taken, one)["type"] == "run.completed"
        assert {came.headers["webhook-id"] for came in receiver.seen} == {taken.headers["webhook-id"]}
        assert [tried.attempt for tried in await tried(engine, one, by, 3)] == [3, 2, 1]
        receiver.reply = lambda _: Reply(400)
        await engine.start(want("talks", "r2", "t2"), by, "test")
        async with asyncio.timeout(8):
            while not (letters := await engine.push.dead(by)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await engine.webhooks.delete(one.id, by)
        with pytest.raises(Conflict, match="removed"):
            await engine.push.redeliver(letters[0].id, by)


async def test_a_receiver_that_says_gone_disables_its_webhook_for_all_runs(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(410)
        one = await made(engine, by, receiver)
        await engine.start(want("talks", "r1", "t1"), by, "test")
        await ended(engine, by, "r1")
        await all_dealt_with(log)
        assert not (await engine.webhooks.get(one.id, by)).enabled
        await engine.start(want("talks", "r2", "t2"), by, "test")
        await ended(engine, by, "r2")
        await all_dealt_with(log)
    assert len(receiver.seen) == 1


async def test_a_worker_that_comes_later_tells_what_it_finds(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        receiver.reply = lambda _: Reply(503)
        async with open_worker(nats.url, settings, talks=talks):
            one = await made(engine, by, receiver)
            await engine.start(want("talks", "r1", "t1"), by, "test")
            await receiver.has_seen(2)
        receiver.reply = lambda _: Reply()
        async with open_worker(nats.url, settings, talks=talks), open_worker(nats.url, settings, talks=talks):
            await receiver.has_taken(2)
            await all_dealt_with(log)
    assert [verified(came, one)["type"] for came in receiver.taken] == ["run.started", "run.completed"]


async def test_a_runs_own_webhook_of_the_same_name_is_another_and_does_not_see_it(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_receiver() as own, open_stage(nats, settings, talks=talks) as engine:
        one = await made(engine, by, receiver)
        await engine.push.set("r1", PushConfig(one.id, own.url), by, new_run=True)
        await begin(engine, by, own, "talks")
        await receiver.has_taken(2)
        await own.has_taken(4)
        assert [config.url for config in await engine.push.list("r1", by)] == [own.url, own.url]
        record, _ = await push_configs.load(log, record_of(run_subject("default", "r1")))
    assert list(record) == [one.id] and "whsec_" not in repr(record) and record[one.id].config.url == ""


async def test_a_secret_that_was_replaced_signs_beside_the_new_one(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        before = await made(engine, by, receiver)
        after = await engine.webhooks.rotate(before.id, by)
        ping = await engine.webhooks.test(before.id, by)
        assert (ping.type, ping.status, ping.error, ping.run_id) == ("ping", 200, "", None)
        (came,) = receiver.taken
        assert verified(came, before) == verified(came, after)
        assert verified(came, after)["data"] == {"webhook_id": before.id}
        stranger = await made(engine, by, receiver)
        with pytest.raises(WebhookVerificationError):
            verified(came, stranger)
        assert [tried.type for tried in await engine.webhooks.deliveries(before.id, by)] == ["ping"]
        assert "whsec_" not in repr([before, after, ping])
        receiver.reply = lambda _: Reply(500)
        assert (await engine.webhooks.test(before.id, by)).error == "500 Internal Server Error"


def test_after_a_day_the_secret_that_was_replaced_signs_no_more() -> None:
    one = Webhook("wh_1", "https://example.com/").rotated(1_000)
    two = one.rotated(2_000)
    assert len(two.headers("msg_1", b"{}", 2_000 + ROTATION_MS - 1)["webhook-signature"].split()) == 2
    assert len(two.headers("msg_1", b"{}", 2_000 + ROTATION_MS)["webhook-signature"].split()) == 1
    assert len(two.rotated(3_000 + ROTATION_MS).secrets) == 2
    for _ in range(2 * SECRETS_MAX):
        two = two.rotated(2_001)
    assert len(two.secrets) == SECRETS_MAX


async def test_what_cannot_be_a_webhook_is_refused(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    good = Change("https://example.com/")
    async with open_engine(nats.url, settings.model_copy(update={"push_loopback_enabled": False})) as engine:
        for url in ("http://127.0.0.1/", "http://169.254.169.254/", "http://localhost/"):
            with pytest.raises(AddressRefused):
                await engine.webhooks.create(Change(url), by)
        for bad in (replace(good, url=""), replace(good, events=()), replace(good, events=("run.bored",)),
                    replace(good, description="x" * 1001), replace(good, agent="x" * 300)):  # fmt: skip
            with pytest.raises(Invalid):
                await engine.webhooks.create(bad, by)
        first = await engine.webhooks.create(good, by)
        assert first.events == webhook.EVENTS
        with pytest.raises(AddressRefused):
            await engine.webhooks.change(first.id, Change("http://10.0.0.1/"), by)
        for _ in range(WEBHOOKS_MAX - 1):
            await engine.webhooks.create(good, by)
        with pytest.raises(Invalid, match="at most 20"):
            await engine.webhooks.create(good, by)
        assert len(await engine.webhooks.list(by)) == WEBHOOKS_MAX


async def test_webhooks_are_a_tenants_own_and_to_change_them_takes_admin(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    reader = Caller("default", "r", "user", scopes=frozenset({"runs:read", "runs:start", "triggers:write"}))
    page = Caller("default", "p", "user", scopes=frozenset({"admin"}), run="r1")
    async with open_engine(nats.url, settings) as engine:
        one = await engine.webhooks.create(Change("https://example.com/"), by)
        stranger = Principal("other", "x", "user")
        assert await engine.webhooks.list(stranger) == []
        assert [found.id for found in await engine.webhooks.list(reader)] == [one.id]
        doors = engine.webhooks
        for asked in (doors.get, doors.delete, doors.rotate, doors.test, doors.deliveries):
            with pytest.raises(NotFound):
                await asked(one.id, stranger)
            with pytest.raises(Forbidden):
                await asked(one.id, page)
        for changing in (doors.delete, doors.rotate, doors.test):
            with pytest.raises(Forbidden):
                await changing(one.id, reader)
        with pytest.raises(Forbidden):
            await doors.create(Change("https://example.com/"), reader)
        with pytest.raises(Forbidden):
            await doors.change(one.id, Change(enabled=False), reader)


async def test_runs_of_another_tenant_are_not_told(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        await made(engine, Principal("other", "x", "user"), receiver)
        await engine.start(want("talks", "r1", "t1"), by, "test")
        await ended(engine, by, "r1")
        await all_dealt_with(log)
    assert receiver.seen == []
