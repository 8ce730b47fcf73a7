"""What the tests of the MCP face ask with: bare calls as a script sends them, and the SDK's own client of both eras."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jsonschema_rs
import orjson
from mcp.client.client import Client

from tests.house import WAIT_SECONDS, House

ERAS = ("legacy", "auto")
"""The handshake of 2025-11-25, and 2026-07-28, which the server offers and the client takes."""
Json = dict[str, Any]

_schemas: dict[tuple[str, str], Json] = {}


async def post(house: House, method: str, params: Json, path: str = "/mcp", **headers: str) -> httpx.Response:
    """A bare JSON-RPC request, without a session and without an era."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await house.client.post(path, json=body, headers=headers)


async def result(house: House, name: str, arguments: Json, path: str = "/mcp", **headers: str) -> Json:
    """The result of a tool's call. Its object is held to the tool's own schema, and its text to its object."""
    answer = await post(house, "tools/call", {"name": name, "arguments": arguments}, path, **headers)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json", answer.text
    told: Json = answer.json()["result"]
    if "structuredContent" in told:
        jsonschema_rs.validate(await output_schema(house, name, path, **headers), told["structuredContent"])
        shown = orjson.loads(told["content"][0]["text"])
        assert ({} if shown is None else shown) == told["structuredContent"]  # MCP before 2026-07-28 has objects only
    return told


async def told(house: House, name: str, path: str = "/mcp", **arguments: Any) -> Json:
    """The object that a tool answers with."""
    answer = await result(house, name, arguments, path)
    assert not answer.get("isError"), answer
    structured: Json = answer["structuredContent"]
    return structured


async def output_schema(house: House, name: str, path: str = "/mcp", **headers: str) -> Json:
    if (house.url, name) not in _schemas:
        answer = await post(house, "tools/list", {}, path, **headers)
        _schemas.update({(house.url, tool["name"]): tool["outputSchema"] for tool in answer.json()["result"]["tools"]})
    return _schemas[house.url, name]


async def begun(house: House, agent: str, **parameters: Any) -> str:
    """The id of a run that an MCP client has started."""
    parameters = parameters or {"message": "hi"}
    run = await told(house, "agent_run", templateId=agent, inputParams=parameters)
    assert run == {"runId": run["runId"], "status": "queued"}
    return str(run["runId"])


async def polled(house: House, run_id: str, *statuses: str) -> Json:
    """The run once it has one of these statuses, polled as a client does, only faster."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            run = await told(house, "agent_run_get", runId=run_id)
            if run["status"] in statuses:
                return run
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(house: House, era: str, **more: Any) -> AsyncIterator[Client]:
    """The SDK's client in one of the eras."""
    async with Client(f"{house.url}/mcp", mode=era, **more) as client:
        yield client
