"""The log on a real nats-server: what an append promises when the wire or the server fails."""

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from protocol.errors import TooLarge, Unavailable
from protocol.sse import frame
from runtime.layout import AGENTS, THREADS
from runtime.log import Log, WrongRevision
from runtime.nats_server import EmbeddedServer, Link
from tests.runtime.stage import eventually, open_wire, restart, stored

pytestmark = pytest.mark.anyio
RUN = "run.default.r1"


async def test_an_append_at_the_revision_it_expects_is_written(log: Log) -> None:
    first = await log.append(RUN, "ask", frame(1, b"{}"), 0)
    second = await log.append(RUN, "flow", frame(2, b"{}"), first)
    assert [(one.rev, one.lane) for one in await stored(log)] == [(first, "ask"), (second, "flow")]


async def test_of_two_appends_at_one_revision_one_is_refused_and_not_written(log: Log) -> None:
    first = await log.append(RUN, "ask", frame(1, b"{}"), 0)
    bodies = [frame(2, b'{"by":%d}' % number) for number in range(8)]
    answers = await asyncio.gather(*(log.append(RUN, "flow", body, first) for body in bodies), return_exceptions=True)
    won = [number for number, answer in enumerate(answers) if isinstance(answer, int)]
    assert len(won) == 1
    assert all(isinstance(answer, WrongRevision) for number, answer in enumerate(answers) if number not in won)
    assert [one.body for one in await stored(log)][1:] == [bodies[won[0]]]


async def test_lanes_share_one_revision_so_that_an_ask_stops_the_flow(log: Log) -> None:
    first = await log.append(RUN, "life", frame(1, b"{}"), 0)
    await log.append(RUN, "ask", frame(2, b"{}"), first)
    with pytest.raises(WrongRevision):
        await log.append(RUN, "flow", frame(2, b"{}"), first)


async def test_a_body_over_the_limit_is_refused_with_the_limit_named(log: Log) -> None:
    with pytest.raises(TooLarge, match=str(log.body_bytes_max)):
        await log.append(RUN, "flow", b"x" * (log.body_bytes_max + 1), 0)
    with pytest.raises(TooLarge, match=str(log.body_bytes_max)):
        await log.put(THREADS, "default.t1", b"x" * (log.body_bytes_max + 1))
    await log.append(RUN, "flow", frame(1, b"x" * (log.body_bytes_max - 100)), 0)


async def test_an_append_whose_answer_is_lost_is_written_once(nats: EmbeddedServer, log: Log) -> None:
    async with open_wire(nats) as (wire, url):
        far = await Log.open(url, "far", append_timeout_s=10.0)
        wire.deaf = True
        appending = asyncio.create_task(far.append(RUN, "ask", frame(1, b"{}"), 0))
        async with asyncio.timeout(5):
            await wire.lost.wait()
        wire.deaf = False
        wire.cut()
        rev = await asyncio.wait_for(appending, 5)
        assert [one.rev for one in await stored(log)] == [rev]
        await far.close()


async def test_an_append_that_was_followed_before_its_answer_came_is_still_known_as_written(
    nats: EmbeddedServer, log: Log
) -> None:
    async with open_wire(nats) as (wire, url):
        far = await Log.open(url, "far", append_timeout_s=10.0)
        wire.deaf = True
        appending = asyncio.create_task(far.append(RUN, "flow", frame(1, b"{}"), 0))
        async with asyncio.timeout(5):
            await wire.lost.wait()
        (first,) = await stored(log)
        await log.append(RUN, "ask", frame(2, b"{}"), first.rev)
        wire.deaf = False
        wire.cut()
        assert await asyncio.wait_for(appending, 5) == first.rev
        assert len(await stored(log)) == 2
        await far.close()


async def test_an_append_that_never_arrived_is_refused_if_somebody_else_came_first(
    nats: EmbeddedServer, log: Log
) -> None:
    async with open_wire(nats) as (wire, url):
        far = await Log.open(url, "far", append_timeout_s=10.0)
        wire.mute = True
        appending = asyncio.create_task(far.append(RUN, "flow", frame(1, b'"far"'), 0))
        async with asyncio.timeout(5):
            await wire.lost.wait()
        await log.append(RUN, "flow", frame(1, b'"near"'), 0)
        wire.mute = False
        wire.cut()
        with pytest.raises(WrongRevision):
            await asyncio.wait_for(appending, 5)
        assert len(await stored(log)) == 1
        await far.close()


async def test_a_server_killed_in_mid_append_loses_and_doubles_nothing(nats: EmbeddedServer, log: Log) -> None:
    acknowledged: list[int] = []
    killed = asyncio.Event()

    async def write() -> None:
        rev = 0
        for seq in range(1, 401):
            rev = await log.append(RUN, "flow", frame(seq, b"{}"), rev)
            acknowledged.append(rev)
            if seq == 50:
                killed.set()

    writing = asyncio.create_task(write())
    async with asyncio.timeout(5):
        await killed.wait()
    await restart(nats)
    before = len(acknowledged)
    await asyncio.wait_for(writing, 10)
    assert before < 400
    assert [one.rev for one in await stored(log)] == acknowledged


async def test_a_log_away_for_longer_than_an_append_may_take_is_unavailable_and_nothing_comes_later(
    nats: EmbeddedServer, log: Log
) -> None:
    brief = await Log.open(nats.url, "brief", append_timeout_s=0.5)
    port = int(nats.url.rpartition(":")[2])
    await nats.stop(kill=True)
    await eventually(lambda: not brief.connected)
    with pytest.raises(Unavailable, match=r"took no write for 0\.5 s"):
        await brief.append(RUN, "flow", frame(1, b"{}"), 0)
    with pytest.raises(Unavailable):
        await brief.last(RUN)
    with pytest.raises(Unavailable):
        await brief.keys(THREADS)
    await nats.start(port)
    await eventually(lambda: brief.connected)
    rev = await brief.append(RUN, "flow", frame(1, b'"later"'), 0)
    assert [(one.rev, one.body) for one in await stored(brief)] == [(rev, frame(1, b'"later"'))]
    await brief.close()


async def test_an_append_waits_for_a_server_that_comes_back_in_time(nats: EmbeddedServer, log: Log) -> None:
    port = int(nats.url.rpartition(":")[2])
    await nats.stop(kill=True)
    await eventually(lambda: not log.connected)
    appending = asyncio.create_task(log.append(RUN, "flow", frame(1, b"{}"), 0))
    await nats.start(port)
    rev = await asyncio.wait_for(appending, 5)
    assert [one.rev for one in await stored(log)] == [rev]


async def test_a_key_is_written_only_at_the_revision_expected(log: Log) -> None:
    first = await log.put(THREADS, "default.t1", b"one", 0)
    with pytest.raises(WrongRevision):
        await log.put(THREADS, "default.t1", b"two", 0)
    second = await log.put(THREADS, "default.t1", b"three", first)
    held = await log.get(THREADS, "default.t1")
    assert held is not None and (held.rev, held.body) == (second, b"three")
    await log.put(THREADS, "default.t1", b"four")
    assert (await log.keys(THREADS)) == {"default.t1": b"four"}
    assert await log.get(THREADS, "default.other") is None


async def test_a_bucket_is_read_whole_however_much_it_holds_and_by_however_many_at_once(log: Log) -> None:
    assert await log.keys(AGENTS) == {}
    wanted = {f"k{number}": b"%d" % number for number in range(600)}
    await asyncio.gather(*(log.put(AGENTS, key, value) for key, value in wanted.items()))
    await log.put(AGENTS, "k7", b"")  # one without a value is no value
    del wanted["k7"]
    for found in await asyncio.gather(*(log.keys(AGENTS) for _ in range(20))):
        assert found == wanted


async def test_a_key_at_which_many_write_at_once_has_one_winner(log: Log) -> None:
    answers = await asyncio.gather(
        *(log.put(THREADS, "default.t1", b"%d" % number, 0) for number in range(8)), return_exceptions=True
    )
    won = [number for number, answer in enumerate(answers) if isinstance(answer, int)]
    held = await log.get(THREADS, "default.t1")
    assert len(won) == 1 and held is not None and held.body == b"%d" % won[0]


async def test_a_listener_is_called_from_the_parser_of_nats_py(nats: EmbeddedServer) -> None:
    """`_process_msg` is private to nats-py: if it moves, messages take the slow way, and this fails."""
    assert "_process_msg" in vars(Client)
    link = Link()
    await link.connect(nats.url)
    heard: list[tuple[Any, ...]] = []
    end = await link.listen("there", lambda *told: heard.append(told))
    assert all(subscription._pending_queue.empty() for subscription in link._subs.values())
    await link.publish("there", b"body", "reply", {"Key": "value"})
    await eventually(lambda: heard)
    subject, reply, body, headers = heard[0]
    assert (subject, reply, body) == (b"there", b"reply", b"body")
    assert headers.startswith(b"NATS/1.0\r\n") and b"Key: value\r\n" in headers
    assert all(subscription._received == 0 for subscription in link._subs.values())
    await end()
    await link.close()


async def test_a_listener_that_fails_does_not_end_the_connection(log: Log) -> None:
    heard: list[int] = []

    def fails(told: Any) -> None:
        heard.append(told.rev)
        raise RuntimeError("a listener's own fault")

    end = await log.listen(RUN, fails)
    rev = await log.append(RUN, "flow", frame(1, b"{}"), 0)
    await log.append(RUN, "flow", frame(2, b"{}"), rev)
    await eventually(lambda: len(heard) == 2)
    await end()
