"""Threads that are there before their first run: opened, posted to, handed on exactly once, told and listed."""

import asyncio
import re
from typing import Any

import pytest

from protocol.answers import Answer
from protocol.entries import Caller, Principal
from protocol.errors import Conflict, Forbidden, Invalid, InvalidId, ThreadBusy, ThreadNotFound, TooLarge, Unavailable
from protocol.messages import REF
from runtime.asks import Resume, Start, Started
from runtime.engine import Engine
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.thread_door import LIST_MAX
from runtime.thread_records import TAKEN_MAX, WAITING_MAX, load
from runtime.threads import Head, claim
from tests.runtime.stage import ended, events, open_engine, open_stage, until, want

pytestmark = pytest.mark.anyio

ALICE = Caller("default", "alice", "user", "Alice", frozenset({"runs:read", "runs:start"}))
BOB = Caller("default", "bob", "user", "Bob", frozenset({"runs:read", "runs:start"}))
OTHER = Principal("other", "tester", "development")


async def brief(run: Any) -> Any:
    yield "done"


async def patient(run: Any) -> Any:
    yield "waiting"
    await asyncio.sleep(60)


async def forgetful(run: Any) -> Any:
    yield {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "own", "role": "assistant", "content": "I forgot."}]}


async def take(engine: Engine, thread_id: str, run_id: str, agent: str = "brief", by: Principal = BOB) -> list[str]:
    """What waits is given to a run, as a dialect does it; says the ids of what was."""
    waiting = await engine.threads.waiting(thread_id, by)
    await engine.start(Start(agent, {}, thread_id, run_id, posted=True), by, "test")
    await until(engine, by, lambda state: state.started_at_ms is not None, run_id)
    if agent != "patient":
        await ended(engine, by, run_id)
    return [message["id"] for message in waiting]


async def contents(engine: Engine, thread_id: str, limit: int = 50) -> list[str]:
    return [said.message["content"] for said in await engine.threads.messages(thread_id, BOB, limit)]


async def test_a_thread_is_opened_before_its_first_run_and_says_who_opened_it(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_stage(nats, settings, brief=brief, patient=patient) as engine:
        made = await engine.threads.open(ALICE, title="Invoices", private=True)
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made.id)
        assert (made.title, made.private, made.latest) == ("Invoices", True, None)
        assert made.by == Principal("default", "alice", "user", "Alice") and type(made.by) is Principal
        assert made == await engine.threads.get(made.id, BOB) and made.created_at_ms == made.updated_at_ms
        assert await engine.threads.messages(made.id, BOB) == [] == await engine.threads.waiting(made.id, BOB)
        await take(engine, made.id, "r1", "patient")
        found = await engine.threads.get(made.id, ALICE)
        assert found.by == made.by and found.created_at_ms == made.created_at_ms < found.updated_at_ms
        assert found.latest is not None and found.latest.id == "r1" and found.latest.ended_at_ms is None
        await engine.start(want("brief", "r2", "of a run"), BOB, "test")
        for thread_id in (made.id, "of a run"):
            with pytest.raises(Conflict):
                await engine.threads.open(ALICE, thread_id)


async def test_of_racing_openings_of_one_id_one_makes_the_thread(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_engine(nats.url, settings) as one, open_engine(nats.url, settings) as two:
        told = await asyncio.gather(
            *(engine.threads.open(ALICE, "t1", str(n)) for n, engine in enumerate((one, two) * 4)),
            return_exceptions=True,
        )
        (made,) = (one for one in told if not isinstance(one, BaseException))
        assert sum(isinstance(one, Conflict) for one in told) == 7
        assert await two.threads.get("t1", BOB) == made


async def test_what_is_posted_waits_and_is_taken_by_one_run(nats: EmbeddedServer, settings: Settings, log: Log) -> None:
    seen: list[list[Any]] = []

    async def reads(run: Any) -> Any:
        seen.append([message.content for message in run.input.messages])
        yield "read"

    async with open_stage(nats, settings, brief=reads) as engine:
        thread = await engine.threads.open(ALICE)
        said = [await engine.threads.post(thread.id, text, ALICE) for text in ("one", "two")]
        assert await engine.threads.waiting(thread.id, BOB) == [one.message for one in said]
        assert said[0].message == {"id": said[0].message["id"], "role": "user", "content": "one"}
        assert await engine.threads.messages(thread.id, BOB) == said
        assert await take(engine, thread.id, "r1") == [one.message["id"] for one in said]
        assert await engine.threads.waiting(thread.id, BOB) == []
        assert await contents(engine, thread.id) == ["one", "two", "read"]
        await engine.threads.post(thread.id, "three", BOB)
        assert await contents(engine, thread.id) == ["one", "two", "read", "three"]
        assert await contents(engine, thread.id, 3) == ["one", "two", "read"]
        assert len(await take(engine, thread.id, "r2")) == 1
        assert seen == [["one", "two"], ["one", "two", "read", "three"]]
        messages = await engine.threads.messages(thread.id, BOB)
        authors = [one.by.id if one.by is not None else None for one in messages]
        assert authors == ["alice", "alice", None, "bob", None]  # the poster's, although Bob has started the run
        assert messages[:2] == said
        assert [one.at_ms for one in messages] == sorted(one.at_ms for one in messages)
        record, _ = await load(log, "default", thread.id)
        assert record is not None and [post.content for post in record.posts] == [None, None, "three"]


async def test_of_racing_posts_each_stays_and_one_in_the_course_of_a_run_waits_for_the_next(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_stage(nats, settings, brief=brief, patient=patient) as one, open_engine(nats.url, settings) as two:
        await one.threads.open(ALICE, "t1")
        said = await asyncio.gather(*(door.threads.post("t1", f"m{n}", BOB) for n, door in enumerate((one, two) * 8)))
        assert len({post.message["id"] for post in said}) == 16
        assert sorted(await contents(one, "t1")) == sorted(f"m{n}" for n in range(16))
        await take(one, "t1", "r1", "patient")
        late = await two.threads.post("t1", "late", ALICE)
        assert await one.threads.waiting("t1", BOB) == [late.message]
        await one.cancel("r1", Principal("default", "tester", "development"), "test")
        await ended(one, BOB, "r1")
        assert await take(one, "t1", "r2") == [late.message["id"]]
        assert await two.threads.waiting("t1", BOB) == []


async def test_a_taken_message_never_waits_again_whatever_becomes_of_it(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    """The agent drops it, an AG-UI client sends a transcript without it, many runs come after."""
    async with open_stage(nats, settings, brief=brief, forgetful=forgetful) as engine:
        await engine.threads.open(ALICE, "t1")
        await engine.threads.post("t1", "hello", ALICE)
        await take(engine, "t1", "r1", "forgetful")
        assert await contents(engine, "t1") == ["I forgot."]
        assert await engine.threads.waiting("t1", BOB) == []
        left = [{"id": "own", "role": "assistant", "content": "I forgot."}]
        for number in range(2, 14):
            await engine.start(Start("brief", {"messages": left}, "t1", f"r{number}"), BOB, "test")
            await ended(engine, BOB, f"r{number}")
        assert await engine.threads.waiting("t1", BOB) == []
        record, _ = await load(log, "default", "t1")
        assert record is not None and not record.waiting and record.seen == ("r13", "r12")  # not looked through again
        await engine.threads.post("t1", "again", ALICE)
        assert len(await take(engine, "t1", "r14")) == 1 and await engine.threads.waiting("t1", BOB) == []


async def test_a_message_that_no_run_has_taken_waits_on_through_many_runs(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.start(want("brief", "r0"), BOB, "test")
        await ended(engine, BOB, "r0")
        said = await engine.threads.post("t1", "still here", ALICE)
        for number in range(1, 13):
            await engine.start(want("brief", f"r{number}"), BOB, "test")
            await ended(engine, BOB, f"r{number}")
            assert await engine.threads.waiting("t1", BOB) == [said.message]
        record, _ = await load(log, "default", "t1")
        assert record is not None and record.seen[0] > "r1"
        assert (await take(engine, "t1", "last")) == [said.message["id"]]
        assert await engine.threads.waiting("t1", BOB) == []


async def test_a_start_that_comes_late_after_its_claim_has_taken_what_it_carries(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.threads.open(ALICE, "t1")
        await claim(log, "default", "t1", Head("r1", None, 0, 0), 0)
        assert (await engine.threads.get("t1", BOB)).latest is None
        await engine.threads.post("t1", "hello", ALICE)  # is written with that claim as what was seen
        assert len(await take(engine, "t1", "r1")) == 1
        assert await engine.threads.waiting("t1", BOB) == []


async def test_a_thread_that_began_with_a_run_is_one_and_knows_its_first_requester(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine, open_engine(nats.url, settings) as fresh:
        for number, who in enumerate((by, ALICE, BOB)):
            await engine.start(want("brief", f"r{number}"), who, "test")
            await ended(engine, by, f"r{number}")
        first = await engine.state("r0", by)
        for door in (engine, fresh):
            found = await door.threads.get("t1", BOB)
            assert (found.by, found.created_at_ms, found.title, found.private) == (by, first.created_at_ms, None, False)
            assert found.latest is not None and found.latest.id == "r2"
            assert found.updated_at_ms == found.latest.ended_at_ms
        messages = await engine.threads.messages("t1", BOB)
        assert [one.by.id if one.by else None for one in messages] == ["tester", None, "alice", None, "bob", None]
        assert messages[0].at_ms == first.created_at_ms and messages[1].at_ms >= first.created_at_ms
        await engine.threads.post("t1", "more", ALICE)
        posted = await engine.threads.get("t1", BOB)
        assert (posted.by, posted.created_at_ms) == (by, first.created_at_ms)
        assert posted.updated_at_ms >= found.updated_at_ms


async def test_an_answer_s_messages_are_the_answerer_s(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async def asks(run: Any) -> Any:
        if not run.answers:
            yield "first"
            yield run.interrupt("Go on?")
        yield "second"

    async with open_stage(nats, settings, asks=asks) as engine:
        await engine.start(want("asks"), by, "test")
        state = await until(engine, by, lambda state: state.interrupts)
        added = {"id": "added", "role": "user", "content": "do"}
        answer = Answer(state.interrupts[0]["id"], "resolved", {"approved": True})
        await engine.resume("r1", Resume([answer], messages=[added]), Principal("default", "carol", "user"), "test")
        state = await ended(engine, by)
        told = {one.message["content"]: one for one in await engine.threads.messages("t1", by)}
        assert told["do"].by is not None and told["do"].by.id == "carol" and told["hi"].by == by
        assert told["first"].at_ms == state.legs[0].started_at_ms
        assert told["second"].at_ms == state.legs[1].started_at_ms and told["second"].by is None


async def test_threads_are_listed_newest_first_with_and_without_runs(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine, open_engine(nats.url, settings) as other:
        made = list[str]()
        for number in range(6):
            thread_id = f"t{number}"
            if number % 2:
                await engine.start(want("brief", f"r{number}", thread_id), by, "test")
                await ended(engine, by, f"r{number}")
            else:
                await engine.threads.open(ALICE, thread_id, title=f"T{number}")
            made.append(thread_id)
            listed, total = await engine.threads.list(BOB, 50, 0)
            assert thread_id in [one.id for one in listed] and total == number + 1  # one's own, at once
        found, total = await engine.threads.list(BOB, 50, 0)
        order = [(one.created_at_ms, one.id) for one in found]
        assert order == sorted(order, reverse=True) and sorted(one.id for one in found) == made
        assert [one.title for one in found if one.by == ALICE or one.title] == ["T4", "T2", "T0"]
        await engine.start(want("brief", "again", "t0"), by, "test")
        await ended(engine, by, "again")
        await engine.threads.post("t1", "more", ALICE)
        again, _ = await engine.threads.list(BOB, 50, 0)
        assert [(one.created_at_ms, one.id) for one in again] == order  # a run and a post move none of them
        for one in again:
            told = await engine.threads.get(one.id, BOB)
            assert (told.id, told.by, told.created_at_ms, told.updated_at_ms, told.title) == (
                one.id, one.by, one.created_at_ms, one.updated_at_ms, one.title
            )  # fmt: skip
            assert (told.latest and told.latest.id) == (one.latest and one.latest.id)
        pages = [one.id for offset in range(0, 8, 2) for one in (await engine.threads.list(BOB, 2, offset))[0]]
        assert pages == [name for _, name in order]
        assert (await engine.threads.list(BOB, 10**9, 10**30))[0] == []
        opened = await engine.threads.open(ALICE, "elsewhere")
        assert opened.id in [one.id for one in (await other.threads.list(BOB, LIST_MAX, 0))[0]]  # another replica's
        assert await engine.threads.list(OTHER, 50, 0) == ([], 0)


async def test_what_does_not_fit_is_refused(nats: EmbeddedServer, settings: Settings, log: Log) -> None:
    async with open_engine(nats.url, settings) as engine:
        await engine.threads.open(ALICE, "t1")
        with pytest.raises(TooLarge):
            await engine.threads.post("t1", "x" * log.body_bytes_max, BOB)
        with pytest.raises(TooLarge):
            await engine.threads.post("t1", "\0" * (log.body_bytes_max // 3), BOB)  # six characters each as JSON
        with pytest.raises(Invalid):
            await engine.threads.post("t1", "\ud800", BOB)
        for bad in ("", "x" * 257):
            with pytest.raises(InvalidId):
                await engine.threads.open(ALICE, bad)
            with pytest.raises(InvalidId):
                await engine.threads.get(bad, BOB)
        with pytest.raises(Invalid):
            await engine.threads.open(ALICE, title="x" * 1_001)
        for number in range(WAITING_MAX):
            await engine.threads.post("t1", str(number), BOB)
        with pytest.raises(Conflict):
            await engine.threads.post("t1", "one more", BOB)
        assert len(await engine.threads.waiting("t1", BOB)) == WAITING_MAX
        await engine.threads.open(ALICE, "t2")
        await engine.threads.post("t2", "x" * (log.body_bytes_max // 2), BOB)
        with pytest.raises(Conflict):  # together they would fit into no start
            await engine.threads.post("t2", "x" * (log.body_bytes_max // 2), BOB)


async def test_all_that_may_wait_fits_into_a_start(nats: EmbeddedServer, settings: Settings, log: Log) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.threads.open(ALICE, "t1")
        with pytest.raises(Conflict):
            while True:
                await engine.threads.post("t1", "x" * (log.body_bytes_max // 20), BOB)
        assert len(await take(engine, "t1", "r1")) > 15


async def test_what_is_remembered_of_taken_messages_is_bounded(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.threads.open(ALICE, "t1")
        for run in range(3):
            for _ in range(90):
                await engine.threads.post("t1", "x", BOB)
            await take(engine, "t1", f"r{run}")
        last = await engine.threads.post("t1", "y", BOB)
        record, _ = await load(log, "default", "t1")
        assert record is not None and len(record.posts) == TAKEN_MAX + 1
        assert await engine.threads.waiting("t1", BOB) == [last.message]


async def test_threads_are_their_tenant_s_and_need_scopes(nats: EmbeddedServer, settings: Settings, log: Log) -> None:
    async with open_engine(nats.url, settings) as engine:
        doors = engine.threads
        await doors.open(ALICE, "t1")
        await doors.post("t1", "hello", ALICE)
        for ask in (doors.get("t1", OTHER), doors.post("t1", "x", OTHER), doors.messages("t1", OTHER)):
            with pytest.raises(ThreadNotFound):
                await ask
        assert await doors.waiting("t1", OTHER) == []
        assert (await doors.open(OTHER, "t1")).by == OTHER
        reader = Caller("default", "r", "api_key", "", frozenset({"runs:read"}))
        of_one_run = Caller("default", "r", "api_key", "", frozenset({"runs:read", "runs:start"}), run="r1")
        assert (await doors.get("t1", reader)).id == "t1"
        for who in (reader, of_one_run):
            with pytest.raises(Forbidden):
                await doors.open(who)
            with pytest.raises(Forbidden):
                await doors.post("t1", "x", who)
        for ask in (doors.get("t1", of_one_run), doors.waiting("t1", of_one_run), doors.list(of_one_run, 1, 0)):
            with pytest.raises(Forbidden):
                await ask  # type: ignore[misc]
        worker = Engine(log, settings)
        assert (await worker.threads.get("t1", BOB)).id == "t1" and len(await worker.threads.waiting("t1", BOB)) == 1
        with pytest.raises(Unavailable):
            await worker.threads.list(BOB, 1, 0)


async def test_of_racing_starts_that_ask_for_what_was_posted_one_has_it_and_the_history_is_kept(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_stage(nats, settings, brief=brief) as one, open_engine(nats.url, settings) as two:
        await one.threads.open(ALICE, "t1")
        for turn in range(5):
            said = await one.threads.post("t1", f"m{turn}", ALICE)
            told = await asyncio.gather(
                *(
                    engine.start(Start("brief", {}, "t1", f"r{turn}-{n}", posted=True), BOB, "test")
                    for n, engine in enumerate((one, two) * 3)
                ),
                return_exceptions=True,
            )
            runs = [started.run_id for started in told if isinstance(started, Started)]
            assert runs and all(isinstance(other, ThreadBusy | Started) for other in told)
            for run_id in runs:
                await ended(one, BOB, run_id)
            asked = [(await events(log, run_id))[0]["input"]["messages"] for run_id in runs]
            fresh = [message for messages in asked for message in messages if not message.get(REF)]
            assert [message["id"] for message in fresh if message["role"] == "user"] == [said.message["id"]]
        heard = await contents(one, "t1")
        assert [text for text in heard if text != "done"] == [f"m{turn}" for turn in range(5)]


async def test_a_repeated_start_finds_its_run_although_its_posts_are_taken(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.threads.open(ALICE, "t1")
        await engine.threads.post("t1", "hello", ALICE)
        start = Start("brief", {}, "t1", key="k1", posted=True)
        first = await engine.start(start, BOB, "test")
        await ended(engine, BOB, first.run_id)
        await engine.threads.post("t1", "more", ALICE)
        again = await engine.start(start, BOB, "test")
        assert (again.run_id, again.created) == (first.run_id, False)
        assert await contents(engine, "t1") == ["hello", "done", "more"]


async def test_a_run_given_what_another_has_taken_holds_each_message_once(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.threads.open(ALICE, "t1")
        await engine.threads.post("t1", "hello", ALICE)
        stale = await engine.threads.waiting("t1", BOB)
        await take(engine, "t1", "r1")
        await engine.start(Start("brief", {"messages": stale}, "t1", "r2"), BOB, "test")
        await ended(engine, BOB, "r2")
        assert (await contents(engine, "t1")).count("hello") == 1
        assert (await events(log, "r2"))[0]["input"]["messages"][0]["id"] == stale[0]["id"]
