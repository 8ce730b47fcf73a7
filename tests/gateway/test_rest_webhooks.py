"""`/v1/webhooks` over HTTP."""

from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import bearer, give_key, open_house
from tests.runtime.receiver import open_receiver

pytestmark = pytest.mark.anyio

LIST = "/v1/webhooks"
URL = "https://example.com/hook"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"push_loopback_enabled": True, "push_retry_s": 0.01, "push_timeout_s": 3.0})


async def talks(run: Any) -> Any:
    yield "hi"


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert all(word in answer.json()["detail"] for word in words), answer.text


async def test_a_webhook_is_made_told_changed_and_deleted(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_receiver() as receiver, open_house(nats, settings, talks=talks) as house:
        http = house.client
        answer = await http.post(LIST, json={"url": receiver.url, "events": ["run.completed", "run.completed"]})
        made = answer.json()
        path = answer.headers["location"]
        assert answer.status_code == 201 and path == f"{LIST}/{made['id']}" and made["secret"].startswith("whsec_")
        shown = {name: value for name, value in made.items() if name != "secret"}
        assert shown["events"] == ["run.completed"] and shown["enabled"] and shown["agent"] is None
        assert (await http.get(path)).json() == shown
        assert (await http.get(LIST)).json() == {"webhooks": [shown]}
        want = {"agent": "talks", "input": "hi", "run_id": "r1", "metadata": {"order": 17}}
        run = (await http.post("/v1/runs", json=want, headers={"prefer": "wait=5"})).json()
        await receiver.has_taken(1)
        (came,) = receiver.taken
        told = Verifier(made["secret"]).verify(came.body, came.headers)
        assert (told["type"], told["data"]) == ("run.completed", run)
        (listed,) = (await http.get(f"{path}/deliveries")).json()["deliveries"]
        assert (listed["run_id"], listed["seq"], listed["status"], listed["delivered"]) == ("r1", run["seq"], 200, True)
        assert listed["message_id"] == came.headers["webhook-id"] and listed["error"] is None
        rotated = (await http.post(f"{path}/secret")).json()
        assert rotated["id"] == made["id"] and rotated["secret"] != made["secret"]
        ping = (await http.post(f"{path}/test")).json()
        assert (ping["type"], ping["delivered"], ping["run_id"], ping["seq"]) == ("ping", True, None, None)
        for secret in (made["secret"], rotated["secret"]):
            assert Verifier(secret).verify(receiver.taken[-1].body, receiver.taken[-1].headers)["type"] == "ping"
        changed = await http.patch(path, json={"agent": "talks", "description": "Mine", "enabled": False})
        assert changed.json() == shown | {
            "agent": "talks", "description": "Mine", "enabled": False, "updated_at": changed.json()["updated_at"],
        }  # fmt: skip
        assert (await http.patch(path, json={"agent": None})).json()["agent"] is None
        assert (await http.delete(path)).status_code == 204
        for gone in (http.get(path), http.delete(path), http.post(f"{path}/test"), http.get(f"{path}/deliveries")):
            refused(await gone, 404, made["id"])


async def test_what_cannot_be_a_webhook_is_refused_by_name(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings) as house:
        http = house.client
        refused(await http.post(LIST, json={}), 422, "url")
        refused(await http.post(LIST, json={"url": "ftp://x/"}), 422, "http")
        refused(await http.post(LIST, json={"url": "http://10.0.0.1/"}), 422, "public")
        refused(await http.post(LIST, json={"url": URL, "events": ["run.bored"]}), 422, "events")
        refused(await http.post(LIST, json={"url": URL, "events": []}), 422, "events")
        refused(await http.post(LIST, json={"url": URL, "secret": "x"}), 422, "secret")
        refused(await http.post(LIST, content=b"{", headers={"content-type": "application/json"}), 400)
        refused(await http.get(LIST, params={"limit": 1}), 422, "limit")
        made = (await http.post(LIST, json={"url": URL})).json()
        refused(await http.patch(f"{LIST}/{made['id']}", json={"url": ""}), 422, "URL")
        refused(await http.patch(f"{LIST}/{made['id']}", json={"enabled": None}), 422, "enabled")
        for _ in range(19):
            assert (await http.post(LIST, json={"url": URL})).status_code == 201
        refused(await http.post(LIST, json={"url": URL}), 422, "at most 20")


async def test_to_make_one_takes_a_key_with_admin_and_to_see_one_a_key_that_reads(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings) as house:
        admin = bearer(await give_key(house, scopes=["admin"]))
        reads = bearer(await give_key(house, scopes=["runs:read", "runs:start", "triggers:write"]))
        other = bearer(await give_key(house, tenant="other", scopes=["admin"]))
        refused(await house.client.post(LIST, json={"url": URL}, headers=reads), 403, "admin")
        made = (await house.client.post(LIST, json={"url": URL}, headers=admin)).json()
        path = f"{LIST}/{made['id']}"
        seen = await house.client.get(path, headers=reads)
        assert seen.status_code == 200 and "secret" not in seen.json()
        refused(await house.client.post(f"{path}/secret", headers=reads), 403, "admin")
        refused(await house.client.get(path, headers=other), 404)
        assert (await house.client.get(LIST, headers=other)).json() == {"webhooks": []}
        assert (await house.client.get(LIST)).status_code == 401
