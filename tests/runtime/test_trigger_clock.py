"""The clock of triggers on a real server: each tick makes one run, over restarts, replicas, deaths and changes."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import orjson
import pytest

from protocol.entries import Caller, Principal
from protocol.errors import Unavailable
from protocol.state import RunState, Status
from runtime.keys import Wanted as WantedKey
from runtime.keys import create, fresh_token, revoke
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.trigger import Wanted
from runtime.triggers import plan, read
from tests.runtime.stage import ended, open_engine, open_stage, open_worker, restart, until
from tests.runtime.trigger_stage import (
    HOUR_MS,
    at,
    back,
    echo,
    fired,
    hourly,
    now_ms,
    quiet,
    runs_of,
    said,
    sleep_through,
)

pytestmark = pytest.mark.anyio


async def test_a_trigger_fires_at_its_instant_as_its_maker_and_never_again(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(at(0.3), by, "once")
        told = await fired(engine, by, "once")
        assert told.last is not None and told.last.due_at_ms == made.want.at_ms and told.last.error is None
        assert told.next_at_ms is None and told.last.run_id == told.last_run_id is not None
        state = await ended(engine, by, told.last_run_id)
        await quiet(log)
        assert [one.id for one in await runs_of(engine, by, "once")] == [state.id]
    assert made.want.at_ms is not None and state.created_at_ms >= made.want.at_ms
    assert state.requester == Principal("default", "tester", "trigger", "trigger once of Tester")
    assert state.face == "trigger" and state.metadata["trigger"]["kind"] == "at"
    assert state.thread_id == state.id


async def test_one_for_now_fires_at_once_and_again_each_time_it_is_set(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        for number in range(3):
            made = await engine.triggers.set(Wanted("agent", said(), "now"), by, "now")
            await fired(engine, by, "now", lambda told, made=made: told.last and told.last.due_at_ms == made.next_at_ms)
            await quiet(log)
            assert len(await runs_of(engine, by, "now")) == number + 1


async def test_after_a_tick_the_next_one_is_planned(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(hourly(), by, "t1")
        (tick,) = await sleep_through(log, made, 1)
        told = await fired(engine, by, "t1")
        await quiet(log)
        assert told.last is not None and told.last.due_at_ms == tick and told.next_at_ms == made.next_at_ms
        (state,) = await runs_of(engine, by, "t1")
        noted = state.metadata["trigger"]
        assert noted["kind"] == "cron" and noted["depth"] == 1


@pytest.mark.parametrize("policy", ["none", "last", "all"])
async def test_what_was_missed_is_made_up_as_the_policy_says(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, policy: str
) -> None:
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=echo):
            made = await engine.triggers.set(hourly(catch_up=policy), by, "t1")
        ticks = await sleep_through(log, made, 6)
        async with open_worker(nats.url, settings, agent=echo), open_worker(nats.url, settings, agent=echo):
            told = await fired(engine, by, "t1")
            await quiet(log)
            runs = await runs_of(engine, by, "t1")
        at_s = [state.metadata["trigger"]["at"] for state in runs]
        expected = {"none": [], "last": ticks[-1:], "all": ticks}[policy]
        assert len(runs) == len(expected) and len(set(at_s)) == len(runs) and at_s == sorted(at_s)
        assert told.last is not None and told.last.due_at_ms == ticks[-1]
        assert (told.last.error or {}).get("code") == ("missed" if policy == "none" else None)
        assert told.next_at_ms == made.next_at_ms


async def test_nothing_fires_twice_over_a_restart_of_everything_with_two_workers(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    ids = [f"t{number}" for number in range(60)]
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=echo), open_worker(nats.url, settings, agent=echo):
            await asyncio.gather(*(engine.triggers.set(at(1.2), by, one) for one in ids[:30]))
            made = await asyncio.gather(*(engine.triggers.set(hourly(catch_up="all"), by, one) for one in ids[30:]))
        await restart(nats)
        await back(log)
        for trigger in made:
            await sleep_through(log, trigger, 3)
        async with open_worker(nats.url, settings, agent=echo), open_worker(nats.url, settings, agent=echo):
            for one in ids:
                await fired(engine, by, one)
            await quiet(log)
            runs = await runs_of(engine, by, *ids)
    ticks = [(state.metadata["trigger"]["id"], state.metadata["trigger"]["at"]) for state in runs]
    assert len(ticks) == len(set(ticks)) == 30 + 90


async def test_a_tick_that_comes_again_after_it_was_dealt_with_plans_the_next_and_starts_nothing(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(hourly(), by, "t1")
        (tick,) = await sleep_through(log, made, 1)
        before = await fired(engine, by, "t1")
        await quiet(log)
        for stale in (tick, tick - HOUR_MS):  # as a worker that was slow would plan it again
            await plan(log, replace(before, next_at_ms=stale))
            await quiet(log)
        assert len(await runs_of(engine, by, "t1")) == 1
        assert await engine.triggers.get("t1", by) == before


async def test_a_trigger_that_was_deleted_disabled_or_replaced_fires_no_stale_plan(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"append_timeout_s": 0.5})
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=echo):
            pass
        made = [await engine.triggers.set(at(0.2), by, name) for name in ("gone", "off", "later")]
        await engine.triggers.delete("gone", by)
        await engine.triggers.set(replace(made[1].want, at_ms=now_ms() + 10**6, enabled=False), by, "off")
        await engine.triggers.set(hourly(), by, "later")
        for stale in made:
            await plan(log, stale)
        async with open_worker(nats.url, settings, agent=echo):
            await engine.triggers.set(at(0.4), by, "after")
            await fired(engine, by, "after")
            assert [one.metadata["trigger"]["id"] for one in await runs_of(engine, by, *_NAMES)] == ["after"]


_NAMES = ("gone", "off", "later", "after")


async def test_deletions_and_changes_that_race_the_tick_leave_one_run_or_none(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine, open_worker(nats.url, settings, agent=echo):
        ids = [f"t{number}" for number in range(20)]
        due_ms = now_ms() + 600
        want = replace(at(1), at_ms=due_ms)
        await asyncio.gather(*(engine.triggers.set(want, by, one) for one in ids))
        await engine.triggers.set(replace(want, at_ms=due_ms + 400), by, "after")

        async def end(number: int) -> None:
            await asyncio.sleep(max(0.0, (due_ms - now_ms()) / 1000 + (number - 10) * 0.003))
            if number % 2:
                await engine.triggers.delete(ids[number], by)
            else:
                await engine.triggers.set(hourly(), by, ids[number])

        await asyncio.gather(*(end(number) for number in range(20)))
        await fired(engine, by, "after")
        runs = [state.metadata["trigger"]["id"] for state in await runs_of(engine, by, *ids)]
        assert len(runs) == len(set(runs))
        left = {trigger.id for trigger in await engine.triggers.list(by)}
        assert left == {*ids[::2], "after"}


async def test_a_plan_whose_trigger_was_never_written_and_rubbish_are_cleared_away(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    settings = settings.model_copy(update={"append_timeout_s": 0.2})
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(hourly(), by, "t1")
        for body in (b"", b"[]", b"{}", b'{"tenant":1}', orjson.dumps({"at": "x"})):
            await log.plan("trigger.default.t1.x", body, "2026-01-01T00:00:00Z")
            await quiet(log)
        assert await engine.triggers.get("t1", by) == made


async def test_a_busy_thread_passes_a_tick_over_and_says_so(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def asking(run: Any) -> Any:
        yield run.interrupt("Well?")

    async with open_stage(nats, settings, agent=asking) as engine:
        made = await engine.triggers.set(hourly(thread_id="daily"), by, "t1")
        first = await engine.triggers.fire("t1", by)
        await until(engine, by, lambda state: state.status is Status.WAITING, first.run_id)
        await sleep_through(log, made, 1)
        told = await fired(engine, by, "t1", lambda told: told.last and told.last.error)
        assert told.last is not None and told.last.error is not None and told.last.error["code"] == "thread_busy"
        assert told.last_run_id == first.run_id and told.next_at_ms == made.next_at_ms
        again = await engine.triggers.set(hourly(thread_id="daily", on_busy="cancel_previous"), by, "t1")
        await sleep_through(log, again, 1)
        told = await fired(engine, by, "t1", lambda told: told.last_run_id != first.run_id)
        assert (await ended(engine, by, first.run_id)).status is Status.CANCELLED


async def test_a_trigger_fires_as_long_as_its_maker_holds_any_key_that_may_start_runs(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async def key(*scopes: str) -> str:
        return (await create(log, fresh_token(), WantedKey("acme", "ada", "user", "Ada", scopes), now_ms())).id

    first, read_only = await key("runs:start"), await key("runs:read")
    by = Caller("acme", "ada", "user", "Ada", frozenset({"admin"}), None, first)
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(hourly(), by, "t1")

        async def code() -> str | None:
            before = await engine.triggers.get("t1", by)
            await sleep_through(log, made, 1)
            told = await fired(engine, by, "t1", lambda told: told.last != before.last)
            await quiet(log)
            assert told.last is not None
            return (told.last.error or {}).get("code")

        assert await code() is None
        await revoke(log, first, now_ms())
        assert await code() == "forbidden" and read_only
        await key("runs:start")
        made = await engine.triggers.set(hourly(), by, "t1")
        assert await code() is None


async def test_a_trigger_of_development_fires_until_there_is_a_key(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        made = await engine.triggers.set(hourly(), by, "t1")
        await create(log, fresh_token(), WantedKey(), now_ms())
        await sleep_through(log, made, 1)
        told = await fired(engine, by, "t1")
        assert told.last is not None and told.last.error is not None and told.last.error["code"] == "forbidden"
        assert await runs_of(engine, by, "t1") == []


async def test_an_agent_that_is_gone_is_told_and_the_next_tick_is_planned(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=echo):
            made = await engine.triggers.set(hourly(), by, "t1")
        await sleep_through(log, made, 1)
        await log.put("AGENTS", "agent", b"")
        async with open_worker(nats.url, settings, other=echo):
            told = await fired(engine, by, "t1")
        held = await read(log, "default", "t1")
    assert told.last is not None and told.last.error is not None and told.last.error["code"] == "agent_not_found"
    assert held is not None and held.trigger.next_at_ms == made.next_at_ms


async def test_the_server_that_is_away_at_the_tick_fires_it_when_it_is_back(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine:
        await engine.triggers.set(at(0.4), by, "t1")
        port = int(nats.url.rpartition(":")[2])
        await nats.stop(kill=True)
        await asyncio.sleep(0.5)
        await nats.start(port)
        await fired(engine, by, "t1")
        runs: list[RunState] = []
        with contextlib.suppress(Unavailable):
            runs = await runs_of(engine, by, "t1")
    assert len(runs) == 1
