"""Arkloop's run API: what its calls record and answer, and what they refuse."""

import asyncio
from typing import Any

import pytest

from gateway.resource import segment
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.arkloop_client import (
    EVERYTHING,
    Agents,
    frames,
    give,
    refused,
    run,
    settled,
    started,
    thread,
)
from tests.house import House, bearer, give_key, open_house

pytestmark = pytest.mark.anyio

V1 = "/arkloop/v1"


def versioned(agent: Any, version: str, **more: Any) -> Any:
    """The agent as it declares itself."""

    async def call(run: Any) -> Any:
        async for item in agent(run):
            yield item

    call.hocket = {"version": version, **more}  # type: ignore[attr-defined]
    return call


async def test_a_run_takes_in_what_was_posted_and_hands_on_what_was_given(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Agents()
    async with open_house(nats, settings, hear=agents.hear) as house:
        thread_id = await thread(house, "first", "second")
        given = {"route_id": "fast:1", "model": "m", "reasoning_mode": "deep", "work_dir": "/w", "later": [1]}
        made = await run(house, thread_id, persona_id="hear", **given)
        assert await settled(house, made.json()["run_id"]) == "completed"
        again = await run(house, thread_id)  # nothing was posted since, and there is one agent alone
        await settled(house, again.json()["run_id"])
        rows = (await house.client.get(f"{V1}/runs")).json()
        told = await frames(house, made.json()["run_id"])
    del given["later"]
    assert agents.heard == [(given, ["first", "second"]), ({}, ["first", "second", "Heard."])]
    assert [row["persona_id"] for row in rows] == [None, "hear"]
    assert told[0]["data"] == {"persona_id": "hear", "route_id": "fast:1"}
    shown = ("model", "total_input_tokens", "total_output_tokens", "total_cost_usd", "cache_hit_rate", "credits_used")
    assert [rows[0][name] for name in shown] == ["acme-large", 800, 60, 0.0021, 0.25, None]


async def test_a_persona_is_an_agent_with_its_version(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Agents()
    checker = versioned(agents.hear, "2")
    chosen = settings.model_copy(update={"arkloop_agent": "ask"})
    async with open_house(nats, chosen, checker=checker, ask=agents.ask) as house:
        shown = []
        for persona in ("checker@2", "checker", "ask", "ask@", "", " ", None):
            made = await run(house, await thread(house), persona_id=persona)
            assert made.status_code == 201, made.text
            shown.append((await house.client.get(f"{V1}/runs?limit=1")).json()[0]["persona_id"])
            await settled(house, made.json()["run_id"])
        for persona in ("checker@1", "checker@", "nobody", "@2", "ask@1", "x" * 300):
            assert refused(await run(house, await thread(house), persona_id=persona)) == (422, "validation.error")
        by_name = {
            persona: len((await house.client.get(f"{V1}/runs", params={"persona_id": persona})).json())
            for persona in ("checker", "checker@2", "checker@1", "ask")
        }
        counted = (await house.client.get(f"{V1}/runs?persona_id=checker&offset=1&limit=5")).json()
    assert shown == ["checker@2", "checker@2", "ask", "ask", None, None, None]
    assert by_name == {"checker": 2, "checker@2": 2, "checker@1": 0, "ask": 2}
    assert (len(counted["data"]), counted["total"]) == (1, 2)


async def test_without_a_default_among_several_agents_a_persona_must_be_named(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Agents()
    async with open_house(nats, settings, hear=agents.hear, ask=agents.ask) as house:
        assert refused(await run(house, await thread(house))) == (422, "validation.error")
    nobody = settings.model_copy(update={"arkloop_agent": "nobody"})
    async with open_house(nats, nobody, hear=agents.hear) as house:
        assert refused(await run(house, await thread(house))) == (422, "validation.error")


async def test_a_body_may_be_left_out_where_nothing_in_it_is_needed(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, ask=Agents().ask) as house:
        made = await house.client.post(f"{V1}/threads")
        assert made.status_code == 201 and made.json()["title"] is None and made.json()["is_private"] is False
        begun = await house.client.post(f"{V1}/threads/{made.json()['id']}/runs")
        assert begun.status_code == 201
        assert (await house.client.post(f"{V1}/runs/{begun.json()['run_id']}:cancel")).json() == {"ok": True}
        bare = await house.client.post(f"{V1}/threads", content=b"{}")
        assert refused(bare) == (415, "validation.error")


async def test_a_start_under_one_key_is_one_run(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Agents()
    async with open_house(nats, settings, hear=agents.hear) as house:
        thread_id = await thread(house, "once")
        key = {"idempotency-key": "k1"}
        first, second = [await run(house, thread_id, key, route_id="a") for _ in range(2)]
        await settled(house, first.json()["run_id"])
        third = await run(house, thread_id, key, route_id="a")
        other = await run(house, thread_id, key, route_id="b")
        assert refused(await run(house, thread_id, {"idempotency-key": ""})) == (422, "validation.error")
    assert [one.status_code for one in (first, second, third)] == [201] * 3
    assert first.json() == second.json() == third.json() and len(agents.heard) == 1
    assert refused(other) == (409, "runs.idempotency_conflict")


async def test_a_busy_thread_is_busy_even_for_an_agent_that_would_cancel(
    nats: EmbeddedServer, settings: Settings
) -> None:
    asking = versioned(Agents().ask, "", on_busy="cancel_previous")
    async with open_house(nats, settings, ask=asking) as house:
        run_id = await started(house, "ask")
        thread_id = (await house.client.get(f"{V1}/runs/{run_id}")).json()["thread_id"]
        again = await run(house, thread_id)
        told = (await house.client.get(f"{V1}/threads/{thread_id}")).json()
        assert (await give(house, run_id, "go on")).json() == {"ok": True}
        await settled(house, run_id)
        free = (await house.client.get(f"{V1}/threads/{thread_id}")).json()
    assert refused(again) == (409, "runs.thread_busy") and again.json()["details"] == {"run_id": run_id}
    assert (told["active_run_id"], free["active_run_id"]) == (run_id, None)


GIVEN: list[tuple[str, Any]] = [
    ('{"approved": true}', {"approved": True}), ("[1]", "[1]"), ('"x"', '"x"'), ("yes", "yes"), ("7", "7"),
    (" padded ", " padded "), ("{not json", "{not json"), ("null", "null"), ("Grüße 🎶", "Grüße 🎶"),
    ('{"a":' * 5_000, '{"a":' * 5_000),
]  # fmt: skip


async def test_content_is_an_object_where_it_is_the_json_of_one_and_text_elsewhere(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Agents()
    async with open_house(nats, settings, ask=agents.ask) as house:
        for content, _ in GIVEN:
            run_id = await started(house, "ask")
            assert (await give(house, run_id, content)).json() == {"ok": True}, content[:40]
            await settled(house, run_id)
        deep = await started(house, "ask")
        assert refused(await give(house, deep, '{"a":' * 150 + "1" + "}" * 150)) == (422, "validation.error")
    assert agents.heard == [(payload, content, "development") for content, payload in GIVEN]


async def test_input_is_taken_by_an_open_question_alone(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Agents()
    async with open_house(nats, settings, two=agents.two, ask=agents.ask, hasty=agents.hasty) as house:
        run_id = await started(house, "two")
        several = await give(house, run_id, "x")
        assert refused(several) == (409, "runs.input_ambiguous")
        first, second = several.json()["details"]["request_ids"]
        assert refused(await give(house, run_id, "x", request_id="x" * 5_000)) == (409, "runs.not_waiting_for_input")
        assert (await give(house, run_id, "b", request_id=second)).status_code == 200
        assert refused(await give(house, run_id, "c", request_id=second)) == (409, "runs.not_waiting_for_input")
        assert (await give(house, run_id, "a", request_id=first)).status_code == 200
        assert await settled(house, run_id) == "completed"
        assert refused(await give(house, run_id, "d", request_id=first)) == (409, "runs.not_active")
        assert refused(await give(house, run_id, "d")) == (409, "runs.not_active")

        hasty = await started(house, "hasty")
        await house.engine.changed(hasty, EVERYTHING, lambda one: len(one.gates) == 2, 5.0)
        expired, current = (f"g-{hasty}-{number}" for number in range(2))
        assert refused(await give(house, hasty, "x", request_id=expired)) == (409, "runs.not_active")
        assert (await give(house, hasty, "x", request_id=current)).status_code == 200

        cancelled = await started(house, "ask")
        await house.client.post(f"{V1}/runs/{cancelled}:cancel")
        assert refused(await give(house, cancelled, "x")) == (409, "runs.not_active")
    assert agents.heard == [["a", "b"]]


async def test_of_inputs_and_a_cancel_at_once_one_counts(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Agents()
    async with open_house(nats, settings, ask=agents.ask) as house:
        for _ in range(5):
            run_id = await started(house, "ask")
            cancel = house.client.post(f"{V1}/runs/{run_id}:cancel", json={"last_seen_seq": 1})
            answers = await asyncio.gather(*(give(house, run_id, f"{n}") for n in range(5)), cancel)
            await settled(house, run_id)
            types = [frame["type"] for frame in await frames(house, run_id)]
            won = [answer.status_code for answer in answers[:5]].count(200)
            assert types.count("run.input_provided") == won <= 1 and answers[5].json() == {"ok": True}
            lost = {refused(answer) for answer in answers[:5] if answer.status_code != 200}
            assert lost <= {(409, "runs.not_active"), (409, "runs.not_waiting_for_input")}


async def test_messages_are_what_people_and_the_agent_have_said(nats: EmbeddedServer, settings: Settings) -> None:
    async def busy(run: Any) -> Any:
        yield run.tool_call("look", {}, {"found": 1})
        yield run.reasoning("hm")
        yield "One."

    async with open_house(nats, settings, busy=busy) as house:
        thread_id = await thread(house, "hi")
        await settled(house, (await run(house, thread_id)).json()["run_id"])
        parts = [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]
        sent = {"agent": "busy", "input": [{"id": "m1", "role": "user", "content": parts}], "thread_id": thread_id}
        answer = await house.client.post("/v1/runs", json=sent, headers={"prefer": "wait=5"})
        assert answer.status_code == 201, answer.text
        await house.client.post(f"{V1}/threads/{thread_id}/messages", json={"content": " still waits "})
        told = (await house.client.get(f"{V1}/threads/{thread_id}/messages")).json()
        two = (await house.client.get(f"{V1}/threads/{thread_id}/messages?limit=2")).json()
    said = [(one["role"], one["content"]) for one in told]
    assert said == [("user", "hi"), ("assistant", "One."), ("user", "in parts"), ("assistant", "One."),
                    ("user", " still waits ")]  # fmt: skip
    assert two == told[:2] and told[0]["created_by_user_id"] == "development"


async def test_a_run_and_a_thread_of_another_face_are_shown_under_any_id(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, ask=Agents().ask) as house:
        for name in ("a/b", ":cancel", "x:y z", "..", "ü%"):
            sent = {"agent": "ask", "input": "hi", "run_id": name, "thread_id": name, "metadata": {"arkloop": [1]}}
            await house.client.post("/v1/runs", json=sent, headers={"prefer": "wait=5"})
            detail = (await house.client.get(f"{V1}/runs/{segment(name)}")).json()
            assert (detail["run_id"], detail["thread_id"], detail["status"]) == (name, name, "waiting_for_input")
            assert (await house.client.get(f"{V1}/threads/{segment(name)}")).json()["active_run_id"] == name
            (row,) = (await house.client.get(f"{V1}/threads/{segment(name)}/runs")).json()
            assert row["run_id"] == name and len(detail["trace_id"]) == 32
            assert (await house.client.post(f"{V1}/runs/{segment(name)}:cancel")).json() == {"ok": True}
            assert (await house.client.get(f"{V1}/runs/{segment(name)}")).json()["status"] == "cancelled"
            assert (await frames(house, segment(name)))[-1]["type"] == "run.cancelled"


async def test_a_stream_begins_with_a_ping_and_tells_who_is_at_the_end_not_to_hurry(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, ask=Agents().ask) as house:
        run_id = await started(house, "ask")
        path = f"{V1}/runs/{run_id}/events"
        stored = await house.client.get(path, params={"follow": "0"})
        after = await house.client.get(path, params={"follow": "0", "after_seq": 10**15})
        await house.client.post(f"{V1}/runs/{run_id}:cancel")
        whole = await house.client.get(path)
        over = await house.client.get(path, headers={"last-event-id": "999"})
        head = await house.client.head(path)
        accepted = await house.client.get(f"{V1}/runs/{run_id}", headers={"accept": "text/event-stream"})
        plain = await house.client.get(f"{V1}/runs/{run_id}", headers={"accept": "application/json, text/event-stream"})
    assert stored.text.startswith(": ping\n\nid: 1\n") and '"run.waiting_for_input"' in stored.text
    assert after.text.strip() == ": ping" and over.text == ": ping\n\nretry: 30000\n\n"
    assert accepted.text == whole.text and "\r" not in whole.text and plain.json()["run_id"] == run_id
    for answer in (stored, whole, over, head, accepted, plain):
        assert answer.headers["x-trace-id"] == run_id.replace("-", "")
    assert whole.headers["cache-control"] == head.headers["cache-control"] == "no-cache, no-transform"


async def test_a_page_goes_on_after_the_run_that_is_named(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Agents()
    async with open_house(nats, settings, hear=agents.hear) as house:
        made = [await started(house, "hear") for _ in range(7)][::-1]
        child = {"agent": "hear", "input": "hi", "run_id": "child"}
        await house.client.post("/v1/runs", json=child, headers={"prefer": "wait=5"})
        seen: list[str] = []
        while True:
            params = {"limit": 3, **({"before": seen[-1]} if seen else {})}
            page = (await house.client.get(f"{V1}/runs", params=params)).json()
            seen += [row["run_id"] for row in page]
            if len(page) < 3:
                break
        paged = (
            await house.client.get(f"{V1}/runs", params={"persona_id": "hear", "limit": 2, "before": made[1]})
        ).json()
        whole = (await house.client.get(f"{V1}/runs", params={"offset": 6, "limit": 200})).json()
        at = (await house.client.get(f"{V1}/runs/{made[3]}")).json()["created_at"]
        since = (await house.client.get(f"{V1}/runs", params={"since": at})).json()
        until = (await house.client.get(f"{V1}/runs", params={"until": at})).json()
        assert refused(await house.client.get(f"{V1}/runs?before={'x' * 300}")) == (422, "validation.error")
    assert seen == ["child", *made]
    assert [row["run_id"] for row in paged] == made[2:4]
    assert ([row["run_id"] for row in whole["data"]], whole["total"]) == (made[5:], 8)
    assert {made[3]} <= {row["run_id"] for row in since} & {row["run_id"] for row in until}
    assert len(since) + len(until) >= 9 and made[6] not in [row["run_id"] for row in since]


async def test_a_page_token_shows_its_run_and_nothing_else(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, ask=Agents().ask) as house:
        key = await give_key(house, tenant="acme", principal="alice", kind="user", name="Alice")
        house.client.headers.update(bearer(key))
        run_id = await started_by(house)
        token = (await house.client.post(f"/v1/runs/{run_id}/token", json={})).json()["token"]
        row = (await house.client.get(f"{V1}/runs")).json()[0]
        house.client.headers.update(bearer(token))
        assert (await house.client.get(f"{V1}/runs/{run_id}")).json()["org_id"] == "acme"
        for path in (f"{V1}/runs", f"{V1}/threads/{row['thread_id']}", f"{V1}/threads/{row['thread_id']}/runs"):
            assert refused(await house.client.get(path)) == (403, "policy.denied")
        house.client.headers.update(bearer("nonsense"))
        denied = await house.client.get(f"{V1}/runs/{run_id}")
    assert (row["created_by_user_id"], row["created_by_user_name"]) == ("alice", "Alice")
    assert refused(denied) == (401, "auth.unauthorized") and denied.headers["www-authenticate"] == "Bearer"


async def started_by(house: House) -> str:
    """A run of whoever the client's key is of."""
    made = await run(house, await thread(house))
    assert made.status_code == 201, made.text
    return str(made.json()["run_id"])


async def test_a_log_that_is_away_is_told_as_that(nats: EmbeddedServer, settings: Settings) -> None:
    hasty = settings.model_copy(update={"append_timeout_s": 0.2})
    async with open_house(nats, hasty, ask=Agents().ask) as house:
        run_id = await started(house, "ask")
        thread_id = await thread(house)
        await nats.stop()
        answers = [
            await give(house, run_id, "x"), await house.client.post(f"{V1}/runs/{run_id}:cancel"),
            await house.client.get(f"{V1}/runs/unread"), await house.client.get(f"{V1}/runs/unread/events"),
            await house.client.post(f"{V1}/threads"), await run(house, thread_id, persona_id="ask"),
            await house.client.get(f"{V1}/threads/{thread_id}/messages"),
        ]  # fmt: skip
    for answer in answers:
        assert refused(answer) == (503, "internal.unavailable") and answer.headers["retry-after"]


async def test_a_dialect_that_is_not_served_is_not_there(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings.model_copy(update={"dialects": "arkloop=/ark"}), ask=Agents().ask) as house:
        assert (await house.client.post("/ark/v1/threads")).status_code == 201
        assert refused(await house.client.get("/ark/v1/nothing")) == (404, "http.not_found")
        assert (await house.client.post("/arkloop/v1/threads")).status_code == 404
