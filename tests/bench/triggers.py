"""Triggers that are due at one instant: how long it takes until each has its run, and the run its agent."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import httpx

from .figures import Figure
from .ground import hocket

_AHEAD_SECONDS = 45.0
_AT_ONCE = 50
_WAIT_SECONDS = 60.0


async def triggers(count: int = 5_000) -> list[Figure]:
    """One gateway, one worker and one nats-server, and every trigger due at the same instant."""
    async with hocket() as ground, httpx.AsyncClient(base_url=ground.url, timeout=_WAIT_SECONDS) as client:
        await _set(client, 20, time.time() + 2.0, "warm")
        await asyncio.sleep(4.0)
        due_s = time.time() + _AHEAD_SECONDS
        await _set(client, count, due_s, "due")
        before = ground.cpu_s()
        await asyncio.sleep(max(0.0, due_s - time.time()))
        runs = await _runs(client, count, "due")
        used = ground.cpu_s() - before
    started = sorted(datetime.fromisoformat(run["started_at"]).timestamp() - due_s for run in runs)
    note = f"half of them after {started[len(started) // 2]:.2f} s; {used:.1f} s of CPU, reading the list counted"
    condition = f"{count} triggers due at one instant, one worker"
    return [
        Figure("triggers_last_started_s", started[-1], condition + ", until the last one's agent runs", "at most 5",
               started[-1] <= 5, note),
        Figure("triggers_runs", len({run["metadata"]["trigger"]["id"] for run in runs}), condition + ", runs made",
               "one each", len(runs) == count),
    ]  # fmt: skip


async def _set(client: httpx.AsyncClient, count: int, due_s: float, note: str) -> None:
    at, places = datetime.fromtimestamp(due_s, UTC).isoformat(), asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        want = {"agent": "burst", "input": "5", "kind": "at", "at": at, "id": f"{note}-{number}"}
        async with places:
            answer = await client.post("/v1/triggers", json=want | {"metadata": {"note": note}})
        answer.raise_for_status()

    await asyncio.gather(*(one(number) for number in range(count)))


async def _runs(client: httpx.AsyncClient, count: int, note: str) -> list[dict[str, Any]]:
    """All their runs, once each has started, or those that there are after a minute."""
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        await asyncio.sleep(6.0)
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = (await client.get("/v1/runs", params=query)).json()
            found += [run for run in page["runs"] if run["metadata"].get("note") == note and run["started_at"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        if len(found) >= count or time.monotonic() > end:
            return found
