"""Answers to what an agent asks: who may, what fits, who wins, and what the next leg is given."""

import asyncio
from typing import Any

import pytest

from protocol.answers import Answer
from protocol.entries import Caller, Principal
from protocol.errors import (
    AlreadyResolved,
    Forbidden,
    HocketError,
    InterruptsMissing,
    InvalidAnswer,
    NotWaiting,
    RunNotFound,
    UnknownInterrupt,
)
from protocol.state import RunState, Status
from runtime.asks import Resume, Resumed
from runtime.engine import Engine
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.runtime.stage import ended, events, eventually, open_engine, open_stage, open_worker, text_of, until, want

pytestmark = pytest.mark.anyio

YES = {"approved": True}
AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer", "minimum": 1}}, "required": ["amount"]}


async def asking(run: Any) -> Any:
    """Asks once and says what it was told, by whom."""
    if "send" not in run.answers:
        yield run.tool_call("send", {"to": "a"}, id="c1")
        yield run.interrupt("Send it?", name="send", id="i1", tool_call_id="c1")
        return
    told = run.answers["send"]
    yield run.tool_call("send", {"to": "a"}, result={"sent": told.approved}, id="c1")
    yield f"{told.status} {told.text} by {told.by.id}"


async def twice(run: Any) -> Any:
    """Asks two things at once, then one of them again."""
    if "size" not in run.answers:
        yield run.interrupts(run.question("Colour?", id="colour"), run.question("Size?", name="size", id="size"))
    elif "third" not in run.answers and run.answers["size"].payload == "again":
        yield run.interrupt("Size, really?", id="size")
    else:
        yield f"{run.answers['colour'].payload} {run.answers['size'].payload}"


async def measured(run: Any) -> Any:
    if run.answers:
        yield str(run.answers["amount"].payload["amount"])
    else:
        yield run.interrupt("How much?", id="amount", response_schema=AMOUNT)


async def fails_after(run: Any) -> Any:
    if run.answers:
        raise RuntimeError("after the answer")
    yield run.interrupt("Go on?", id="i1")


async def waiting(engine: Engine, by: Principal, run_id: str = "r1") -> RunState:
    return await until(engine, by, lambda state: state.status is Status.WAITING, run_id)


def answer(payload: Any = YES, interrupt_id: str = "i1", **more: Any) -> Resume:
    return Resume([Answer(interrupt_id, "resolved", payload)], **more)


async def test_an_answer_opens_the_next_leg_with_the_answer_its_giver_and_only_the_calls_result(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, asking=asking) as engine:
        await engine.start(want("asking"), by, "rest")
        await waiting(engine, by)
        bob = Principal("default", "bob", "user", "Bob")
        said = [{"id": "user-r1", "role": "user", "content": "hi"}, {"id": "m2", "role": "user", "content": "please"}]
        done = await engine.resume("r1", answer(leg_id="leg-2", messages=said), bob, "agui")
        assert done.created and done.state.status is Status.RUNNING
        state = await ended(engine, by)
    assert text_of(state) == 'resolved {"approved":true} by bob'
    assert [leg.run_id for leg in state.legs] == ["r1", "leg-2"]
    assert [message.id for message in state.messages if message.role == "user"] == ["user-r1", "m2"]
    told = await events(log)
    second = [event["type"] for event in told[[event["type"] for event in told].index("ask.resume") :]]
    assert "TOOL_CALL_START" not in second and "TOOL_CALL_RESULT" in second
    (asked,) = [event for event in told if event["type"] == "ask.resume"]
    assert asked["by"]["id"] == "bob" and asked["requester"] == {
        "id": by.id, "kind": by.kind, "name": by.name, "face": "rest"}  # fmt: skip
    assert [one["what"] for one in state.audit] == ["started", "waiting", "answered"]


async def test_of_answers_given_at_once_on_two_engines_one_is_recorded_and_one_leg_runs(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, asking=asking) as one, open_engine(nats.url, settings) as two:
        for number in range(10):
            run_id = f"r{number}"
            await one.start(want("asking", run_id, run_id), by, "test")
            await waiting(two, by, run_id)
            tries = [
                (one, two)[at % 2].resume(run_id, answer({"approved": True, "n": at}, key=f"k{at}"), by, "test")
                for at in range(50)
            ]
            told = await asyncio.gather(*tries, return_exceptions=True)
            assert len([one for one in told if isinstance(one, Resumed)]) == 1
            lost = [one for one in told if isinstance(one, AlreadyResolved)]
            assert len(lost) == 49 and all(one.resolved and one.resolved["by"]["id"] == by.id for one in lost)
            state = await ended(one, by, run_id)
            assert len(state.legs) == 2 and state.leg.attempts[-1].number == 1
            assert [one["what"] for one in state.audit].count("answered") == 1
            assert [event["type"] for event in await events(log, run_id)].count("RUN_STARTED") == 2


async def test_the_same_answer_under_its_key_is_the_same_success_and_another_is_refused(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, asking=asking) as engine:
        await engine.start(want("asking"), by, "test")
        await waiting(engine, by)
        first = await engine.resume("r1", answer(key="k"), by, "test")
        again = await engine.resume("r1", answer(key="k"), by, "test")
        assert (first.created, again.created, again.seq) == (True, False, first.seq)
        stranger = Principal("default", "eve", "user")
        for want_, who in ((answer(key="k2"), by), (answer({"n": 1}, key="k"), by), (answer(key="k"), stranger)):
            with pytest.raises(AlreadyResolved):
                await engine.resume("r1", want_, who, "test")
        await ended(engine, by)
        assert not (await engine.resume("r1", answer(key="k"), by, "test")).created
        with pytest.raises(AlreadyResolved):
            await engine.resume("r1", answer(), by, "test")


async def test_all_open_interrupts_are_answered_at_once_unless_the_caller_can_name_but_one(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, twice=twice) as engine:
        await engine.start(want("twice"), by, "test")
        await waiting(engine, by)
        with pytest.raises(InterruptsMissing) as missing:
            await engine.resume("r1", answer("red", "colour"), by, "test")
        assert missing.value.missing == ["size"]
        with pytest.raises(InterruptsMissing):
            await engine.resume("r1", Resume([]), by, "test")
        done = await engine.resume("r1", answer("red", "g-r1-0", partial=True), by, "test")
        assert done.state.status is Status.WAITING and [one["id"] for one in done.state.interrupts] == ["size"]
        await engine.resume("r1", answer("again", "size", partial=True), by, "test")
        state = await until(engine, by, lambda state: len(state.gates) == 3 and state.status is Status.WAITING)
        assert [one["id"] for one in state.interrupts] == ["size~2"]  # an old answer can never be taken for a new one
        with pytest.raises(AlreadyResolved):
            await engine.resume("r1", answer("L", "size"), by, "test")
        await engine.resume("r1", answer("L", "size~2"), by, "test")
        assert text_of(await ended(engine, by)) == "red L"
        assert len(state.legs) == 3


async def test_an_answer_that_does_not_fit_is_refused_with_where_and_why_and_the_gate_stays_open(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, measured=measured) as engine:
        await engine.start(want("measured"), by, "test")
        seq = (await waiting(engine, by)).seq
        for payload, path in (({"amount": "x"}, "/amount"), ({}, ""), (None, ""), ({"amount": 0}, "/amount")):
            with pytest.raises(InvalidAnswer) as bad:
                await engine.resume("r1", answer(payload, "amount"), by, "test")
            assert [(one["interrupt_id"], one["path"]) for one in bad.value.faults] == [("amount", path)]
        with pytest.raises(UnknownInterrupt):
            await engine.resume("r1", answer(interrupt_id="nothing"), by, "test")
        with pytest.raises(HocketError):
            await engine.resume("r1", answer({"amount": 1, "more": "x" * (9 << 20)}, "amount"), by, "test")
        assert (await engine.state("r1", by)).seq == seq
        await engine.resume("r1", answer({"amount": 7}, "amount"), by, "test")
        assert text_of(await ended(engine, by)) == "7"


async def test_an_abandoned_question_is_an_answer_too(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async with open_stage(nats, settings, asking=asking) as engine:
        await engine.start(want("asking"), by, "test")
        await waiting(engine, by)
        await engine.resume("r1", Resume([Answer("i1", "cancelled")]), by, "test")
        state = await ended(engine, by)
    assert text_of(state).startswith("cancelled") and state.gates[0].status == "cancelled"


async def test_a_leg_that_fails_leaves_its_answer_on_record(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, fails_after=fails_after) as engine:
        await engine.start(want("fails_after"), by, "test")
        await waiting(engine, by)
        await engine.resume("r1", answer(), by, "test")
        state = await ended(engine, by)
    assert state.status is Status.FAILED and state.gates[0].status == "resolved"
    assert [one["what"] for one in state.audit] == ["started", "waiting", "answered"]


async def test_what_waits_for_nothing_and_what_is_another_tenants_is_refused(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async def brief(run: Any) -> Any:
        yield "x"

    async with open_stage(nats, settings, brief=brief, asking=asking) as engine:
        await engine.start(want("brief"), by, "test")
        await ended(engine, by)
        with pytest.raises(NotWaiting):
            await engine.resume("r1", answer(), by, "test")
        await engine.start(want("asking", "r2", "t2"), by, "test")
        await waiting(engine, by, "r2")
        with pytest.raises(RunNotFound):
            await engine.resume("r2", answer(), Principal("other", "x", "user"), "test")
        with pytest.raises(Forbidden):
            await engine.resume("r2", answer(), _caller("runs:read"), "test")
        with pytest.raises(RunNotFound):
            await engine.resume("r2", answer(), _caller("admin", run="r1"), "test")
        with pytest.raises(UnknownInterrupt):
            await engine.resume("r2", answer(interrupt_id="g-r1-0"), by, "test")
        await engine.resume("r2", answer(), _caller("runs:resume", "runs:read", run="r2"), "page")
        with pytest.raises(Forbidden):  # who may not read a run is not told what became of it
            await engine.resume("r2", answer(), _caller("runs:resume"), "test")


def _caller(*scopes: str, run: str | None = None) -> Caller:
    return Caller("default", "someone", "api_key", "", frozenset(scopes), run)


async def test_a_waiting_run_holds_no_worker_and_goes_on_with_another_one(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        async with open_worker(nats.url, settings, "w1", asking=asking) as worker:
            await engine.start(want("asking"), by, "test")
            await waiting(engine, by)
            await eventually(lambda: worker.running == 0)
        await engine.resume("r1", answer(), by, "test")
        assert (await engine.state("r1", by)).status is Status.RUNNING
        async with open_worker(nats.url, settings, "w2", asking=asking):
            state = await ended(engine, by)
    assert state.leg.attempts[0].worker == "w2" and len(state.leg.attempts) == 1


async def test_an_old_ask_that_comes_again_does_not_disturb_the_leg_of_a_later_one(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    gate = asyncio.Event()

    async def slow(run: Any) -> Any:
        if not run.answers:
            yield run.interrupt("Go on?", id="i1")
            return
        yield "so "
        await gate.wait()
        yield "done"

    async with open_stage(nats, settings, slow=slow) as engine:
        await engine.start(want("slow"), by, "test")
        await waiting(engine, by)
        await engine.resume("r1", answer(), by, "test")
        await until(engine, by, lambda state: "so " in text_of(state))
        async with open_worker(nats.url, settings, "w2", slow=slow) as other:
            start = (await anext(aiter(log.read("run.default.r1"))))[0]
            await other._answer(_Again(start.body))  # type: ignore[arg-type]
            gate.set()
            state = await ended(engine, by)
    assert [attempt.worker for attempt in state.leg.attempts] == ["w1"] and text_of(state) == "so done"


class _Again:
    """The start ask, delivered once more, as after a lost acknowledgement."""

    def __init__(self, body: bytes) -> None:
        self.body, self.subject, self.reply = body, "run.default.r1.ask", "again"

    async def ack(self) -> None: ...


@pytest.mark.parametrize(
    "question",
    [
        {"id": "i", "reason": "r", "responseSchema": {"type": "bogus"}},
        {"id": "i", "reason": "r", "responseSchema": {"$ref": "http://example.com/schema"}},
        {"id": "i", "reason": "r", "responseSchema": {"$ref": "#/nowhere"}},
        {"id": "i", "reason": "r", "responseSchema": "text"},
        {"id": "i", "reason": "r", "metadata": 7},
        {"id": "", "reason": "r"},
        {"id": "i" * 300, "reason": "r"},
        {"id": "i", "reason": "r", "expiresAt": "2030-01-01T00:00:00Z", "metadata": {"on_expiry": "answer"}},
        {"id": "i", "reason": "r", "expiresAt": "2030-01-01T00:00:00Z", "metadata": {"on_expiry": "maybe"}},
        {"id": "i", "reason": "r", "expiresAt": "2030-01-01T00:00:00Z", "responseSchema": AMOUNT,
         "metadata": {"on_expiry": "answer", "default": {}}},
    ],
)  # fmt: skip
async def test_a_question_that_could_not_be_answered_ends_the_run_with_the_rule_it_breaks(
    nats: EmbeddedServer, settings: Settings, by: Principal, question: dict[str, Any]
) -> None:
    async def agent(run: Any) -> Any:
        yield run.interrupts(question)

    async with open_stage(nats, settings, agent=agent) as engine:
        await engine.start(want("agent"), by, "test")
        state = await ended(engine, by)
    assert state.status is Status.FAILED and state.error is not None
    assert state.error["code"] == "ILLEGAL_EVENT" and "rule: " in state.error["message"]


async def test_an_answer_that_races_a_cancel_comes_first_or_is_told_that_the_run_was_ended(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, asking=asking) as one, open_engine(nats.url, settings) as two:
        for number in range(12):
            run_id = f"r{number}"
            await one.start(want("asking", run_id, run_id), by, "test")
            await waiting(two, by, run_id)
            first, second = (one, two)[:: 1 if number % 2 else -1]
            answered = asyncio.ensure_future(first.resume(run_id, answer(), by, "test"))
            cancelled = asyncio.ensure_future(second.cancel(run_id, by, "test"))
            outcome, _ = await asyncio.gather(answered, cancelled, return_exceptions=True)
            state = await ended(one, by, run_id)
            told = await events(log, run_id)
            won = isinstance(outcome, Resumed)
            assert won or isinstance(outcome, AlreadyResolved)
            assert state.gates[0].status == ("resolved" if won else "closed")
            assert [event["type"] for event in told].count("ask.resume") == won
            assert len([event for event in told if event["type"] == "RUN_STARTED"]) == 2
            assert told[-1]["type"] == "RUN_FINISHED"
