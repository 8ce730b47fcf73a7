"""Waiting for a run: to its end or its question, with progress, over dropped calls; and agents as tools."""

import asyncio
from typing import Any

import httpx
import pytest

from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import ERAS, begun, connected, polled, result, told, until
from tests.house import bearer, give_key, open_house, take_key
from tests.runtime.stage import events

pytestmark = pytest.mark.anyio
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_tells_of_progress_and_answers_with_the_end(
    nats: EmbeddedServer, settings: Settings, era: str
) -> None:
    async with open_house(nats, settings, **people.ALL) as house, connected(house, era) as client:
        heard: list[tuple[float, str]] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            heard.append((done, message or ""))

        run_id = await begun(house, "counting")
        answer = await client.call_tool("agent_run_wait", {"runId": run_id}, progress_callback=progress)
        run = answer.structured_content
        assert (run["status"], run["output"], run["hitlContext"]) == ("completed", "0 1 2 3 4 5 6 7 8 9 ", None)
        assert answer.content[1].uri == f"hocket://runs/{run_id}/transcript"  # type: ignore[union-attr]
        assert heard and sorted(heard) == heard and len({done for done, _ in heard}) == len(heard)
        assert any(message.startswith("0 1") for _, message in heard)


async def test_a_wait_ends_at_a_question_at_its_time_and_at_once_for_what_has_ended(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        asks = await told(house, "agent_run_wait", runId=await begun(house, "review"))
        assert asks["status"] == "pending_approval" and asks["hitlContext"]["inputSchema"] == people.REVIEW
        assert "agent_run_resume" in asks["next"]
        slow = await told(house, "agent_run_wait", runId=await begun(house, "silent"), seconds=1)
        assert slow["status"] in ("queued", "running") and "agent_run_wait" in slow["next"]
        failed = await begun(house, "failing")
        await polled(house, failed, "failed")
        assert "RuntimeError" in (await told(house, "agent_run_wait", runId=failed, seconds=300))["error"]
        for bad in ({"runId": "x"}, {"runId": asks["runId"], "seconds": 0}, {"runId": asks["runId"], "seconds": 301}):
            assert (await result(house, "agent_run_wait", bad))["isError"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_is_dropped_in_mid_wait_loses_nothing_and_is_taken_up_again_by_the_runs_id(
    nats: EmbeddedServer, settings: Settings, log: Log, era: str
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "counting")
        params: dict[str, Any] = {"name": "agent_run_wait", "arguments": {"runId": run_id}}
        headers = dict(ACCEPT)
        if era != "legacy":
            params["_meta"] = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                               "io.modelcontextprotocol/clientCapabilities": {}}  # fmt: skip
            headers |= {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "agent_run_wait"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with httpx.AsyncClient(base_url=house.url) as leaving:
            dropped = asyncio.create_task(leaving.post("/mcp", json=body, headers=headers))
            await until(lambda: house.engine.tails.watched == 1)
            dropped.cancel()
            await asyncio.gather(dropped, return_exceptions=True)
        await until(lambda: house.engine.tails.watched == 0)
        async with connected(house, era) as client:
            again = (await client.call_tool("agent_run_wait", {"runId": run_id})).structured_content
        assert again["output"] == "0 1 2 3 4 5 6 7 8 9 "
        kinds = [event["type"] for event in await events(log, run_id)]
        assert (kinds.count("RUN_STARTED"), kinds.count("RUN_FINISHED")) == (1, 1) and "ask.cancel" not in kinds


async def test_an_agent_is_a_tool_that_starts_a_run_and_waits_for_it(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run = await told(house, "run_echo", message="hello")
        assert (run["status"], run["output"], run["agent"]) == ("completed", "You said hello", "echo")
        assert (await told(house, "agent_run_get", runId=run["runId"]))["sourceType"] == "mcp"
        assert (await told(house, "run_ordered", amount=2))["output"] == '{"amount":2}'
        for tool, bad in (
            ("run_echo", {}),
            ("run_echo", {"message": "x", "more": 1}),
            ("run_ordered", {"amount": "x"}),
        ):
            refused = await result(house, tool, bad)
            assert refused["isError"] and "invalid_request" in refused["content"][0]["text"]
        assert (await told(house, "agent_run_list"))["total"] == 2
        assert (await told(house, "run_review", message="hi"))["status"] == "pending_approval"


async def test_a_credential_that_ends_ends_the_wait_and_not_the_run(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        token = await give_key(house)
        started = await result(house, "agent_run", {"templateId": "counting"}, **bearer(token))
        run_id = started["structuredContent"]["runId"]
        waiting = asyncio.create_task(result(house, "agent_run_wait", {"runId": run_id}, **bearer(token)))
        await until(lambda: house.engine.tails.watched == 1)
        await take_key(house, token)
        answer = await asyncio.wait_for(waiting, 5)
        assert answer["isError"] and "unauthorized" in answer["content"][0]["text"]
        other = bearer(await give_key(house))
        done = await result(house, "agent_run_wait", {"runId": run_id}, **other)
        assert done["structuredContent"]["status"] == "completed"
