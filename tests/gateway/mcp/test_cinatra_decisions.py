"""Answering and stopping by Cinatra's tools: what is recorded, of whom, and what comes too late."""

import asyncio
import json
from typing import Any

import pytest

from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import begun, polled, result, told
from tests.house import House, bearer, give_key, open_house
from tests.runtime.stage import events

pytestmark = pytest.mark.anyio
NOTE = "[Approved by operator]"

GIVEN: list[tuple[dict[str, Any], Any, str]] = [
    ({"userResponse": '{"a": 1}'}, {"a": 1}, '{"a": 1}'),
    ({"userResponse": "just words", "approvalNote": "not this"}, "just words", "just words"),
    ({"userResponse": "7"}, "7", "7"),
    ({"approvalNote": " fine "}, {"approved": True, "note": "fine"}, "fine"),
    ({}, {"approved": True, "note": NOTE}, NOTE),
]


@pytest.mark.parametrize(("given", "payload", "text"), GIVEN)
async def test_the_agent_gets_the_response_else_the_note_else_the_operators_approval(
    nats: EmbeddedServer, settings: Settings, given: dict[str, Any], payload: Any, text: str
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "free")
        await polled(house, run_id, "pending_approval")
        assert await told(house, "agent_run_resume", runId=run_id, **given) == {
            "runId": run_id, "status": "running", "message": "resumed"}  # fmt: skip
        run = await polled(house, run_id, "completed")
        assert json.loads(run["streamedText"]) == {"payload": payload, "text": text}


async def test_at_a_question_the_record_has_renderer_schema_and_task_and_an_answer_that_breaks_it_leaves_it_open(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "review")
        run = await polled(house, run_id, "pending_approval")
        assert run["hitlContext"] == {
            "xRenderer": "acme:review", "childRunId": None, "reviewTaskId": f"g-{run_id}-0",
            "inputSchema": people.REVIEW, "currentValues": {"amount": 120}, "expiresAt": None}  # fmt: skip
        refused = await told(house, "agent_run_resume", runId=run_id, userResponse='{"approved":"yes"}')
        assert "/approved" in refused["error"]
        deep = await told(house, "agent_run_resume", runId=run_id, userResponse="[" * 200 + "]" * 200)
        assert "nested deeper" in deep["error"]
        assert (await told(house, "agent_run_get", runId=run_id))["status"] == "pending_approval"
        await told(house, "agent_run_resume", runId=run_id, userResponse='{"approved":false}')
        assert (await polled(house, run_id, "completed"))["hitlContext"] is None


async def test_a_second_answer_is_an_ordinary_error_that_names_the_status_and_one_is_recorded(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "free")
        queued = await told(house, "agent_run_resume", runId=await begun(house, "silent"))
        assert "queued" in queued["error"] or "running" in queued["error"]
        await polled(house, run_id, "pending_approval")
        answers = await asyncio.gather(*(told(house, "agent_run_resume", runId=run_id) for _ in range(20)))
        assert sum("error" not in one for one in answers) == 1
        await polled(house, run_id, "completed")
        late = await told(house, "agent_run_resume", runId=run_id, reviewTaskId=f"g-{run_id}-0")
        assert "completed" in late["error"] and "by Development through mcp" in late["error"]
        assert [event["type"] for event in await events(log, run_id)].count("ask.resume") == 1


async def test_of_several_questions_each_is_answered_by_its_task(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "both")
        run = await polled(house, run_id, "pending_approval")
        first, second = (one["reviewTaskId"] for one in run["hitlContexts"])
        assert first in (await told(house, "agent_run_resume", runId=run_id))["error"]
        strange = await told(house, "agent_run_resume", runId=run_id, reviewTaskId="g-x-0")
        assert "has no interrupt" in strange["error"]
        half = await told(house, "agent_run_resume", runId=run_id, reviewTaskId=second, userResponse="2")
        assert half["status"] == "pending_approval"
        await told(house, "agent_run_resume", runId=run_id, userResponse="1")
        assert json.loads((await polled(house, run_id, "completed"))["streamedText"]) == ["1", "2"]


async def test_a_run_is_stopped_at_once_whatever_it_does_and_a_repeat_changes_nothing(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        for agent, status in (("silent", "running"), ("free", "pending_approval")):
            run_id = await begun(house, agent)
            await polled(house, run_id, status)
            stopped = await told(house, "agent_run_stop", runId=run_id)
            assert (stopped["runId"], stopped["status"]) == (run_id, "stopped")
            before = len(await events(log, run_id))
            again = await told(house, "agent_run_stop", runId=run_id)
            assert again["status"] == "stopped" and len(await events(log, run_id)) == before
            run = await told(house, "agent_run_get", runId=run_id)
            assert run["status"] == "stopped" and run["audit"]["stoppedBy"]["id"] == "development"
        done = await begun(house, "echo")
        await polled(house, done, "completed")
        assert (await told(house, "agent_run_stop", runId=done))["status"] == "completed"


async def test_all_active_runs_of_an_agent_are_stopped_and_none_of_another(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        mine = [await begun(house, "silent") for _ in range(5)]
        other, ended = await begun(house, "free"), await begun(house, "echo")
        await polled(house, ended, "completed")
        for run_id in mine:
            await polled(house, run_id, "running")
        assert await told(house, "agent_runs_stop", templateId="silent") == {
            "stopped": 5, "alreadyTerminal": 0, "total": 5}  # fmt: skip
        several = [ended, mine[0], "no", other, other]
        assert await told(house, "agent_runs_stop", templateId="nobody", runIds=several) == {
            "stopped": 1, "alreadyTerminal": 2, "total": 3}  # fmt: skip
        assert "one of" in (await told(house, "agent_runs_stop"))["error"]
        for run_id in (*mine, other):
            assert (await told(house, "agent_run_get", runId=run_id))["status"] == "stopped"


async def as_one(house: House, token: str, name: str, **arguments: Any) -> dict[str, Any]:
    answer = await result(house, name, arguments, **bearer(token))
    structured: dict[str, Any] = answer["structuredContent"]
    return structured


async def test_who_asked_and_who_answered_come_from_credentials_and_other_tenants_see_nothing(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        ada = await give_key(house, tenant="acme", principal="ada", kind="user")
        bot = await give_key(house, tenant="acme", principal="bot", kind="service")
        eve = await give_key(house, tenant="evil", principal="eve")
        reader = await give_key(house, tenant="acme", principal="reader", scopes=["runs:read"])
        claims = {"message": "hi", "userId": "mallory", "runBy": "mallory"}
        run_id = (await as_one(house, ada, "agent_run", templateId="free", inputParams=claims))["runId"]
        waited = await result(house, "agent_run_wait", {"runId": run_id}, **bearer(ada))
        assert waited["structuredContent"]["status"] == "pending_approval"
        for name in ("agent_run_get", "agent_run_resume", "agent_run_stop", "agent_run_messages_list"):
            assert await as_one(house, eve, name, runId=run_id) == {"error": f"Run not found: {run_id}"}
        assert (await as_one(house, eve, "agent_run_list"))["total"] == 0
        assert (await as_one(house, eve, "agent_runs_stop", runIds=[run_id]))["total"] == 0
        denied = {"error": "Run access denied."}
        assert await as_one(house, reader, "agent_run_resume", runId=run_id) == denied
        assert await as_one(house, reader, "agent_run_stop", runId=run_id) == denied
        assert await as_one(house, reader, "agent_run", templateId="free") == denied
        await as_one(house, bot, "agent_run_resume", runId=run_id, userResponse='{"by":"mallory"}')
        audit = (await as_one(house, ada, "agent_run_get", runId=run_id))["audit"]
        assert audit["startedBy"] == {"id": "ada", "kind": "user", "clientId": None}
        (resumed,) = audit["resumedBy"]
        assert (resumed["id"], resumed["kind"], resumed["dialect"]) == ("bot", "service", "mcp")
        assert audit["summary"] == "started by ada, resumed by bot"
