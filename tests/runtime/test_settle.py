"""A cancel needs nobody's cooperation, and every run ends exactly once."""

import asyncio
import threading
from typing import Any

import pytest

from protocol.entries import Principal
from protocol.errors import RunNotFound
from protocol.state import Status
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.runtime.stage import (
    ended,
    ends,
    events,
    eventually,
    kinds,
    open_engine,
    open_stage,
    open_worker,
    until,
    want,
)

pytestmark = pytest.mark.anyio


async def test_a_queued_run_is_cancelled_without_a_worker_and_no_worker_starts_it_later(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    started: list[str] = []

    async def agent(run: Any) -> Any:
        started.append(run.input.run_id)
        yield "x"

    async with open_worker(nats.url, settings, agent=agent):
        pass  # announces the agent, and goes
    async with open_engine(nats.url, settings) as engine:
        await engine.start(want("agent"), by, "test")
        state = await engine.cancel("r1", by, "test", "no longer needed")
        assert state.status is Status.CANCELLED and state.cancelled_by == by
        assert await kinds(log) == ["ask.start", "ask.cancel", "RUN_STARTED", "RUN_FINISHED"]
        async with open_worker(nats.url, settings, agent=agent):
            await engine.start(want("agent", "r2", "t2"), by, "test")
            await ended(engine, by, "r2")
    assert started == ["r2"]


async def test_a_running_agent_is_stopped_and_what_it_left_open_is_closed_and_answered(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    told: list[str] = []

    async def agent(run: Any) -> Any:
        yield [{"type": "STEP_STARTED", "stepName": "s"}, *run.tool_call("search", {}, id="done", result="r"),
               *run.tool_call("search", {}, id="unanswered"), *run.tool_call("theirs", {}, id="brought")]  # fmt: skip
        yield "half a "
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append("cancelled" if run.cancelled else "stopped")
            raise

    tools = [{"name": "theirs", "description": "", "parameters": {}}]
    async with open_worker(nats.url, settings, agent=agent) as worker, open_engine(nats.url, settings) as engine:
        await engine.start(want("agent", tools=tools), by, "test")
        await until(engine, by, lambda state: any(kind == "text" for kind, _ in state.open))
        state = await engine.cancel("r1", by, "test")
        await eventually(lambda: worker.running == 0)
    found = await events(log)
    assert told == ["cancelled"] and state.open == {} and len(ends(found)) == 1
    after = found[[event["type"] for event in found].index("ask.cancel") + 1 :]
    assert [event["type"] for event in after] == [
        "TEXT_MESSAGE_END", "STEP_FINISHED", "TOOL_CALL_RESULT", "RUN_FINISHED"]  # fmt: skip
    assert after[2]["toolCallId"] == "unanswered" and after[3]["outcome"] == {"type": "cancelled"}


async def test_an_agent_that_will_not_stop_costs_its_worker_nothing_but_the_task(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    released = asyncio.Event()
    blocked = threading.Event()

    async def swallows(run: Any) -> Any:
        yield "x"
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                yield "I will not stop"

    async def deaf(run: Any) -> Any:
        yield "x"
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    def blocks(run: Any) -> Any:
        yield "x"
        blocked.wait(20)
        yield "too late"

    async with (
        open_worker(nats.url, settings, swallows=swallows, deaf=deaf, blocks=blocks) as worker,
        open_engine(nats.url, settings) as engine,
    ):
        for name in ("swallows", "deaf", "blocks"):
            await engine.start(want(name, name, name), by, "test")
            await until(engine, by, lambda state: len(state.messages) == 2, name)
            state = await engine.cancel(name, by, "test")
            assert state.status is Status.CANCELLED and state.ended_at_ms is not None
            await eventually(lambda: worker.running == 0)
        released.set()
        blocked.set()
        for name in ("swallows", "deaf", "blocks"):
            assert len(ends(await events(log, name))) == 1


async def test_a_waiting_run_is_cancelled_and_an_ended_one_is_left_as_it_is(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def waits(run: Any) -> Any:
        yield {"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [{"id": "i", "reason": "ok"}]}}

    async def agent(run: Any) -> Any:
        yield "x"

    async with open_stage(nats, settings, waits=waits, agent=agent) as engine:
        await engine.start(want("waits"), by, "test")
        await until(engine, by, lambda state: state.status is Status.WAITING)
        state = await engine.cancel("r1", by, "test")
        assert state.status is Status.CANCELLED and state.interrupts == [] and state.ended_at_ms is not None
        await engine.start(want("agent", "r2"), by, "test")
        before = (await ended(engine, by, "r2")).seq
        state = await engine.cancel("r2", by, "test")
        assert (state.status, state.seq) == (Status.COMPLETED, before)
        with pytest.raises(RunNotFound):
            await engine.cancel("r3", by, "test")
        with pytest.raises(RunNotFound):
            await engine.cancel("r1", Principal("other", "tester", "development"), "test")


async def test_two_gateways_that_cancel_at_once_end_a_run_once(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield "x"
        await asyncio.sleep(60)

    async with open_stage(nats, settings, agent=agent) as one, open_engine(nats.url, settings) as two:
        for number in range(10):
            run_id = f"r{number}"
            await one.start(want("agent", run_id, run_id), by, "test")
            await until(one, by, lambda state: len(state.messages) == 2, run_id)
            states = await asyncio.gather(*(engine.cancel(run_id, by, "test") for engine in (one, two, one, two)))
            assert {state.status for state in states} == {Status.CANCELLED}
            found = await events(log, run_id)
            assert len(ends(found)) == 1 and [event["type"] for event in found].count("ask.cancel") == 1
            again = await two.cancel(run_id, by, "test")
            assert again.seq == len(found) == len(await events(log, run_id))


async def test_a_cancel_that_races_the_natural_end_finds_one_end(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    go = asyncio.Event()

    async def agent(run: Any) -> Any:
        yield "x"
        await go.wait()

    outcomes: set[str] = set()
    async with open_stage(nats, settings, agent=agent) as engine:
        for number in range(30):
            run_id = f"r{number}"
            go.clear()
            await engine.start(want("agent", run_id, run_id), by, "test")
            await until(engine, by, lambda state: len(state.messages) == 2, run_id)
            cancelling = asyncio.create_task(engine.cancel(run_id, by, "test"))
            for _ in range(number % 10):
                await asyncio.sleep(0)
            go.set()
            state = await asyncio.wait_for(cancelling, 5)
            assert state.ended_at_ms is not None
            outcomes.add(state.status)
            found = await events(log, run_id)
            assert len(ends(found)) == 1 and found[-1] == ends(found)[0]
    assert outcomes <= {"cancelled", "completed"}


async def test_a_cancel_before_the_agent_has_begun_keeps_it_from_beginning(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield "x"
        await asyncio.sleep(60)

    async with open_worker(nats.url, settings, agent=agent) as worker, open_engine(nats.url, settings) as engine:
        for number in range(20):
            run_id = f"r{number}"
            await engine.start(want("agent", run_id, run_id), by, "test")
            for _ in range(number):
                await asyncio.sleep(0)
            state = await asyncio.wait_for(engine.cancel(run_id, by, "test"), 5)
            assert state.status is Status.CANCELLED
            assert len(ends(await events(log, run_id))) == 1
        await eventually(lambda: worker.running == 0)
