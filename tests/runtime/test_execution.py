"""One leg of a run: what agents of every kind say, what they may not, and how a leg ends."""

import asyncio
import datetime
import logging
import threading
from typing import Any

import pytest
from ag_ui import core

from protocol.checkpoint import dump
from protocol.entries import Principal, decode
from protocol.run import fold_all
from protocol.state import Leg, RunState, Status
from runtime.execution import _seconds_left
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.runtime.stage import ended, ends, events, eventually, open_stage, open_worker, stored, until, want

pytestmark = pytest.mark.anyio


def deltas(told: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in told if event["type"] == "TEXT_MESSAGE_CONTENT")


async def told(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, agent: Any
) -> tuple[RunState, list[dict[str, Any]]]:
    """The state and all events of one run of the agent."""
    async with open_stage(nats, settings, agent=agent) as engine:
        await engine.start(want("agent"), by, "test")
        state = await ended(engine, by)
        found = await events(log)
        assert len(ends(found)) == 1 and found[-1] in ends(found)
        return state, found


async def test_agents_of_every_kind_are_heard(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def stream(run: Any) -> Any:
        yield "a"
        yield "b"

    def steps(run: Any) -> Any:
        yield "a"
        yield "b"

    async def answer(run: Any) -> Any:
        return "ab"

    def plain(run: Any) -> Any:
        return ["a", "b"]

    async def indirect(run: Any) -> Any:
        return stream(run)

    async def late(run: Any) -> Any:
        return steps(run)

    class Callable:
        async def __call__(self, run: Any) -> Any:
            yield "ab"

    kinds: dict[str, Any] = {"stream": stream, "steps": steps, "answer": answer, "plain": plain, "indirect": indirect,
                             "late": late, "object": Callable(), "lambda": lambda run: stream(run)}  # fmt: skip
    async with open_stage(nats, settings, **kinds) as engine:
        for name in kinds:
            await engine.start(want(name, run_id=name, thread_id=name), by, "test")
        for name in kinds:
            assert (await ended(engine, by, name)).status is Status.COMPLETED
            assert deltas(await events(log, name)) == "ab", name


async def test_an_agent_that_says_nothing_completes(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def silent(run: Any) -> None:
        return None

    state, found = await told(nats, settings, log, by, silent)
    assert state.status is Status.COMPLETED
    assert [event["type"] for event in found] == ["ask.start", "RUN_STARTED", "RUN_FINISHED"]


async def test_dicts_models_and_lists_are_recorded_in_order_and_what_is_open_is_closed(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield core.StepStartedEvent(step_name="s")
        yield [core.TextMessageStartEvent(message_id="m", role="assistant"), {"type": "TEXT_MESSAGE_CONTENT",
               "messageId": "m", "delta": "x"}]  # fmt: skip
        yield {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "f"}

    state, found = await told(nats, settings, log, by, agent)
    assert [event["type"] for event in found][2:] == [
        "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TOOL_CALL_START", "TOOL_CALL_END",
        "TEXT_MESSAGE_END", "STEP_FINISHED", "RUN_FINISHED"]  # fmt: skip
    assert state.open == {}


RUBBISH: list[tuple[Any, str]] = [
    ({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"}, "not-open"),
    ({"type": "TOOL_CALL_END", "toolCallId": "c"}, "not-open"),
    ({"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/no", "value": 1}]}, "state-patch"),
    ({"type": "STATE_DELTA", "delta": [1]}, "event-fields"),
    ({"type": "TEXT_MESSAGE_START", "messageId": 7, "role": "assistant"}, "event-fields"),
    ({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant", "metadata": []}, "event-fields"),
    ({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": ["assistant"]}, "event-fields"),
    ({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "f", "parentMessageId": []}, "event-fields"),
    ({"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m", "role": []}]}, "event-fields"),
    ({"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m", "role": "assistant", "toolCalls": [1]}]},
     "event-fields"),
    ({"type": "RUN_FINISHED", "outcome": "interrupt"}, "outcome"),
    ({"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": []}}, "outcome"),
    ({"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [7]}}, "event-fields"),
    ({"type": "RUN_FINISHED", "usage": "much"}, "event-fields"),
    ({"type": "RUN_FINISHED", "result": {1, 2}}, "event-json"),
    ({"type": "RUN_ERROR"}, "event-fields"),
    ({"type": "CUSTOM", "name": "x", "value": {1, 2}}, "event-json"),
    ({"type": "CUSTOM", "name": "x", "value": "\ud800"}, "event-json"),
    ({"type": "CUSTOM", "name": "x", "value": 1 << 64}, "event-json"),
    ({"type": "\ud800"}, "event-json"),
    ("\ud800", "event-json"),
    ({"type": "ask.cancel"}, "event-type"),
    ({"type": ["TEXT"]}, "event-type"),
    ({}, "event-type"),
    (b"bytes", "event-type"),
    ({"a", "b"}, "event-type"),
    (7, "event-type"),
    (object(), "event-type"),
]  # fmt: skip


async def test_what_is_illegal_ends_the_run_with_the_rule_named(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield "before"
        yield RUBBISH[int(run.input.run_id)][0]

    async with open_stage(nats, settings, agent=agent) as engine:
        for number in range(len(RUBBISH)):
            await engine.start(want("agent", str(number), str(number)), by, "test")
        for number, (item, rule) in enumerate(RUBBISH):
            state = await ended(engine, by, str(number))
            found = await events(log, str(number))
            assert state.error == {"code": "ILLEGAL_EVENT", "message": found[-1]["message"]}, item
            assert f"(rule: {rule})" in found[-1]["message"], item
            assert state.attempt == 1 and deltas(found) == "before" and len(ends(found)) == 1


async def test_an_agent_may_not_forge_the_notes_of_hocket(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield {"type": "CUSTOM", "name": "hocket.attempt", "value": {"attempt": 9, "abandoned": []}}

    state, found = await told(nats, settings, log, by, agent)
    assert state.attempt == 1
    assert found[-1]["code"] == "ILLEGAL_EVENT"


async def test_an_event_over_the_limit_ends_the_run_with_the_limit_named(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    large = "x" * 5000
    items = [large, {"type": "CUSTOM", "name": "n", "value": large}, {"type": "RUN_FINISHED", "result": large}]

    async def agent(run: Any) -> Any:
        yield items[int(run.input.run_id)]

    async with open_stage(nats, settings.model_copy(update={"event_bytes_max": 4000}), agent=agent) as engine:
        for number in range(len(items)):
            await engine.start(want("agent", str(number), str(number)), by, "test")
            await ended(engine, by, str(number))
            end = (await events(log, str(number)))[-1]
            assert end["code"] == "TOO_LARGE" and "4000" in end["message"]


FAULTS: list[BaseException] = [
    ValueError("key sk-secret"),
    SystemExit("sk-secret"),
    asyncio.CancelledError("sk-secret"),
    TimeoutError("sk-secret"),
    StopIteration("sk-secret"),
    RecursionError("sk-secret"),
]


@pytest.mark.parametrize("blocking", [False, True])
async def test_what_an_agent_raises_ends_the_run_without_its_text(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def agent(run: Any) -> Any:
        raise FAULTS[int(run.input.run_id)]

    def blocks(run: Any) -> Any:
        raise FAULTS[int(run.input.run_id)]

    async with open_stage(nats, settings, agent=blocks if blocking else agent) as engine:
        for number, fault in enumerate(FAULTS):
            caplog.clear()
            with caplog.at_level(logging.ERROR, "hocket.execution"):
                await engine.start(want("agent", str(number), str(number)), by, "test")
                state = await ended(engine, by, str(number))
            found = await events(log, str(number))
            assert found[-1]["code"] == "AGENT_ERROR" and state.attempt == 1, fault
            assert "sk-secret" not in str(found)
            assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("talks", [False, True])
async def test_an_agent_that_never_ends_is_stopped_in_time(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, talks: bool, swallows: bool
) -> None:
    released = asyncio.Event()

    async def agent(run: Any) -> Any:
        while not released.is_set():
            try:
                if talks:
                    yield "x"
                await (asyncio.sleep(0.01) if talks else released.wait())
            except asyncio.CancelledError:
                if not swallows:
                    raise

    brief = settings.model_copy(update={"run_seconds_max": 0.3})
    state, found = await told(nats, brief, log, by, agent)
    assert found[-1]["code"] == "RUN_TIMEOUT" and "0.3 s" in found[-1]["message"]
    assert state.open == {}
    released.set()


async def test_a_generator_that_blocks_for_too_long_is_left_behind(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    blocked = threading.Event()

    def agent(run: Any) -> Any:
        yield "x"
        blocked.wait(10)
        yield "too late"

    _, found = await told(nats, settings.model_copy(update={"run_seconds_max": 0.3}), log, by, agent)
    blocked.set()
    assert found[-1]["code"] == "RUN_TIMEOUT" and deltas(found) == "x"


async def test_an_agent_may_end_its_run_itself(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    after: list[str] = []

    async def agent(run: Any) -> Any:
        yield "x"
        yield {"type": "RUN_FINISHED", "result": {"n": 1},
               "usage": [{"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}]}  # fmt: skip
        after.append("was asked for more")

    state, _ = await told(nats, settings, log, by, agent)
    assert (state.status, state.result, after) == (Status.COMPLETED, {"n": 1}, [])
    assert state.usage is not None and state.usage["totalTokens"] == 7


async def test_an_agent_may_fail_its_run_with_a_code_of_its_own(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield core.RunErrorEvent(message="no more credit", code="CREDIT")

    state, _ = await told(nats, settings, log, by, agent)
    assert state.error == {"code": "CREDIT", "message": "no more credit"}


async def test_an_interrupt_leaves_the_run_waiting_and_its_worker_free(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        yield "May I?"
        yield {"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [{"id": "i", "reason": "ok"}]}}

    async with open_worker(nats.url, settings, agent=agent) as worker, open_stage(nats, settings) as engine:
        await engine.start(want("agent"), by, "test")
        state = await until(engine, by, lambda state: state.status is Status.WAITING)
        assert [one["id"] for one in state.interrupts] == ["i"] and state.ended_at_ms is None
        await eventually(lambda: worker.running == 0)


async def test_what_an_agent_changes_after_it_has_said_it_changes_nothing(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async def agent(run: Any) -> Any:
        run.input.messages.clear()
        state: dict[str, Any] = {"type": "STATE_SNAPSHOT", "snapshot": {"n": [1]}}
        yield state
        state["snapshot"]["n"].append(2)
        yield {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/n/-", "value": 3}]}
        meta: dict[str, Any] = {"k": {"v": 1}}
        start = {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant", "metadata": meta}
        yield start
        meta["k"]["v"] = 2
        start["messageId"] = "other"
        card: dict[str, Any] = {"rows": [1]}
        yield {"type": "ACTIVITY_SNAPSHOT", "messageId": "a", "activityType": "t", "content": card}
        card["rows"].append(object())
        yield {"type": "CUSTOM", "name": "at", "value": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}

    async with open_worker(nats.url, settings, agent=agent) as worker, open_stage(nats, settings) as engine:
        taken = asyncio.create_task(_folded(worker))
        await engine.start(want("agent"), by, "test")
        state = await ended(engine, by)
        assert state.state == {"n": [1, 3]}
        assert [message.wire()["id"] for message in state.messages] == ["user-r1", "m", "a"]
        entries = [entry for one in await stored(log) for entry in decode(one.body)]
        assert await taken == dump(fold_all(RunState(), entries))


async def _folded(worker: Any) -> bytes:
    """The state as the executing side itself has folded it, once its run is over."""
    held = None
    async with asyncio.timeout(5):
        while held is None or worker.running:
            held = next((execution for execution, _ in worker._legs()), held)
            await asyncio.sleep(0)
    return dump(held._state)


async def test_a_second_run_of_a_thread_is_given_the_first_ones_messages(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    given: list[list[tuple[str, Any]]] = []

    async def agent(run: Any) -> Any:
        given.append([(message.role, message.content) for message in run.input.messages])
        yield f"answer {len(given)}"

    async with open_stage(nats, settings, agent=agent) as engine:
        await engine.start(want("agent", "r1", text="one"), by, "test")
        first = await ended(engine, by, "r1")
        await engine.start(want("agent", "r2", text="two"), by, "test")
        await ended(engine, by, "r2")
        answer = list(first.messages)[-1].wire()
        edited = {**answer, "content": "edited by the client"}
        question = {"id": "user-r3", "role": "user", "content": "three"}
        start = want("agent", "r3")
        start.input["messages"] = [edited, question]
        await engine.start(start, by, "test")
        await ended(engine, by, "r3")
    assert given == [
        [("user", "one")],
        [("user", "one"), ("assistant", "answer 1"), ("user", "two")],
        [("assistant", "edited by the client"), ("user", "three")],
    ]


def test_a_runs_own_time_is_that_of_its_legs_and_waiting_does_not_count() -> None:
    worked = [Leg("a", 1, started_at_ms=0, ended_at_ms=2_000), Leg("b", 5, started_at_ms=900_000)]
    assert _seconds_left(RunState(timeout_s=5, legs=worked), 60.0, 901_000) == (2.0, "timeout")
    assert _seconds_left(RunState(timeout_s=5, legs=worked), 60.0, 999_000) == (0.0, "timeout")
    assert _seconds_left(RunState(timeout_s=90, legs=worked), 60.0, 901_000) == (60.0, "RUN_TIMEOUT")
    assert _seconds_left(RunState(legs=worked), 60.0, 901_000) == (60.0, "RUN_TIMEOUT")
