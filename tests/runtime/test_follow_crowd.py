"""Many clients that come and go on many runs at once: each gets 1..n, without a hole and without a repeat."""

import asyncio
import random
from typing import Any

import pytest

from protocol import sse
from protocol.entries import decode
from runtime.follow import Tails
from runtime.gather import Gather
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from runtime.writer import Writer
from tests.house import agui_input, open_house
from tests.runtime.follow_room import Watched, append, fresh_run, packed, text_run

pytestmark = pytest.mark.anyio

RUNS, CLIENTS, TEXTS = 20, 200, 120
ALL_SECONDS = 20.0


async def write_on(log: Log, run: str, events: list[dict[str, Any]], chance: random.Random) -> None:
    last = await log.last(run)
    assert last is not None
    writer = Writer(log, run, 1, last.rev, Gather(), 1 << 20)
    for event in events[1:]:
        writer.say(event)
        if chance.random() < 0.2:
            await writer.flush()
        elif chance.random() < 0.2:
            await asyncio.sleep(0)
    await writer.flush()
    writer.stop()


async def come_and_go(tails: Tails, run: str, chance: random.Random) -> list[int]:
    """Joins where it left until the run has ended; leaves after a few batches, or in the middle of joining."""
    told: list[int] = []
    while True:
        joining = asyncio.create_task(tails.follow(run, len(told)))
        if chance.random() < 0.1:
            await asyncio.sleep(0)
            joining.cancel()
            await asyncio.wait([joining])
            if not joining.cancelled():
                joining.result().close()
            continue
        follow = await joining
        patience = chance.randrange(1, 8)
        async for batch in follow:
            told += [entry.seq for piece in batch for entry in decode(piece.body)]
            patience -= 1
            if patience == 0:
                break
        over = follow.ended
        follow.close()
        if over:
            return told


@pytest.mark.parametrize(("cache_bytes", "loses"), [(1 << 20, 0), (2_000, 0), (1 << 20, 11)])
async def test_two_hundred_clients_of_twenty_runs_each_get_every_entry_once(
    log: Log, cache_bytes: int, loses: int
) -> None:
    events = text_run(TEXTS)
    named = [fresh_run() for _ in range(RUNS)]
    for run in named:
        await append(log, run, packed(events[:1], [1]))
    watched = Watched(log, loses=lambda number: loses > 0 and number % loses == 0)
    tails = Tails(watched, cache_bytes)

    async def audits() -> None:
        while True:
            await tails.audit()
            await asyncio.sleep(0.05)

    async with asyncio.timeout(ALL_SECONDS):
        auditing = asyncio.create_task(audits())
        clients = [
            asyncio.create_task(come_and_go(tails, named[number % RUNS], random.Random(number)))
            for number in range(CLIENTS)
        ]
        await asyncio.gather(*(write_on(log, run, events, random.Random(run)) for run in named))
        told = await asyncio.gather(*clients)
        auditing.cancel()
        while tails._closing:
            await asyncio.wait(list(tails._closing))
    assert told == [list(range(1, len(events) + 1))] * CLIENTS
    assert (tails.watched, watched.listening) == (0, 0)


async def test_clients_that_come_back_over_http_get_every_entry_once(nats: EmbeddedServer, settings: Settings) -> None:
    async def talker(run: Any) -> Any:
        for number in range(150):
            yield f"{number} "
            if number % 10 == 0:
                await asyncio.sleep(0.002)

    async with open_house(nats, settings, talker=talker) as house:

        async def read_on(run_id: str, seq: int, frames_max: int) -> tuple[list[int], bool]:
            told: list[int] = []
            decoder = sse.Decoder()
            headers = {"Last-Event-ID": str(seq)}
            async with house.client.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as answer:
                assert answer.status_code == 200
                async for piece in answer.aiter_bytes():
                    for frame in decoder.feed(piece):
                        told.append(frame.seq or 0)
                        if b'"type":"RUN_FINISHED"' in frame.data:
                            return told, True
                    if len(told) >= frames_max:
                        break
            return told, False

        async def client(run_id: str, chance: random.Random) -> list[int]:
            told: list[int] = []
            over = False
            while not over:
                more, over = await read_on(run_id, len(told), chance.randrange(1, 40))
                told += more
            return told

        async with asyncio.timeout(ALL_SECONDS):
            starts = []
            for number in range(4):
                want = {"agent": "talker", "input": "go", "run_id": f"r{number}"}
                starts.append((await house.client.post("/v1/runs", json=want)).status_code)
            assert starts == [201] * 4
            told = await asyncio.gather(*(client(f"r{n % 4}", random.Random(n)) for n in range(20)))
    assert all(one == list(range(1, len(one) + 1)) and len(one) > 150 for one in told)


async def test_a_client_of_ag_ui_that_posts_its_run_again_with_a_cursor_goes_on_behind_it(
    nats: EmbeddedServer, settings: Settings
) -> None:
    go_on = asyncio.Event()

    async def patient(run: Any) -> Any:
        yield "one "
        await go_on.wait()
        yield "two"

    async with open_house(nats, settings, patient=patient) as house:
        told: list[tuple[int | None, bytes]] = []
        async with asyncio.timeout(ALL_SECONDS):
            decoder = sse.Decoder()
            async with house.client.stream("POST", "/agui/patient", json=agui_input()) as first:
                async for piece in first.aiter_bytes():
                    told += [(frame.seq, frame.data) for frame in decoder.feed(piece)]
                    if b"one " in piece:
                        break
            seen = max(seq or 0 for seq, _ in told)
            go_on.set()
            decoder = sse.Decoder()
            headers = {"Last-Event-ID": str(seen)}
            async with house.client.stream("POST", "/agui/patient", json=agui_input(), headers=headers) as second:
                async for piece in second.aiter_bytes():
                    told += [(frame.seq, frame.data) for frame in decoder.feed(piece)]
    numbers = [seq for seq, _ in told]
    assert numbers == list(range(2, 2 + len(numbers)))
    assert b'"type":"RUN_FINISHED"' in told[-1][1]
