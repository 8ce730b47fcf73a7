"""What each face tells of a run, for tests that care for none of them in particular."""

import httpx

from tests.house import House

JSON_OR_STREAM = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}


async def every_face(house: House, run_id: str, thread_id: str, agent: str) -> dict[str, str]:
    """By the path or tool, the text of the answer about a run that has ended; "wrong: …" where there is none."""
    paths = [
        f"/v1/runs/{run_id}?include=state,messages,steps", "/v1/runs", f"/v1/threads/{thread_id}/messages",
        f"/v1/runs/{run_id}/audit", f"/a2a/{agent}/tasks/{run_id}",
        f"/a2a/{agent}/tasks?includeArtifacts=true&historyLength=9",
        f"/middesk/v1/runs/{run_id}", "/middesk/v1/runs", f"/arkloop/v1/runs/{run_id}", "/arkloop/v1/runs",
        f"/arkloop/v1/runs/{run_id}/events?follow=false",
        f"/veryfront/runs/{run_id}", f"/veryfront/runs/{run_id}/events",
        f"/operativus/api/v1/runs/{run_id}", "/operativus/api/v1/runs",
        f"/api/agents/runs/{run_id}", f"/agents/status/{run_id}",
        f"/v1/runs/{run_id}/events", f"/middesk/v1/runs/{run_id}/stream",
        f"/arkloop/v1/runs/{run_id}/events?follow=true", f"/operativus/api/v1/runs/{run_id}/events",
        f"/api/agents/runs/{run_id}/stream",
    ]  # fmt: skip
    told = {}
    for path in paths:
        try:
            answer = await house.client.get(path, headers={"a2a-version": "1.0"} if path.startswith("/a2a") else {})
        except httpx.TimeoutException:
            told[path] = "wrong: it does not end"
            continue
        told[path] = answer.text if answer.status_code == 200 else f"wrong: {answer.status_code} {answer.text}"
    for tool in ("agent_run_get", "agent_run_messages_list"):
        call = {"name": tool, "arguments": {"runId": run_id}}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = await house.client.post("/mcp", json=asked, headers=JSON_OR_STREAM)
        right = answer.is_success and '"error":{' not in answer.text[:60]
        told[tool] = answer.text if right else f"wrong: {answer.text}"
    return told
