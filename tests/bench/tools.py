"""MCP: polling a run by a tool, beside the SDK's own bare server that answers the same object."""

import tempfile
import uuid
from pathlib import Path
from typing import Any

import httpx
import orjson

from .figures import Figure
from .ground import Ground, hocket, reference

_ROUNDS = 10
_META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
_HEADERS = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "agent_run_get",
            "accept": "application/json, text/event-stream"}  # fmt: skip


async def mcp(calls: int = 5000) -> list[Figure]:
    """`agent_run_get` of a waiting run in the present era, one call after the other: CPU of the serving process."""

    params = {"name": "agent_run_get", "arguments": {"runId": f"mcp-{uuid.uuid4().hex}"}, "_meta": _META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    async def cost(ground: Ground, number: int) -> tuple[float, Any]:
        async with httpx.AsyncClient(base_url=ground.url, timeout=10, headers=_HEADERS) as client:
            answer = await client.post("/mcp", json=body)
            before = ground.cpu_s(gateway_only=True)
            for _ in range(number):
                await client.post("/mcp", json=body)
            return ground.cpu_s(gateway_only=True) - before, answer.json()["result"]["structuredContent"]

    async with hocket() as ground:
        async with httpx.AsyncClient(base_url=ground.url, timeout=30) as client:
            want = {"agent": "asking", "input": "hi", "run_id": params["arguments"]["runId"]}
            await client.post("/v1/runs", json=want, headers={"prefer": "wait=20"})
        _, told = await cost(ground, 200)
        assert told["status"] == "pending_approval", told
        with tempfile.TemporaryDirectory() as folder:
            constant = Path(folder) / "object.json"
            constant.write_bytes(orjson.dumps(told))
            async with reference("mcp_reference.py", str(constant)) as other:
                assert (await cost(other, 200))[1] == told
                ours = theirs = 0.0
                for _ in range(_ROUNDS):  # in turns, for a shared machine is slower at one time than at another
                    ours += (await cost(ground, calls // _ROUNDS))[0] / calls * 1e3
                    theirs += (await cost(other, calls // _ROUNDS))[0] / calls * 1e3
    condition = f"{calls} calls of agent_run_get on a waiting run, 2026-07-28, CPU of the gateway"
    return [
        Figure("mcp_calls_vs_sdk", theirs / ours, condition + ", calls per CPU-second beside the SDK's bare server",
               "at least 0.8", theirs / ours >= 0.8, f"{ours:.2f} ms a call, the SDK's bare server {theirs:.2f} ms"),
    ]  # fmt: skip
