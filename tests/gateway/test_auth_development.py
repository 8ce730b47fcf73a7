"""Before there is a key: whoever asks from this machine is the developer, and no page of a foreign site is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, agui_input, bearer, give_key, open_house, take_key

pytestmark = pytest.mark.anyio

DOORS = [
    ("POST", "/v1/runs", {"agent": "echo", "input": "hi"}, "code", "foreign_origin"),
    ("GET", "/v1/runs", None, "code", "foreign_origin"),
    ("POST", "/agui/echo", agui_input(), "error", "foreign_origin"),
    ("GET", "/api/agents/runs/r1", None, "error", "forbidden"),
    ("GET", "/api/agents/runs/r1", None, "error", "forbidden"),
    ("GET", "/copilotkit/info", None, "error", "Forbidden"),
    ("POST", "/copilotkit", {"method": "info"}, "error", "Forbidden"),
]


async def echo(run: Any) -> AsyncIterator[Any]:
    yield "hi"


async def asks(run: Any) -> AsyncIterator[Any]:
    yield run.interrupt("Go on?", name="gate")


async def test_development_ends_with_the_first_key_and_does_not_come_back(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        started = await house.client.post("/v1/runs", json={"agent": "echo", "input": "hi", "run_id": "r1"})
        assert started.status_code == 201
        assert (await house.client.get("/v1/runs", headers=bearer("hk_unknown"))).status_code == 401
        key = await give_key(house)
        assert (await house.client.get("/v1/runs")).status_code == 401
        assert (await house.client.get("/v1/runs/r1", headers=bearer(key))).status_code == 200
        await take_key(house, key)
        async with asyncio.timeout(WAIT_SECONDS):
            while house.knows(key):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert (await house.client.get("/v1/runs")).status_code == 401
    async with open_house(nats, settings, echo=echo) as house:
        assert (await house.client.get("/v1/runs")).status_code == 401


HERE = ["127.0.0.1", "127.0.0.1:8700", "127.9.9.9:1", "localhost", "LocalHost:8700", "[::1]", "[::1]:8700"]
ELSEWHERE = ["evil.example", "evil.example:8700", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1:8700",
             "[::2]", "evil.example#localhost", "", "[", "0.0.0.0:8700"]  # fmt: skip


async def test_in_development_a_page_whose_name_was_made_to_lead_here_is_refused_in_each_faces_form(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        for host in HERE:
            assert (await house.client.get("/v1/runs", headers={"host": host})).status_code == 200, host
        for host in ELSEWHERE:
            for method, path, body, name, code in DOORS:
                answer = await house.client.request(method, path, json=body, headers={"host": host})
                assert (answer.status_code, answer.json()[name]) == (403, code), (host, path)
            assert (await house.client.get("/healthz", headers={"host": host})).status_code == 200
        assert (await house.client.get("/v1/runs")).json()["runs"] == []
        key = await give_key(house)
        answer = await house.client.get("/v1/runs", headers={"host": "hocket.example", **bearer(key)})
        assert answer.status_code == 200


async def test_in_development_a_foreign_page_cannot_ask_even_without_a_body(
    nats: EmbeddedServer, settings: Settings
) -> None:
    named = settings.model_copy(update={"cors_origins": "https://app.example"})
    async with open_house(nats, named, asks=asks) as house:
        want = {"agent": "asks", "input": "hi", "run_id": "r1"}
        await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5"})
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", "https://app.example.evil", ""):
            answer = await house.client.post("/v1/runs/r1/cancel", headers={"origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), origin
        for origin in ("https://app.example", "http://localhost:3000", "http://127.0.0.1:5173", house.url):
            assert (await house.client.get("/v1/runs/r1", headers={"origin": origin})).json()["status"] == "waiting"


async def test_a_browser_may_ask_whether_it_may_send_its_key_without_sending_it(
    nats: EmbeddedServer, settings: Settings
) -> None:
    named = settings.model_copy(update={"cors_origins": "https://app.example"})
    async with open_house(nats, named, echo=echo) as house:
        key = await give_key(house)
        asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
        before = await house.client.options("/v1/runs", headers={"origin": "https://app.example", **asked})
        assert before.is_success and "authorization" in before.headers["access-control-allow-headers"]
        told = await house.client.get("/v1/runs", headers={"origin": "https://app.example", **bearer(key)})
        bad = await house.client.get("/v1/runs", headers={"origin": "https://app.example", **bearer("x")})
    assert (told.status_code, bad.status_code) == (200, 401)
    assert told.headers["access-control-allow-origin"] == bad.headers["access-control-allow-origin"]
