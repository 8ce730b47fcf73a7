"""`GET /v1/webhooks/events`: the stream, its places, its silence and its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from standardwebhooks import Webhook as Verifier

from protocol import sse
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import House, bearer, give_key, open_house, take_key
from tests.runtime.receiver import open_receiver

pytestmark = pytest.mark.anyio

PATH = "/v1/webhooks/events"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"push_loopback_enabled": True, "keep_alive_s": 0.2})


async def talks(run: Any) -> Any:
    yield "hi"


class Listener:
    """What one client is sent. `frames` are decoded, comments left out."""

    def __init__(self, answer: httpx.Response) -> None:
        self._pieces = answer.aiter_bytes()
        self._decoder = sse.Decoder()
        self._frames: list[sse.Frame] = []
        self.whole = b""

    async def next(self) -> sse.Frame | None:
        """The next frame; None once the response is over."""
        async with asyncio.timeout(10):
            while not self._frames:
                piece = await anext(self._pieces, None)
                if piece is None:
                    return None
                self.whole += piece
                self._frames += self._decoder.feed(piece)
            return self._frames.pop(0)

    async def told(self, count: int) -> list[sse.Frame]:
        """Messages, without what only moves the place."""
        found: list[sse.Frame] = []
        while len(found) < count and (frame := await self.next()) is not None:
            found += [frame] if frame.name != "listening" else []
        return found


@contextlib.asynccontextmanager
async def listening(house: House, place: bytes = b"", **how: Any) -> AsyncIterator[Listener]:
    headers = {**how.pop("headers", {}), **({"last-event-id": place.decode()} if place else {})}
    async with house.client.stream("GET", PATH, headers=headers, **how) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Listener(answer)


async def ran(house: House, run_id: str, agent: str = "talks", **headers: str) -> dict[str, Any]:
    want = {"agent": agent, "input": "hi", "run_id": run_id}
    run: dict[str, Any] = (
        await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5", **headers})
    ).json()
    assert run["status"] == "completed", run
    return run


async def test_each_message_has_the_bytes_that_a_webhook_is_sent(nats: EmbeddedServer, settings: Settings) -> None:
    async with (
        open_receiver() as receiver,
        open_house(nats, settings, talks=talks) as house,
        listening(house) as client,
    ):
        made = (await house.client.post("/v1/webhooks", json={"url": receiver.url})).json()
        first = await client.next()
        assert first is not None and (first.name, first.data) == ("listening", b"{}") and first.id
        run = await ran(house, "r1")
        told = await client.told(2)
        await receiver.has_taken(2)
    assert [one.name for one in told] == ["run.started", "run.completed"]
    assert [one.data for one in told] == [came.body for came in receiver.taken]
    came = receiver.taken[1]
    assert Verifier(made["secret"]).verify(told[1].data, came.headers)["data"] == run


async def test_who_comes_back_with_an_id_is_sent_what_comes_after_it(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, talks=talks) as house:
        async with listening(house) as client:
            first = await client.next()
            assert first is not None
        await ran(house, "r1")
        async with listening(house, first.id) as client:
            told = await client.told(2)
        assert [one.name for one in told] == ["run.started", "run.completed"]
        async with listening(house, told[0].id) as client:
            assert [one.id for one in await client.told(1)] == [told[1].id]
        async with listening(house, told[1].id) as client:
            await ran(house, "r2")
            assert b'"id":"r2"' in (await client.told(1))[0].data


async def test_only_the_events_and_the_agent_that_are_named_are_sent(nats: EmbeddedServer, settings: Settings) -> None:
    query = {"events": "run.completed,run.failed", "agent": "talks"}
    async with open_house(nats, settings, talks=talks, other=talks) as house, listening(house, params=query) as client:
        await ran(house, "r1", "other")
        await ran(house, "r2")
        (told,) = await client.told(1)
        assert told.name == "run.completed" and b'"id":"r2"' in told.data


async def test_silence_is_broken_by_a_place_that_moves_over_what_is_not_sent(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, talks=talks) as house:
        async with listening(house, params={"events": "run.failed"}) as client:
            first = await client.next()
            await ran(house, "r1")
            while (later := await client.next()) is not None and first is not None and later.id == first.id:
                assert later.name == "listening"
            assert later is not None and later.name == "listening"


async def test_a_stopping_gateway_says_so_and_ends_the_stream(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, talks=talks) as house, listening(house) as client:
        assert await client.next() is not None
        house.gateway.streams.drain()
        while await client.next() is not None:
            pass
        assert client.whole.endswith(b": the gateway is stopping; come back with your last event id\n\n")


async def test_a_reader_whose_key_is_revoked_is_sent_nothing_more(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, talks=talks) as house:
        admin = bearer(await give_key(house, scopes=["admin"]))
        reads = await give_key(house, scopes=["runs:read"])
        async with listening(house, headers=bearer(reads)) as client:
            assert await client.next() is not None
            await take_key(house, reads)
            async with asyncio.timeout(5):
                while house.knows(reads):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await ran(house, "r1", **admin)
            assert await client.told(1) == []


async def test_a_reader_that_takes_nothing_is_let_go_and_finds_all_of_it_when_it_comes_back(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def asks_at_length(run: Any) -> Any:
        yield run.interrupt("x" * 200_000)

    brief, runs = settings.model_copy(update={"stall_s": 0.3}), [f"r{number}" for number in range(30)]
    async with open_house(nats, brief, asks=asks_at_length) as house:
        async with listening(house) as client:
            first = await client.next()
            assert first is not None
        port = int(house.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" % PATH.encode())
        assert b"200" in await reader.readline()
        for run_id in runs:
            answer = await house.client.post("/v1/runs", json={"agent": "asks", "input": "hi", "run_id": run_id})
            assert answer.status_code == 201
        async with asyncio.timeout(10):
            while house.engine.webhooks.listening:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        writer.close()
        async with listening(house, first.id) as client:
            told = await client.told(2 * len(runs))
    assert sorted(orjson.loads(one.data)["data"]["id"] for one in told) == sorted(2 * runs)


async def test_who_may_not_listen_and_what_is_no_place_is_told_so(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, talks=talks) as house:
        get = house.client.get
        for place in ("17", "1-2-3", "x", "-1-2", "9" * 17 + "-1"):
            refused = await get(PATH, headers={"last-event-id": place})
            assert refused.status_code == 422 and "Last-Event-ID must be" in refused.json()["detail"]
        refused = await get(PATH, headers={"last-event-id": "999999-1"})
        assert refused.status_code == 422 and "Nothing is recorded" in refused.json()["detail"]
        assert (await get(PATH, params={"events": "run.bored"})).status_code == 422
        assert (await get(PATH, params={"after_seq": "1"})).status_code == 422
        head = await house.client.head(PATH)
        assert head.status_code == 200 and head.headers["content-type"].startswith("text/event-stream")
        await ran(house, "r1")
        token = (await house.client.post("/v1/runs/r1/token")).json()["token"]
        refused = await get(PATH, headers=bearer(token))
        assert refused.status_code == 403 and "for more than one run" in refused.json()["detail"]
        other = bearer(await give_key(house, tenant="other", scopes=["admin"]))
        assert (await get(PATH)).status_code == 401
        async with listening(house, headers=other) as client:
            assert await client.next() is not None
            mine = bearer(await give_key(house, scopes=["admin"]))
            await ran(house, "r2", **mine)
            for _ in range(2):
                silent = await client.next()
                assert silent is not None and silent.name == "listening"
