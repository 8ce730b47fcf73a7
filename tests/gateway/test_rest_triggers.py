"""`/v1/triggers` over HTTP: made, listed, replaced, fired and deleted, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.rest_forms import Problem
from gateway.trigger_forms import TriggerObject, TriggerPage
from runtime.layout import EVENT_BYTES_MAX
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, House, bearer, give_key, open_house

pytestmark = pytest.mark.anyio

CRON = {"agent": "echo", "input": "hi", "kind": "cron", "cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"}
PATH = "/v1/triggers"


async def echo(run: Any) -> AsyncIterator[Any]:
    yield f"{run.input.messages[-1].content} {run.input.forwarded_props.get('event', {}).get('data')}"


def refused(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told = Problem.model_validate(answer.json())
    assert told.code == code
    for word in words:
        assert word in told.detail, told.detail


async def fired(house: House, trigger_id: str, before: str | None = None) -> dict[str, Any]:
    """The trigger once it has fired, or fired again."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            told: dict[str, Any] = (await house.client.get(f"{PATH}/{trigger_id}")).json()
            if told["last"] is not None and told["last_run_id"] != before:
                return told
            await asyncio.sleep(0.02)


async def test_a_trigger_is_made_seen_replaced_and_deleted(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        made = await house.client.post(PATH, json=CRON | {"id": "a/b", "metadata": {"x": 1}})
        assert made.status_code == 201 and made.headers["location"] == "/v1/triggers/a%2Fb"
        told = TriggerObject.model_validate(made.json())
        assert (told.id, told.kind, told.timezone, told.catch_up, told.enabled) == (
            "a/b", "cron", "Europe/Berlin", "last", True,
        )  # fmt: skip
        assert told.next_at is not None and told.next_at > datetime.now(UTC) and told.last is None
        assert told.set_by.id == "development" and told.input is not None and told.metadata == {"x": 1}
        assert (await house.client.get(f"{PATH}/a%2Fb")).json() == made.json()
        replaced = await house.client.put(f"{PATH}/a%2Fb", json=CRON | {"enabled": False})
        assert replaced.status_code == 200 and replaced.json()["next_at"] is None
        assert replaced.json()["created_at"] == made.json()["created_at"]
        assert (await house.client.put(f"{PATH}/new", json=CRON)).status_code == 201
        gone = await house.client.delete(f"{PATH}/a%2Fb")
        assert (gone.status_code, gone.content) == (204, b"")
        for method, path in (("GET", "a%2Fb"), ("DELETE", "a%2Fb"), ("POST", "a%2Fb/fire"), ("GET", "none")):
            refused(await house.client.request(method, f"{PATH}/{path}"), 404, "trigger_not_found", "no trigger")


async def test_triggers_are_listed_in_pages_the_newest_first(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo, other=echo) as house:
        ids = [(await house.client.post(PATH, json=CRON)).json()["id"] for _ in range(7)]
        await house.client.post(PATH, json=CRON | {"agent": "other"})
        found: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = (await house.client.get(PATH, params={"agent": "echo", "limit": 3, **cursor})).json()
            page = TriggerPage.model_validate(answer)
            found += [one.id for one in page.triggers]
            if page.next_cursor is None:
                break
            cursor = {"cursor": page.next_cursor}
        assert sorted(found) == sorted(ids) and len(found) == 7
        refused(await house.client.get(PATH, params={"cursor": "x"}), 422, "invalid_request", "list of triggers")
        refused(await house.client.get(PATH, params={"limit": 0}), 422, "invalid_request", "limit")


async def test_the_clock_and_a_hand_fire_it_and_it_shows_its_last_run(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        at = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
        want = {"agent": "echo", "input": "hi", "kind": "at", "at": at, "id": "once"}
        assert (await house.client.post(PATH, json=want)).status_code == 201
        told = await fired(house, "once")
        assert told["next_at"] is None and told["last"]["error"] is None
        assert told["last"]["run_id"] == told["last_run_id"]
        by_hand = [await house.client.post(f"{PATH}/once/fire", headers={"idempotency-key": "k"}) for _ in range(2)]
        assert [one.status_code for one in by_hand] == [201, 200]
        run = by_hand[0].json()
        assert run["metadata"]["trigger"]["id"] == "once" and by_hand[1].json()["id"] == run["id"]
        assert by_hand[0].headers["location"] == f"/v1/runs/{run['id']}"
        assert (await fired(house, "once", told["last_run_id"]))["last_run_id"] == run["id"]


async def test_an_event_that_is_told_starts_one_run_a_key(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        want = {"agent": "echo", "input": "told", "kind": "event", "event": {"subject": "orders.*"}, "id": "e"}
        assert (await house.client.post(PATH, json=want)).json()["event"]["subject"] == "orders.*"
        path, key = "/v1/events/orders.new", {"idempotency-key": "k1"}
        first = [await house.client.post(path, json={"n": 1}, headers=key) for _ in range(3)]
        assert {one.status_code for one in first} == {202} and len({one.json()["seq"] for one in first}) == 1
        run_id = (await fired(house, "e"))["last_run_id"]
        query = {"wait": 5, "after_seq": 100, "include": "messages"}
        run = (await house.client.get(f"/v1/runs/{run_id}", params=query)).json()
        assert run["messages"][-1]["content"] == "told {'n': 1}"
        for subject in ("orders.*", "orders.>", "a..b", "a%20b", "%2A"):
            refused(await house.client.post(f"/v1/events/{subject}", json=1), 422, "invalid_request", "subject")
        assert (await house.client.post(path, json="x" * (EVENT_BYTES_MAX - 2))).status_code == 202
        refused(await house.client.post(path, json="x" * (EVENT_BYTES_MAX - 1)), 413, "too_large", "65536")
        refused(await house.client.post(path, content=b"{", headers={"content-type": "application/json"}), 400,
                "malformed_json")  # fmt: skip


@pytest.mark.parametrize(
    ("more", "status", "code", "words"),
    [
        ({"cron": "61 * * * *"}, 422, "invalid_request", "cron: '61 * * * *' cannot be read: bad minute"),
        ({"cron": "* * *"}, 422, "invalid_request", "five fields"),
        ({"timezone": "Europe/Bern"}, 422, "invalid_request", "timezone: 'Europe/Bern' is no IANA time zone"),
        ({"kind": "at", "cron": None, "at": "2020-01-01T00:00:00Z"}, 422, "invalid_request", "at: must be later"),
        ({"kind": "at", "cron": None, "at": "soon"}, 422, "invalid_request", "at: "),
        ({"kind": "sometimes"}, 422, "invalid_request", "kind"),
        ({"kind": "now"}, 422, "invalid_request", "cron: needed with kind cron"),
        ({"agent": "nobody"}, 404, "agent_not_found", "There is no agent 'nobody'. Known agents: echo."),
        ({"event": {"agent": "echo"}}, 422, "invalid_request", "event: needed with kind event"),
        ({"kind": "event", "cron": None, "event": {"agent": "nobody", "statuses": ["failed"]}}, 404, "agent_not_found",
         "'nobody'"),
        ({"kind": "event", "cron": None, "event": {"subject": ">"}}, 422, "invalid_request", "event.subject"),
        ({"catch_up": "most"}, 422, "invalid_request", "catch_up"),
        ({"catch_up": "all", "thread_id": "t"}, 422, "invalid_request", "catch_up: `all` needs a thread"),
        ({"metadata": {"x": "x" * 20_000}}, 422, "invalid_request", "metadata: at most"),
        ({"metadata": {"trigger": {}}}, 422, "invalid_request", "metadata: `trigger`"),
        ({"input": "x" * 300_000}, 413, "too_large", "262144"),
        ({"unknown": 1}, 422, "invalid_request", "unknown"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_one_clear_problem(
    more: dict[str, Any], status: int, code: str, words: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        refused(await house.client.post(PATH, json=CRON | more), status, code, words)
        refused(await house.client.put(f"{PATH}/t", json=CRON | more), status, code, words)
        assert (await house.client.get(PATH)).json() == {"triggers": [], "next_cursor": None}


async def test_an_id_is_taken_once_and_a_key_needs_its_scopes_in_its_own_tenant(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        ada = bearer(await give_key(house, tenant="acme", principal="ada"))
        reads = bearer(await give_key(house, tenant="acme", scopes=["runs:read", "runs:start"]))
        theirs = bearer(await give_key(house, tenant="other", scopes=["admin"]))
        made = await house.client.post(PATH, json=CRON | {"id": "t"}, headers=ada)
        assert made.json()["set_by"] == {"id": "ada", "kind": "api_key", "name": "ada"}
        refused(await house.client.post(PATH, json=CRON | {"id": "t"}, headers=ada), 409, "trigger_exists", "'t'")
        assert (await house.client.get(f"{PATH}/t", headers=reads)).status_code == 200
        for method, path, body in (
            ("POST", PATH, CRON), ("PUT", f"{PATH}/t", CRON), ("DELETE", f"{PATH}/t", None),
            ("POST", f"{PATH}/t/fire", None),
        ):  # fmt: skip
            answer = await house.client.request(method, path, json=body, headers=reads)
            refused(answer, 403, "forbidden", "triggers:write")
        ben = bearer(await give_key(house, tenant="acme", principal="ben"))
        for method, body in (("PUT", CRON), ("DELETE", None)):
            answer = await house.client.request(method, f"{PATH}/t", json=body, headers=ben)
            refused(answer, 403, "not_owner", "Trigger 't' is 'ada''s")
        assert (await house.client.put(f"{PATH}/t", json=CRON, headers=ada)).status_code == 200
        told = []
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/fire")):
            for name in ("t", "n"):
                answer = await house.client.request(method, f"{PATH}/{name}{path}", headers=theirs)
                told.append((answer.status_code, answer.content.replace(f"'{name}'".encode(), b"")))
        assert len({one[1] for one in told}) == 1 and {one[0] for one in told} == {404}
        assert (await house.client.get(PATH, headers=theirs)).json()["triggers"] == []
