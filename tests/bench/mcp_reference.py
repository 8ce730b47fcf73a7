"""The SDK's bare low-level server with one tool that answers a constant object: no log, no run, no credential.

`python mcp_reference.py PORT FILE` serves the object in FILE as `agent_run_get` at `/mcp`, wired as the SDK shows it.
"""

import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import orjson
import uvicorn
from mcp.server.lowlevel import Server

OBJECT = orjson.loads(Path(sys.argv[2]).read_bytes())
SCHEMA = {"type": "object", "properties": {"runId": {"type": "string"}}, "required": ["runId"]}
TOOL = types.Tool(name="agent_run_get", input_schema=SCHEMA, output_schema={"type": "object"})


async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[TOOL], ttl_ms=300_000, cache_scope="public")


async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    text = types.TextContent(type="text", text=orjson.dumps(OBJECT).decode())
    return types.CallToolResult(content=[text], structured_content=OBJECT)


def main() -> None:
    server: Server[Any] = Server(
        "bare", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema={"agent_run_get": SCHEMA}.get
    )
    app = server.streamable_http_app(stateless_http=True)
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, http="httptools", loop="uvloop")


if __name__ == "__main__":
    main()
