"""What can be read: a run's transcript, an agent's definition and its source, and the prompt."""

import json
from typing import Any

import pytest
from mcp import MCPError

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import ERAS, begun, connected, polled, post
from tests.house import bearer, give_key, open_house

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("era", ERAS)
async def test_transcripts_definitions_and_sources_are_read_and_what_is_not_there_is_told_in_the_eras_code(
    nats: EmbeddedServer, settings: Settings, era: str
) -> None:
    async with open_house(nats, settings, **people.ALL) as house, connected(house, era) as client:

        async def read(uri: str) -> Any:
            (contents,) = (await client.read_resource(uri)).contents
            return contents.text  # type: ignore[union-attr]

        run_id = await begun(house, "echo", message="hello")
        await polled(house, run_id, "completed")
        told = json.loads(await read(f"hocket://runs/{run_id}/transcript"))
        assert (told["runId"], told["status"], told["omitted"]) == (run_id, "completed", 0)
        assert [one["role"] for one in told["messages"]] == ["user", "assistant", "tool", "assistant"]
        definition = json.loads(await read("hocket://agents/ordered"))["content"]
        assert definition["name"] == "Orders" and definition["inputSchema"] == people.ORDER
        assert (await read("hocket://agents/ordered/source")).startswith("async def ordered(")
        listed = {one.uri for one in (await client.list_resources()).resources}
        assert {"hocket://agents/ordered/source", "hocket://agents/echo"} <= listed
        assert "hocket://agents/echo/source" not in listed
        assert len((await client.list_resource_templates()).resource_templates) == 3
        for uri in ("hocket://runs/nope/transcript", "hocket://agents/echo/source", "hocket://x", "file:///etc/passwd",
                    "hocket://agents/%FF", "hocket://runs/" + "x" * 500 + "/transcript"):  # fmt: skip
            with pytest.raises(MCPError) as missing:
                await read(uri)
            assert missing.value.code == (-32602 if era == "auto" else -32002)


async def test_a_transcript_of_another_tenant_does_not_exist(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "echo")
        for tenant, there in (("default", True), ("other", False)):
            key = bearer(await give_key(house, tenant=tenant))
            answer = await post(house, "resources/read", {"uri": f"hocket://runs/{run_id}/transcript"}, **key)
            assert ("result" in answer.json()) is there
        no = bearer(await give_key(house, scopes=["runs:start"]))
        answer = await post(house, "resources/read", {"uri": f"hocket://runs/{run_id}/transcript"}, **no)
        assert "error" in answer.json()


@pytest.mark.parametrize("era", ERAS)
async def test_the_prompt_says_how_to_run_an_agent(nats: EmbeddedServer, settings: Settings, era: str) -> None:
    async with open_house(nats, settings) as house, connected(house, era) as client:
        (prompt,) = (await client.list_prompts()).prompts
        told = await client.get_prompt(prompt.name, {"agent": "echo", "task": "say hello"})
        assert "echo" in told.messages[0].content.text and "say hello" in told.messages[0].content.text  # type: ignore[union-attr]
        for bad in ({}, {"agent": "echo"}):
            with pytest.raises(MCPError):
                await client.get_prompt(prompt.name, bad)
        with pytest.raises(MCPError):
            await client.get_prompt("nope", {})
