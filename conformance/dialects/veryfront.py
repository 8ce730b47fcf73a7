"""A client of Veryfront's run API, written from its documentation alone: canonical runs, their events, tool results.

It lists nothing: the API has no list of runs.
"""

import json
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import httpx

Json = dict[str, Any]

PREFIX = "/veryfront"
SECONDS = 20.0
TERMINAL = ("RUN_FINISHED", "RUN_ERROR")
NO_CALL = "no-such-call"


class Client:
    """Speaks to a Veryfront at `base_url`; `token` is an API key or a JWT."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        base = base_url.rstrip("/").removesuffix(PREFIX) + PREFIX
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=base, headers=headers, timeout=SECONDS)
        weakref.finalize(self, self.http.close)

    # ── what every run API has ────────────────────────────────────────────────────────────────────────────────

    def start(self, agent: str, text: str) -> str:
        return str(self.begin(agent, text).json()["run"]["run_id"])

    def status(self, run_id: str) -> str:
        """The canonical run's."""
        return str(self.run(run_id)["status"])

    def gate(self, run_id: str) -> str | None:
        """The call that the run waits for."""
        waiting: str | None = self.owned(run_id)["waiting_tool_call_id"]
        return waiting

    def answer(self, run_id: str, payload: Any, gate: str | None = None) -> httpx.Response:
        """A result of that call, or of the one that the run waits for; of the last call that it has made where it waits
        for none."""
        call_id = gate or self.gate(run_id)
        if call_id is None:
            made = [one["event"] for one in self.snapshot(run_id) if one["event"]["type"] == "TOOL_CALL_START"]
            call_id = made[-1]["toolCallId"] if made else NO_CALL
        return self.resume(run_id, call_id, payload)

    def cancel(self, run_id: str) -> httpx.Response:
        return self.http.post(f"/runs/{run_id}/cancel")

    def stream(self, run_id: str, after: int | str | None = None) -> Iterator[tuple[int | None, Json]]:
        """The AG-UI events after that cursor, each with its own where it has one, until the run has ended. Closed early
        it drops the connection."""
        headers = {} if after is None else {"last-event-id": str(after)}
        with self.http.stream("GET", f"{self.place(run_id)}/stream", headers=headers) as answer:
            if answer.status_code != 200:
                answer.read()
            answer.raise_for_status()
            for fields in _heard(answer.iter_lines()):
                event: Json = json.loads(fields["data"])
                yield int(fields["id"]) if "id" in fields else None, event
                if event["type"] in TERMINAL:
                    return

    # ── what is Veryfront's own ───────────────────────────────────────────────────────────────────────────────

    def begin(self, agent: str, text: str, conversation: str | None = None, **more: Any) -> httpx.Response:
        """A start in a conversation, a new one for None. `public_id` and `parent_run_id` go beside the request, all
        else into it."""
        message = {"id": str(uuid.uuid4()), "role": "user", "parts": [{"type": "text", "text": text}]}
        outside = {name: more.pop(name) for name in ("public_id", "parent_run_id") if name in more}
        given = {"messages": [message], **more.pop("input", {})}
        request = {"mode": "agent", "agent_id": agent, "initial_status": "pending", "input": given, **more}
        owner = {"kind": "conversation", "id": conversation or str(uuid.uuid4())}
        return self.http.post("/runs", json={"kind": "agent", "owner": owner, "request": request, **outside})

    def run(self, run_id: str) -> Json:
        """The canonical run."""
        return self._told(self.http.get(f"/runs/{run_id}"))

    def place(self, run_id: str) -> str:
        """The run under its conversation."""
        return f"/conversations/{self.run(run_id)['owner']['id']}/runs/{run_id}"

    def owned(self, run_id: str) -> Json:
        """The run as its conversation has it."""
        return self._told(self.http.get(self.place(run_id)))

    def tool(self, run_id: str) -> Json:
        """The run as the MCP tool get_agent_run tells it."""
        arguments = {"conversation_id": self.run(run_id)["owner"]["id"], "run_id": run_id}
        call = {"name": "get_agent_run", "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        headers = {"accept": "application/json, text/event-stream"}
        told: Json = self._told(self.http.post("/mcp", json=body, headers=headers))["result"]["structuredContent"]
        return told

    def resume(self, run_id: str, call_id: str, result: Any, is_error: bool = False) -> httpx.Response:
        body = {"type": "tool_result", "tool_call_id": call_id, "result": result, "is_error": is_error}
        return self.http.post(f"/runs/{run_id}/resume", json=body)

    def snapshot(self, run_id: str, after: int = 0) -> list[Json]:
        told = self._told(self.http.get(f"{self.place(run_id)}/snapshot", params={"after_event_id": after}))
        found: list[Json] = told["events"]
        return found

    def events(self, run_id: str, after: int = 0, limit: int = 50) -> Json:
        """A page of events."""
        return self._told(self.http.get(f"/runs/{run_id}/events", params={"after_event_id": after, "limit": limit}))

    def _told(self, answer: httpx.Response) -> Json:
        answer.raise_for_status()
        told: Json = answer.json()
        return told


def _heard(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The fields of each frame that has data."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield fields
            fields = {}
        else:
            fields = {}
