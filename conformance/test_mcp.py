"""hocket's own MCP face with the clients that people use: the SDK's of both eras, and the Inspector."""

import asyncio
from typing import Any

import httpx
import jsonschema
import mcp_types as types
import pytest
from mcp import MCPError
from mcp.client.client import Client

from conformance.mcp_clients import ERAS, begin, inspect, polled, post, result, told, with_sdk

ENDLESS = 5.0


@pytest.mark.requirement("mcp.sdk", "CIN-001")
@pytest.mark.parametrize("era", ERAS)
def test_the_sdks_client_plays_the_life_of_a_run(era: str, base_url: str) -> None:
    async def live(client: Client) -> None:
        async def call(tool: str, **arguments: Any) -> Any:
            answer = await client.call_tool(tool, arguments)
            assert not answer.is_error, answer.content
            return answer.structured_content

        assert any(one["id"] == "reviewing" for one in (await call("agent_list", limit=200))["items"])
        assert (await call("agent_source_read", packageName="reviewing"))["content"]["name"] == "reviewing"
        run_id = (await call("agent_run", templateId="reviewing", inputParams={"message": "x"}))["runId"]
        assert (await call("agent_run_wait", runId=run_id))["status"] == "pending_approval"
        run = await call("agent_run_get", runId=run_id)
        assert run["hitlContext"]["xRenderer"] == "acme:review"
        await call("agent_run_resume", runId=run_id, userResponse='{"approved":true}')
        assert (await call("agent_run_wait", runId=run_id))["status"] == "completed"
        items = (await call("agent_run_messages_list", runId=run_id, messageType="final"))["items"]
        assert len(items) == 1 and "approved" in items[0]["body"]
        assert run_id in [one["id"] for one in (await call("agent_run_list", templateId="reviewing"))["items"]]
        stopped = (await call("agent_run", templateId="endless", inputParams={"message": "x"}))["runId"]
        assert (await call("agent_run_stop", runId=stopped))["status"] == "stopped"
        thread = (await call("agent_run_get", runId=run_id))["a2aContextId"]
        assert (await call("get_agent_run", conversation_id=thread, run_id=run_id))["status"] == "completed"

    with_sdk(base_url, era, live)


@pytest.mark.requirement("mcp.inspector", "CIN-001")
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_the_inspector_starts_answers_and_reads_a_run(era: str, base_url: str) -> None:
    def call(tool: str, **arguments: Any) -> Any:
        shown = inspect(base_url, era, tool, arguments)
        assert shown["exit"] == 0, shown
        return shown["structuredContent"]

    run_id = call("agent_run", templateId="reviewing", inputParams={"message": "x"})["runId"]
    assert call("agent_run_wait", runId=run_id)["status"] == "pending_approval"
    assert call("agent_run_resume", runId=run_id, approvalNote="fine")["status"] == "running"
    assert call("agent_run_wait", runId=run_id)["status"] == "completed"
    assert call("agent_run_get", runId=run_id)["status"] == "completed"
    assert inspect(base_url, era, "agent_run_get", {"more": 1})["exit"] == 5


@pytest.mark.requirement("mcp.schemas")
@pytest.mark.parametrize("era", ERAS)
def test_every_tool_says_what_it_is_and_its_answers_satisfy_its_schema(
    era: str, base_url: str, http: httpx.Client
) -> None:
    tools = with_sdk(base_url, era, lambda client: client.list_tools()).tools
    schemas = {tool.name: tool.output_schema for tool in tools}
    for tool in tools:
        assert tool.title and tool.description and tool.annotations is not None
        assert tool.input_schema["additionalProperties"] is False and tool.output_schema["type"] == "object"
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
    run_id = begin(http, "twofold", message="x")
    polled(http, run_id, "pending_approval")
    for name, arguments in (("agent_list", {}), ("agent_source_list", {}),
                            ("agent_source_read", {"packageName": "plain"}),
                            ("agent_run_get", {"runId": run_id}), ("agent_run_get", {"runId": "nope"}),
                            ("agent_run_messages_list", {"runId": run_id}), ("agent_run_list", {"limit": 3}),
                            ("agent_run_wait", {"runId": run_id}), ("agent_run_stop", {"runId": run_id}),
                            ("agent_run_resume", {"runId": run_id}), ("agent_runs_stop", {"runIds": []})):  # fmt: skip
        jsonschema.validate(told(http, name, "/mcp", **arguments), schemas[name])


@pytest.mark.requirement("mcp.wait", "mcp.agent-tools")
@pytest.mark.parametrize("era", ERAS)
def test_an_agents_tool_tells_of_progress_and_answers_with_what_it_came_to(
    era: str, base_url: str, http: httpx.Client, name: str
) -> None:
    heard: list[str] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")
        if len(heard) == 1:  # the run goes on once somebody has heard of it
            await asyncio.to_thread(begin, http, "release", message=name)

    async def call(client: Client) -> Any:
        run_id = await asyncio.to_thread(begin, http, "held", gate=name)
        return await client.call_tool("agent_run_wait", {"runId": run_id}, progress_callback=progress)

    run = with_sdk(base_url, era, call).structured_content
    assert run["status"] == "completed" and run["output"].endswith("The end.") and heard
    answer = with_sdk(base_url, era, lambda client: client.call_tool("run_plain", {"message": "hello"}))
    assert answer.structured_content["output"].startswith("You said: hello")
    assert answer.content[1].uri.endswith(f"/{answer.structured_content['runId']}/transcript")


@pytest.mark.requirement("mcp.dropped")
@pytest.mark.parametrize("era", ERAS)
def test_a_dropped_wait_ends_no_run(era: str, base_url: str, http: httpx.Client, name: str) -> None:
    run_id = begin(http, "silent_at_first", gate=name, message="x")
    polled(http, run_id, "running")

    async def leave(client: Client) -> None:
        waiting = asyncio.create_task(client.call_tool("agent_run_wait", {"runId": run_id}))
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    with_sdk(base_url, era, leave)
    assert told(http, "agent_run_get", runId=run_id)["status"] == "running"
    polled(http, begin(http, "release", message=name), "completed")
    again = with_sdk(base_url, era, lambda client: client.call_tool("agent_run_wait", {"runId": run_id}))
    assert again.structured_content["output"] == "At last."


@pytest.mark.requirement("mcp.elicitation")
def test_a_client_that_shows_forms_answers_in_the_call(base_url: str) -> None:
    asked: list[Any] = []

    async def answer(context: Any, params: Any) -> types.ElicitResult:
        asked.append(params)
        return types.ElicitResult(action="accept", content={"approved": True})

    def call(client: Client) -> Any:
        return client.call_tool("run_reviewing", {"message": "x"})

    run = with_sdk(base_url, "auto", call, elicitation_callback=answer).structured_content
    assert run["status"] == "completed" and '"approved": true' in run["output"] and len(asked) == 1
    plain = with_sdk(base_url, "legacy", call, elicitation_callback=answer).structured_content
    assert plain["status"] == "pending_approval" and len(asked) == 1


@pytest.mark.requirement("mcp.resources")
@pytest.mark.parametrize("era", ERAS)
def test_transcripts_and_definitions_are_read(era: str, base_url: str, http: httpx.Client) -> None:
    run_id = begin(http, "plain", message="hello")
    polled(http, run_id, "completed")

    async def read(client: Client) -> None:
        transcript = (await client.read_resource(f"hocket://runs/{run_id}/transcript")).contents[0]
        assert "You said: hello" in transcript.text  # type: ignore[union-attr]
        assert "hocket://agents/plain" in [one.uri for one in (await client.list_resources()).resources]
        with pytest.raises(MCPError) as missing:
            await client.read_resource("hocket://runs/nope/transcript")
        assert missing.value.code == (-32602 if era == "auto" else -32002)

    with_sdk(base_url, era, read)


@pytest.mark.requirement("mcp.origin")
def test_a_page_of_a_foreign_origin_is_refused(http: httpx.Client) -> None:
    for path in ("/mcp", "/api/mcp", "/veryfront/mcp"):
        assert post(http, "tools/list", {}, path, origin="https://evil.example").status_code == 403
    assert not result(http, "agent_list", "/mcp").get("isError")
