"""A question answered inside the call, by the user of a client that shows forms."""

from typing import Any

import mcp_types as types
import pytest

from gateway.mcp.elicitation import questions
from protocol.state import Gate, RunState
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import begun, connected, polled, told
from tests.house import open_house
from tests.runtime.stage import events

pytestmark = pytest.mark.anyio


class User:
    """Answers forms one after the other, and keeps what was asked."""

    def __init__(self, *answers: types.ElicitResult) -> None:
        self._answers = list(answers)
        self.asked: list[Any] = []

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params)
        return self._answers.pop(0)


def accept(**content: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=content)


async def test_the_user_answers_in_the_call_and_the_run_goes_on_to_its_end(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    user = User(accept(approved=True))
    async with (
        open_house(nats, settings, **people.ALL) as house,
        connected(house, "auto", elicitation_callback=user) as client,
    ):
        run = (await client.call_tool("run_review", {"message": "hi"})).structured_content
        assert run["status"] == "completed" and '"approved": true' in run["output"]
        (asked,) = user.asked
        assert asked.message == "OK?" and asked.requested_schema["properties"] == {"approved": {"type": "boolean"}}
        kinds = [event["type"] for event in await events(log, run["runId"])]
        assert kinds.count("ask.start") == kinds.count("ask.resume") == 1
        assert (await told(house, "agent_run_list"))["total"] == 1
        audit = (await told(house, "agent_run_get", runId=run["runId"]))["audit"]
        assert audit["resumedBy"][0]["dialect"] == "mcp"


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_what_the_user_declines_decides_nothing_and_the_run_waits_on(
    nats: EmbeddedServer, settings: Settings, action: Any
) -> None:
    user = User(types.ElicitResult(action=action))
    async with (
        open_house(nats, settings, **people.ALL) as house,
        connected(house, "auto", elicitation_callback=user) as client,
    ):
        run_id = await begun(house, "review")
        run = (await client.call_tool("agent_run_wait", {"runId": run_id})).structured_content
        assert run["status"] == "pending_approval" and len(user.asked) == 1
        assert (await polled(house, run_id, "pending_approval"))["audit"]["resumedBy"] == []


async def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reason(
    nats: EmbeddedServer, settings: Settings
) -> None:
    user = User(accept(approved="perhaps"), accept(approved=False))
    async with (
        open_house(nats, settings, **people.ALL) as house,
        connected(house, "auto", elicitation_callback=user) as client,
    ):
        run = (await client.call_tool("run_review", {"message": "hi"})).structured_content
        assert run["status"] == "completed" and '"approved": false' in run["output"]
        assert "does not fit" in user.asked[1].message


async def test_where_somebody_else_was_faster_the_call_tells_how_the_run_stands(
    nats: EmbeddedServer, settings: Settings, log: Log
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "review")

        async def late(context: Any, params: Any) -> types.ElicitResult:
            await told(house, "agent_run_resume", runId=run_id)
            return accept(approved=False)

        async with connected(house, "auto", elicitation_callback=late) as client:
            run = (await client.call_tool("agent_run_wait", {"runId": run_id})).structured_content
        assert run["status"] == "completed" and "operator" in run["output"]
        assert [event["type"] for event in await events(log, run_id)].count("ask.resume") == 1


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_a_client_that_shows_no_forms_gets_the_plain_waiting_run(
    nats: EmbeddedServer, settings: Settings, era: str
) -> None:
    async with open_house(nats, settings, **people.ALL) as house, connected(house, era) as client:
        run = (await client.call_tool("run_review", {"message": "hi"})).structured_content
        assert run["status"] == "pending_approval" and run["hitlContext"]["reviewTaskId"]


async def test_a_request_state_of_another_agents_run_is_refused(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "free")
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}  # fmt: skip
        params = {"name": "run_review", "arguments": {"message": "x"}, "requestState": run_id, "_meta": meta}
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "run_review",
                   "accept": "application/json, text/event-stream"}  # fmt: skip
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = (await house.client.post("/mcp", json=body, headers=headers)).json()["result"]
        assert answer["isError"] and "requestState" in answer["content"][0]["text"]
        assert (await told(house, "agent_run_list"))["total"] == 1


def waiting_with(**interrupt: Any) -> RunState:
    return RunState(id="r", gates=[Gate("g-r-0", {"id": "i", "reason": "input_required", **interrupt}, 1, 1)])


@pytest.mark.parametrize("schema", [
    {"type": "object", "properties": {"a": {"type": "object"}}},
    {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
    {"type": "object", "properties": {}},
    {"type": "string"},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
    {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}]},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}},
])  # fmt: skip
def test_a_schema_that_is_not_flat_is_no_form(schema: Any) -> None:
    assert questions(waiting_with(responseSchema=schema)) == {}


def test_a_question_without_a_schema_is_a_form_where_it_asks_for_a_decision() -> None:
    assert questions(waiting_with()) == {}
    (asked,) = questions(waiting_with(reason="confirmation")).values()
    assert asked.params.requested_schema["required"] == ["approved"]  # type: ignore[union-attr]


def test_a_form_begins_with_the_questions_own_values() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "pattern": "x"}}}
    (asked,) = questions(waiting_with(responseSchema=schema, metadata={"values": {"n": 3}})).values()
    assert asked.params.requested_schema["properties"] == {"n": {"type": "integer", "minimum": 1, "default": 3}}  # type: ignore[union-attr]
