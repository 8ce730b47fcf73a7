"""The seam of a follower: what is recorded, then what comes, each entry once, whatever is lost in between."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol.entries import decode, encode
from protocol.errors import RunNotFound
from protocol.subjects import run_subject
from runtime.chunks import ChunkCache, chunk, locate
from runtime.follow import Tails
from runtime.log import Log, Stored
from runtime.nats_server import EmbeddedServer
from tests.runtime.follow_room import WAIT_SECONDS, Watched, append, caught, fresh_run, packed, text_run

pytestmark = pytest.mark.anyio

CACHE_BYTES = 1 << 20


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def log(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Log]:
    server = EmbeddedServer(tmp_path_factory.mktemp("nats"))
    await server.start()
    opened = await Log.open(server.url, "test", append_timeout_s=5.0)
    yield opened
    await opened.close()
    await server.stop()


def seqs(entries: list[Any]) -> list[int]:
    return [entry.seq for entry in entries]


async def settled(tails: Tails) -> None:
    """Until every tail that nobody follows any more is closed."""
    async with asyncio.timeout(WAIT_SECONDS):
        while tails._closing:
            await asyncio.wait(list(tails._closing))


async def test_a_follower_of_a_run_that_does_not_exist_is_told_so_and_leaves_nothing_behind(log: Log) -> None:
    watched = Watched(log)
    tails = Tails(watched, CACHE_BYTES)
    with pytest.raises(RunNotFound):
        await tails.follow(fresh_run(), 0)
    await settled(tails)
    assert (tails.watched, watched.listening) == (0, 0)


@pytest.mark.parametrize("sizes", [[1], [7], [1000]])
async def test_a_finished_run_is_read_from_every_number_on(log: Log, sizes: list[int]) -> None:
    run, events = fresh_run(), text_run(20)
    await append(log, run, packed(events, sizes))
    for bytes_max in (1, CACHE_BYTES):
        tails = Tails(log, bytes_max)
        for cut in range(len(events) + 1):
            assert seqs(await caught(await tails.follow(run, cut))) == list(range(cut + 1, len(events) + 1))


async def test_a_cursor_in_the_middle_of_a_live_message_gets_the_rest_of_it(log: Log) -> None:
    run, events = fresh_run(), text_run(10)
    messages = packed(events, [100])
    rev = await append(log, run, messages[:2])
    tails = Tails(log, CACHE_BYTES)
    follow = await tails.follow(run, 6)
    telling = asyncio.create_task(caught(follow))
    await append(log, run, messages[2:], rev)
    assert seqs(await telling) == list(range(7, len(events) + 1))


async def test_a_cursor_beyond_the_end_gets_nothing_and_ends_with_the_run(log: Log) -> None:
    run, events = fresh_run(), text_run(3)
    messages = packed(events, [1])
    rev = await append(log, run, messages[:-1])
    tails = Tails(log, CACHE_BYTES)
    follow = await tails.follow(run, 1_000)
    telling = asyncio.create_task(caught(follow))
    assert not follow.behind and follow.ready() == []
    await append(log, run, messages[-1:], rev)
    assert await telling == []


async def test_a_cursor_before_the_beginning_is_the_beginning(log: Log) -> None:
    run, events = fresh_run(), text_run(3)
    await append(log, run, packed(events, [2]))
    assert seqs(await caught(await Tails(log, 1).follow(run, -5))) == list(range(1, len(events) + 1))


async def test_a_run_that_ends_while_it_is_joined_is_told_to_its_end(log: Log) -> None:
    run, events = fresh_run(), text_run(5)
    messages = packed(events, [1])
    rev = await append(log, run, messages[:4])
    watched = Watched(log)
    watched.go_on.clear()
    tails = Tails(watched, CACHE_BYTES)
    joining = asyncio.create_task(tails.follow(run, 0))
    await asyncio.wait_for(watched.asked.wait(), WAIT_SECONDS)
    await append(log, run, messages[4:], rev)
    watched.go_on.set()
    assert seqs(await caught(await joining)) == list(range(1, len(events) + 1))


async def test_a_lost_live_message_is_read_again(log: Log) -> None:
    run, events = fresh_run(), text_run(40)
    messages = packed(events, [3, 1])
    rev = await append(log, run, messages[:2])
    watched = Watched(log, loses=lambda number: number % 3 == 0)
    tails = Tails(watched, CACHE_BYTES)
    follow = await tails.follow(run, 0)
    tail = tails.tail(run)
    telling = asyncio.create_task(caught(follow, len(events)))
    await append(log, run, messages[2:], rev)
    await tails.audit()
    assert seqs(await telling) == list(range(1, len(events) + 1))
    assert tail is not None and tail.refills > 0


async def test_a_lost_last_message_is_found_by_an_audit(log: Log) -> None:
    run, events = fresh_run(), text_run(3)
    messages = packed(events, [1])
    rev = await append(log, run, messages[:-1])
    watched = Watched(log, loses=lambda number: True)
    tails = Tails(watched, CACHE_BYTES)
    telling = asyncio.create_task(caught(await tails.follow(run, 0)))
    await append(log, run, messages[-1:], rev)
    assert not telling.done()
    await tails.audit()
    assert seqs(await telling) == list(range(1, len(events) + 1))


async def test_what_is_missed_while_the_connection_is_away_is_read_when_it_is_back(log: Log) -> None:
    run, events = fresh_run(), text_run(8)
    messages = packed(events, [1])
    rev = await append(log, run, messages[:3])
    watched = Watched(log)
    tails = Tails(watched, CACHE_BYTES)
    telling = asyncio.create_task(caught(await tails.follow(run, 0)))
    watched.loses = lambda number: True
    await append(log, run, messages[3:], rev)
    log._reconnected()
    assert seqs(await telling) == list(range(1, len(events) + 1))


async def test_a_refill_that_is_asked_for_during_a_refill_is_done_after_it(log: Log) -> None:
    run, events = fresh_run(), text_run(8)
    messages = packed(events, [1])
    rev = await append(log, run, messages[:3])
    watched = Watched(log, loses=lambda number: True)
    tails = Tails(watched, CACHE_BYTES)
    follow = await tails.follow(run, 0)
    tail = tails.tail(run)
    assert tail is not None
    tail.refill()
    tail.refill()
    telling = asyncio.create_task(caught(follow))
    await append(log, run, messages[3:], rev)
    await tails.audit()
    assert seqs(await telling) == list(range(1, len(events) + 1))
    assert tail.refills >= 2


async def test_more_live_messages_than_a_refill_holds_are_read_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.follow._AHEAD_MAX", 2)
    run, events = fresh_run(), text_run(20)
    messages = packed(events, [1])
    rev = await append(log, run, messages[:3])
    watched = Watched(log)
    watched.go_on.clear()
    tails = Tails(watched, CACHE_BYTES)
    joining = asyncio.create_task(tails.follow(run, 0))
    await asyncio.wait_for(watched.asked.wait(), WAIT_SECONDS)
    await append(log, run, messages[3:10], rev)
    async with asyncio.timeout(WAIT_SECONDS):
        while watched.heard < 7:
            await log.last(run)
    first_head = await log.last(run)
    assert first_head is not None
    watched.go_on.set()
    follow = await joining
    telling = asyncio.create_task(caught(follow))
    await append(log, run, messages[10:], first_head.rev)
    assert seqs(await telling) == list(range(1, len(events) + 1))


async def test_a_follower_that_joins_during_a_refill_gets_everything(log: Log) -> None:
    run, events = fresh_run(), text_run(12)
    messages = packed(events, [2])
    rev = await append(log, run, messages[:2])
    watched = Watched(log, loses=lambda number: number == 1)
    tails = Tails(watched, CACHE_BYTES)
    first = await tails.follow(run, 0)
    tail = tails.tail(run)
    assert tail is not None
    tail.refill()
    second = await tails.follow(run, 3)
    told = asyncio.gather(caught(first), caught(second))
    await append(log, run, messages[2:], rev)
    one, other = await told
    assert seqs(one) == list(range(1, len(events) + 1)) and seqs(other) == list(range(4, len(events) + 1))


async def test_one_of_two_followers_that_gives_up_while_the_tail_opens_does_not_harm_the_other(log: Log) -> None:
    run, events = fresh_run(), text_run(4)
    await append(log, run, packed(events, [2]))
    watched = Watched(log)
    watched.go_on.clear()
    tails = Tails(watched, CACHE_BYTES)
    leaving = asyncio.create_task(tails.follow(run, 0))
    staying = asyncio.create_task(tails.follow(run, 0))
    await asyncio.wait_for(watched.asked.wait(), WAIT_SECONDS)
    leaving.cancel()
    await asyncio.wait([leaving])
    watched.go_on.set()
    assert seqs(await caught(await staying)) == list(range(1, len(events) + 1))
    await settled(tails)
    assert (tails.watched, watched.listening) == (0, 0)


async def test_a_tail_that_everybody_leaves_while_it_opens_leaves_no_subscription(log: Log) -> None:
    run = fresh_run()
    await append(log, run, packed(text_run(4), [2]))
    watched = Watched(log)
    watched.go_on.clear()
    tails = Tails(watched, CACHE_BYTES)
    leaving = asyncio.create_task(tails.follow(run, 0))
    await asyncio.wait_for(watched.asked.wait(), WAIT_SECONDS)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert tails.watched == 0
    watched.go_on.set()
    await settled(tails)
    assert watched.listening == 0


async def test_a_run_that_is_left_and_joined_again_at_once_is_followed(log: Log) -> None:
    run, events = fresh_run(), text_run(4)
    await append(log, run, packed(events, [2]))
    watched = Watched(log)
    tails = Tails(watched, CACHE_BYTES)
    first = await tails.follow(run, 0)
    first.close()
    first.close()
    again = await tails.follow(run, 2)
    await settled(tails)
    assert (tails.watched, watched.listening) == (1, 1)
    assert seqs(await caught(again)) == list(range(3, len(events) + 1))


async def test_followers_survive_a_restart_of_the_server_on_its_port(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = EmbeddedServer(tmp_path / "nats")
    await server.start(port)
    log = await Log.open(server.url, "test", append_timeout_s=5.0)
    try:
        run, events = fresh_run(), text_run(30)
        messages = packed(events, [4])
        rev = await append(log, run, messages[:3])
        tails = Tails(log, 1)
        telling = asyncio.create_task(caught(await tails.follow(run, 0)))
        await server.stop(kill=True)
        await server.start(port)
        await append(log, run, messages[3:], rev)
        assert seqs(await telling) == list(range(1, len(events) + 1))
    finally:
        await log.close()
        await server.stop()


@pytest.mark.parametrize("sizes", [[1], [5], [1, 30], [200]])
async def test_each_entry_is_located_among_the_entries_of_other_runs(log: Log, sizes: list[int]) -> None:
    events = text_run(60)
    runs = {fresh_run(): packed(events, sizes) for _ in range(3)}
    revs = dict.fromkeys(runs, 0)
    where: dict[tuple[str, int], int] = {}
    for turn in range(max(map(len, runs.values()))):
        for number, (run, messages) in enumerate(runs.items()):
            for lane, body in messages[turn : turn + 1] if turn % (number + 1) == 0 else []:
                revs[run] = await log.append(run, lane, body, revs[run])
                where |= {(run, entry.seq): revs[run] for entry in decode(body)}
            if turn % (number + 1):
                noise = fresh_run()
                await log.append(noise, "ask", encode(1, events[0]), 0)
                runs_left = messages[turn : turn + 1]
                for lane, body in runs_left:
                    revs[run] = await log.append(run, lane, body, revs[run])
                    where |= {(run, entry.seq): revs[run] for entry in decode(body)}
    for run in runs:
        for seq in range(1, len(events) + 1):
            assert await locate(log, run, seq) == where[run, seq]
        assert await locate(log, run, len(events) + 1) == where[run, len(events)]


async def test_nothing_is_located_in_a_run_that_does_not_exist(log: Log) -> None:
    with pytest.raises(RunNotFound):
        await locate(log, run_subject("default", "nobody"), 1)


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        ({"type": "RUN_FINISHED"}, "run"),
        ({"type": "RUN_ERROR", "message": "no"}, "run"),
        ({"type": "RUN_FINISHED", "outcome": {"interrupts": [{"id": "i"}], "type": "interrupt"}}, "leg"),
        ({"type": "RUN_FINISHED", "result": {"outcome": {"type": "interrupt"}}}, "run"),
        ({"type": "RUN_STARTED", "metadata": {"x": {"type": "RUN_ERROR"}}}, ""),
    ],
)
async def test_what_a_message_ends_is_read_from_its_last_entry(event: dict[str, Any], ends: str) -> None:
    piece = chunk(Stored(7, "life", encode(4, {"type": "RUN_STARTED"}) + encode(5, event)))
    assert (piece.first, piece.last, piece.rev, piece.ends) == (4, 5, 7, ends)


async def test_the_cache_gives_up_what_was_used_longest_ago_and_keeps_at_least_one() -> None:
    pieces = [chunk(Stored(n, "flow", encode(n, {"type": "RAW", "event": "x" * 50}))) for n in range(1, 5)]
    cache = ChunkCache(len(pieces[0].body) * 2)
    cache.put("a", pieces[0])
    cache.put("a", pieces[1])
    assert cache.get("a", 1) is pieces[0]
    cache.put("a", pieces[2])
    assert cache.get("a", 2) is None and cache.get("a", 1) is pieces[0] and cache.get("b", 1) is None
    tiny = ChunkCache(1)
    tiny.put("a", pieces[0])
    tiny.put("a", pieces[0])
    tiny.put("a", pieces[1])
    assert tiny.get("a", 1) is None and tiny.get("a", 2) is pieces[1]
