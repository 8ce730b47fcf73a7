"""What may be sent to the page's own address: a plain form with the page's token, and a wish for JSON."""

from typing import Any
from urllib.parse import quote

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import House, open_house

pytestmark = pytest.mark.anyio

AT = "/agents/status/r1"
JSON = {"accept": "application/json"}
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def asking(run: Any) -> Any:
    if run.answers:
        yield f"{run.answers['i1'].payload} {run.answers['i1'].text}"
    else:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        yield run.interrupt("How many?", id="i1", response_schema=schema)


async def asked(house: House, run_id: str = "r1") -> str:
    """A token for the page of a run that waits."""
    want = {"agent": "asking", "input": "hi", "run_id": run_id}
    await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5"})
    answer = await house.client.post(f"/v1/runs/{quote(run_id, safe='')}/token", json={})
    return str(answer.json()["token"])


@pytest.mark.parametrize("prefix", ["", "/cinatra"])
async def test_a_form_with_the_pages_token_answers_and_leads_back_to_the_page(
    nats: EmbeddedServer, settings: Settings, prefix: str
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        token = await asked(house)
        form = {"token": token, "reviewTaskId": "g-r1-0", "values": '{"n": 3}'}
        answer = await house.client.post(prefix + AT, data=form)
        again = await house.client.post(prefix + AT, data=form)
        run = (await house.client.get("/v1/runs/r1")).json()
    assert (answer.status_code, answer.headers["location"]) == (303, prefix + AT)
    assert (again.status_code, again.json()) == (404, {"error": "Review task not found or already resolved"})
    assert (run["decisions"][0]["face"], run["decisions"][0]["by"]["id"]) == ("page", "development")


async def test_a_form_without_the_pages_own_token_decides_nothing(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await asked(house)
        other = await asked(house, "r2")
        task = {"reviewTaskId": "g-r1-0"}
        for form in (task, task | {"token": ""}, task | {"token": "x.y.z"}, task | {"token": other}):
            answer = await house.client.post(AT, data=form)
            assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})
        assert (await house.client.get("/v1/runs/r1")).json()["status"] == "waiting"


async def test_a_form_that_is_none_is_refused_in_the_words_of_its_face(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        token = await asked(house)
        good = {"token": token, "reviewTaskId": "g-r1-0"}
        tries: list[tuple[Any, int, str]] = [
            ({"token": token}, 400, "Invalid request body"),
            (good | {"values": "{"}, 400, "Invalid request body"),
            (good | {"values": '{"n": "x"}'}, 400, "Invalid values"),
            (good | {"reviewTaskId": "nothing"}, 404, "Review task not found or already resolved"),
            (good | {"reviewTaskId": "g-r9-0"}, 404, "Review task not found or already resolved"),
        ]
        for form, status, error in tries:
            answer = await house.client.post(AT, data=form)
            assert (answer.status_code, answer.json()["error"]) == (status, error)
        twice = await house.client.post(AT, content=f"token={token}&token={token}&reviewTaskId=g-r1-0")
        rubbish = await house.client.post(AT, content=b"\xff\xfe=&&&" * 50)
        assert (twice.status_code, rubbish.status_code) == (400, 400)
        assert (await house.client.get("/v1/runs/r1")).json()["status"] == "waiting"


async def test_a_program_that_asks_for_json_gets_the_snapshot_and_a_browser_the_page(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await asked(house)
        told = await house.client.get(AT, headers=JSON)
        same = await house.client.get("/api/agents/runs/r1", headers=JSON)
        page, none = (
            await house.client.get(AT, headers=BROWSER),
            await house.client.get("/agents/status/r9", headers=JSON),
        )
    assert told.json() == same.json() and told.json()["status"] == "pending_approval"
    assert page.headers["content-type"].startswith("text/html") and "r1" not in page.text
    assert none.status_code == 404 and none.json()["error"]
