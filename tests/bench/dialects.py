"""Streams of the five dialects beside the AG-UI face: the same run, told to as many clients."""

import asyncio
import time
import uuid

import httpx

from .clients import SseClient, agui_body, finished, open_stream
from .figures import Figure
from .ground import Ground, hocket

_WAIT_SECONDS = 120.0
_ROUNDS = 5

STREAMS = {
    "cinatra": "/cinatra/api/agents/runs/{run}/stream",
    "operativus": "/operativus/api/v1/runs/{run}/events",
    "veryfront": "/veryfront/conversations/{thread}/runs/{run}/stream",
    "middesk": "/middesk/v1/runs/{run}/stream",
    "arkloop": "/arkloop/v1/runs/{run}/events",
}


async def _started(ground: Ground, agent: str, text: str) -> tuple[str, str]:
    """The ids of a new run and its thread."""
    async with httpx.AsyncClient(base_url=ground.url) as client:
        wanted = {"agent": agent, "input": text, "run_id": str(uuid.uuid4()), "thread_id": str(uuid.uuid4())}
        told = (await client.post("/v1/runs", json=wanted)).raise_for_status().json()
    return told["id"], told["thread_id"]


async def _watch(ground: Ground, face: str, agent: str, run: str, thread: str, count: int) -> list[SseClient]:
    if face == "agui":
        body = agui_body("", run, thread)
        return [await open_stream(ground.url, f"/agui/{agent}", body) for _ in range(count)]
    path = STREAMS[face].format(run=run, thread=thread)
    return [await open_stream(ground.url, path) for _ in range(count)]


async def dialect_streams(clients: int = 100, events: int = 400, period_s: float = 0.02) -> list[Figure]:
    """CPU of all of hocket's processes for each event of the run and client, live and from the past."""
    condition = f"1 run of {events} events, one every {period_s * 1000:g} ms, {clients} clients"

    async def live(ground: Ground, face: str) -> float:
        start = time.time() + 2.0 + clients / 400
        run, thread = await _started(ground, "paced", f"{start} {events} {period_s}")
        opened = await _watch(ground, face, "paced", run, thread, clients)
        await asyncio.sleep(max(0.0, start - 0.3 - time.time()))
        before = ground.cpu_s()
        await finished(opened, _WAIT_SECONDS)
        assert all(client.status == b"200" for client in opened), face
        return (ground.cpu_s() - before) / (clients * events) * 1e6

    async def past(ground: Ground, face: str) -> float:
        cpu = 0.0
        for _ in range(_ROUNDS):
            run, thread = await _started(ground, "burst", "5000")
            await finished(await _watch(ground, "agui", "burst", run, thread, 1), _WAIT_SECONDS)
            before = ground.cpu_s()
            await finished(await _watch(ground, face, "burst", run, thread, 20), _WAIT_SECONDS)
            cpu += ground.cpu_s() - before
        return cpu / (_ROUNDS * 20 * 5000) * 1e6

    figures: list[Figure] = []
    async with hocket() as ground:
        past_condition = f"20 replays of a run of 5,000 events, {_ROUNDS} such runs"
        for what, cost, told in (("live", live, condition), ("past", past, past_condition)):
            await cost(ground, "agui")  # warms up
            agui = await cost(ground, "agui")
            for face in STREAMS:
                ratio = await cost(ground, face) / agui
                note = f"AG-UI: {agui:.2f} us per event and client"
                figures.append(Figure(f"{face}_{what}_vs_agui", ratio, told, "at most 2", ratio <= 2, note))
    return figures
