"""When nobody answers in time: the clock decides, once, over restarts and races."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocol.answers import Answer
from protocol.entries import Principal
from protocol.errors import AlreadyResolved, InterruptExpired
from protocol.interrupts import expiry_ms
from protocol.state import Status
from runtime.asks import Resume, Resumed
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.settle import append_all, started
from tests.runtime.stage import ended, ends, events, open_engine, open_stage, open_worker, restart, text_of, until, want

pytestmark = pytest.mark.anyio

LATE_SECONDS_MAX = 2.0


def asking(expires_in_s: float = 0.4, **more: Any) -> Any:
    async def agent(run: Any) -> Any:
        if not run.answers:
            yield run.tool_call("send", {}, id="c1")
            yield run.interrupt("Well?", id="i1", tool_call_id="c1", expires_in_s=expires_in_s, **more)
        else:
            yield f"{run.answers['i1'].status} {run.answers['i1'].payload} by {run.answers['i1'].by.kind}"

    return agent


async def test_a_default_answer_goes_on_in_the_systems_name(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=asking(on_expiry="answer", default={"approved": False})) as engine:
        await engine.start(want("agent"), by, "test")
        state = await ended(engine, by)
        with pytest.raises(InterruptExpired):
            await engine.resume("r1", Resume([Answer("i1")]), by, "test")
    assert text_of(state) == "expired {'approved': False} by system"
    assert [one["what"] for one in state.audit] == ["started", "waiting", "expired"]
    assert state.gates[0].status == "expired" and state.status is Status.COMPLETED


@pytest.mark.parametrize(
    ("on_expiry", "status"), [(None, Status.CANCELLED), ("cancel", Status.CANCELLED), ("fail", Status.FAILED)]
)
async def test_a_run_ends_as_its_question_says_and_its_open_call_is_answered(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, on_expiry: str | None, status: Status
) -> None:
    async with open_stage(nats, settings, agent=asking(on_expiry=on_expiry)) as engine:
        await engine.start(want("agent"), by, "test")
        state = await ended(engine, by)
    told = await events(log)
    assert state.status is status and state.audit[-1]["by"]["kind"] == "system"
    assert len(ends(told)) == 2  # of the leg that asked, and of the run
    assert [event["toolCallId"] for event in told if event["type"] == "TOOL_CALL_RESULT"] == ["c1"]
    if status is Status.FAILED:
        assert state.error is not None and state.error["code"] == "INTERRUPT_EXPIRED"


async def test_agents_and_settings_declare_how_long_a_question_stays_open(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield run.interrupt("Well?", id="i1")

    async def declared(run: Any) -> Any:
        yield run.interrupt("Well?", id="i1")

    declared.hocket = {"interrupt_seconds": 0.3, "on_expiry": "fail"}  # type: ignore[attr-defined]
    settings = settings.model_copy(update={"interrupt_seconds": 0.6})
    async with open_stage(nats, settings, agent=agent, declared=declared) as engine:
        await engine.start(want("agent"), by, "test")
        await engine.start(want("declared", "r2", "t2"), by, "test")
        assert (await ended(engine, by, "r2")).status is Status.FAILED
        assert (await ended(engine, by)).status is Status.CANCELLED


async def test_an_answer_that_races_the_clock_is_recorded_or_the_expiry_is_and_never_both(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    outcomes = set()
    agent = asking(0.5, on_expiry="answer", default=0)
    async with open_stage(nats, settings, agent=agent) as one, open_engine(nats.url, settings) as two:
        for number in range(12):
            await one.start(want("agent", f"r{number}", f"t{number}"), by, "test")

        async def answer(number: int) -> Any:
            run_id = f"r{number}"
            state = await until(two, by, lambda state: state.gates, run_id)
            due = state.gates[0].opened_at_ms / 1000 + 0.5
            await asyncio.sleep(max(0.0, due - time.time() + (number - 6) * 0.004))
            engine = (one, two)[number % 2]
            try:
                return await engine.resume(run_id, Resume([Answer("i1", "resolved", 1)]), by, "test")
            except (AlreadyResolved, InterruptExpired) as lost:
                return lost

        told = await asyncio.gather(*(answer(number) for number in range(12)))
        for number, outcome in enumerate(told):
            state = await ended(one, by, f"r{number}")
            asks = [event["type"] for event in await events(log, f"r{number}") if event["type"].startswith("ask.")]
            won = isinstance(outcome, Resumed)
            assert asks == ["ask.start", "ask.resume" if won else "ask.expire"]
            assert len(state.legs) == 2
            outcomes.add(won)
    assert outcomes  # which of them win is the machine's to say


async def test_expiry_survives_a_restart_of_the_server_and_of_the_worker(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=asking(1.5)):
            await engine.start(want("agent"), by, "test")
            state = await until(engine, by, lambda state: state.status is Status.WAITING)
        await restart(nats)
        async with open_worker(nats.url, settings, agent=asking(1.5)):
            state = await ended(engine, by)
    assert state.status is Status.CANCELLED
    due_ms = expiry_ms(state.gates[0].interrupt)
    assert due_ms is not None and due_ms <= state.audit[-1]["at_ms"] <= due_ms + LATE_SECONDS_MAX * 1000


async def test_what_came_due_while_no_worker_was_there_is_dealt_with_by_the_next(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=asking(0.2)):
            await engine.start(want("agent"), by, "test")
            state = await until(engine, by, lambda state: state.status is Status.WAITING)
        await asyncio.sleep(max(0.0, state.gates[0].opened_at_ms / 1000 + 0.25 - time.time()))
        assert (await engine.state("r1", by)).status is Status.WAITING
        with pytest.raises(InterruptExpired):  # nobody has recorded it yet, and it is over all the same
            await engine.resume("r1", Resume([Answer("i1")]), by, "test")
        async with open_worker(nats.url, settings, agent=asking(0.2)):
            assert (await ended(engine, by)).status is Status.CANCELLED


async def test_an_answer_in_time_leaves_the_clock_nothing_to_decide(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=asking(0.5)) as engine:
        await engine.start(want("agent"), by, "test")
        await until(engine, by, lambda state: state.status is Status.WAITING)
        await engine.resume("r1", Resume([Answer("i1", "resolved", 1)]), by, "test")
        state = await ended(engine, by)
        due = state.gates[0].opened_at_ms / 1000 + 0.5
        other = want("agent", "r2", "t2")  # its clock is set later: when it has struck, so has the first one's
        await asyncio.sleep(max(0.0, due - time.time()))
        await engine.start(other, by, "test")
        await ended(engine, by, "r2")
        assert (await engine.state("r1", by)).seq == state.seq


async def test_a_question_that_stays_open_for_ever_or_nearly_is_left_alone_by_the_clock(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        if run.answers:
            yield "on"
        else:
            yield run.interrupt("Ever?", id="i1", expires_at="9999-12-31T23:59:59Z", on_expiry="fail")

    async with open_stage(nats, settings, agent=agent, other=asking(0.3)) as engine:
        await engine.start(want("agent"), by, "test")
        await until(engine, by, lambda state: state.status is Status.WAITING)
        await engine.start(want("other", "r2", "t2"), by, "test")
        await ended(engine, by, "r2")
        assert (await engine.state("r1", by)).status is Status.WAITING
        await engine.resume("r1", Resume([Answer("i1")]), by, "test")
        assert (await ended(engine, by)).status is Status.COMPLETED


async def test_of_two_questions_each_has_its_own_time(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async def agent(run: Any) -> Any:
        if run.answers:
            yield " ".join(f"{name}:{run.answers[name].payload}" for name in ("a", "b"))
            return
        yield run.interrupts(
            run.question("A?", id="a", expires_in_s=0.2, on_expiry="answer", default=1),
            run.question("B?", id="b", expires_in_s=0.6, on_expiry="answer", default=2),
        )

    async with open_stage(nats, settings, agent=agent) as engine:
        await engine.start(want("agent"), by, "test")
        state = await until(engine, by, lambda state: len(state.open_gates) == 1)
        assert state.status is Status.WAITING and state.gates[0].status == "expired"
        assert text_of(await ended(engine, by)) == "a:1 b:2"


async def test_a_worker_that_died_before_it_set_the_clock_has_it_set_by_the_next(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, agent=asking()):
            pass  # it has announced the agent, and is gone
        await engine.start(want("agent"), by, "test")
        state = await engine.state("r1", by)
        at = datetime.now(UTC) + timedelta(seconds=0.5)
        asked = {"id": "i1", "reason": "r", "expiresAt": at.isoformat(), "metadata": {"hocket": {"on_expiry": "fail"}}}
        end = {"type": "RUN_FINISHED", "threadId": "t1", "runId": "r1", "timestamp": 2,
               "outcome": {"type": "interrupt", "interrupts": [asked]}}  # fmt: skip
        last = await log.last("run.default.r1")
        assert last is not None  # what the worker said before it died, its ask not acknowledged and no clock set
        await append_all(log, "run.default.r1", 1, last.rev, [started(state, 1, "w0"), end])
        async with open_worker(nats.url, settings, agent=asking()):
            state = await ended(engine, by)
    assert state.status is Status.FAILED and state.legs[0].attempts[0].worker == "w0"
