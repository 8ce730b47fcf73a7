"""Gateway, workers and nats-server as processes, each killed in mid-run: the client comes back and misses nothing."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol.entries import NOTE_ATTEMPT, NOTE_HANDED_BACK, Entry, Principal, decode
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.chaos.processes import WORDS, Client, Process
from tests.house import agui_input
from tests.runtime.stage import ended, ends, events, open_engine, restart, stored, until, want

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def started(*processes: Process) -> AsyncIterator[None]:
    try:
        await asyncio.gather(*(process.start() for process in processes))
        yield
    finally:
        for process in processes:
            await process.kill()


async def assert_nothing_missing_or_doubled(log: Log, client: Client) -> list[dict[str, Any]]:
    """The client's joined stream is the log without its asks: same numbers, same events, once each, in order."""
    entries = [entry for one in await stored(log) for entry in decode(one.body)]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    shown = [entry for entry in entries if not entry.event["type"].startswith("ask.")]
    assert [Entry(seq, event) for seq, event in client.events] == shown
    told = [entry.event for entry in entries]
    assert len(ends(told)) == 1
    return told


def final_text(told: list[dict[str, Any]]) -> str:
    """What the last attempt said."""
    notes = [at for at, event in enumerate(told) if event.get("name") == NOTE_ATTEMPT]
    rest = told[notes[-1] :] if notes else told
    return "".join(event["delta"] for event in rest if event["type"] == "TEXT_MESSAGE_CONTENT")


WHOLE = "".join(f"{number} " for number in range(WORDS))


async def test_a_client_of_a_killed_gateway_comes_back_to_another_and_to_the_same_one(
    nats: EmbeddedServer, log: Log
) -> None:
    first, second = Process("gateway", nats.url, "0"), Process("gateway", nats.url, "0")
    async with started(Process("worker", nats.url, "w1"), first, second):
        client = Client(f"http://127.0.0.1:{first.said}")
        running = asyncio.create_task(client.run(agui_input(), "ticker"))
        await client.has(80)
        await first.kill()
        client.url = f"http://127.0.0.1:{second.said}"
        await client.has(160)
        await second.kill()
        async with started(Process("gateway", nats.url, second.said)):
            await running
        told = await assert_nothing_missing_or_doubled(log, client)
    assert client.visits >= 3 and final_text(told) == WHOLE


async def test_a_killed_worker_s_run_is_taken_over_by_the_other(nats: EmbeddedServer, log: Log) -> None:
    gateway, workers = Process("gateway", nats.url, "0"), [Process("worker", nats.url, name) for name in ("w1", "w2")]
    async with started(gateway, *workers):
        client = Client(f"http://127.0.0.1:{gateway.said}")
        running = asyncio.create_task(client.run(agui_input(), "ticker"))
        await client.has(80)
        holder = client.events[0][1]["metadata"]["hocket"]["worker"]
        await workers[int(holder[1]) - 1].kill()
        await running
        told = await assert_nothing_missing_or_doubled(log, client)
    (note,) = [event["value"] for event in told if event.get("name") == NOTE_ATTEMPT]
    assert (note["attempt"], note["reason"]) == (2, "worker_lost")
    assert {note["worker"], holder} == {"w1", "w2"}
    assert final_text(told) == WHOLE


async def test_a_killed_nats_server_comes_back_and_the_run_goes_on(nats: EmbeddedServer, log: Log) -> None:
    gateway = Process("gateway", nats.url, "0")
    async with started(gateway, Process("worker", nats.url, "w1")):
        client = Client(f"http://127.0.0.1:{gateway.said}")
        running = asyncio.create_task(client.run(agui_input(), "ticker"))
        for count in (60, 160):
            await client.has(count)
            await restart(nats)
        await running
        told = await assert_nothing_missing_or_doubled(log, client)
    assert final_text(told) == WHOLE


async def test_a_worker_that_slept_past_its_claim_appends_nothing(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    workers = [Process("worker", nats.url, name) for name in ("w1", "w2")]
    async with started(*workers), open_engine(nats.url, settings) as engine:
        await engine.start(want("ticker"), by, "test")
        state = await until(engine, by, lambda state: state.seq > 50)
        sleeper = state.leg.attempts[0].worker
        process = workers[int(sleeper[1]) - 1]
        process.send(signal.SIGSTOP)
        await until(engine, by, lambda state: state.attempt == 2)
        before = len(await stored(log))
        process.send(signal.SIGCONT)
        state = await ended(engine, by)
        told = await events(log)
        taken = next(at for at, event in enumerate(told) if event.get("name") == NOTE_ATTEMPT)
        assert told[taken]["value"]["worker"] != sleeper and before > 0
        assert state.attempt == 2 and len(ends(told)) == 1
        assert final_text(told) == WHOLE
        # one message after the takeover: anything of the sleeper's would be another, or a second word in this one
        assert [event["type"] for event in told[taken + 1 :] if event["type"] != "TEXT_MESSAGE_CONTENT"] == [
            "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "RUN_FINISHED"]  # fmt: skip
        await engine.start(want("ticker", "r2", "t2"), by, "test")  # both are fit for work again
        assert (await ended(engine, by, "r2")).attempt == 1


async def test_a_worker_told_to_stop_hands_its_run_back_at_once(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    workers = [Process("worker", nats.url, name) for name in ("w1", "w2")]
    async with started(*workers), open_engine(nats.url, settings) as engine:
        await engine.start(want("ticker"), by, "test")
        state = await until(engine, by, lambda state: state.seq > 50)
        process = workers[int(state.leg.attempts[0].worker[1]) - 1]
        process.send(signal.SIGTERM)
        assert await process.ended() == 0
        state = await until(engine, by, lambda state: state.attempt == 2)
        assert state.leg.attempts[1].reason == "shutdown"
        await ended(engine, by)
        told = await events(log)
    handed = next(event for event in told if event.get("name") == NOTE_HANDED_BACK)
    taken = next(event for event in told if event.get("name") == NOTE_ATTEMPT)
    assert taken["timestamp"] - handed["timestamp"] < 900  # sooner than the claim would have run out
    assert final_text(told) == WHOLE


async def test_a_run_at_full_speed_is_cancelled_from_another_process(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with started(Process("worker", nats.url, "w1")), open_engine(nats.url, settings) as engine:
        for number in range(3):
            run_id = f"r{number}"
            await engine.start(want("torrent", run_id, run_id), by, "test")
            await until(engine, by, lambda state: state.seq > 2000, run_id)
            async with asyncio.timeout(5):
                state = await engine.cancel(run_id, by, "test")
            assert state.status == "cancelled" and state.ended_at_ms is not None
            assert len(ends(await events(log, run_id))) == 1
