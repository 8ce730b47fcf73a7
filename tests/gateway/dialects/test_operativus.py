"""Operativus' calls at their edges: what the agent is given, who decides, what is refused and how, who waits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from protocol.entries import Caller
from protocol.ids import as_uuid
from protocol.state import RunState
from runtime.asks import Start
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.cinatra_client import SCHEMA, Reviewing
from tests.house import WAIT_SECONDS, House, bearer, give_key, open_house

pytestmark = pytest.mark.anyio

ME = Caller("default", "me", "user", scopes=frozenset({"admin"}))
SESSION = "550e8400-e29b-41d4-a716-446655440000"
Json = dict[str, Any]


class Told:
    """An agent that keeps what it was given, and one that goes on when it is let."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.go = asyncio.Event()

    async def keep(self, run: Any) -> AsyncIterator[Any]:
        self.inputs.append(run.input)
        yield "Kept."

    async def slow(self, run: Any) -> AsyncIterator[Any]:
        yield "Slowly "
        await self.go.wait()
        yield "done."


async def typed(run: Any) -> AsyncIterator[Any]:
    """Asks with a schema and says what it was told."""
    if not run.answers:
        yield run.interrupt("OK?", name="ok", response_schema=SCHEMA)
    yield f"{run.answers['ok'].payload} {run.answers['ok'].text}"


async def run(
    house: House, agent: str, message: str = "hi", headers: Json | None = None, **more: Any
) -> httpx.Response:
    body = {"message": message, **more}
    return await house.client.post(f"/operativus/api/agents/{agent}/runs", json=body, headers=headers)


async def proceed(house: House, agent: str, run_id: str, headers: Json | None = None, **body: Any) -> httpx.Response:
    path = f"/operativus/api/agents/{agent}/runs/{run_id}/continue"
    return await house.client.post(path, json=body, headers=headers)


async def decide(house: House, approval: str, how: str = "decide", **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    return await house.client.post(f"/operativus/api/v1/approvals/{approval}/{how}", json=more, headers=headers)


def response(answer: httpx.Response, status: str) -> Json:
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    assert told["status"] == status, told
    return told


def problem(answer: httpx.Response, status: int, kind: str) -> Json:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told: Json = answer.json()
    assert (told["type"], told["status"]) == (f"urn:problem-type:{kind}", status)
    assert told["title"] == kind.replace("-", " ").title() and told["detail"]
    assert told["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    return told


async def reached(house: House, run_id: str, by: Caller = ME) -> RunState:
    state = await house.engine.changed(run_id, by, lambda state: False, WAIT_SECONDS)
    assert state.ended_at_ms is not None
    return state


async def test_an_agent_is_given_all_that_was_sent_and_nobody_becomes_somebody_else(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agent = Told()
    image, sound = {"type": "image/png", "data": "aGk="}, {"type": "Audio/wav", "data": "HTTPS://example.com/a.wav"}
    page = {"type": "application/pdf", "data": "http://example.com/a.pdf"}
    async with open_house(nats, settings, keep=agent.keep) as house:
        more = {"session_id": SESSION.upper(), "generate_followups": True, "userId": "user:mallory", "orgId": "default"}
        options = {"model": "acme-large", "temperature": 2, "maxTokens": 1, "seed": 7}
        told = response(
            await run(house, "keep", media=[image, sound, page], options=options, **more, by="x"), "COMPLETED"
        )
        response(await run(house, "keep", sessionId=None, userId=None, media=None, options=None), "COMPLETED")
        state = await house.engine.state(told["runId"], ME)
        record = (await house.client.get(f"/operativus/api/v1/runs/{told['runId']}")).json()
    assert told["sessionId"] == SESSION and state.face == "operativus"
    assert state.metadata == {"operativus": {"on_behalf_of": "user:mallory"}}
    assert record["userId"] == "development" and record["orgId"] == "default" and record["input"] == "hi"
    first, second = agent.inputs
    wanted = {"model": "acme-large", "temperature": 2.0, "maxTokens": 1}
    assert first.forwarded_props == {"generateFollowups": True, "userId": "user:mallory", "options": wanted}
    parts = [part.model_dump(by_alias=True, exclude_none=True) for part in first.messages[-1].content]
    assert [(one["type"], one.get("source", {}).get("type")) for one in parts] == [
        ("text", None), ("image", "data"), ("audio", "url"), ("document", "url")]  # fmt: skip
    assert parts[1]["source"] == {"type": "data", "value": "aGk=", "mimeType": "image/png"}
    assert second.messages[-1].content == "hi" and second.forwarded_props == {"generateFollowups": False}


WRONG: list[tuple[str, Any]] = [
    ("message", None), ("message", 7), ("message", ""), ("sessionId", "x"), ("sessionId", 7), ("userId", ["a"]),
    ("userId", "x" * 257), ("orgId", 1), ("generateFollowups", "true"), ("media", {}), ("media.0", ["x"]),
    ("media.0.type", [{"data": "aGk="}]), ("media.0.type", [{"type": "png", "data": "aGk="}]),
    ("media.0.data", [{"type": "image/png", "data": "not base64!"}]),
    ("media.0.data", [{"type": "image/png", "data": "file:///etc/passwd"}]),
    ("media.0.data", [{"type": "image/png", "data": "http://"}]), ("media.0.data", [{"type": "image/png", "data": ""}]),
    ("options", []), ("options.temperature", {"temperature": -0.1}), ("options.temperature", {"temperature": True}),
    ("options.temperature", {"temperature": "1"}), ("options.maxTokens", {"maxTokens": 1.5}),
    ("options.model", {"model": ""}),
]  # fmt: skip


async def test_each_field_that_is_wrong_is_named_by_all_three_ways_of_starting(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, keep=Told().keep) as house:
        for field, value in WRONG:
            for way in ("", "/background", "/stream"):
                body = {"message": "hi", field.partition(".")[0]: value}
                answer = await house.client.post(f"/operativus/api/agents/keep/runs{way}", json=body)
                told = problem(answer, 400, "invalid-request")["invalidParams"]
                assert [one["field"] for one in told] == [field] and all(one["message"] for one in told), (field, told)
        listed = (await house.client.get("/operativus/api/v1/runs")).json()
    assert listed == {"content": [], "totalElements": 0, "totalPages": 0, "number": 0, "size": 20}


async def test_every_other_refusal_is_a_problem_of_its_own_kind(nats: EmbeddedServer, settings: Settings) -> None:
    path, json = "/operativus/api/agents/keep/runs", {"content-type": "application/json"}
    async with open_house(nats, settings, keep=Told().keep) as house:
        client = house.client
        problem(await client.post(path, content=b"{", headers=json), 400, "malformed-request-body")
        told = problem(await client.post(path, content=b"[]", headers=json), 400, "invalid-request")
        assert told["invalidParams"] == [{"field": "body", "message": "must be a JSON object"}]
        problem(await client.post(path, content=b"{}"), 415, "unsupported-media-type")
        problem(await client.post(path, content=b" " * (1 << 20) + b"{}", headers=json), 413, "payload-too-large")
        wrong = await client.put(path, json={})
        problem(wrong, 405, "method-not-allowed")
        assert "POST" in wrong.headers["allow"]
        assert problem(await client.get("/operativus/nothing"), 404, "resource-not-found")["resourceName"] == "Path"
        problem(await run(house, "keep", headers={"idempotency-key": "a b"}), 400, "invalid-request")
        problem(await run(house, "keep", orgId="elsewhere"), 403, "forbidden")
        for query in ("status=paused", "size=0", "size=101", "page=-1", "page=x", "size=1_0", "page=0&page=1"):
            problem(await client.get(f"/operativus/api/v1/runs?{query}"), 400, "invalid-request")
        for approval in ("x", "g-x", "g-nobody-0", "g-" + "x" * 300 + "-0"):
            told = problem(await client.get(f"/operativus/api/v1/approvals/{approval}"), 404, "resource-not-found")
            assert (told["resourceName"], told["identifier"]) == ("Approval", approval)
        shut = await client.get("/operativus/api/agents", headers=bearer("wrong"))
        problem(shut, 401, "unauthorized")
        assert shut.headers["www-authenticate"] == "Bearer"


async def test_a_session_with_a_run_in_progress_takes_no_second_one(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, bare=Reviewing().bare) as house:
        first = response(await run(house, "bare", sessionId=SESSION), "PAUSED")
        told = problem(await run(house, "bare", sessionId=SESSION), 400, "business-validation-error")
        assert first["runId"] in told["detail"] and told["errors"] == []


async def test_what_was_posted_to_a_session_is_part_of_its_history(nats: EmbeddedServer, settings: Settings) -> None:
    agent = Told()
    async with open_house(nats, settings, keep=agent.keep) as house:
        await house.engine.threads.open(ME, SESSION)
        await house.engine.threads.post(SESSION, "before", ME)
        response(await run(house, "keep", "now", sessionId=SESSION), "COMPLETED")
    assert [message.content for message in agent.inputs[0].messages] == ["before", "now"]


async def test_of_several_questions_one_must_be_named_and_the_rest_keeps_the_run_paused(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Reviewing()
    async with open_house(nats, settings, two=agents.two) as house:
        run_id = response(await run(house, "two"), "PAUSED")["runId"]
        told = problem(await proceed(house, "two", run_id, action="APPROVE"), 400, "business-validation-error")
        assert "2 approvals" in told["detail"] and "/api/v1/approvals/" in told["detail"]
        gates = [f"g-{run_id}-{number}" for number in (0, 1)]
        for wrong in ("g-x-0", f"g-{run_id}-2", "a", ""):
            answer = await proceed(house, "two", run_id, action="APPROVE", approvalId=wrong)
            problem(answer, 400, "business-validation-error")
        response(await proceed(house, "two", run_id, action="APPROVED", approvalId=gates[1]), "PAUSED")
        again = await proceed(house, "two", run_id, action="APPROVE", approvalId=gates[1])
        assert "PAUSED" in problem(again, 400, "business-validation-error")["detail"]
        assert response(await proceed(house, "two", run_id, action="REJECTED"), "COMPLETED")["content"] == "Both."
    assert agents.told == [{"a": {"approved": False}, "b": {"approved": True}}]


async def test_a_question_whose_time_is_over_cannot_be_decided(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, hasty=Reviewing().hasty) as house:
        run_id = response(await run(house, "hasty", "cancel"), "PAUSED")["runId"]
        await reached(house, run_id)
        told = problem(await proceed(house, "hasty", run_id, action="APPROVE"), 400, "business-validation-error")
        assert "CANCELLED" in told["detail"]
        gate = f"g-{run_id}-0"
        problem(await decide(house, gate, decision="approve"), 400, "business-validation-error")
        shown = (await house.client.get(f"/operativus/api/v1/approvals/{gate}")).json()
        assert (shown["status"], shown["resolvedBy"]) == ("EXPIRED", None) and shown["resolvedAt"]
        failed = response(await run(house, "hasty", "fail"), "PAUSED")["runId"]
        await reached(house, failed)
        record = (await house.client.get(f"/operativus/api/v1/runs/run_{failed}")).json()
        assert (record["status"], record["errorType"]) == ("FAILED", "INTERRUPT_EXPIRED")


async def test_a_decision_with_a_payload_is_held_against_the_schema_and_one_without_is_not(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, typed=typed) as house:

        async def paused() -> tuple[str, str]:
            run_id = response(await run(house, "typed"), "PAUSED")["runId"]
            return run_id, f"g-{run_id}-0"

        run_id, gate = await paused()
        for decision, payload, field in (
            ("approve", {"approved": 7}, "payload.approved"), ("approve", "yes", "payload"),
            ("approve", {"approved": False}, "payload"), ("reject", {"approved": True}, "payload"),
            ("reject", [1], "payload"),
        ):  # fmt: skip
            answer = await decide(house, gate, decision=decision, payload=payload)
            told = problem(answer, 400, "invalid-request")["invalidParams"]
            assert [one["field"] for one in told] == [field], told
        for decision in ("APPROVED", None, "yes"):
            told = problem(await decide(house, gate, decision=decision), 400, "invalid-request")["invalidParams"]
            assert [one["field"] for one in told] == ["decision"]
        good = await decide(house, gate, decision="approve", payload={"approved": True, "note": "fine"})
        assert good.status_code == 200 and good.json()["status"] == "APPROVED"
        (said,) = [one.text for one in (await reached(house, run_id)).messages if one.role == "assistant"]
        assert "'note': 'fine'" in "".join(said or ())

        run_id, gate = await paused()
        answer = await decide(house, gate, decision="reject", payload={"note": "no"})
        assert answer.json()["status"] == "REJECTED"
        assert (await reached(house, run_id)).gates[0].answer == {
            "payload": {"note": "no", "approved": False}, "decision": "reject"}  # fmt: skip

        run_id, gate = await paused()
        told = response(await proceed(house, "typed", run_id, action="REJECT"), "COMPLETED")
        assert told["content"] == "{'approved': False} REJECT"


async def test_whoever_repeats_his_own_decision_is_told_of_it_and_nobody_else(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, bare=Reviewing().bare) as house:
        ann, bob = [bearer(await give_key(house, principal=one)) for one in ("ann", "bob")]
        run_id = response(await run(house, "bare", headers=ann), "PAUSED")["runId"]
        gate = f"g-{run_id}-0"
        first = await decide(house, gate, decision="approve", headers=bob)
        assert (await decide(house, gate, decision="approve", headers=bob)).json() == first.json()
        for headers, decision in ((ann, "approve"), (bob, "reject")):
            answer = await decide(house, gate, decision=decision, headers=headers)
            problem(answer, 400, "business-validation-error")
        shown = first.json()
    assert (shown["requestedBy"], shown["resolvedBy"]) == ("ann", "bob")


async def test_each_scope_is_asked_for(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, bare=Reviewing().bare) as house:
        ann = bearer(await give_key(house, principal="ann"))
        reads = bearer(await give_key(house, principal="eve", scopes=frozenset({"runs:read"})))
        run_id = response(await run(house, "bare", headers=ann), "PAUSED")["runId"]
        path = f"/operativus/api/agents/bare/runs/{run_id}"
        problem(await run(house, "bare", headers=reads), 403, "forbidden")
        problem(await proceed(house, "bare", run_id, headers=reads, action="APPROVE"), 403, "forbidden")
        problem(await house.client.delete(path, headers=reads), 403, "forbidden")
        assert (await house.client.get(f"{path}/status", headers=reads)).json()["status"] == "PAUSED"


async def test_who_hangs_up_loses_nothing_and_a_gateway_that_stops_tells_where_the_run_is(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agent = Told()
    async with open_house(nats, settings, slow=agent.slow) as house:

        async def waiting(session: str) -> tuple["asyncio.Task[httpx.Response]", str]:
            """A call that is held, and its run."""
            calling = asyncio.create_task(run(house, "slow", sessionId=session))
            async with asyncio.timeout(WAIT_SECONDS):
                while (head := await house.engine.thread_head(session, ME)) is None or not head.messages:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            return calling, head.id

        calling, run_id = await waiting(SESSION)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        calling, other = await waiting(SESSION[:-1] + "1")
        house.gateway.streams.drain()
        told = problem(await calling, 504, "run-still-active")
        assert (told["runId"], told["sessionId"]) == (other, SESSION[:-1] + "1")
        agent.go.set()
        for one in (run_id, other):
            assert (await reached(house, one)).status.value == "completed"


async def test_a_shorter_wait_is_preferred_and_never_a_longer_one(nats: EmbeddedServer, settings: Settings) -> None:
    agent = Told()
    async with open_house(nats, settings.model_copy(update={"sync_wait_seconds": 1}), slow=agent.slow) as house:
        late = await run(house, "slow", headers={"prefer": "wait=0"})
        problem(late, 504, "run-still-active")
        assert late.headers["preference-applied"] == "wait=0"
        capped = await run(house, "slow", headers={"prefer": "respond-async, wait=4000"})
        problem(capped, 504, "run-still-active")
        assert capped.headers["preference-applied"] == "wait=1"
        agent.go.set()
        await reached(house, late.json()["runId"])


async def test_a_run_is_found_by_every_form_of_its_id(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, keep=Told().keep) as house:
        for run_id in ("run_own", "plain id/with slash"):
            start = Start("keep", {"messages": [{"id": "u", "role": "user", "content": "hi"}]}, run_id=run_id)
            await house.engine.start(start, ME, "test")
            await reached(house, run_id)
        forms = {"run_own": "run_own", "run_run_own": "run_own", as_uuid("default", "run_own"): "run_own",
                 "plain%20id%2Fwith%20slash": "plain id/with slash"}  # fmt: skip
        for form, run_id in forms.items():
            assert (await house.client.get(f"/operativus/api/v1/runs/{form}")).json()["id"] == run_id
        for unknown in ("own", "run_", "run_run_", "x"):
            told = problem(await house.client.get(f"/operativus/api/v1/runs/{unknown}"), 404, "resource-not-found")
            assert told["identifier"] == unknown
        batch = "/operativus/api/agents/keep/runs/status?runIds=run_own,%20run_run_own,,x&runIds=run_own"
        assert [one["id"] for one in (await house.client.get(batch)).json()] == ["run_own", "run_own"]
        assert (await house.client.get("/operativus/api/agents/keep/runs/status?runIds=")).json() == []
        problem(await house.client.get("/operativus/api/agents/keep/runs/status"), 400, "invalid-request")


async def test_a_list_has_pages_and_its_first_filter_counts(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, keep=Told().keep, bare=Reviewing().bare) as house:
        ids = [response(await run(house, "keep"), "COMPLETED")["runId"] for _ in range(3)]
        paused = response(await run(house, "bare", sessionId=SESSION), "PAUSED")["runId"]

        async def listed(query: str) -> Json:
            answer = await house.client.get(f"/operativus/api/v1/runs?{query}")
            assert answer.status_code == 200, answer.text
            told: Json = answer.json()
            return told

        page = await listed("agentId=keep&size=2&status=PAUSED&anything=else")
        assert [one["id"] for one in page["content"]] == ids[:0:-1]
        assert [page[name] for name in ("totalElements", "totalPages", "number", "size")] == [3, 2, 0, 2]
        assert [one["id"] for one in (await listed("agentId=keep&size=2&page=1"))["content"]] == ids[:1]
        assert (await listed("page=1000000"))["content"] == []
        (only,) = (await listed(f"sessionId={SESSION}&agentId=keep"))["content"]
        assert only["id"] == paused and "g-" in only["requiredAction"] and not {"input", "output"} & set(only)
        assert [one["id"] for one in (await listed("status=PAUSED"))["content"]] == [paused]
        assert [one["id"] for one in (await listed("status=COMPLETED&sessionId="))["content"]] == ids[::-1]
        (pending,) = (await house.client.get("/operativus/api/v1/approvals/pending")).json()
        assert pending["runId"] == paused and pending["toolName"] is None
        assert (await house.client.get("/operativus/api/v1/approvals/pending?page=1&size=1")).json() == []
