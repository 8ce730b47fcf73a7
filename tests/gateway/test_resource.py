"""Paths whose ids hold anything: matched as sent, decoded once."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Router

from gateway.resource import Resource, Resources, segment
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import open_house

pytestmark = pytest.mark.anyio

IDS = [
    "a/b",
    "/",
    "a%2Fb",
    "a.b c",
    ".",
    "..",
    "...",
    "*",
    ">",
    "run.*.>",
    "ü/漢 🎵",
    "a?b#c",
    "+",
    "%",
    "a\nb",
    "\0",
    "events",
]


async def echo(run: Any) -> AsyncIterator[Any]:
    yield "hi"


async def test_any_id_is_found_again_under_its_location(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        for run_id in IDS:
            want = {"agent": "echo", "input": "hi", "run_id": run_id, "thread_id": run_id}
            path = (await house.client.post("/v1/runs", json=want, headers={"Prefer": "wait=5"})).headers["location"]
            run = (await house.client.get(path)).json()
            assert (run["id"], run["thread_id"], run["status"]) == (run_id, run_id, "completed")
            page = (await house.client.get(f"{path}/events", headers={"Accept": "application/json"})).json()
            assert page["events"][0]["event"]["runId"] == run_id
            assert (await house.client.post(f"{path}/cancel")).json()["id"] == run_id
            thread = (await house.client.get(f"/v1/threads/{segment(run_id)}/messages")).json()
            assert thread["thread_id"] == run_id and len(thread["messages"]) == 2
        listed = (await house.client.get("/v1/runs", params={"thread_id": "a/b"})).json()["runs"]
    assert [run["id"] for run in listed] == ["a/b"]


async def shown(request: Request) -> Response:
    return PlainTextResponse("|".join(request.path_params.values()))


@pytest.mark.parametrize(
    "path, answer",
    [
        ("/x/one/two", "one|two"),
        ("/x/o%2Fne/%252F", "o/ne|%2F"),
        ("/x/one/", None),
        ("/x//two", None),
        ("/x/one/two/three", None),
        ("/%78/one/two", None),
    ],
)
async def test_a_name_stands_for_one_segment(path: str, answer: str | None) -> None:
    app = Router([Resource("/x/{first}/{second}", {"GET": shown})])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        got = await client.get(path)
    assert (got.text if got.status_code == 200 else None) == answer


@pytest.mark.parametrize(
    "path, answer",
    [
        ("/x/one:end", "one"),
        ("/x/one%3Aend", "one"),
        ("/x/one%3aen%64", "one"),
        ("/x/o%2Fne%20:end:end", "o/ne :end"),
        ("/x/%253Aend:end", "%3Aend"),
        ("/x/:end", None),
        ("/x/one:ends", "plain one:ends"),
        ("/x/one", "plain one"),
        ("/x/one/:end", None),
        ("/x/one%253Aend", "plain one%3Aend"),
    ],
)
async def test_a_text_may_follow_a_name_in_its_segment_encoded_or_not(path: str, answer: str | None) -> None:
    async def plain(request: Request) -> Response:
        return PlainTextResponse(f"plain {request.path_params['name']}")

    app = Router([Resource("/x/{name}:end", {"GET": shown}), Resource("/x/{name}", {"GET": plain})])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        got = await client.get(path)
    assert (got.text if got.status_code == 200 else None) == (answer if answer is not None else _plainly(path))


def _plainly(path: str) -> str | None:
    """What the plain resource makes of a path that the other does not fit."""
    return f"plain {path[3:]}" if path.count("/") == 2 else None


async def test_many_resources_behind_one_route_are_found_as_each_by_itself_the_first_that_fits() -> None:
    def answering(name: str) -> Resource:
        async def answer(request: Request) -> Response:
            return PlainTextResponse(f"{name} {request.path_params}")

        return Resource(name, {"GET": answer})

    names = ["/a", "/a/{one}:go", "/a/{one}", "/a/{one}/b", "/b/{one}", "/a/c/d"]
    router = Router([Resources(map(answering, names))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(router), base_url="http://hocket.test") as client:
        told = {path: await client.get(path) for path in ("/a", "/a/1:go", "/a/1", "/a/c/b", "/b/1%2F2", "/a/c/d")}
        gone = [(await client.get(path)).status_code for path in ("/", "/c", "/b", "/a/", "/a/1/c", "/b/1/2", "//a")]
    assert [one.text.split(" ", 1)[0] for one in told.values()] == [
        "/a", "/a/{one}:go", "/a/{one}", "/a/{one}/b", "/b/{one}", "/a/c/d",
    ]  # fmt: skip
    assert told["/b/1%2F2"].text == "/b/{one} {'one': '1/2'}"
    assert set(gone) == {404}
