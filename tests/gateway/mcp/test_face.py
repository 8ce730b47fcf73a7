"""The endpoints themselves: who may ask, what may be sent, and how each era and each kind of client is answered."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import ERAS, begun, connected, polled, post, until
from tests.house import House, bearer, give_key, open_house, take_key

pytestmark = pytest.mark.anyio

PATHS = ("/mcp", "/api/mcp", "/cinatra/api/mcp", "/veryfront/mcp")
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
async def house(nats: EmbeddedServer, settings: Settings) -> AsyncIterator[House]:
    async with open_house(nats, settings, **people.ALL) as opened:
        yield opened


async def names(house: House, path: str) -> list[str]:
    return [tool["name"] for tool in (await post(house, "tools/list", {}, path)).json()["result"]["tools"]]


async def test_each_endpoint_serves_its_tools_and_all_have_closed_schemas_titles_and_hints(house: House) -> None:
    cinatra = ["agent_list", "agent_source_list", "agent_source_read", "agent_run", "agent_run_get",
               "agent_run_messages_list", "agent_run_list", "agent_run_resume", "agent_run_stop",
               "agent_runs_stop", "agent_run_trigger_set", "agent_run_trigger_get",
               "agent_run_trigger_delete"]  # fmt: skip
    assert await names(house, "/api/mcp") == await names(house, "/cinatra/api/mcp") == cinatra
    assert await names(house, "/veryfront/mcp") == ["get_agent_run"]
    whole = (await post(house, "tools/list", {})).json()["result"]["tools"]
    agents = [f"run_{name}" for name in sorted(people.ALL)]
    assert [tool["name"] for tool in whole] == [*cinatra, "agent_run_wait", "get_agent_run", *agents]
    for tool in whole:
        assert tool["inputSchema"]["type"] == tool["outputSchema"]["type"] == "object"
        assert tool["inputSchema"]["additionalProperties"] is False, tool["name"]
        assert tool["title"] and tool["description"] and "readOnlyHint" in tool["annotations"]


async def test_agents_are_tools_only_where_the_setting_says_so(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings.model_copy(update={"mcp_agent_tools": False}), **people.ALL) as house:
        assert not any(name.startswith("run_") for name in await names(house, "/mcp"))
        answer = await post(house, "tools/call", {"name": "run_echo", "arguments": {}})
        assert answer.json()["error"]["code"] == -32602


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/*;q=0.5", ACCEPT["accept"]])
async def test_a_bare_call_without_a_session_is_answered_with_json(house: House, accept: str | None) -> None:
    for path in PATHS:
        sent = {"accept": accept} if accept is not None else {}
        request = house.client.build_request("POST", path, json=LIST, headers=sent)
        if accept is None:
            del request.headers["accept"]
        answer = await house.client.send(request)
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        assert answer.json()["result"]["tools"]


async def test_what_is_no_good_request_is_refused_before_any_tool_is_asked(house: House) -> None:
    for path in PATHS:
        for method in ("GET", "DELETE", "PUT"):
            answer = await house.client.request(method, path)
            assert answer.status_code == 405 and "POST" in answer.headers["allow"]
        assert (await house.client.post(path, json=LIST, headers={"accept": "text/html"})).status_code == 406
        assert (await house.client.post(path, content=b"{}", headers={"content-type": "text/plain"})).status_code == 415
        large = b'{"x":"' + b"x" * (2 << 20) + b'"}'
        answer = await house.client.post(path, content=large, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        for body, code in ((b"{", -32700), (b"\xff", -32700), (b"[" * 150 + b"]" * 150, -32600), (b"[]", None),
                           (b"7", None), (b'{"jsonrpc":"2.0"}', None)):  # fmt: skip
            answer = await house.client.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (400, 202), (body[:20], answer.text)
            if code is not None:
                assert answer.json()["error"]["code"] == code


async def test_unknown_tools_methods_and_arguments_are_told_in_the_protocols_words(house: House) -> None:
    unknown = await post(house, "tools/call", {"name": "nope", "arguments": {}})
    assert unknown.json()["error"]["code"] == -32602
    assert (await post(house, "nope/nope", {})).json()["error"]["code"] == -32601
    for arguments in ({}, {"runId": 7}, {"runId": "x", "more": 1}, {"runId": ""}):
        answer = (await post(house, "tools/call", {"name": "agent_run_get", "arguments": arguments})).json()["result"]
        assert answer["isError"] is True and "Traceback" not in str(answer)
        assert ("more" if "more" in arguments else "runId") in answer["content"][0]["text"]


async def test_a_number_that_json_cannot_keep_does_not_break_a_tool(house: House) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"agent_run","arguments":'
    body += b'{"templateId":"echo","inputParams":{"message":"a","n":123456789012345678901234567890}}}}'
    answer = await house.client.post("/mcp", content=body, headers={"content-type": "application/json"})
    assert answer.json()["result"]["structuredContent"]["status"] == "queued"


async def test_without_keys_pages_of_foreign_sites_are_refused_and_with_keys_too(house: House) -> None:
    evil, here = {"origin": "https://evil.example"}, {"origin": "http://localhost:3000"}
    assert (await house.client.post("/mcp", json=LIST, headers=evil)).status_code == 403
    assert (await house.client.post("/mcp", json=LIST, headers={"host": "evil.example"})).status_code == 403
    assert (await house.client.post("/mcp", json=LIST, headers=here)).status_code == 200
    key = bearer(await give_key(house))
    assert (await house.client.post("/mcp", json=LIST, headers=key | evil)).status_code == 403
    assert (await house.client.post("/mcp", json=LIST, headers=key | here)).status_code == 200
    assert (await house.client.post("/mcp", json=LIST, headers=key)).status_code == 200


async def test_every_request_needs_a_credential_that_is_good_now(house: House) -> None:
    token = await give_key(house)
    for path in PATHS:
        for headers in ({}, bearer("wrong"), {"authorization": "Basic x"}):
            answer = await house.client.post(path, json=LIST, headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"] == "unauthorized"
        assert (await house.client.post(path, json=LIST, headers=bearer(token))).status_code == 200
    await take_key(house, token)
    await until(lambda: not house.knows(token))
    assert (await house.client.post("/mcp", json=LIST, headers=bearer(token))).status_code == 401


async def test_a_page_token_of_one_run_is_no_credential_here(house: House) -> None:
    run_id = await begun(house, "echo")
    page = (await house.client.post(f"/v1/runs/{run_id}/token")).json()["token"]
    assert (await house.client.post("/mcp", json=LIST, headers=bearer(page))).status_code == 403


@pytest.mark.parametrize("era", ERAS)
async def test_the_sdks_client_lists_runs_and_polls_in_both_eras(house: House, era: str) -> None:
    async with connected(house, era) as client:
        agents = (await client.call_tool("agent_list", {})).structured_content
        assert [one["id"] for one in agents["items"]] == sorted(people.ALL)
        run = await client.call_tool("agent_run", {"templateId": "echo", "inputParams": {"message": "x"}})
        assert run.meta is not None and run.meta["io.cinatra.render"]["type"] == "agent-run"
        await polled(house, run.structured_content["runId"], "completed")
        assert client.instructions and "agent_run" in client.instructions


async def test_any_replica_answers_any_call(nats: EmbeddedServer, settings: Settings) -> None:
    async with (
        open_house(nats, settings, **people.ALL) as one,
        open_house(nats, settings.model_copy(update={"data": settings.data / "two"}), **people.ALL) as two,
    ):
        run_id = await begun(one, "free")
        await polled(two, run_id, "pending_approval")
        answer = await post(two, "tools/call", {"name": "agent_run_resume", "arguments": {"runId": run_id}})
        assert answer.json()["result"]["structuredContent"]["status"] == "running"
        await polled(one, run_id, "completed")


async def test_a_log_that_is_away_is_503_with_retry_after_and_comes_back(
    nats: EmbeddedServer, settings: Settings
) -> None:
    quick = settings.model_copy(update={"append_timeout_s": 1.0})
    async with open_house(nats, quick, **people.ALL) as house:
        run_id = await begun(house, "echo")
        await polled(house, run_id, "completed")
        port = int(nats.url.rpartition(":")[2])
        await nats.stop()
        try:
            call = {"name": "agent_run_get", "arguments": {"runId": "other"}}
            answers = [await post(house, "tools/call", call, path) for path in ("/api/mcp", "/mcp")]
            answers.append(
                await post(
                    house,
                    "tools/call",
                    {
                        "name": "get_agent_run",
                        "arguments": {"run_id": "other", "conversation_id": "b2f1c0de-1c3e-4f8a-8a55-90d1c6f0e001"},
                    },
                    "/veryfront/mcp",
                )
            )
            for answer in answers:
                assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
                assert "Traceback" not in answer.text
        finally:
            await nats.start(port)
        async with asyncio.timeout(10):
            while (await house.client.get("/readyz")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await post(house, "tools/call", call)).status_code == 200


async def test_a_modern_request_is_held_to_its_envelope(house: House) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list", **ACCEPT}
    body = LIST | {"params": {"_meta": meta}}
    good = await house.client.post("/mcp", json=body, headers=headers)
    told = good.json()["result"]
    assert told["resultType"] == "complete" and told["cacheScope"] == "private" and told["ttlMs"] > 0
    other = await house.client.post("/mcp", json=body, headers=headers | {"mcp-method": "tools/call"})
    assert (other.status_code, other.json()["error"]["code"]) == (400, -32020)
    bare = await house.client.post("/mcp", json=LIST, headers=headers)
    assert (bare.status_code, bare.json()["error"]["code"]) == (400, -32602)


async def test_a_hocket_stops_within_its_time_while_clients_wait(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "silent")
        wait = {"name": "agent_run_wait", "arguments": {"runId": run_id, "seconds": 300}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wait}
        async with httpx.AsyncClient(base_url=house.url, timeout=20) as client:
            waiting = asyncio.create_task(client.post("/mcp", json=body, headers=ACCEPT))
            await until(lambda: house.engine.tails.watched)
            house.gateway.streams.drain()
            told = _frames((await asyncio.wait_for(waiting, 5)).text)
            assert told[-1]["result"]["structuredContent"]["next"].startswith("The run goes on")


def _frames(text: str) -> list[dict[str, dict[str, dict[str, str]]]]:
    if text.startswith("{"):
        return [json.loads(text)]
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
