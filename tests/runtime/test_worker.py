"""Who runs what: claims, takeovers, hand-backs, and what a worker does when NATS goes away."""

import asyncio
from typing import Any

import pytest

from protocol.entries import NOTE_ATTEMPT, Principal
from protocol.state import Status
from protocol.subjects import run_subject
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.runtime.stage import (
    ended,
    ends,
    events,
    eventually,
    open_engine,
    open_stage,
    open_wire,
    open_worker,
    restart,
    until,
    want,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"ack_wait_s": 0.5, "attempts_max": 2})


class Stuck:
    """An agent that says a few things and waits; the second attempt comes through."""

    hocket: dict[str, Any] = {}

    def __init__(self, **options: Any) -> None:
        self.hocket = options
        self.given: list[Any] = []

    async def __call__(self, run: Any) -> Any:
        self.given.append((run.attempt, [message.id for message in run.input.messages], run.input.state))
        yield run.state({"n": run.attempt})
        yield {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"}
        yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": f"attempt {run.attempt}"}
        if run.attempt == 1:
            await asyncio.sleep(60)


async def test_the_run_of_a_worker_that_is_gone_is_taken_over_and_what_it_said_is_marked(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    agent = Stuck()
    async with open_wire(nats) as (wire, far), open_engine(nats.url, settings) as engine:
        async with open_worker(far, settings, "w1", agent=agent):
            await engine.start(want("agent", state={"n": 0}), by, "test")
            await until(engine, by, lambda state: len(state.messages) == 2)
            wire.mute = True  # nothing that it says arrives: its claim runs out
            async with open_worker(nats.url, settings, "w2", agent=agent):
                state = await ended(engine, by)
            wire.mute = False
    assert state.status is Status.COMPLETED and state.state == {"n": 2}
    assert [(one.number, one.worker, one.reason) for one in state.leg.attempts] == [
        (1, "w1", "first"), (2, "w2", "worker_lost")]  # fmt: skip
    assert agent.given == [(1, ["user-r1"], {"n": 0}), (2, ["user-r1"], {"n": 0})]
    found = await events(log)
    at = next(at for at, event in enumerate(found) if event.get("name") == NOTE_ATTEMPT)
    note = found[at]["value"]
    assert (note["attempt"], note["worker"], note["reason"], note["abandoned"]) == (2, "w2", "worker_lost", ["m"])
    (closed,) = [event for event in found if event["type"] == "TEXT_MESSAGE_END" and event["messageId"] == "m"]
    assert closed["metadata"] == {"hocket": {"abandoned": True}}
    snapshots = [event["snapshot"] for event in found if event["type"] == "STATE_SNAPSHOT"]
    assert snapshots == [{"n": 1}, {"n": 0}, {"n": 2}]
    texts = {message.id: message.wire() for message in state.messages if message.role == "assistant"}
    assert texts["m"]["metadata"]["hocket"] == {"abandoned": True}
    assert [wire["content"] for wire in texts.values() if "metadata" not in wire] == ["attempt 2"]


@pytest.mark.parametrize("options", [{"retry": "never"}, {"attempts": 1}])
async def test_a_run_that_nobody_may_take_over_ends_as_worker_lost(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, options: dict[str, Any]
) -> None:
    agent = Stuck(**options)
    async with open_wire(nats) as (wire, far), open_engine(nats.url, settings) as engine:
        async with open_worker(far, settings, "w1", agent=agent):
            await engine.start(want("agent"), by, "test")
            await until(engine, by, lambda state: len(state.messages) == 2)
            wire.mute = True  # nothing that it says arrives: its claim runs out
            async with open_worker(nats.url, settings, "w2", agent=agent):
                state = await ended(engine, by)
            wire.mute = False
    assert state.error is not None and state.error["code"] == "WORKER_LOST"
    assert len(agent.given) == 1 and state.open == {}
    assert len(ends(await events(log))) == 1


async def test_hand_backs_use_up_no_attempt(nats: EmbeddedServer, settings: Settings, log: Log, by: Principal) -> None:
    attempts: list[int] = []

    async def agent(run: Any) -> Any:
        attempts.append(run.attempt)
        yield f"attempt {run.attempt}"
        if run.attempt < 5:
            await asyncio.sleep(60)

    async with open_engine(nats.url, settings) as engine:
        for number in range(1, 6):
            async with open_worker(nats.url, settings, f"w{number}", agent=agent):
                if number == 1:
                    await engine.start(want("agent"), by, "test")
                if number < 5:
                    await until(engine, by, lambda state, number=number: state.attempt == number and state.said)
                else:
                    state = await ended(engine, by)
    assert attempts == [1, 2, 3, 4, 5] and state.status is Status.COMPLETED
    assert [one.reason for one in state.leg.attempts] == ["first", *["shutdown"] * 4]


async def test_an_ask_for_an_agent_that_this_worker_does_not_serve_goes_to_one_that_does(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async def mine(run: Any) -> Any:
        yield "mine"

    async def theirs(run: Any) -> Any:
        yield "theirs"

    async with (
        open_worker(nats.url, settings, "w1", mine=mine),
        open_worker(nats.url, settings, "w2", theirs=theirs),
        open_engine(nats.url, settings) as engine,
    ):
        for number in range(6):
            await engine.start(want("theirs" if number % 2 else "mine", f"r{number}", f"t{number}"), by, "test")
        for number in range(6):
            state = await ended(engine, by, f"r{number}")
            assert state.leg.attempts[0].worker == ("w2" if number % 2 else "w1")


async def test_no_more_legs_run_at_once_than_the_worker_has_room_for(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    go = asyncio.Event()
    running = most = 0

    async def agent(run: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        yield "x"
        await go.wait()
        running -= 1

    async with open_wire(nats) as (wire, far), open_engine(nats.url, settings) as engine:
        roomy = settings.model_copy(update={"concurrency": 3, "ack_wait_s": 5.0})
        async with open_worker(far, roomy, agent=agent):
            for number in range(10):
                await engine.start(want("agent", f"r{number}", f"t{number}"), by, "test")
            await eventually(lambda: running == 3)
            wire.cut()  # it asks anew, beside what it has asked for before
            await engine.start(want("agent", "r10", "t10"), by, "test")
            go.set()
            for number in range(11):
                await ended(engine, by, f"r{number}")
    assert most == 3


async def test_a_worker_that_starts_late_finds_what_was_asked_before(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield "x"

    async with open_stage(nats, settings, agent=agent):
        pass
    async with open_engine(nats.url, settings) as engine:
        for number in range(5):
            await engine.start(want("agent", f"r{number}", f"t{number}"), by, "test")
        assert (await engine.state("r0", by)).status is Status.QUEUED
        async with open_worker(nats.url, settings, agent=agent):
            for number in range(5):
                assert (await ended(engine, by, f"r{number}")).attempt == 1


async def test_legs_go_on_when_the_nats_server_is_killed_and_comes_back(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        for number in range(100):
            yield f"{number} "
            await asyncio.sleep(0.01)

    patient = settings.model_copy(update={"ack_wait_s": 5.0})
    async with open_stage(nats, patient, agent=agent) as engine:
        for number in range(5):
            await engine.start(want("agent", f"r{number}", f"t{number}"), by, "test")
        await until(engine, by, lambda state: state.seq > 20, "r4")
        await restart(nats)
        for number in range(5):
            state = await ended(engine, by, f"r{number}")
            assert state.status is Status.COMPLETED and state.attempt == 1
            text = "".join(event.get("delta", "") for event in await events(log, f"r{number}"))
            assert text == "".join(f"{number} " for number in range(100))


async def test_a_cancel_that_a_worker_could_not_hear_stops_its_silent_agent_when_it_is_back(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    stopped = asyncio.Event()

    async def agent(run: Any) -> Any:
        yield "x"
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    async with open_wire(nats) as (wire, far), open_engine(nats.url, settings) as engine:
        async with open_worker(far, settings.model_copy(update={"ack_wait_s": 30.0}), agent=agent) as worker:
            await engine.start(want("agent"), by, "test")
            await until(engine, by, lambda state: len(state.messages) == 2)
            wire.accepts = False
            wire.cut()
            await engine.cancel("r1", by, "test")
            assert not stopped.is_set()
            wire.accepts = True
            await asyncio.wait_for(stopped.wait(), 5)
            await eventually(lambda: worker.running == 0)


async def test_an_ask_that_cannot_be_read_stops_nobody_else(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield "x"

    async with open_stage(nats, settings, agent=agent) as engine:
        await log.append(run_subject("default", "bad"), "ask", b"id: 1\nevent: ask\ndata: {}\n\n", 0)
        await log.append(run_subject("default", "worse"), "ask", b"rubbish", 0)
        await engine.start(want("agent"), by, "test")
        assert (await ended(engine, by)).status is Status.COMPLETED
