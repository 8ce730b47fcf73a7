"""A client of Cinatra's run API as its users write one: tools by a bare POST, and the AG-UI channel."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

Json = dict[str, Any]


class Client:
    """Speaks to Cinatra, or to whatever has its base URL."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=base_url, headers=headers, timeout=20.0)

    def tool(self, name: str, **arguments: Any) -> Json:
        """What a tool answers; a refusal is `{"error": text}` and no exception."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        answer = self.http.post("/api/mcp", json=call).raise_for_status().json()
        told: Json = json.loads(answer["result"]["content"][0]["text"])
        return told

    def start(self, agent: str, text: str) -> str:
        return str(self.tool("agent_run", templateId=agent, inputParams={"message": text})["runId"])

    def status(self, run_id: str) -> str:
        return str(self.tool("agent_run_get", runId=run_id).get("status"))

    def gate(self, run_id: str) -> str | None:
        asked = self.tool("agent_run_get", runId=run_id)["hitlContext"]
        return str(asked["reviewTaskId"]) if asked else None

    def answer(self, run_id: str, payload: Any, gate: str | None = None) -> httpx.Response:
        task = gate or self.gate(run_id) or "none"
        return self.http.post("/api/a2a/resume", json={"reviewTaskId": task, "values": payload})

    def cancel(self, run_id: str) -> None:
        self.tool("agent_run_stop", runId=run_id)

    def listed(self) -> list[str]:
        """All runs, page by page."""
        found: list[str] = []
        page: Json = {"nextCursor": None}
        while "nextCursor" in page:
            more = {"cursor": page["nextCursor"]} if page["nextCursor"] else {}
            page = self.tool("agent_run_list", limit=200, **more)
            found += [run["id"] for run in page["items"]]
        return found

    def stream(self, run_id: str, after: str | None = None) -> Iterator[tuple[str | None, Json]]:
        """Frames with their ids, to the end or until the caller has enough."""
        headers = {"last-event-id": after} if after else {}
        with self.http.stream("GET", "/api/a2a", params={"taskId": run_id}, headers=headers) as answer:
            answer.raise_for_status()
            cursor = None
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    cursor = line[4:]
                elif line.startswith("data: "):
                    yield cursor, json.loads(line[6:])
                    cursor = None
