"""A2A: tasks that are streamed, beside the SDK's own server; lists of many tasks; and a long task that is polled."""

import asyncio
import time
import uuid
from statistics import median
from typing import Any

import httpx
import orjson

from .clients import finished, open_stream
from .figures import Figure
from .ground import Ground, hocket, reference

_WAIT_SECONDS = 180.0
_VERSION = "a2a-version: 1.0\r\n"


def _rpc(method: str, **params: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def _message(text: str) -> dict[str, Any]:
    return {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}]}


async def a2a_stream(tasks: int = 100, updates: int = 250) -> list[Figure]:
    """Tasks at once, each streamed by its own peer, of an agent at full speed and of one at a model's pace."""

    async def rate(ground: Ground, path: str, text: str, each: int = updates) -> float:
        before = ground.cpu_s()
        opened = [
            await open_stream(ground.url, path, _rpc("SendStreamingMessage", message=_message(text)), headers=_VERSION)
            for _ in range(tasks)
        ]
        await finished(opened, _WAIT_SECONDS)
        told = sum(client.events for client in opened)
        assert told >= tasks * each, f"{told} updates came of {tasks * each}"
        return told / (ground.cpu_s() - before)

    def slowly() -> str:
        return f"{time.time() + 2} {updates // 5} 0.2"

    burst, few = str(updates + 4), updates // 5
    async with reference("a2a_reference.py") as other:
        theirs = await rate(other, "/", f"burst {burst}")
        theirs_paced = await rate(other, "/", f"paced {slowly()}", few)
    async with hocket() as ground:
        await rate(ground, "/a2a/burst", burst)
        ours = await rate(ground, "/a2a/burst", burst)
        ours_paced = await rate(ground, "/a2a/paced", slowly(), few)
    at_once = f"{tasks} tasks at once, all processes"
    ratio, ratio_paced = ours / theirs, ours_paced / theirs_paced
    return [
        Figure("a2a_stream_vs_sdk", ratio, f"{at_once}, {updates} updates each", "at least 4", ratio >= 4,
               f"events per CPU-second: {ours:,.0f}, a2a-sdk's own server in memory {theirs:,.0f}"),
        Figure("a2a_paced_stream_vs_sdk", ratio_paced, f"{at_once}, 5 updates a second each", "at least 1",
               ratio_paced >= 1, f"events per CPU-second: {ours_paced:,.0f}, a2a-sdk's {theirs_paced:,.0f}"),
    ]  # fmt: skip


async def a2a_list(many: int = 10_000, few: int = 100, rounds: int = 100) -> list[Figure]:
    """A page of 50 tasks of an agent that has many and of one that has few."""
    async with hocket() as ground, _peer(ground) as peer:
        for agent, count, text in (("burst", many, "5"), ("silent", few, "3 0")):
            for start in range(0, count, 100):
                asked = [_send(peer, agent, text) for _ in range(min(100, count - start))]
                await asyncio.gather(*asked)
        times: dict[str, list[float]] = {"burst": [], "silent": []}
        for agent, count in (("burst", many), ("silent", few)):
            await _settled(peer, agent, count)
        for _ in range(rounds):
            for agent in times:
                begun = time.perf_counter()
                told = await peer.get(f"/a2a/{agent}/tasks?pageSize=50")
                times[agent].append(time.perf_counter() - begun)
                assert len(told.json()["tasks"]) == 50
    ours = {agent: median(taken) * 1e3 for agent, taken in times.items()}
    ratio = ours["burst"] / ours["silent"]
    condition = f"ListTasks, a page of 50, median of {rounds}, {many:,} tasks against {few}"
    note = f"{ours['burst']:.1f} ms against {ours['silent']:.1f} ms"
    return [Figure("a2a_list_10k_vs_100", ratio, condition, "at most 2", ratio <= 2, note)]


async def a2a_get(rounds: int = 200) -> list[Figure]:
    """GetTask of a long task that is at work, and of a short one; then once more by a gateway that knows neither."""
    sizes = {5_000: "", 50: ""}
    async with hocket() as ground, _peer(ground) as peer:
        for events in sizes:
            told = await _send(peer, "silent", f"{events} 600")
            sizes[events] = told["task"]["id"]
        await asyncio.sleep(2.0)
        costs: dict[int, float] = {}
        for events, task_id in sizes.items():
            path = f"/a2a/silent/tasks/{task_id}"
            for _ in range(20):
                (await peer.get(path)).raise_for_status()
            before = ground.cpu_s()
            for _ in range(rounds):
                await peer.get(path)
            costs[events] = (ground.cpu_s() - before) / rounds * 1e6
    ratio = costs[5_000] / costs[50]
    condition = f"{rounds} GetTask of a task at work, 5,000 events against 50, CPU of all processes"
    note = f"{costs[5_000]:.0f} us against {costs[50]:.0f} us"
    return [Figure("a2a_get_5k_vs_50", ratio, condition, "at most 2", ratio <= 2, note)]


def _peer(ground: Ground) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=100)
    return httpx.AsyncClient(base_url=ground.url, timeout=60, limits=limits, headers={"a2a-version": "1.0"})


async def _send(peer: httpx.AsyncClient, agent: str, text: str) -> dict[str, Any]:
    body = {"message": _message(text), "configuration": {"returnImmediately": True}}
    told: dict[str, Any] = (await peer.post(f"/a2a/{agent}/message:send", json=body)).json()
    return told


async def _settled(peer: httpx.AsyncClient, agent: str, count: int) -> None:
    """Returns once so many tasks of the agent have ended."""
    async with asyncio.timeout(_WAIT_SECONDS):
        query = "pageSize=1&status=TASK_STATE_COMPLETED"
        while (await peer.get(f"/a2a/{agent}/tasks?{query}")).json()["totalSize"] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
