"""Triggers as callers see them: set, replaced, listed, deleted, fired by hand, and by whom."""

import asyncio
from dataclasses import replace

import pytest

from protocol.entries import Principal
from protocol.errors import AgentNotFound, Forbidden, Invalid, InvalidId, NotOwner, TriggerExists, TriggerNotFound
from runtime.index import Query
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.trigger import Source, Trigger, Wanted
from runtime.triggers import Triggers
from tests.runtime.stage import ended, open_engine, open_stage, text_of
from tests.runtime.trigger_stage import at, caller, echo, fired, hourly, now_ms, on, planned, runs_of, said

pytestmark = pytest.mark.anyio

ALL = ("triggers:write", "runs:start", "runs:read")


async def test_a_trigger_is_set_seen_replaced_and_deleted_with_its_plan(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(hourly(), by, "t1")
        assert made.next_at_ms is not None and 0 < made.next_at_ms - now_ms() <= 3_600_000
        assert await engine.triggers.get("t1", by) == made and await planned(log) == 1
        again = await engine.triggers.set(replace(hourly(), cron="30 9 * * *", timezone="Europe/Berlin"), by, "t1")
        assert again.generation != made.generation and again.created_at_ms == made.created_at_ms
        assert (await engine.triggers.get("t1", by)).want.timezone == "Europe/Berlin" and await planned(log) == 1
        off = await engine.triggers.set(hourly(enabled=False), by, "t1")
        assert off.next_at_ms is None and await planned(log) == 0
        await engine.triggers.set(hourly(), by, "t1")
        await engine.triggers.delete("t1", by)
        assert await planned(log) == 0 and await engine.triggers.list(by) == []
        for gone in (engine.triggers.get("t1", by), engine.triggers.delete("t1", by), engine.triggers.fire("t1", by)):
            with pytest.raises(TriggerNotFound):
                await gone
        assert (await engine.triggers.set(hourly(), by, "t1", fresh=True)).last is None


async def test_an_id_of_ones_own_is_taken_once_where_a_new_trigger_is_asked_for(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await asyncio.gather(
            *(engine.triggers.set(hourly(), by, "t/ä 1", fresh=True) for _ in range(8)), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in made) == ["Trigger", *["TriggerExists"] * 7]
        assert await planned(log) == 1
        assert (await engine.triggers.get("t/ä 1", by)).id == "t/ä 1"
        with pytest.raises(TriggerExists):
            await engine.triggers.set(hourly(), by, "t/ä 1", fresh=True)


async def test_of_racing_changes_the_last_stands_and_its_plan_alone(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as one, open_engine(nats.url, settings) as two:
        made = await asyncio.gather(*((one, two)[n % 2].triggers.set(hourly(), by, "t1") for n in range(10)))
        assert (await one.triggers.get("t1", by)).generation in {trigger.generation for trigger in made}
        assert await planned(log) == 1


async def test_only_whose_it_is_and_an_admin_replace_and_delete_a_trigger(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    ada, ben, root = caller(*ALL), caller(*ALL, name="ben"), caller("admin", name="root")
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(hourly(), ada, "t1")
        for refused in (engine.triggers.set(hourly(), ben, "t1"), engine.triggers.delete("t1", ben)):
            with pytest.raises(NotOwner, match="Trigger 't1' is 'ada''s"):
                await refused
        with pytest.raises(TriggerExists):
            await engine.triggers.set(hourly(), ben, "t1", fresh=True)
        assert await engine.triggers.get("t1", ben) == made and await planned(log) == 1
        assert (await engine.triggers.set(hourly(), ada, "t1")).by.id == "ada"
        assert (await engine.triggers.set(hourly(), root, "t1")).by.id == "root"
        with pytest.raises(NotOwner, match="'root''s"):
            await engine.triggers.delete("t1", ada)
        assert (await engine.triggers.set(hourly(), root, "t1", owner="ada")).by.id == "root"
        await engine.triggers.delete("t1", ada)
        await engine.triggers.set(hourly(), ada, "t1")
        await engine.triggers.delete("t1", root)
        assert await planned(log) == 0


async def test_of_two_who_set_a_trigger_at_once_one_has_it_and_the_other_is_told_so(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    names = ["ada", "ben", "cleo", "dan"]
    async with open_stage(nats, settings, agent=echo) as one, open_engine(nats.url, settings) as two:
        made = await asyncio.gather(
            *((one, two)[n % 2].triggers.set(hourly(), caller(*ALL, name=name), "t1") for n, name in enumerate(names)),
            return_exceptions=True,
        )
        assert sorted(type(told).__name__ for told in made) == [*["NotOwner"] * 3, "Trigger"]
        (trigger,) = (told for told in made if isinstance(told, Trigger))
        assert await one.triggers.get("t1", caller(*ALL)) == trigger and await planned(log) == 1


async def test_a_tenant_has_at_most_so_many_triggers_of_which_deleted_ones_are_none(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    other = Principal("other", "tester", "development")
    async with open_stage(nats, settings, agent=echo) as engine:
        triggers = Triggers(log, engine.agent, engine.start, triggers_max=3)
        for number in range(5):
            await triggers.set(hourly(), by, f"gone{number}")
            await triggers.delete(f"gone{number}", by)
        for number in range(3):
            await triggers.set(hourly(), by, f"t{number}")
        with pytest.raises(Invalid, match="at most 3 triggers"):
            await triggers.set(hourly(), by, "t3")
        assert await planned(log) == 3
        await triggers.set(hourly(), by, "t2")
        await triggers.set(hourly(), other, "t3")
        await triggers.delete("t0", by)
        await triggers.set(hourly(), by, "t3")
        assert sorted(trigger.id for trigger in await triggers.list(by)) == ["t1", "t2", "t3"]


async def test_a_list_is_of_the_tenant_and_the_newest_come_first(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    other = Principal("other", "tester", "development")
    async with open_stage(nats, settings, agent=echo) as engine:
        for number in range(300):
            await engine.triggers.set(hourly(), by, f"t{number:03}")
        await engine.triggers.set(hourly(), other, "theirs")
        told = await engine.triggers.list(by)
        assert len(told) == 300 and told[0].created_at_ms >= told[-1].created_at_ms
        assert [trigger.id for trigger in await engine.triggers.list(other)] == ["theirs"]
        with pytest.raises(TriggerNotFound):
            await engine.triggers.get("theirs", by)
        with pytest.raises(TriggerNotFound):
            await engine.triggers.delete("theirs", by)


async def test_what_cannot_be_set_is_refused_and_plans_nothing(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        with pytest.raises(AgentNotFound, match="'nobody'"):
            await engine.triggers.set(replace(hourly(), agent="nobody"), by)
        with pytest.raises(AgentNotFound, match="'nobody'"):
            await engine.triggers.set(on("nobody"), by)
        with pytest.raises(Invalid, match="bad minute"):
            await engine.triggers.set(replace(hourly(), cron="99 * * * *"), by)
        with pytest.raises(Invalid, match="must be later than now"):
            await engine.triggers.set(at(-1), by)
        with pytest.raises(InvalidId):
            await engine.triggers.set(hourly(), by, "")
        assert await engine.triggers.list(by) == [] and await planned(log) == 0


async def test_scopes_say_who_may_see_change_and_fire(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        triggers = engine.triggers
        await triggers.set(hourly(), caller(*ALL), "t1")
        for missing in ALL:
            few = caller(*(scope for scope in ALL if scope != missing))
            with pytest.raises(Forbidden, match=missing):
                await triggers.set(hourly(), few, "t2")
            with pytest.raises(Forbidden, match=missing):
                await triggers.fire("t1", few)
        for asked in (triggers.get("t1", caller("triggers:write")), triggers.list(caller("triggers:write"))):
            with pytest.raises(Forbidden):
                await asked
        with pytest.raises(Forbidden):
            await triggers.delete("t1", caller("runs:start", "runs:read"))
        with pytest.raises(Forbidden):  # the token of a run's page
            await triggers.list(caller("runs:read", run="r1"))
        await triggers.delete("t1", caller("triggers:write", "runs:read"))
        await triggers.set(hourly(), caller("admin"), "t1")


async def test_by_hand_it_fires_in_the_name_of_the_one_who_does_and_once_a_key(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(replace(hourly(enabled=False), metadata={"a": 1}), by, "t1")
        first = await engine.triggers.fire("t1", caller(*ALL), "k1")
        again = await engine.triggers.fire("t1", caller(*ALL), "k1")
        other = await engine.triggers.fire("t1", by)
        assert (first.created, again.created) == (True, False) and first.run_id == again.run_id != other.run_id
        state = await ended(engine, by, first.run_id)
        assert text_of(state) == "done" and state.requester == Principal("default", "ada", "user", "ada")
        assert state.metadata["a"] == 1 and state.metadata["trigger"]["id"] == "t1"
        told = await engine.triggers.get("t1", by)
        assert told.last_run_id == other.run_id and told.generation == made.generation
        assert len(await runs_of(engine, by, "t1")) == 2


async def test_a_named_thread_takes_one_run_after_another_and_each_brings_its_message(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    want = Wanted("agent", said("again"), "event", event=Source(subject="x"), thread_id="daily")
    async with open_stage(nats, settings, agent=echo) as engine:
        await engine.triggers.set(want, by, "t1")
        for _ in range(3):
            started = await engine.triggers.fire("t1", by)
            await ended(engine, by, started.run_id)
        messages = await engine.thread_messages("daily", by)
    assert messages is not None
    assert [message["content"] for message in messages] == ["again", "done"] * 3


async def test_whoever_is_shown_a_triggers_run_finds_it_in_the_next_list(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        for number in range(5):
            await engine.triggers.set(replace(hourly(), kind="now", cron=None), by, f"t{number}")
            seen = (await fired(engine, by, f"t{number}")).last_run_id
            assert seen in {state.id for state in await engine.list(Query(limit=100), by)}
