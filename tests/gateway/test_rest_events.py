"""A run's events over REST: the stream, its cursor and its end, and the JSON page."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from gateway.rest_forms import EventPage
from protocol import sse
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, House, open_house

pytestmark = pytest.mark.anyio

JSON = {"Accept": "application/json"}


async def counter(run: Any) -> AsyncIterator[Any]:
    """Says as many words as it is told to, and something AG-UI does not know."""
    yield {"type": "SOMETHING_NEW", "value": 1}
    for number in range(int(run.input.messages[-1].content)):
        yield f"{number} "


async def started(house: House, agent: str = "counter", words: int = 20, wait: int = 5) -> str:
    """The path of a run that has ended, or has been waited for that long."""
    answer = await house.client.post(
        "/v1/runs", json={"agent": agent, "input": str(words)}, headers={"Prefer": f"wait={wait}"}
    )
    return str(answer.headers["location"])


def frames(body: bytes) -> list[sse.Frame]:
    return sse.Decoder().feed(body)


async def test_every_entry_is_streamed_under_its_number(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, counter=counter) as house:
        path = await started(house)
        run = (await house.client.get(path)).json()
        answer = await house.client.get(f"{path}/events")
    told = frames(answer.content)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [one.seq for one in told] == list(range(1, run["seq"] + 1))
    assert [one.name for one in told[:4]] == ["ask", None, "unknown", None]
    asked = orjson.loads(told[0].data)
    assert (asked["type"], asked["runId"], asked["by"]["id"]) == ("ask.start", run["id"], "development")
    assert "input" not in asked and "tenant" not in asked["by"]
    assert orjson.loads(told[-1].data)["type"] == "RUN_FINISHED"


async def test_a_stream_goes_on_right_after_any_entry(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, counter=counter) as house:
        path = await started(house)
        whole = frames((await house.client.get(f"{path}/events")).content)
        for after in range(len(whole)):
            by_query = await house.client.get(f"{path}/events", params={"after_seq": after})
            by_header = await house.client.get(f"{path}/events?after_seq=0", headers={"Last-Event-ID": str(after)})
            assert frames(by_query.content) == frames(by_header.content) == whole[after:]


async def test_a_browser_that_comes_back_to_an_ended_stream_is_told_not_to_hurry(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, counter=counter) as house:
        path = await started(house)
        seq = (await house.client.get(path)).json()["seq"]
        for after in (seq, seq + 1000):
            answer = await house.client.get(f"{path}/events", headers={"Last-Event-ID": str(after)})
            assert (answer.status_code, answer.text) == (200, "retry: 30000\n\n")


async def test_a_stream_of_a_running_run_is_live_until_its_end(nats: EmbeddedServer, settings: Settings) -> None:
    gate = asyncio.Event()

    async def gated(run: Any) -> AsyncIterator[Any]:
        yield "one"
        await gate.wait()
        yield "two"

    async with open_house(nats, settings, gated=gated) as house:
        path = await started(house, "gated", wait=0)
        decoder, told = sse.Decoder(), list[sse.Frame]()
        async with asyncio.timeout(WAIT_SECONDS), house.client.stream("GET", f"{path}/events") as answer:
            async for part in answer.aiter_bytes():
                told += decoder.feed(part)
                if told and b'"one"' in told[-1].data:
                    gate.set()
    assert [one.seq for one in told] == list(range(1, len(told) + 1))
    assert [orjson.loads(one.data).get("delta") for one in told[3:5]] == ["one", "two"]
    assert orjson.loads(told[-1].data)["type"] == "RUN_FINISHED"


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_hold_each_entry_once(limit: int, nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, counter=counter) as house:
        path = await started(house)
        run = (await house.client.get(path)).json()
        pages = [page async for page in paged(house.client, path, limit)]
        beyond = (await house.client.get(f"{path}/events?after_seq=5000", headers=JSON)).json()
    told = [one for page in pages for one in page["events"]]
    assert [one["seq"] for one in told] == list(range(1, run["seq"] + 1))
    assert told[0]["event"]["type"] == "ask.start" and "input" not in told[0]["event"]
    assert all(len(page["events"]) == limit for page in pages[:-1])
    assert beyond == {"events": [], "next_after_seq": 5000, "has_more": False}


async def paged(client: httpx.AsyncClient, path: str, limit: int) -> AsyncIterator[dict[str, Any]]:
    after, more = 0, True
    while more:
        page = (await client.get(f"{path}/events", params={"limit": limit, "after_seq": after}, headers=JSON)).json()
        EventPage.model_validate(page)
        yield page
        after, more = page["next_after_seq"], page["has_more"]


@pytest.mark.parametrize(
    "accept, media",
    [
        ("*/*", "text/event-stream; charset=utf-8"),
        ("", "text/event-stream; charset=utf-8"),
        ("text/event-stream, application/json", "text/event-stream; charset=utf-8"),
        ("application/json;q=0.9, text/plain, */*", "application/json"),
    ],
)
async def test_json_comes_only_if_it_is_named_first(
    accept: str, media: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, counter=counter) as house:
        path = await started(house)
        answer = await house.client.get(f"{path}/events", headers={"Accept": accept})
    assert answer.headers["content-type"] == media


async def test_head_of_a_live_stream_answers_without_waiting(nats: EmbeddedServer, settings: Settings) -> None:
    gate = asyncio.Event()

    async def gated(run: Any) -> AsyncIterator[Any]:
        await gate.wait()
        yield "late"

    async with open_house(nats, settings, gated=gated) as house:
        path = await started(house, "gated", wait=0)
        async with asyncio.timeout(WAIT_SECONDS):
            answer = await house.client.head(f"{path}/events")
        gate.set()
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
