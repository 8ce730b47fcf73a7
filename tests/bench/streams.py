"""Streaming: one run to many clients, many runs at full speed, many runs at a model's pace."""

import asyncio
import time
import uuid

from .clients import agui_body, finished, open_stream, percentile
from .figures import Figure
from .ground import Ground, hocket, reference

_WAIT_SECONDS = 120.0
_ROUNDS = 3


async def fanout(clients: int = 1000, events: int = 200, period_s: float = 0.05) -> list[Figure]:
    """One run at a model's pace, told to all clients: CPU per delivered event beside the reference's."""
    condition = f"1 run, {clients} clients, {events} events, one every {period_s * 1000:g} ms"

    async def cost(ground: Ground, path: str) -> float:
        start = time.time() + 3.0 + clients / 400
        body = agui_body(f"{start} {events} {period_s}", "fan-" + uuid.uuid4().hex)
        opened = [await open_stream(ground.url, path, body) for _ in range(clients)]
        await asyncio.sleep(max(0.0, start - 0.3 - time.time()))
        before = ground.cpu_s()
        await finished(opened, _WAIT_SECONDS)
        return (ground.cpu_s() - before) / sum(client.events for client in opened) * 1e6

    async with reference() as other:
        theirs = await cost(other, "/fan")
    async with reference() as other:
        starlette_sse = await cost(other, "/fan-frames")
    async with hocket() as ground:
        ours = await cost(ground, "/agui/paced")
    return [
        Figure("fanout_cpu_vs_reference", ours / theirs, condition, "at most 0.333", ours / theirs <= 1 / 3),
        Figure("fanout_us_per_event", ours, condition),
        Figure("fanout_reference_us_per_event", theirs, condition),
        Figure("fanout_sse_starlette_us_per_event", starlette_sse, condition, note="fed with ready frames, no log"),
    ]


async def durable(runs: int = 100, events: int = 1000) -> list[Figure]:
    """Runs whose agent talks as fast as it can, each streamed by its own client."""
    condition = f"{runs} runs x {events} events, {_ROUNDS} times, agent as fast as it can, all of hocket's processes"

    async def rate(ground: Ground, rounds: int = 1) -> float:
        before, delivered = ground.cpu_s(), 0
        for _ in range(rounds):
            opened = [await open_stream(ground.url, "/agui/burst", agui_body(str(events))) for _ in range(runs)]
            await finished(opened, _WAIT_SECONDS)
            delivered += sum(client.events for client in opened)
        return delivered / (ground.cpu_s() - before)

    async with reference() as other:
        theirs = await rate(other)
    async with hocket() as ground:
        await rate(ground)
        before = ground.split()
        ours = await rate(ground, _ROUNDS)
        split = {name: cpu - before.get(name, 0.0) for name, cpu in ground.split().items()}
    told = ", ".join(f"{name} {cpu / (_ROUNDS * runs * events) * 1e6:.1f}" for name, cpu in sorted(split.items()))
    good = ours >= 60_000 and ours > theirs
    return [
        Figure("durable_events_per_cpu_s", ours, condition, "at least 60,000 and the reference's own", good),
        Figure("durable_reference_events_per_cpu_s", theirs, condition, note=f"hocket's us per event: {told}"),
    ]


async def paced(runs: int = 500, rate: float = 20.0, seconds: float = 10.0) -> list[Figure]:
    """Runs at a model's pace: what an event costs, and how long it takes from the agent's yield to the client."""
    condition = f"{runs} runs x {rate:g} events/s for {seconds:g} s"
    events = int(rate * seconds)
    async with hocket() as ground:
        start = time.time() + 3.0 + runs / 200
        opened = []
        for number in range(runs):
            begin = start + number / runs / rate
            body = agui_body(f"{begin} {events} {1 / rate}")
            opened.append(await open_stream(ground.url, "/agui/paced", body, read_times=True))
        await asyncio.sleep(max(0.0, start - 0.3 - time.time()))
        before, parts = ground.cpu_s(), ground.split()
        await finished(opened, _WAIT_SECONDS)
        cpu = ground.cpu_s() - before
        split = {name: (used - parts.get(name, 0.0)) / (runs * events) * 1e6 for name, used in ground.split().items()}
    latencies = [ms for client in opened for ms in client.latencies_ms]
    delivered, p99 = len(latencies), percentile(latencies, 0.99)
    told = ", ".join(f"{name} {us:.0f}" for name, us in sorted(split.items()))
    note = f"{delivered} of {runs * events} delivered; us per event: {told}"
    whole = delivered == runs * events
    return [
        Figure("paced_events_per_cpu_s", delivered / cpu, condition, "at least 5,000, all delivered",
               whole and delivered / cpu >= 5000, note),
        Figure("paced_p99_ms", p99, condition, "at most 100", p99 <= 100,
               f"p50 {percentile(latencies, 0.5):.1f} ms"),
    ]  # fmt: skip
