"""Webhooks against real receivers: every update, in order, until it is taken or given up."""

import asyncio
import logging
import time

import pytest

from protocol.entries import Principal
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.push_configs import PushConfig
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
    tried,
)
from tests.runtime.receiver import Received, Reply, open_receiver
from tests.runtime.stage import ended, open_engine, open_stage, open_worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return to_loopback(settings)


async def test_a_run_whose_webhook_is_set_before_it_starts_is_told_whole_and_in_order(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks) as engine:
        await begin(engine, by, receiver, "asks", token="tok", scheme="Bearer", credentials="cred")
        await go_through(engine, by)
        expected = await life(log)
        await receiver.has_taken(len(expected))
        assert numbers(receiver.seen) == expected and len(expected) == 2 * (QUESTIONS + 1)
    first, last = receiver.seen[0], receiver.seen[-1]
    assert first.state == "WORKING" and last.state == "COMPLETED"
    assert [one.state for one in receiver.seen][1::2] == ["INPUT_REQUIRED"] * QUESTIONS + ["COMPLETED"]
    sent = first.headers
    assert (sent["content-type"], sent["a2a-version"]) == ("application/a2a+json", "1.0")
    assert (sent["authorization"], sent["x-a2a-notification-token"]) == ("Bearer cred", "tok")
    assert sent["x-hocket-delivery"] == f"r1/c1/{expected[0]}"


async def test_a_receiver_that_fails_five_times_is_told_every_update_once_it_recovers(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks) as engine:
        receiver.reply = failing(5)
        await begin(engine, by, receiver, "asks")
        await go_through(engine, by)
        expected = await life(log)
        await receiver.has_taken(len(expected))
    assert numbers(receiver.taken) == expected
    assert numbers(receiver.seen) == [seq for seq in expected for _ in range(6)]


async def test_a_connection_that_breaks_before_the_answer_repeats_that_update_alone(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks) as engine:
        receiver.reply = failing(1, 0)
        await begin(engine, by, receiver, "asks")
        await go_through(engine, by)
        expected = await life(log)
        await receiver.has_taken(len(expected))
    assert numbers(receiver.seen) == [seq for seq in expected for _ in range(2)]
    assert len({one.headers["x-hocket-delivery"] for one in receiver.seen}) == len(expected)


async def test_what_nobody_takes_goes_to_the_dead_letters_and_is_sent_again_from_there(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = settings.model_copy(update={"push_attempts_max": 3})
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(500)
        await begin(engine, by, receiver, "talks", token="s3cret-token", scheme="Bearer", credentials="s3cret-cred")
        await ended(engine, by)
        await receiver.has_seen(6)
        expected = await life(log)
        letters = []
        async with asyncio.timeout(5):
            while len(letters) < 2:
                letters = list(await engine.push.dead(by))
        assert [one.seq for one in letters] == expected[::-1]
        for letter in letters:
            assert (letter.run_id, letter.config_id, letter.url) == ("r1", "c1", receiver.url)
            assert (letter.attempts, letter.error) == (3, "500 Internal Server Error")
            assert 0 < letter.first_at_ms <= letter.last_at_ms
        assert "s3cret" not in repr(letters)
        failed = await engine.push.redeliver(letters[1].id, by)
        assert (failed.delivered, failed.status) == (False, 500) and len(await engine.push.dead(by)) == 2
        receiver.reply = lambda _: Reply()
        done = await engine.push.redeliver(letters[1].id, by)
        assert (done.delivered, done.status) == (True, 200)
        assert [one.seq for one in await engine.push.dead(by)] == [expected[1]]
    (taken,) = receiver.taken
    assert taken.seq == expected[0] and taken.state == "WORKING"
    assert taken.headers["authorization"] == "Bearer s3cret-cred"
    assert "s3cret" not in caplog.text and "has not taken" in caplog.text


async def test_after_a_dead_letter_the_next_update_follows(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"push_attempts_max": 2})
    async with open_receiver() as receiver, open_stage(nats, settings, asks=asks) as engine:
        receiver.reply = lambda came: Reply(503 if came.state == "WORKING" else 200)
        await begin(engine, by, receiver, "asks")
        await go_through(engine, by)
        expected = await life(log)
        await receiver.has_taken(QUESTIONS + 1)
        assert numbers(receiver.taken) == expected[1::2]
        assert [one.seq for one in await engine.push.dead(by)] == expected[::2][::-1]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_that_a_retry_would_not_change_is_given_up_at_once(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, status: int
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda came: Reply(status if came.state == "WORKING" else 200)
        await begin(engine, by, receiver, "talks")
        await receiver.has_taken(1)
        (letter,) = await engine.push.dead(by)
        assert numbers(receiver.seen) == await life(log) and letter.attempts == 1


@pytest.mark.parametrize("status", [302, 408, 409, 425, 429, 500, 599])
async def test_a_failure_that_may_pass_is_tried_again(
    nats: EmbeddedServer, settings: Settings, by: Principal, status: int
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = failing(1, status)
        await begin(engine, by, receiver, "talks")
        await receiver.has_taken(2)
        assert len(receiver.seen) == 4 and not await engine.push.dead(by)


async def test_a_receiver_that_is_gone_loses_its_webhook(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(410)
        await begin(engine, by, receiver, "talks")
        await ended(engine, by)
        await all_dealt_with(log)
        assert await engine.push.list("r1", by) == []
        (letter,) = await engine.push.dead(by)
        assert letter.error == "410 Gone" and len(receiver.seen) == 1


async def test_a_refused_address_is_given_up_at_once_and_never_connected_to(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        closed = settings.model_copy(update={"push_loopback_enabled": False})
        async with open_worker(nats.url, closed, "w1", talks=talks):
            await begin(engine, by, receiver, "talks")
            await ended(engine, by)
            await all_dealt_with(log)
        letters = await engine.push.dead(by)
    assert receiver.connections == 0 and [one.attempts for one in letters] == [1, 1]
    assert all("127.0.0.1" in one.error for one in letters)


async def test_a_webhook_that_is_removed_in_mid_try_is_not_tried_again(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"push_retry_s": 0.3})
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(hang=True)
        await begin(engine, by, receiver, "talks")
        await receiver.has_seen(1)
        await engine.push.remove("r1", "c1", by)
        receiver.reply = lambda _: Reply(500)
        receiver.let_go()
        await ended(engine, by)
        await all_dealt_with(log)
        assert len(receiver.seen) == 1 and not await engine.push.dead(by)


async def test_a_webhook_that_is_removed_between_two_tries_is_not_tried_again(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = lambda _: Reply(503, {"retry-after": "1"})
        await begin(engine, by, receiver, "talks")
        await tried(log, lambda attempts: attempts == 1)
        await engine.push.remove("r1", "c1", by)
        await ended(engine, by)
        await all_dealt_with(log)
        assert len(receiver.seen) == 1 and not await engine.push.dead(by)


async def test_a_webhook_that_is_replaced_between_two_tries_is_sent_what_the_old_one_did_not_take(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_receiver() as old, open_receiver() as new, open_stage(nats, settings, talks=talks) as engine:
        old.reply = lambda _: Reply(500)
        await begin(engine, by, old, "talks")
        await ended(engine, by)
        await engine.push.set("r1", PushConfig("c1", new.url), by)
        await new.has_taken(2)
        assert numbers(new.seen) == await life(log) and not old.taken


async def test_a_webhook_that_is_replaced_in_mid_try_is_sent_to_as_soon_as_that_try_is_over(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"push_timeout_s": 20.0})
    async with open_receiver() as old, open_receiver() as new, open_stage(nats, settings, talks=talks) as engine:
        old.reply = lambda _: Reply(500, hang=True)
        await begin(engine, by, old, "talks")
        await old.has_seen(1)
        await engine.push.set("r1", PushConfig("c1", new.url), by)
        assert not new.seen
        old.let_go()
        await new.has_taken(2)
        assert numbers(new.seen) == await life(log) and len(old.seen) == 1


async def test_a_receiver_that_asks_for_time_is_given_it(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    came_at: list[float] = []

    def reply(_: Received) -> Reply:
        came_at.append(time.monotonic())
        return Reply(429, {"retry-after": "1"}) if len(came_at) == 1 else Reply()

    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        receiver.reply = reply
        await begin(engine, by, receiver, "talks")
        await receiver.has_taken(2)
    assert came_at[1] - came_at[0] >= 0.99
