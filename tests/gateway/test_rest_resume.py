"""Answering through `/v1`: what is open, what fits, who decided, and a record of it all."""

import asyncio
from typing import Any

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import House, open_house

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


async def asking(run: Any) -> Any:
    if run.answers:
        yield str(run.answers["amount"].payload)
    else:
        yield run.interrupt(
            "How much?", id="amount", response_schema=SCHEMA, renderer="acme:amount", values={"amount": 3}
        )


def body(payload: Any = None, interrupt_id: str = "amount", **more: Any) -> dict[str, Any]:
    return {"answers": [{"interrupt_id": interrupt_id, "payload": payload or {"amount": 5}, **more}]}


async def begun(house: House) -> dict[str, Any]:
    want = {"agent": "asking", "input": "hi", "run_id": "r1"}
    answer = await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5"})
    run: dict[str, Any] = answer.json()
    assert run["status"] == "waiting"
    return run


async def test_a_run_shows_what_it_waits_for_and_goes_on_with_the_answer(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        run = await begun(house)
        polling = asyncio.create_task(house.client.get("/v1/runs/r1", params={"after_seq": run["seq"], "wait": 5}))
        answer = await house.client.post("/v1/runs/r1/resume", json=body())
        polled = (await polling).json()
        audit = (await house.client.get("/v1/runs/r1/audit")).json()
    (asked,) = run["interrupts"]
    assert asked["message"] == "How much?" and asked["responseSchema"] == SCHEMA
    assert asked["metadata"] == {
        "renderer": "acme:amount", "values": {"amount": 3}, "hocket": {"gate": "g-r1-0", "name": "amount"}}  # fmt: skip
    assert answer.status_code == 200 and answer.json()["interrupts"] == []
    (decided,) = answer.json()["decisions"]
    assert (decided["status"], decided["decision"], decided["face"]) == ("resolved", "answer", "rest")
    assert polled["seq"] > run["seq"]
    assert [one["what"] for one in audit["audit"]][:3] == ["started", "waiting", "answered"]
    assert all(one["at"] and one["seq"] for one in audit["audit"])


async def test_each_way_of_being_wrong_has_its_own_refusal_and_the_gate_stays_open(
    nats: EmbeddedServer, settings: Settings
) -> None:
    tries: list[tuple[Any, int, str]] = [
        (body({"amount": "five"}), 422, "invalid_answer"),
        (body(interrupt_id="other"), 422, "unknown_interrupt"),
        (body(interrupt_id="g-r2-0"), 422, "unknown_interrupt"),
        ({"answers": []}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ([], 422, "invalid_request"),
        (body(status="perhaps"), 422, "invalid_request"),
        (body() | {"by": "somebody"}, 422, "invalid_request"),
        (body("x" * (10 << 20)), 413, "too_large"),
    ]
    async with open_house(nats, settings, asking=asking) as house:
        await begun(house)
        for sent, status, code in tries:
            answer = await house.client.post("/v1/runs/r1/resume", json=sent)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
        faults = (await house.client.post("/v1/runs/r1/resume", json=body({"amount": "five"}))).json()["faults"]
        missing = await house.client.post("/v1/runs/r2/resume", json=body())
        text = await house.client.post("/v1/runs/r1/resume", content=b"{}", headers={"content-type": "text/plain"})
        rubbish = await house.client.post(
            "/v1/runs/r1/resume", content=b"{", headers={"content-type": "application/json"}
        )
        run = (await house.client.get("/v1/runs/r1")).json()
    assert [(one["interrupt_id"], one["path"]) for one in faults] == [("amount", "/amount")]
    assert (missing.status_code, text.status_code, rubbish.status_code) == (404, 415, 400)
    assert run["status"] == "waiting"


async def test_the_second_answer_is_told_who_was_first_and_a_repeated_one_that_it_is_done(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await begun(house)
        key = {"idempotency-key": "k1"}
        answers = [await house.client.post("/v1/runs/r1/resume", json=body(), headers=key) for _ in range(2)]
        other = await house.client.post("/v1/runs/r1/resume", json=body())
        bad_key = await house.client.post("/v1/runs/r1/resume", json=body(), headers={"idempotency-key": "a b"})
    assert [answer.status_code for answer in answers] == [200, 200]
    told = other.json()
    assert (other.status_code, told["code"]) == (409, "already_resolved")
    assert (
        told["resolved"]["by"]["id"] == "development" and told["resolved"]["at"] and told["resolved"]["face"] == "rest"
    )
    assert bad_key.status_code == 422


async def test_a_run_that_waits_for_nothing_and_a_question_whose_time_is_over_say_so(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def brief(run: Any) -> Any:
        yield "x"

    async def hasty(run: Any) -> Any:
        yield run.interrupt("Now?", id="amount", expires_at="2020-01-01T00:00:00Z")

    async with open_house(nats, settings, brief=brief, hasty=hasty) as house:
        await house.client.post(
            "/v1/runs", json={"agent": "brief", "input": "", "run_id": "r1"}, headers={"prefer": "wait=5"}
        )
        ended = await house.client.post("/v1/runs/r1/resume", json=body())
        await house.client.post(
            "/v1/runs", json={"agent": "hasty", "input": "", "run_id": "r2"}, headers={"prefer": "wait=5"}
        )
        expired = await house.client.post("/v1/runs/r2/resume", json=body())
    assert (ended.status_code, ended.json()["code"]) == (409, "not_waiting")
    assert (expired.status_code, expired.json()["code"]) == (410, "interrupt_expired")


async def test_the_event_stream_tells_who_answered_and_not_with_what(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await begun(house)
        await house.client.post("/v1/runs/r1/resume", json=body({"amount": 4711}))
        text = (await house.client.get("/v1/runs/r1/events")).text
        page = (await house.client.get("/v1/runs/r1/events", headers={"accept": "application/json"})).json()
    asks = [one["event"] for one in page["events"] if one["event"]["type"].startswith("ask.")]
    assert [ask["type"] for ask in asks] == ["ask.start", "ask.resume"]
    assert asks[1]["answers"] == [
        {"interruptId": "amount", "gate": "g-r1-0", "status": "resolved", "decision": "answer"}]  # fmt: skip
    assert asks[1]["requester"]["face"] == "rest" and "tenant" not in asks[1]["requester"]
    assert "\nevent: ask\n" in text and text.count("4711") == 1  # what the agent itself says of it
