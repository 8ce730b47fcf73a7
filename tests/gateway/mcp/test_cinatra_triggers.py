"""Setting, looking at and deleting triggers, and the runs that they start, as a client of Cinatra's tools does."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import begun, polled, result, told
from tests.house import WAIT_SECONDS, House, bearer, give_key, now_ms, open_house

pytestmark = pytest.mark.anyio

SET, GET, DELETE = (f"agent_run_trigger_{verb}" for verb in ("set", "get", "delete"))
WORKDAYS = {"triggerType": "recurring", "cronExpression": "0 7 * * 1-5", "timezone": "Europe/Berlin"}


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def null(house: House, **target: str) -> bool:
    """Whether the target is told to have no trigger."""
    answer = await house.client.post("/api/mcp", json={
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": GET, "arguments": target}})  # fmt: skip
    given = answer.json()["result"]
    return bool(given["content"][0]["text"] == "null" and given["structuredContent"] == {})


async def fired(house: House, before: str | None = None, **target: str) -> dict[str, Any]:
    """The trigger once it has started a run, or another one."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            trigger = await told(house, GET, **target)
            if trigger["lastRunId"] not in (None, before):
                return trigger
            await asyncio.sleep(0.02)


async def test_a_trigger_is_set_seen_replaced_and_deleted(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        assert await null(house, templateId="echo")
        made = await told(house, SET, templateId="echo", inputParams={"message": "hi"}, **WORKDAYS)
        assert made == {"runId": None, "templateId": "echo", "triggerId": made["triggerId"],
                        "jobSchedulerId": f"trigger-release-{made['triggerId']}"}  # fmt: skip
        first = await told(house, GET, packageName="echo")
        assert first == {
            "runId": None, "templateId": "echo", "triggerId": made["triggerId"], "triggerType": "recurring",
            "scheduledAt": None, "cronExpression": "0 7 * * 1-5", "timezone": "Europe/Berlin", "event": None,
            "enabled": True, "releasedAt": None, "lastRunId": None, "createdAt": first["createdAt"],
            "updatedAt": first["createdAt"],
        }  # fmt: skip
        due = "2099-01-01T00:00:00.000Z"
        again = await told(house, SET, packageName="echo", triggerType="scheduled", scheduledAt=due, enabled=False)
        assert again == made | {"jobSchedulerId": None}
        second = await told(house, GET, templateId="echo")
        assert (second["scheduledAt"], second["cronExpression"], second["enabled"]) == (due, None, False)
        assert second["createdAt"] == first["createdAt"] < second["updatedAt"]
        listed = (await house.client.get("/v1/triggers")).json()["triggers"]
        assert [(one["id"], one["kind"], one["catch_up"]) for one in listed] == [(made["triggerId"], "at", "last")]
        for _ in range(2):
            assert await told(house, DELETE, templateId="echo") == {"ok": True}
        assert await null(house, templateId="echo") and await null(house, packageName="echo")


async def test_each_target_has_a_trigger_of_its_own(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "echo")
        targets = ({"templateId": "echo"}, {"templateId": "review"}, {"runId": run_id})
        made = [await told(house, SET, **target, **WORKDAYS) for target in targets]
        assert len({one["triggerId"] for one in made}) == 3
        assert [(one["runId"], one["templateId"]) for one in made] == [
            (None, "echo"), (None, "review"), (run_id, "echo"),
        ]  # fmt: skip
        await told(house, DELETE, templateId="echo")
        assert await null(house, templateId="echo") and (await told(house, GET, runId=run_id))["runId"] == run_id


async def test_at_once_it_starts_a_run_in_the_name_of_who_set_it(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        target = {"templateId": "echo"}
        made = await told(house, SET, **target, inputParams='{"message":"now"}', triggerType="immediate")
        assert made["jobSchedulerId"] is None
        trigger = await fired(house, **target)
        run = await polled(house, trigger["lastRunId"], "completed")
        assert (run["streamedText"], run["inputParams"]) == ("You said now", {"message": "now"})
        assert (run["sourceType"], run["sourceId"]) == ("trigger", made["triggerId"])
        assert run["audit"]["startedBy"] == {"id": "development", "kind": "trigger", "clientId": None}
        assert trigger["releasedAt"] >= trigger["createdAt"] and trigger["triggerType"] == "immediate"
        await told(house, SET, **target, **WORKDAYS)
        replaced = await told(house, GET, **target)
        assert (replaced["releasedAt"], replaced["lastRunId"]) == (None, trigger["lastRunId"])


async def test_a_run_is_the_template_of_its_triggers_runs_which_have_threads_of_their_own(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        before = {"agent": "echo", "input": "earlier", "thread_id": "t1", "run_id": "earlier"}
        await house.client.post("/v1/runs", json=before, headers={"prefer": "wait=5"})
        want = {"agent": "echo", "input": "again", "thread_id": "t1", "run_id": "r1", "state": {"n": 1}}
        await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5"})
        timed = await told(house, "agent_run", templateId="echo", inputParams={"message": "on time"}, timeoutSeconds=60)
        await told(house, SET, runId="r1", triggerType="immediate")
        await told(house, SET, runId=timed["runId"], triggerType="scheduled", scheduledAt=soon(0.3))
        run = await polled(house, (await fired(house, runId="r1"))["lastRunId"], "completed")
        assert (run["templateId"], run["streamedText"], run["timeoutSeconds"]) == ("echo", "You said again", None)
        assert run["a2aContextId"] != "t1"
        shown = (await house.client.get(f"/v1/runs/{run['id']}?include=messages,state")).json()
        assert shown["messages"][0]["content"] == "again" and shown["state"] == {"n": 1}
        run = await polled(house, (await fired(house, runId=timed["runId"]))["lastRunId"], "completed")
        assert (run["timeoutSeconds"], run["inputParams"]) == (60, {"message": "on time"})
        assert (await told(house, "agent_run_get", runId="r1"))["status"] == "completed"


async def test_what_is_told_under_a_subject_starts_a_run_with_the_event_in_its_inputs(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        event = {"subject": "orders.*"}
        await told(house, SET, templateId="echo", inputParams={"n": 1}, triggerType="event", event=event)
        assert (await told(house, GET, templateId="echo"))["event"] == event
        assert (await house.client.post("/v1/events/orders.new", json={"order": 7})).status_code == 202
        trigger = await fired(house, templateId="echo")
        run = await polled(house, trigger["lastRunId"], "completed")
        assert run["inputParams"] == {"n": 1, "event": {"subject": "orders.new", "data": {"order": 7}}}
        assert trigger["releasedAt"] is not None and (await told(house, "agent_run_list"))["total"] == 1


async def test_another_agents_run_that_is_stopped_starts_one_run(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        event = {"agent": "silent", "statuses": ["stopped", "pending_approval"]}
        params = {"message": "seen"}
        await told(house, SET, packageName="echo", inputParams=params, triggerType="event", event=event)
        assert (await told(house, GET, packageName="echo"))["event"] == event
        run_id = await begun(house, "silent")
        await told(house, "agent_run_stop", runId=run_id)
        run = await polled(house, (await fired(house, packageName="echo"))["lastRunId"], "completed")
        seen = run["inputParams"]["event"]
        assert (seen["agent"], seen["runId"], seen["status"]) == ("silent", run_id, "cancelled")


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "exactly one of runId and templateId and packageName"),
    ({"templateId": "echo", "packageName": "echo"}, "exactly one"),
    ({"templateId": "echo", "triggerType": "scheduled"}, "scheduledAt: needed with triggerType scheduled"),
    ({"templateId": "echo", "cronExpression": "* * * * *"}, "cronExpression: needed with triggerType recurring"),
    ({"templateId": "echo", "triggerType": "event"}, "event: needed"),
    ({"templateId": "echo", "triggerType": "scheduled", "scheduledAt": "2020-01-01T00:00:00Z"}, "scheduledAt: must be"),
    ({"templateId": "echo", "triggerType": "recurring", "cronExpression": "0 25 * * *"}, "cronExpression: '0 25"),
    ({"templateId": "echo", "timezone": "Mars/Base"}, "timezone: 'Mars/Base'"),
    ({"templateId": "echo", "triggerType": "event", "event": {"subject": ">"}}, "event.subject"),
    ({"templateId": "echo", "triggerType": "event", "event": {}}, "either a subject, or an agent"),
    ({"templateId": "echo", "triggerType": "event", "event": {"agent": "echo"}}, "with statuses"),
    ({"templateId": "echo", "inputParams": "{"}, "inputParams"),
    ({"templateId": "echo", "inputParams": {"message": "x" * 70_000}}, "65536"),
    ({"templateId": "ordered", "inputParams": {"amount": 0}}, "inputParams"),
    ({"templateId": "nobody"}, "nobody"),
    ({"runId": "nope"}, "Run not found: nope"),
]


@pytest.mark.parametrize(("given", "words"), BAD)
async def test_what_cannot_be_is_an_ordinary_error_that_names_its_field(
    given: dict[str, Any], words: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        answer = await told(house, SET, **{"triggerType": "immediate"} | given)
        assert words in answer["error"], answer
        assert answer.get("code") == ("AGENT_UNAVAILABLE" if "nobody" in words else None)
        assert (await house.client.get("/v1/triggers")).json()["triggers"] == []


async def test_arguments_that_break_the_schema_are_named_and_targets_are_checked_by_each_tool(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        for more, field in (({"triggerType": "never"}, "triggerType"), ({"more": 1}, "more"),
                            ({"scheduledAt": "soon"}, "scheduledAt"), ({"cronExpression": "x" * 257}, "cronExpression"),
                            ({"event": {"agent": "a", "statuses": ["queued"]}}, "statuses"),
                            ({"event": {"agent": "a", "statuses": []}}, "statuses"),
                            ({"event": {"more": 1}}, "event.more"), ({"enabled": None}, "enabled")):  # fmt: skip
            wanted = {"templateId": "echo", "triggerType": "immediate"} | more
            answer = await result(house, SET, wanted)
            assert answer["isError"] is True and field in answer["content"][0]["text"], more
        for tool in (GET, DELETE):
            assert "exactly one" in (await told(house, tool))["error"]
            assert (await result(house, tool, {"templateId": "echo", "more": 1}))["isError"] is True
        assert await told(house, GET, runId="nope") == {"error": "Run not found: nope"}
        assert await told(house, DELETE, runId="nope") == {"ok": True}
        run_id = await begun(house, "echo")
        assert await null(house, runId=run_id)
        with_run = {"runId": run_id, "triggerType": "immediate", "inputParams": {"message": "x"}}
        assert "inputParams" in (await told(house, SET, **with_run))["error"]


async def test_an_agent_that_needs_the_event_is_not_asked_for_it_when_its_trigger_is_set(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def waits_for(run: Any) -> Any:
        yield str(run.input.forwarded_props["event"]["data"])

    schema = {"type": "object", "required": ["event"], "properties": {"event": {}}, "additionalProperties": False}
    waits_for.hocket = {"input_schema": schema}  # type: ignore[attr-defined]
    async with open_house(nats, settings, waiting=waits_for) as house:
        assert "event" in (await told(house, SET, templateId="waiting", triggerType="immediate"))["error"]
        await told(house, SET, templateId="waiting", triggerType="event", event={"subject": "a"})
        await house.client.post("/v1/events/a", json=3)
        run = await polled(house, (await fired(house, templateId="waiting"))["lastRunId"], "completed")
        assert run["streamedText"] == "3"


async def test_a_trigger_is_for_its_owner_or_an_admin_and_another_tenant_sees_none(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        ada = await give_key(house, tenant="acme", principal="ada", kind="user")
        ben = await give_key(house, tenant="acme", principal="ben", kind="user")
        root = await give_key(house, tenant="acme", principal="root", scopes=["admin"])
        reader = await give_key(house, tenant="acme", principal="ada", scopes=["runs:read", "runs:start"])
        eve = await give_key(house, tenant="evil", principal="eve")

        async def as_one(token: str, name: str, **arguments: Any) -> dict[str, Any]:
            answer: dict[str, Any] = (await result(house, name, arguments, **bearer(token)))["structuredContent"]
            return answer

        denied = {"error": "Run access denied."}
        run_id = (await as_one(ada, "agent_run", templateId="echo", inputParams={"message": "x"}))["runId"]
        for target in ({"runId": run_id}, {"templateId": "echo"}):
            assert await as_one(reader, SET, **target, **WORKDAYS) == denied
            made = await as_one(ada, SET, **target, **WORKDAYS)
            assert await as_one(ben, SET, **target, **WORKDAYS) == await as_one(ben, DELETE, **target) == denied
            assert await as_one(reader, DELETE, **target) == denied
            assert (await as_one(ben, GET, **target))["triggerId"] == made["triggerId"]
            assert await as_one(root, SET, **target, **WORKDAYS) == made
            assert await as_one(eve, DELETE, **target) == {"ok": True}
            assert await as_one(root, GET, **target) != {}
        assert await as_one(eve, GET, templateId="echo") == {}
        hidden = {"error": f"Run not found: {run_id}"}
        assert await as_one(eve, GET, runId=run_id) == await as_one(eve, SET, runId=run_id, **WORKDAYS) == hidden
        assert await as_one(ada, DELETE, runId=run_id) == {"ok": True}, "the run is hers, whoever has set its trigger"
        assert await as_one(ada, DELETE, templateId="echo") == denied
        assert await as_one(root, DELETE, templateId="echo") == {"ok": True}


async def test_what_is_disabled_starts_nothing_until_it_is_enabled(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        await told(house, SET, templateId="echo", triggerType="immediate", enabled=False)
        await told(house, SET, templateId="review", triggerType="scheduled", scheduledAt=soon(0.2))
        await told(house, SET, templateId="review", triggerType="scheduled", scheduledAt=soon(0.3), enabled=False)
        await told(house, SET, templateId="ordered", inputParams={"amount": 1}, triggerType="scheduled",
                   scheduledAt=soon(0.5))  # fmt: skip
        await fired(house, templateId="ordered")
        assert [one["templateId"] for one in (await told(house, "agent_run_list"))["items"]] == ["ordered"]
        started = now_ms()
        await told(house, SET, templateId="echo", inputParams={"message": "on"}, triggerType="immediate")
        trigger = await fired(house, templateId="echo")
        assert datetime.fromisoformat(trigger["releasedAt"]).timestamp() * 1000 >= started - 1


async def test_links_lead_to_the_address_that_is_configured(nats: EmbeddedServer, settings: Settings) -> None:
    public = settings.model_copy(update={"public_url": "https://agents.example.com/"})
    async with open_house(nats, public, **people.ALL) as house:
        run_id = await begun(house, "echo")
        for tool in ("agent_run_get", "agent_run_wait"):
            status_url = (await told(house, tool, runId=run_id))["statusUrl"]
            assert status_url == f"https://agents.example.com/agents/status/{run_id}"
