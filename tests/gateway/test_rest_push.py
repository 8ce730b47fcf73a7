"""`/v1/push`: the dead letters of webhooks over HTTP."""

import asyncio
from typing import Any

import pytest

from protocol.entries import Principal
from runtime.dead_letters import DeadLetter, bury
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.push_configs import PushConfig
from runtime.settings import Settings
from tests.house import House, bearer, give_key, open_house
from tests.runtime.receiver import Receiver, Reply, open_receiver

pytestmark = pytest.mark.anyio

LIST = "/v1/push/dead-letters"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    given = {"push_loopback_enabled": True, "push_retry_s": 0.01, "push_attempts_max": 2, "push_timeout_s": 3.0}
    return settings.model_copy(update=given)


async def talks(run: Any) -> Any:
    yield "hi"


async def letters(house: House, count: int, **headers: str) -> list[dict[str, Any]]:
    """The dead letters once there are so many."""
    async with asyncio.timeout(5):
        found: list[dict[str, Any]] = []
        while len(found) != count:
            found = (await house.client.get(LIST, headers=headers)).json()["dead_letters"]
            await asyncio.sleep(0.01)
    return found


async def run_into(house: House, receiver: Receiver, tenant: str = "default") -> None:
    """A run whose webhook takes nothing: two dead letters."""
    by = Principal(tenant, "tester", "user")
    config = PushConfig("c1", receiver.url, "s3cret", "Bearer", "s3cret")
    await house.engine.push.set("r1", config, by, new_run=True)
    want = {"agent": "talks", "input": "hi", "run_id": "r1"}
    headers = {} if tenant == "default" else bearer(await give_key(house, tenant=tenant))
    assert (await house.client.post("/v1/runs", json=want, headers=headers)).status_code == 201


async def test_what_a_receiver_did_not_take_is_listed_and_sent_again(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_receiver() as receiver, open_house(nats, settings, talks=talks) as house:
        receiver.reply = lambda _: Reply(500)
        await run_into(house, receiver)
        newest, oldest = await letters(house, 2)
        assert (oldest["run_id"], oldest["config_id"], oldest["url"]) == ("r1", "c1", receiver.url)
        assert (oldest["seq"], oldest["attempts"], oldest["error"]) == (2, 2, "500 Internal Server Error")
        assert newest["seq"] > oldest["seq"] and oldest["first_at"] <= oldest["last_at"]
        assert "s3cret" not in str([newest, oldest])
        again = await house.client.post(f"{LIST}/{oldest['id']}/redeliver")
        assert again.status_code == 200
        assert again.json() == {"delivered": False, "status": 500, "reason": "Internal Server Error"}
        receiver.reply = lambda _: Reply()
        again = await house.client.post(f"{LIST}/{oldest['id']}/redeliver")
        assert again.json() == {"delivered": True, "status": 200, "reason": "OK"}
        assert await letters(house, 1) == [newest]
        gone = await house.client.post(f"{LIST}/{oldest['id']}/redeliver")
        assert gone.status_code == 404 and gone.json()["code"] == "not_found"
        await receiver.stop()
        down = (await house.client.post(f"{LIST}/{newest['id']}/redeliver")).json()
        assert (down["delivered"], down["status"]) == (False, None) and down["reason"]
        await house.engine.push.remove("r1", "c1", Principal("default", "tester", "user"))
        refused = await house.client.post(f"{LIST}/{newest['id']}/redeliver")
        assert refused.status_code == 409 and "removed" in refused.json()["detail"]


async def test_dead_letters_come_in_pages(nats: EmbeddedServer, settings: Settings, log: Log) -> None:
    async with open_house(nats, settings) as house:
        assert (await house.client.get(LIST)).json() == {"dead_letters": [], "next_cursor": None}
        for seq in range(1, 8):
            await bury(log, "default", DeadLetter("", "r1", "c1", "https://example.com/", seq, 1, "500", 12, 1, 2))
        found, cursor = [], None
        while True:
            query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await house.client.get(LIST, params=query)).json()
            found += [one["seq"] for one in page["dead_letters"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == [7, 6, 5, 4, 3, 2, 1]
        assert (await house.client.get(LIST, params={"limit": 7})).json()["next_cursor"] is None
        for query in ({"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"cursor": "-1"}, {"other": "1"}):
            answer = await house.client.get(LIST, params=query)
            assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"


async def test_they_are_a_tenants_own_and_no_page_token_opens_them(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_receiver() as receiver, open_house(nats, settings, talks=talks) as house:
        receiver.reply = lambda _: Reply(500)
        await run_into(house, receiver, "theirs")
        theirs, ours = await give_key(house, tenant="theirs"), await give_key(house, tenant="ours")
        reads = await give_key(house, tenant="theirs", scopes=["runs:read"])
        page = (await house.client.post("/v1/runs/r1/token", headers=bearer(theirs))).json()["token"]
        (_, oldest) = await letters(house, 2, **bearer(theirs))
        path = f"{LIST}/{oldest['id']}/redeliver"
        assert (await house.client.get(LIST, headers=bearer(ours))).json()["dead_letters"] == []
        told = [await house.client.post(one, headers=bearer(ours)) for one in (path, f"{LIST}/77/redeliver")]
        assert [one.status_code for one in told] == [404, 404]
        assert told[0].text.replace(oldest["id"], "") == told[1].text.replace("77", "")
        assert (await house.client.get(LIST, headers=bearer(page))).status_code == 403
        assert (await house.client.post(path, headers=bearer(page))).status_code == 403
        assert len((await house.client.get(LIST, headers=bearer(reads))).json()["dead_letters"]) == 2
        assert (await house.client.post(path, headers=bearer(reads))).status_code == 403
        assert (await house.client.get(LIST)).status_code == 401
