"""The REST face over HTTP: what a client that does all it should gets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from gateway.rest_forms import AgentList, RunObject, RunPage, ThreadMessages
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, open_house

pytestmark = pytest.mark.anyio


async def echo(run: Any) -> AsyncIterator[Any]:
    """Says what it was told."""
    yield run.state({"heard": run.input.messages[-1].content})
    yield {"type": "STEP_STARTED", "stepName": "thinking"}
    yield {"type": "STEP_FINISHED", "stepName": "thinking"}
    yield run.input.messages[-1].content


def gated() -> tuple[Callable[..., Any], asyncio.Event]:
    """An agent that says one word and waits for the gate before the other."""
    gate = asyncio.Event()

    async def agent(run: Any) -> AsyncIterator[Any]:
        yield "one "
        await gate.wait()
        yield "two"

    return agent, gate


def want(agent: str = "echo", text: Any = "hi", **more: Any) -> dict[str, Any]:
    return {"agent": agent, "input": text, **more}


WAIT = {"Prefer": "wait=5"}


async def test_a_waited_for_run_is_told_whole(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        answer = await house.client.post("/v1/runs", json=want(metadata={"for": "test"}), headers=WAIT)
        polled = await house.client.get(answer.headers["location"] + "?include=messages,state,steps")
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "wait=5"
    run = answer.json()
    RunObject.model_validate(run)
    assert (run["status"], run["agent"], run["attempt"], run["metadata"]) == ("completed", "echo", 1, {"for": "test"})
    assert run["created_at"] <= run["started_at"] <= run["ended_at"] and run["ended_at"].endswith("Z")
    assert answer.headers["etag"] == polled.headers["etag"] == f'"{run["seq"]}"'
    whole = polled.json()
    RunObject.model_validate(whole)
    assert {key: whole[key] for key in run} == run
    assert [(one["role"], one["content"]) for one in whole["messages"]] == [("user", "hi"), ("assistant", "hi")]
    assert whole["state"] == {"heard": "hi"}
    assert [step["name"] for step in whole["steps"]] == ["thinking"]


INCLUDED = {"": set[str](), "?include=state": {"state"}, "?include=steps&include=state": {"steps", "state"}}


async def test_only_what_is_asked_for_is_included(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        path = (await house.client.post("/v1/runs", json=want())).headers["location"]
        for asked, there in INCLUDED.items():
            run = (await house.client.get(path + asked)).json()
            assert {"messages", "state", "steps"} & set(run) == there


async def test_messages_may_be_sent_in_place_of_text(nats: EmbeddedServer, settings: Settings) -> None:
    messages = [
        {"id": "s", "role": "system", "content": "Be brief."},
        {"id": "u", "role": "user", "content": "hello", "name": None},
    ]
    async with open_house(nats, settings, echo=echo) as house:
        path = (await house.client.post("/v1/runs", json=want(text=messages), headers=WAIT)).headers["location"]
        told = (await house.client.get(path + "?include=messages")).json()["messages"]
    assert told[:2] == [messages[0], {"id": "u", "role": "user", "content": "hello"}]
    assert told[2]["content"] == "hello"


async def test_a_wait_that_is_too_short_answers_with_the_running_run(nats: EmbeddedServer, settings: Settings) -> None:
    agent, gate = gated()
    async with open_house(nats, settings, gated=agent) as house:
        answer = await house.client.post("/v1/runs", json=want("gated"), headers={"Prefer": "respond-async, wait=1"})
        gate.set()
    assert answer.status_code == 201
    assert answer.json()["status"] == "running"
    assert answer.json()["ended_at"] is None


@pytest.mark.parametrize("preference", ["wait", "wait=soon", "wait=-1", "handling=strict", "", "await=3"])
async def test_a_preference_that_means_nothing_is_passed_over(
    preference: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        answer = await house.client.post("/v1/runs", json=want(), headers={"Prefer": preference})
    assert answer.status_code == 201
    assert "preference-applied" not in answer.headers


async def test_a_repeated_key_finds_the_run_it_started(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        key = {"Idempotency-Key": "order-1"}
        first = await house.client.post("/v1/runs", json=want(thread_id="t"), headers=key | WAIT)
        again = await house.client.post("/v1/runs", json=want(thread_id="t"), headers=key)
        other = await house.client.post("/v1/runs", json=want(text="else", thread_id="t"), headers=key)
        new = await house.client.post("/v1/runs", json=want(thread_id="t"), headers={"Idempotency-Key": "order-2"})
        messages = (await house.client.get("/v1/threads/t/messages")).json()["messages"]
    assert (first.status_code, again.status_code, other.status_code, new.status_code) == (201, 200, 409, 201)
    assert again.json() == first.json()
    assert other.json()["code"] == "run_mismatch"
    assert len({message["id"] for message in messages}) == len(messages) >= 3


async def test_a_key_sent_many_times_at_once_starts_one_run(nats: EmbeddedServer, settings: Settings) -> None:
    agent, gate = gated()
    async with open_house(nats, settings, gated=agent) as house:
        body, key = want("gated", thread_id="t"), {"Idempotency-Key": "k"}
        answers = await asyncio.gather(*(house.client.post("/v1/runs", json=body, headers=key) for _ in range(20)))
        listed = (await house.client.get("/v1/runs")).json()["runs"]
        gate.set()
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert [run["id"] for run in listed] == [answers[0].json()["id"]]


async def test_a_run_id_sent_again_finds_its_run(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        first = await house.client.post("/v1/runs", json=want(run_id="mine"), headers=WAIT)
        again = await house.client.post("/v1/runs", json=want(run_id="mine"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


async def test_runs_on_one_thread_continue_it(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        for text in ("one", "two"):
            await house.client.post("/v1/runs", json=want(text=text, thread_id="a/b c"), headers=WAIT)
        answer = await house.client.get("/v1/threads/a%2Fb%20c/messages")
    ThreadMessages.model_validate(answer.json())
    assert answer.json()["thread_id"] == "a/b c"
    assert [message["content"] for message in answer.json()["messages"]] == ["one", "one", "two", "two"]


async def test_a_busy_thread_refuses_or_makes_way(nats: EmbeddedServer, settings: Settings) -> None:
    agent, gate = gated()
    async with open_house(nats, settings, gated=agent, echo=echo) as house:
        first = (await house.client.post("/v1/runs", json=want("gated", thread_id="t"))).json()
        refused = await house.client.post("/v1/runs", json=want(thread_id="t"))
        taken = await house.client.post("/v1/runs", json=want(thread_id="t", on_busy="cancel_previous"), headers=WAIT)
        before = (await house.client.get(f"/v1/runs/{first['id']}")).json()
        gate.set()
    assert (refused.status_code, refused.json()["code"]) == (409, "thread_busy")
    assert refused.json()["run_id"] == first["id"]
    assert (taken.status_code, taken.json()["status"]) == (201, "completed")
    assert before["status"] == "cancelled"


async def test_an_etag_spares_the_body_until_the_run_goes_on(nats: EmbeddedServer, settings: Settings) -> None:
    agent, gate = gated()
    async with open_house(nats, settings, gated=agent) as house:
        path = (await house.client.post("/v1/runs", json=want("gated"))).headers["location"]
        polled = await house.client.get(path, params={"after_seq": 3, "wait": 5})
        etag = polled.headers["etag"]
        same = await house.client.get(path, headers={"If-None-Match": f'"0", W/{etag}'})
        gate.set()
        moved = await house.client.get(
            path, params={"after_seq": polled.json()["seq"], "wait": 5}, headers={"If-None-Match": etag}
        )
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert moved.status_code == 200
    assert moved.json()["seq"] > polled.json()["seq"]


async def test_a_long_poll_of_an_ended_run_answers_at_once(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        path = (await house.client.post("/v1/runs", json=want(), headers=WAIT)).headers["location"]
        async with asyncio.timeout(WAIT_SECONDS):
            answer = await house.client.get(path, params={"after_seq": 10_000, "wait": 300})
    assert answer.json()["status"] == "completed"


async def test_a_stopping_gateway_answers_its_long_polls(nats: EmbeddedServer, settings: Settings) -> None:
    agent, gate = gated()
    async with open_house(nats, settings, gated=agent) as house:
        run = (await house.client.post("/v1/runs", json=want("gated", run_id="r"))).json()
        polling = asyncio.create_task(house.client.get("/v1/runs/r", params={"after_seq": 10_000, "wait": 300}))
        await watched(house.engine.tails)
        house.gateway.streams.drain()
        async with asyncio.timeout(WAIT_SECONDS):
            answer = await polling
        gate.set()
    assert (answer.status_code, answer.json()["id"]) == (200, run["id"])


async def test_a_client_that_leaves_its_long_poll_is_let_go(nats: EmbeddedServer, settings: Settings) -> None:
    agent, gate = gated()
    async with open_house(nats, settings, gated=agent) as house:
        await house.client.post("/v1/runs", json=want("gated", run_id="r"))
        polling = asyncio.create_task(house.client.get("/v1/runs/r", params={"after_seq": 10_000, "wait": 300}))
        await watched(house.engine.tails)
        polling.cancel()
        await watched(house.engine.tails, 0)
        gate.set()


async def watched(tails: Any, count: int = 1) -> None:
    """Returns once that many runs are followed; nothing tells of it."""
    async with asyncio.timeout(WAIT_SECONDS):
        while tails.watched != count:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_cancel_ends_the_run_and_a_second_one_changes_nothing(nats: EmbeddedServer, settings: Settings) -> None:
    agent, _ = gated()
    async with open_house(nats, settings, gated=agent) as house:
        path = (await house.client.post("/v1/runs", json=want("gated"))).headers["location"]
        first = await house.client.post(f"{path}/cancel", json={"reason": "changed my mind"})
        again = await house.client.post(f"{path}/cancel")
        events = (await house.client.get(f"{path}/events", headers={"Accept": "application/json"})).json()["events"]
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert first.json()["ended_at"] is not None
    assert again.json() == first.json()
    [asked] = [one["event"] for one in events if one["event"]["type"] == "ask.cancel"]
    assert (asked["reason"], asked["face"], asked["by"]["id"]) == ("changed my mind", "rest", "development")


async def test_runs_are_listed_newest_first_in_pages(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo, other=echo) as house:
        for number in range(7):
            agent = "other" if number % 3 == 0 else "echo"
            await house.client.post("/v1/runs", json=want(agent, run_id=f"r/{number}"), headers=WAIT)
        pages = [page async for page in paged(house.client, limit=3)]
        others = [page async for page in paged(house.client, limit=2, agent="other", status=["completed", "failed"])]
        none = (await house.client.get("/v1/runs", params={"status": ["queued", "waiting"]})).json()
    assert [[run["id"] for run in page] for page in pages] == [["r/6", "r/5", "r/4"], ["r/3", "r/2", "r/1"], ["r/0"]]
    assert [[run["id"] for run in page] for page in others] == [["r/6", "r/3"], ["r/0"]]
    assert none == {"runs": [], "next_cursor": None}


async def paged(client: httpx.AsyncClient, **asked: Any) -> AsyncIterator[list[dict[str, Any]]]:
    while True:
        answer = (await client.get("/v1/runs", params=asked)).json()
        RunPage.model_validate(answer)
        yield answer["runs"]
        if answer["next_cursor"] is None:
            return
        asked["cursor"] = answer["next_cursor"]


async def test_runs_are_found_by_thread_and_by_when_they_were_created(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        run = (await house.client.post("/v1/runs", json=want(thread_id="t1"), headers=WAIT)).json()
        await house.client.post("/v1/runs", json=want(thread_id="t2"), headers=WAIT)

        async def found(**asked: str) -> list[str]:
            return [one["thread_id"] for one in (await house.client.get("/v1/runs", params=asked)).json()["runs"]]

        assert await found(thread_id="t1") == ["t1"]
        assert "t1" not in await found(created_after=run["created_at"])
        assert "t1" in await found(created_after="2020-01-01t00:00:00z", created_before="2999-01-01T00:00:00+01:00")
        assert await found(created_before="2020-01-01T00:00:00.5-01:00") == []
        assert await found(created_before=run["created_at"]) == []


async def test_agents_are_listed_by_name(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo, another=gated()[0]) as house:
        answer = (await house.client.get("/v1/agents")).json()
    AgentList.model_validate(answer)
    assert [agent["name"] for agent in answer["agents"]] == ["another", "echo"]
    assert answer["agents"][1]["description"] == "Says what it was told."


async def failing(run: Any) -> AsyncIterator[Any]:
    yield "so far"
    raise RuntimeError("secret")


async def test_a_failed_run_says_why_without_a_secret(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, failing=failing) as house:
        run = (await house.client.post("/v1/runs", json=want("failing"), headers=WAIT)).json()
    assert (run["status"], run["error"]["code"]) == ("failed", "AGENT_ERROR")
    assert "secret" not in run["error"]["message"]
