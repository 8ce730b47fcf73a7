"""Event triggers: another agent's runs and messages of NATS, each of which starts one run, on any number of workers."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from protocol.answers import Answer
from protocol.entries import Principal
from protocol.state import RunState
from runtime.asks import Resume
from runtime.engine import Engine
from runtime.layout import EVENT_BYTES_MAX
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.trigger import DEPTH_MAX, Source, Wanted
from tests.runtime.stage import ended, open_engine, open_stage, open_worker, restart, until, want
from tests.runtime.trigger_stage import at, back, echo, fired, on, runs_of, said

pytestmark = pytest.mark.anyio


def told(subject: str, **more: Any) -> Wanted:
    return Wanted("agent", said(), "event", event=Source(subject=subject), **more)


async def settled(log: Log) -> None:
    """Once the workers have dealt with everything that has happened so far."""
    names = [("RUNS", "trigger-runs"), ("EVENTS", "trigger-events")]
    async with asyncio.timeout(5):
        while True:
            left = 0
            for stream, name in names:
                answer = await log.request(f"$JS.API.CONSUMER.INFO.{stream}.{name}", b"")
                info = orjson.loads(answer)
                left += info.get("num_pending", 0) + info.get(
                    "num_ack_pending", 0
                )  # one that nothing needed is not there
            if not left:
                return
            await asyncio.sleep(0.02)


async def raw(nats: EmbeddedServer, subject: bytes) -> None:
    """A message to a subject that is no text: nats-server takes it, and no client of ours would send it."""
    token, _, address = nats.url.removeprefix("nats://").rpartition("@")
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(host, int(port))
        await reader.readline()
        writer.write(b'CONNECT {"auth_token":"%b","verbose":false}\r\n' % token.encode())
        writer.write(b"PUB %b 1\r\n1\r\nPING\r\n" % subject)
        assert await reader.readline() == b"PONG\r\n"
        writer.close()


def event_of(state: RunState) -> Any:
    return state.input["forwardedProps"]["event"]


async def events_of(engine: Engine, by: Principal, trigger_id: str) -> list[Any]:
    """What the runs of a trigger were started for, the oldest first."""
    return [event_of(await engine.state(one.id, by)) for one in await runs_of(engine, by, trigger_id)]


async def test_a_run_that_completes_starts_one_run_with_the_event_in_its_input(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def answers(run: Any) -> Any:
        yield "x"
        yield {"type": "RUN_FINISHED", "result": {"sum": 3}}

    async with open_stage(nats, settings, agent=echo, source=answers) as engine, open_worker(nats.url, settings):
        await engine.triggers.set(on("source"), by, "t1")
        await engine.start(want("source"), by, "test")
        trigger = await fired(engine, by, "t1")
        assert trigger.last_run_id is not None
        state = await ended(engine, by, trigger.last_run_id)
        assert event_of(state) == {
            "agent": "source", "runId": "r1", "threadId": "t1", "status": "completed", "result": {"sum": 3},
        }  # fmt: skip
        assert state.requester is not None and state.requester.kind == "trigger"
        await settled(log)
        assert len(await runs_of(engine, by, "t1")) == 1


async def test_statuses_metadata_agent_and_tenant_choose_the_runs(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def source(run: Any) -> Any:
        word = run.input.messages[-1].content
        if word == "fail":
            raise ValueError
        if word == "ask" and not run.answers:
            yield run.interrupt("Well?", id="i1")
        yield "x"

    async with open_stage(nats, settings, agent=echo, source=source, other=source) as engine:
        for name, event in (
            ("completed", Source("source", ("completed",))),
            ("failed", Source("source", ("failed",))),
            ("waiting", Source("source", ("waiting", "cancelled"))),
            ("noted", Source("source", ("completed",), {"team": "a"})),
        ):
            await engine.triggers.set(Wanted("agent", said(), "event", event=event), by, name)
        await engine.triggers.set(replace(on("source"), enabled=False), by, "off")
        ends = [await engine.start(replace(want("source", f"r{n}", None, text), metadata=noted), by, "test")
                for n, (text, noted) in enumerate(
                    [("x", {}), ("x", {"team": "a"}), ("x", {"team": "b"}), ("fail", {}), ("ask", {})])]  # fmt: skip
        await engine.start(want("other", "o1", None), by, "test")
        theirs = Principal("other", "tester", "development")
        await engine.start(want("source", "x1", None), theirs, "test")
        await until(engine, by, lambda state: state.gates, "r4")
        await engine.resume("r4", Resume([Answer("i1")]), by, "test")
        for one in ends:
            await ended(engine, by, one.run_id)
        await ended(engine, theirs, "x1")
        await ended(engine, by, "o1")
        await settled(log)

        async def sources(name: str) -> list[str]:
            return sorted(event["runId"] for event in await events_of(engine, by, name))

        assert await sources("completed") == ["r0", "r1", "r2", "r4"]
        assert await sources("failed") == ["r3"]
        assert await sources("waiting") == ["r4"]
        assert await sources("noted") == ["r1"]
        assert await sources("off") == []


async def test_what_was_before_the_trigger_and_after_its_end_fires_nothing(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo, source=echo) as engine:
        await engine.start(want("source", "before", None), by, "test")
        await ended(engine, by, "before")
        await engine.triggers.set(on("source"), by, "t1")
        await engine.start(want("source", "within", None), by, "test")
        await ended(engine, by, "within")
        await settled(log)
        await engine.triggers.delete("t1", by)
        await engine.start(want("source", "after", None), by, "test")
        await ended(engine, by, "after")
        await settled(log)
        assert [event["runId"] for event in await events_of(engine, by, "t1")] == ["within"]


async def test_a_chain_of_runs_that_starts_itself_comes_to_an_end(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine, open_worker(nats.url, settings, agent=echo):
        await engine.triggers.set(on("agent"), by, "loop")
        forged = {"trigger": {"depth": -1000}}  # what a client writes there counts for nothing
        await engine.start(replace(want("agent"), metadata=forged), by, "test")
        last = await fired(engine, by, "loop", lambda trigger: trigger.last and trigger.last.error)
        assert last.last is not None and last.last.error is not None and last.last.error["code"] == "too_deep"
        await settled(log)
        runs = await runs_of(engine, by, "loop")
    assert [state.metadata["trigger"]["depth"] for state in runs] == list(range(1, DEPTH_MAX + 1))


async def test_messages_of_a_subject_start_one_run_each_with_what_they_say(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo) as engine, open_worker(nats.url, settings, agent=echo):
        await engine.triggers.set(told("orders.*"), by, "t1")
        await engine.triggers.set(told("orders.>"), by, "t2")
        bodies = [b'{"n":1}', b'"text"', b"not json", b"\xff\x00", b"", b"[" * 300 + b"]" * 300]
        for number, body in enumerate(bodies):
            await log.publish(f"event.default.orders.n{number}", body)
        for subject in (
            "event.default.orders.a.b",
            "event.default.other",
            "event.other.orders.a",
            "event.x",
            "event.=FF.orders.a",
            "event..",
        ):
            await log.publish(subject, b"1")
        await raw(nats, b"event.default.orders.\xff")
        await fired(engine, by, "t2", lambda trigger: trigger.last)
        await settled(log)
        heard = {event["subject"]: event["data"] for event in await events_of(engine, by, "t1")}
        assert heard == {
            "orders.n0": {"n": 1}, "orders.n1": "text", "orders.n2": "not json", "orders.n3": "\ufffd\x00",
            "orders.n4": "", "orders.n5": "[" * 300 + "]" * 300, "orders.\ufffd": 1,
        }  # fmt: skip
        assert len(await runs_of(engine, by, "t2")) == len(bodies) + 2


async def test_events_wait_for_the_workers_over_a_restart_and_fire_once(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=echo, source=echo):
            await engine.triggers.set(told("go"), by, "subject")
            await engine.triggers.set(on("source"), by, "runs")
        for _ in range(10):
            await log.publish("event.default.go", b"1")
        await log.publish("event.default.go", b"x" * (EVENT_BYTES_MAX + 1025))  # the server takes none that is larger
        await log.last_rev("EVENTS")
        for number in range(10):
            await engine.start(want("source", f"r{number}", None), by, "test")
        await restart(nats)
        await back(log)
        workers = [open_worker(nats.url, settings, agent=echo, source=echo) for _ in range(2)]
        async with workers[0], workers[1]:
            for number in range(10):
                await ended(engine, by, f"r{number}")
            await settled(log)
            assert len(await runs_of(engine, by, "subject")) == len(await runs_of(engine, by, "runs")) == 10


async def test_many_runs_at_once_each_start_one(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo, source=echo) as engine:
        async with open_worker(nats.url, settings, agent=echo, source=echo):
            await engine.triggers.set(on("source"), by, "t1")
            await asyncio.gather(*(engine.start(want("source", f"r{n}", None), by, "test") for n in range(60)))
            for number in range(60):
                await ended(engine, by, f"r{number}")
            await settled(log)
            sources = [event["runId"] for event in await events_of(engine, by, "t1")]
    assert sorted(sources) == sorted(f"r{n}" for n in range(60))


async def test_triggers_that_only_the_clock_fires_are_none_of_the_events(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=echo, source=echo) as engine:
        await engine.triggers.set(on("source"), by, "t1")
        await engine.triggers.set(at(3600), by, "t1")  # replaced: it waits for no run any more
        await engine.start(want("source"), by, "test")
        await ended(engine, by)
        await settled(log)
        assert await runs_of(engine, by, "t1") == []
