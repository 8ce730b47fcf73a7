"""The single door: races of starts, attaching, odd ids, other tenants, what a thread hands on."""

import asyncio
import time
from typing import Any

import pytest

from protocol.entries import Principal
from protocol.errors import AgentNotFound, InvalidId, NotFound, RunMismatch, RunNotFound, ThreadBusy, TooLarge
from protocol.messages import REF
from protocol.state import Status
from runtime.asks import Start, Started
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.threads import Head, claim
from tests.runtime.stage import ended, events, open_engine, open_stage, stored, until, want

pytestmark = pytest.mark.anyio


async def brief(run: Any) -> Any:
    yield "done"


async def patient(run: Any) -> Any:
    yield "waiting"
    await asyncio.sleep(60)


async def test_the_same_run_started_at_once_from_two_engines_is_one_run(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, brief=brief) as one, open_engine(nats.url, settings) as two:
        for number in range(15):
            start = want("brief", f"r{number}", f"t{number}")
            answers = await asyncio.gather(*(engine.start(start, by, "test") for engine in (one, two, one, two)))
            assert sorted(answer.created for answer in answers) == [False, False, False, True]
            await ended(two, by, f"r{number}")
            told = await events(log, f"r{number}")
            assert [event["type"] for event in told].count("ask.start") == 1


async def test_of_two_runs_started_at_once_on_one_thread_one_is_told_that_it_is_busy(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, patient=patient) as one, open_engine(nats.url, settings) as two:
        for number in range(10):
            starts = [want("patient", f"{name}{number}", f"t{number}") for name in "ab"]
            answers = await asyncio.gather(
                one.start(starts[0], by, "test"), two.start(starts[1], by, "test"), return_exceptions=True
            )
            won = [answer for answer in answers if isinstance(answer, Started)]
            lost = [answer for answer in answers if isinstance(answer, ThreadBusy)]
            assert (len(won), len(lost)) == (1, 1)
            assert lost[0].run_id == won[0].run_id
            await one.cancel(won[0].run_id, by, "test")


async def test_a_start_may_cancel_the_run_before_it(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async with open_stage(nats, settings, patient=patient, brief=brief) as engine:
        await engine.start(want("patient", "r1"), by, "test")
        with pytest.raises(ThreadBusy):
            await engine.start(want("brief", "r2"), by, "test")
        start = want("brief", "r3")
        await engine.start(Start(start.agent, start.input, "t1", "r3", on_busy="cancel_previous"), by, "test")
        assert (await ended(engine, by, "r3")).previous == "r1"
        assert (await engine.state("r1", by)).status is Status.CANCELLED
        with pytest.raises(RunNotFound):
            await engine.state("r2", by)


async def test_a_claim_without_a_start_holds_its_thread_for_a_moment_only(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    now = time.time_ns() // 1_000_000
    async with open_stage(nats, settings, brief=brief) as engine:
        await claim(log, "default", "fresh", Head("gone", None, now, 0), 0)
        with pytest.raises(ThreadBusy):
            await engine.start(want("brief", "r1", "fresh"), by, "test")
        await engine.start(want("brief", "gone", "fresh"), by, "test")  # its own start comes after all
        await claim(log, "default", "old", Head("lost", None, now - 60_000, 0), 0)
        await engine.start(want("brief", "r2", "old"), by, "test")
        assert (await ended(engine, by, "r2")).previous is None


async def test_a_run_or_key_used_again_attaches_and_refuses_another_request(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, brief=brief, other=brief) as engine:
        await engine.start(want("brief"), by, "test")
        assert (await engine.start(want("brief"), by, "test")).created is False
        for other in (want("other"), want("brief", thread_id="t2")):
            with pytest.raises(RunMismatch):
                await engine.start(other, by, "test")
        keyed = Start("brief", {"messages": []}, key="k")
        first = await engine.start(keyed, by, "test")
        again = await engine.start(keyed, by, "test")
        assert (first.created, again.created) == (True, False) and first.run_id == again.run_id
        assert first.thread_id == again.thread_id
        with pytest.raises(RunMismatch):
            await engine.start(Start("brief", {"messages": [], "state": 1}, key="k"), by, "test")
        stranger = await engine.start(keyed, Principal("default", "someone else", "user"), "test")
        assert stranger.created and stranger.run_id != first.run_id


async def test_ids_of_any_form_are_kept_apart_and_those_too_long_are_refused(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    odd = ["a.b", "a b", "*", ">", "a.>", "=2E", ".", "ü" * 100, "\n", "/../", "id: 1\n\n", "A", "a", "\u0000"]
    async with open_stage(nats, settings, brief=brief) as engine:
        for name in odd:
            assert (await engine.start(want("brief", name, name, text=name), by, "test")).created
        for name in odd:
            state = await ended(engine, by, name)
            assert (state.id, state.thread_id) == (name, name) and state.seq == 6
            assert len(await stored(log, name)) >= 2
        for bad in ("x" * 257, "ü" * 5_000, "", "\ud800"):
            with pytest.raises(InvalidId):
                await engine.start(want("brief", bad), by, "test")
            with pytest.raises(InvalidId):
                await engine.start(want("brief", "fine", bad or "x" * 300), by, "test")
            with pytest.raises((InvalidId, NotFound)):
                await engine.state(bad, by)
            with pytest.raises((InvalidId, NotFound)):
                await engine.cancel(bad, by, "test")
        with pytest.raises(AgentNotFound, match="brief"):
            await engine.start(want("nobody"), by, "test")


async def test_an_input_too_large_for_the_log_is_refused_and_leaves_its_thread_free(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        with pytest.raises(TooLarge):
            await engine.start(want("brief", "r1", text="x" * (9 << 20)), by, "test")
        await engine.start(want("brief", "r2"), by, "test")
        await ended(engine, by, "r2")


async def test_another_tenant_sees_nothing_and_may_use_the_same_ids(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    other = Principal("other", "tester", "development")
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.start(want("brief"), by, "test")
        await ended(engine, by)
        for asked in (engine.state, engine.follow, engine.transcript):
            with pytest.raises(RunNotFound):
                await asked("r1", other)
        assert await engine.thread_messages("t1", other) is None and await engine.thread_head("t1", other) is None
        assert (await engine.start(want("brief"), other, "test")).created
        assert (await ended(engine, other)).tenant == "other"


async def test_a_thread_stores_each_message_once_and_hands_its_state_on(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    seen: list[Any] = []

    async def counts(run: Any) -> Any:
        seen.append(run.input.state)
        yield run.state({"n": (run.input.state or {}).get("n", 0) + 1})
        yield "x" * 1000

    async with open_stage(nats, settings, counts=counts) as engine:
        for number in range(1, 4):
            await engine.start(want("counts", f"r{number}"), by, "test")
            await ended(engine, by, f"r{number}")
        assert seen == [{}, {"n": 1}, {"n": 2}]
        (ask, *_) = await events(log, "r3")
        assert [bool(message.get(REF)) for message in ask["input"]["messages"]] == [True] * 4 + [False]
        assert "xxx" not in str(ask)
        messages = await engine.thread_messages("t1", by)
        assert messages is not None and [message["role"] for message in messages] == ["user", "assistant"] * 3
        assert len({message["id"] for message in messages}) == 6


async def test_states_polled_while_a_run_is_written_only_ever_grow(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async def talks(run: Any) -> Any:
        for _ in range(3_000):
            yield "x"

    async with open_stage(nats, settings, talks=talks) as engine:
        await engine.start(want("talks"), by, "test")

        async def poll() -> list[tuple[int, int]]:
            seen = []
            while True:
                state = await engine.state("r1", by)
                last = list(state.messages)[-1].wire()
                seen.append((state.seq, len(last["content"]) if last["role"] == "assistant" else 0))
                if state.ended_at_ms is not None:
                    return seen

        for seen in await asyncio.wait_for(asyncio.gather(*(poll() for _ in range(4))), 10):
            assert seen == sorted(seen) and seen[-1] == (3_005, 3_000)


async def test_a_poll_that_is_given_up_leaves_the_state_whole(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async def talks(run: Any) -> Any:
        for _ in range(5_000):
            yield "x"

    async with open_stage(nats, settings, talks=talks) as engine:
        await engine.start(want("talks"), by, "test")
        for _ in range(50):
            polling = asyncio.create_task(engine.state("r1", by))
            await asyncio.sleep(0.001)
            polling.cancel()
        state = await until(engine, by, lambda state: state.ended_at_ms)
        assert (state.seq, len(list(state.messages)[-1].wire()["content"])) == (5_005, 5_000)
