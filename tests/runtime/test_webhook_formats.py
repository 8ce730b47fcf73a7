"""Webhooks in another system's words: which of a run's entries are told, as what, and how they are listed."""

from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook as Verifier

from protocol.entries import Principal
from protocol.errors import Invalid
from protocol.ids import as_uuid
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.webhooks import Change
from tests.runtime.pushing import QUESTIONS, all_dealt_with, asks, go_through, life, to_loopback
from tests.runtime.receiver import open_receiver
from tests.runtime.stage import open_engine, open_stage, want

pytestmark = pytest.mark.anyio


async def test_a_webhook_is_told_in_the_words_of_its_format_and_another_beside_it_in_hockets(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = to_loopback(settings)
    async with open_receiver() as receiver, open_receiver() as other, open_stage(nats, settings, asks=asks) as engine:
        one = await engine.webhooks.create(Change(receiver.url, format="middesk"), by)
        await engine.webhooks.create(Change(other.url, events=("run.completed",)), by)
        await engine.start(want("asks", "r1", "t1"), by, "test")
        await go_through(engine, by)
        await receiver.has_taken(QUESTIONS + 2)
        await other.has_taken(1)
        await all_dealt_with(log)
        first, *rest = await life(log)
        listed = await engine.webhooks.deliveries(one.id, by)
    told: list[dict[str, Any]] = [
        Verifier(one.secrets[0].value).verify(came.body, came.headers) for came in receiver.taken
    ]
    run_id = as_uuid(by.tenant, "r1")
    kinds = ["run.created", *["run.interrupted"] * QUESTIONS, "run.completed"]
    assert [event["type"] for event in told] == kinds == [tried.type for tried in reversed(listed)]
    assert [event["id"] for event in told] == [f"{run_id}-{seq}" for seq in (first, *rest[::2])]
    assert {event["data"]["object"]["id"] for event in told} == {run_id}
    assert orjson.loads(other.taken[0].body)["data"]["id"] == "r1"


async def test_a_format_is_changed_for_what_is_sent_from_then_on_and_a_ping_has_it(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    settings = to_loopback(settings)
    async with open_receiver() as receiver, open_engine(nats.url, settings) as engine:
        one = await engine.webhooks.create(Change(receiver.url), by)
        assert (one.format, (await engine.webhooks.test(one.id, by)).type) == ("hocket", "ping")
        changed = await engine.webhooks.change(one.id, Change(format="middesk"), by)
        assert changed.format == "middesk" and (await engine.webhooks.get(one.id, by)).format == "middesk"
        await engine.webhooks.test(one.id, by)
        with pytest.raises(Invalid, match="format is one of hocket, middesk"):
            await engine.webhooks.change(one.id, Change(format="morse"), by)
    before, after = (orjson.loads(came.body) for came in receiver.taken)
    assert before["data"] == {"webhook_id": one.id} and "object" not in before
    assert (after["object"], after["type"], after["data"]) == ("event", "ping", {"object": None})
