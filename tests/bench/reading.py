"""Reading: replay of what is finished, resuming far down a run, polling, and clients that only wait."""

import asyncio
import time
import uuid
from statistics import median

import httpx

from .clients import SseClient, agui_body, finished, open_stream
from .figures import Figure
from .ground import Ground, hocket, reference

_WAIT_SECONDS = 120.0


async def _burst(ground: Ground, events: int, agent: str = "burst", text: str = "") -> str:
    """The id of a new run with so many entries; a burst is waited for."""
    run_id = f"{agent}-{events}-{uuid.uuid4().hex}"
    client = await open_stream(ground.url, f"/agui/{agent}", agui_body(text or str(events), run_id))
    if agent == "burst":
        await finished([client], _WAIT_SECONDS)
    return run_id


async def replay(runs: int = 20, events: int = 5000, rounds: int = 10) -> list[Figure]:
    """Finished runs read from their beginning: from the log by a gateway that has not seen them, then again."""
    condition = f"{runs} finished runs of {events} events, gateway CPU"

    async def rate(ground: Ground, ids: list[str]) -> float:
        before, total = ground.cpu_s(gateway_only=True), 0
        for run_id in ids:
            client = await open_stream(ground.url, f"/v1/runs/{run_id}/events?after_seq=0")
            await finished([client], _WAIT_SECONDS)
            total += client.events
        assert total >= len(ids) * events * 0.99, f"{total} events came, {len(ids) * events} were recorded"
        return total / (ground.cpu_s(gateway_only=True) - before)

    async with hocket(HOCKET_CACHE_BYTES_MAX=str(1 << 20)) as ground:
        ids = [await _burst(ground, events) for _ in range(runs)]
        cold = await rate(ground, ids * 2)  # a cache of 1 MB has forgotten each run when it comes again
    async with hocket() as ground:
        ids = [await _burst(ground, events) for _ in range(runs)]
        await rate(ground, ids)
        hot = await rate(ground, ids * rounds)
    return [
        Figure("replay_cold_events_per_cpu_s", cold, condition, "at least 300,000", cold >= 300_000),
        Figure("replay_hot_events_per_cpu_s", hot, condition + ", cached", "at least 1,000,000", hot >= 1_000_000),
    ]


async def resume(rounds: int = 60) -> list[Figure]:
    """Coming back one entry before the end of a long run and of a short one: time to the end of the stream."""
    async with hocket() as ground:
        ids = {events: await _burst(ground, events) for events in (50_000, 50)}
        times: dict[int, list[float]] = {events: [] for events in ids}
        for _ in range(rounds):
            for events, run_id in ids.items():
                begun = time.perf_counter()
                headers = f"last-event-id: {events - 1}\r\n"
                client = await open_stream(ground.url, f"/v1/runs/{run_id}/events", headers=headers)
                await finished([client], _WAIT_SECONDS)
                times[events].append(time.perf_counter() - begun)
    ratio = median(times[50_000]) / median(times[50])
    condition = f"median of {rounds}, run of 50,000 events against one of 50"
    return [Figure("resume_50k_vs_50", ratio, condition, "at most 2", ratio <= 2)]


async def idle(clients: int = 5000) -> list[Figure]:
    """Clients that wait on a silent run: memory of the gateway per client."""
    async with hocket() as ground:
        body = agui_body("4 600", "idle-" + uuid.uuid4().hex)
        first = [await open_stream(ground.url, "/agui/silent", body)]
        await first[0].first
        before = ground.rss_kb()
        opened: list[SseClient] = []
        for number in range(clients):  # 50 at a time, or what is measured is the memory of 5,000 requests at once
            opened.append(await open_stream(ground.url, "/agui/silent", body))
            if number % 50 == 49:
                for client in opened[-50:]:
                    await client.first
        await asyncio.sleep(2.0)
        used = (ground.rss_kb() - before) / clients
        for client in [*first, *opened]:
            client.transport.abort()
    return [
        Figure(
            "idle_kb_per_client",
            used,
            f"{clients} SSE clients on a silent run, joined 50 at a time",
            "at most 16",
            used <= 16,
        )
    ]


async def poll(requests: int = 2000) -> list[Figure]:
    """Polling a running run, long and short, beside a bare Starlette JSON route: CPU of all processes a request."""

    async def cost(ground: Ground, path: str) -> float:
        async with httpx.AsyncClient(base_url=ground.url, timeout=10) as client:
            for _ in range(50):
                (await client.get(path)).raise_for_status()
            before = ground.cpu_s()
            for _ in range(requests):
                await client.get(path)
            return (ground.cpu_s() - before) / requests * 1e6

    async with reference() as other:
        bare = await cost(other, "/bare")
    async with hocket() as ground:
        ids = {events: await _burst(ground, events, "silent", f"{events} 600") for events in (10_000, 100)}
        await asyncio.sleep(2.0)
        costs = {events: await cost(ground, f"/v1/runs/{run_id}") for events, run_id in ids.items()}
    ratio, growth = costs[10_000] / bare, costs[10_000] / costs[100]
    condition = f"{requests} polls of a running 10,000-event run against a bare route, CPU of all processes"
    return [
        Figure("poll_vs_bare_route", ratio, condition, "at most 5", ratio <= 5,
               f"{costs[10_000]:.0f} us a poll, bare route {bare:.0f} us"),
        Figure("poll_10k_vs_100", growth, condition, "about 1", growth <= 1.25),
    ]  # fmt: skip
