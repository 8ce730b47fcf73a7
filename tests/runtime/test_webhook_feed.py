"""What webhooks would be told, read on by who looks: each once, in order, from any place, over restarts of the log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
import pytest

from protocol.entries import Caller, Principal, decode, encode
from protocol.errors import Forbidden, Invalid, Unavailable
from protocol.run_object import run_object
from protocol.subjects import run_subject
from protocol.webhooks import EVENTS
from runtime.engine import Engine
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.webhook_feed import Place, Told, WebhookFeed
from runtime.webhooks import FEEDS_MAX
from tests.runtime.pushing import QUESTIONS, asks, go_through, talks
from tests.runtime.stage import ended, open_engine, open_stage, restart, stored, want

pytestmark = pytest.mark.anyio

THE_REST = ["run.waiting"] * QUESTIONS + ["run.completed"]


@contextlib.asynccontextmanager
async def listening(
    engine: Engine,
    by: Principal,
    place: Place | None = None,
    events: tuple[str, ...] = EVENTS,
    agent: str | None = None,
) -> AsyncIterator[WebhookFeed]:
    feed = await engine.webhooks.listen(events, agent, by, place)
    try:
        yield feed
    finally:
        await feed.close()


async def took(feed: WebhookFeed, count: int) -> list[Told]:
    async with asyncio.timeout(10):
        return [await feed.next() for _ in range(count)]


async def says_no_more(feed: WebhookFeed, engine: Engine, by: Principal, run_id: str) -> None:
    """The next that is told is the start of a run that begins now."""
    await engine.start(want("talks", run_id, f"t-{run_id}"), by, "test")
    (told,) = await took(feed, 1)
    assert (told.run_id, told.kind) == (run_id, "run.started")


def said(told: list[Told]) -> list[tuple[str, str]]:
    return [(one.run_id, one.kind) for one in told]


async def test_all_that_becomes_of_runs_is_told_once_in_order_with_the_run_as_it_was(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, asks=asks, talks=talks) as engine:
        await engine.start(want("talks", "before", "t0"), by, "test")
        await ended(engine, by, "before")
        async with listening(engine, by) as feed:
            await engine.start(want("asks", "r1", "t1"), by, "test")
            await go_through(engine, by)
            told = await took(feed, 1 + len(THE_REST))
            assert said(told) == [("r1", kind) for kind in ("run.started", *THE_REST)]
            messages = [orjson.loads(one.body) for one in told]
            assert [one["data"]["status"] for one in messages] == ["running", *["waiting"] * QUESTIONS, "completed"]
            assert messages[-1]["data"] == orjson.loads(orjson.dumps(run_object(await engine.state("r1", by))))
            assert [one.place for one in told] == sorted({one.place for one in told})
            await says_no_more(feed, engine, by, "last")


async def test_who_comes_back_at_any_place_is_told_exactly_what_comes_after_it(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, asks=asks, talks=talks) as engine:
        async with listening(engine, by) as feed:
            begun = feed.place
            await engine.start(want("asks", "r1", "t1"), by, "test")
            for number in range(3):
                await engine.start(want("talks", f"o{number}", f"o{number}"), by, "test")
            await go_through(engine, by)
            told = await took(feed, 1 + len(THE_REST) + 3 * 2)
        for number, place in enumerate([begun, *(one.place for one in told)]):
            async with listening(engine, by, place) as feed:
                assert await took(feed, len(told) - number) == told[number:]


async def test_entries_of_one_message_are_taken_up_in_the_middle(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_stage(nats, settings, talks=talks) as engine:
        await engine.start(want("talks", "r1", "t1"), by, "test")
        await ended(engine, by, "r1")
    copied = [one for one in await stored(log) if one.lane != "flow"]
    began, finished = (event for one in copied[1:] for _, event in decode(one.body))
    async with open_engine(nats.url, settings) as engine:  # and no worker, which would take the run up itself
        rev = await log.append(run_subject("default", "r2"), "ask", copied[0].body, 0)
        async with listening(engine, by) as feed:
            begun = feed.place
            rev = await log.append(run_subject("default", "r2"), "life", encode(2, began) + encode(3, finished), rev)
            first, second = await took(feed, 2)
            assert said([first, second]) == [("r2", "run.started"), ("r2", "run.completed")]
        for place, rest in ((begun, [first, second]), (first.place, [second]), (second.place, [])):
            async with listening(engine, by, place) as feed:
                assert await took(feed, len(rest)) == rest
        async with listening(engine, by, second.place) as feed:
            await log.append(run_subject("default", "r3"), "ask", copied[0].body, 0)
            await log.append(run_subject("default", "r3"), "life", encode(2, began), rev + 1)
            assert said(await took(feed, 1)) == [("r3", "run.started")]


async def test_only_what_is_asked_for_is_told_and_the_place_moves_over_the_rest(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    other = Principal("other", "tester", "development", "Tester")
    async with open_stage(nats, settings, asks=asks, talks=talks) as engine:
        async with listening(engine, by, events=("run.completed",), agent="talks") as feed:
            await engine.start(want("asks", "r1", "t1"), by, "test")
            await go_through(engine, by)
            await engine.start(want("talks", "theirs", "t1"), other, "test")
            await ended(engine, other, "theirs")
            await engine.start(want("talks", "r2", "t2"), by, "test")
            assert said(await took(feed, 1)) == [("r2", "run.completed")]
        async with listening(engine, by, events=("run.failed",)) as feed:
            begun, waits = feed.place, asyncio.create_task(feed.next())
            await engine.start(want("talks", "r3", "t3"), by, "test")
            await ended(engine, by, "r3")
            async with asyncio.timeout(5):
                while feed.place <= begun:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert not waits.done()
            waits.cancel()
            await asyncio.wait({waits})


async def test_nothing_is_lost_or_told_twice_while_the_log_restarts(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, asks=asks, talks=talks) as engine, listening(engine, by) as feed:
        gathered: list[Told] = []

        async def gather() -> None:
            while len(gathered) < 3 * (1 + len(THE_REST)):
                gathered.append(await feed.next())

        gathering = asyncio.create_task(gather())
        for number in range(3):
            await engine.start(want("asks", f"r{number}", f"t{number}"), by, "test")
            if number == 1:
                await restart(nats)
            await go_through(engine, by, f"r{number}")
        await asyncio.wait_for(gathering, 20)
        assert said(gathered) == [(f"r{n}", kind) for n in range(3) for kind in ("run.started", *THE_REST)]


async def test_who_may_listen_and_from_where(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async with open_stage(nats, settings, talks=talks) as engine:
        listen = engine.webhooks.listen
        page = Caller("default", "p", "page", "P", scopes=frozenset({"runs:read"}), run="r1")
        starts = Caller("default", "s", "key", "S", scopes=frozenset({"runs:start"}))
        for caller in (page, starts):
            with pytest.raises(Forbidden, match="runs:read"):
                await listen(EVENTS, None, caller)
        with pytest.raises(Invalid, match="Nothing is recorded at the place 900-1 yet"):
            await listen(EVENTS, None, by, Place(900, 1))
        feeds = [await listen(EVENTS, None, by) for _ in range(FEEDS_MAX)]
        with pytest.raises(Unavailable, match=f"{FEEDS_MAX} listen"):
            await listen(EVENTS, None, by)
        await feeds.pop().close()
        feeds.append(await listen(EVENTS, None, by))
        for feed in feeds:
            await feed.close()
