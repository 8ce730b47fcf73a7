"""Veryfront's tool: the same 31 keys at every status, for runs of any client, and one error for what there is not."""

import uuid
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from gateway.auth import DEVELOPMENT
from gateway.dialects.veryfront_object import run_object
from gateway.mcp.veryfront import GIVES, TAKES
from protocol.state import Status
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import begun, polled, post, result, told
from tests.house import House, agui_input, bearer, give_key, open_house

pytestmark = pytest.mark.anyio
SCHEMAS = Path(__file__).parents[3] / "conformance" / "veryfront"
PATH = "/veryfront/mcp"


async def got(house: House, run_id: str, conversation_id: str | None = None, **headers: str) -> dict[str, Any]:
    if conversation_id is None:
        conversation_id = (await house.engine.state(run_id, DEVELOPMENT)).thread_id
    answer = await result(
        house, "get_agent_run", {"conversation_id": conversation_id, "run_id": run_id}, PATH, **headers
    )
    assert answer.get("isError") or len(answer["structuredContent"]) == 31
    return answer


async def test_both_schemas_are_the_contracts_own(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings) as house:
        (tool,) = (await post(house, "tools/list", {}, PATH)).json()["result"]["tools"]
    for name, own in (("input", TAKES), ("output", GIVES)):
        given = orjson.loads((SCHEMAS / f"get_agent_run.{name}.schema.json").read_bytes())
        assert tool[f"{name}Schema"] == given == own


async def test_the_object_is_whole_at_all_six_statuses_and_waiting_and_failing_are_told_by_their_keys_alone(
    nats: EmbeddedServer, settings: Settings
) -> None:
    schema = orjson.loads((SCHEMAS / "get_agent_run.output.schema.json").read_bytes())
    async with open_house(nats, settings, **people.ALL) as house:
        seen = {}
        for agent, reached in (("silent", "running"), ("free", "pending_approval"), ("echo", "completed"),
                               ("failing", "failed")):  # fmt: skip
            run_id = await begun(house, agent)
            await polled(house, run_id, reached)
            one = (await got(house, run_id))["structuredContent"]
            seen[one["status"]] = one
        stopped = await begun(house, "free")
        await polled(house, stopped, "pending_approval")
        await told(house, "agent_run_stop", runId=stopped)
        seen["cancelled"] = (await got(house, stopped))["structuredContent"]
        queued = await house.engine.state(stopped, DEVELOPMENT)
        queued.status, queued.started_at_ms = Status.QUEUED, None
        seen["pending"] = run_object(queued)
        for status, one in seen.items():
            jsonschema_rs.validate(schema, one)
            assert one["status"] == status
            waits = [isinstance(one[name], str) for name in ("waiting_tool_call_id", "waiting_tool_name")]
            fails = [isinstance(one[name], str) for name in ("terminal_error_code", "terminal_error_message")]
            assert waits == [status == "waiting_for_tool"] * 2 and fails == [status == "failed"] * 2
        assert set(seen) == {"pending", "running", "waiting_for_tool", "completed", "failed", "cancelled"}
        assert seen["failed"]["terminal_error_code"] == "agent_error"
        assert seen["completed"]["handoff_message_id"] and seen["completed"]["message_id"]


@pytest.mark.parametrize("spoilt", [lambda one: one.pop("worker_key"), lambda one: one.update(more=1),
                                    lambda one: one["run_snapshot"].pop("source")])  # fmt: skip
async def test_a_key_too_many_or_too_few_does_not_pass(nats: EmbeddedServer, settings: Settings, spoilt: Any) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "echo")
        one = (await got(house, run_id))["structuredContent"]
    spoilt(one)
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(GIVES, one)


async def test_a_question_in_a_tool_call_is_told_by_the_calls_own_name(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def mailing(run: Any) -> Any:
        yield run.tool_call("send_email", {"to": "you"}, id="call_7")
        yield run.interrupt("Send?", name="send", tool_call_id="call_7")

    async with open_house(nats, settings, mailing=mailing) as house:
        run_id = await begun(house, "mailing")
        await polled(house, run_id, "pending_approval")
        one = (await got(house, run_id))["structuredContent"]
        assert (one["waiting_tool_call_id"], one["waiting_tool_name"]) == ("call_7", "send_email")
        assert one["latest_event_id"] == (await house.engine.state(run_id, DEVELOPMENT)).seq


async def test_a_thread_that_is_no_uuid_is_told_as_one_and_both_names_find_it_if_they_may(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        given = agui_input("my thread", "my run")
        await house.client.post("/agui/echo", json=given)
        wrong = await got(house, "my run", str(uuid.uuid4()))
        assert wrong["isError"]
        state = await house.engine.state("my run", DEVELOPMENT)
        name = run_object(state)["conversation_id"]
        assert (await got(house, "my run", name.upper()))["structuredContent"]["conversation_id"] == name
        assert run_object(state)["requested_by_user_id"] == "development"


async def test_bad_arguments_and_unknown_hidden_and_misplaced_runs_are_told_apart_and_no_further(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "echo")
        thread = (await house.engine.state(run_id, DEVELOPMENT)).thread_id
        for arguments, named in (({}, "conversation_id"), ({"conversation_id": thread, "run_id": ""}, "run_id"),
                                 ({"conversation_id": "x", "run_id": "y"}, "conversation_id"),
                                 ({"conversation_id": thread, "run_id": run_id, "more": 1}, "more")):  # fmt: skip
            answer = await result(house, "get_agent_run", arguments, PATH)
            error = orjson.loads(answer["content"][0]["text"])["error"]
            assert answer["isError"] and error["code"] == "INVALID_ARGUMENTS" and named in error["message"]
        key = bearer(await give_key(house, tenant="acme"))
        answers = [await got(house, run_id, thread, **key), await got(house, "nope", thread, **key),
                   await got(house, "x" * 5000, thread, **key)]  # fmt: skip
        assert answers[0] == answers[1] == answers[2] and "RUN_NOT_FOUND" in str(answers[0])
        mine = bearer(await give_key(house))
        assert await got(house, run_id, str(uuid.uuid4()), **mine) == answers[0]
        no = bearer(await give_key(house, scopes=["runs:start"]))
        assert "FORBIDDEN" in str(await got(house, run_id, thread, **no))
