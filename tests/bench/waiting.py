"""Runs that wait for a person: what 10,000 of them cost a gateway and a worker, and whether any still goes on."""

import asyncio
import tempfile
import uuid
from pathlib import Path

import httpx

from .figures import Figure
from .ground import Ground, hocket

_IDLE_SECONDS = 10.0
_AT_ONCE = 50
_WAIT_SECONDS = 30.0


async def waiting(runs: int = 10_000, answered: int = 20) -> list[Figure]:
    """Memory and CPU of a restarted gateway and worker beside those of a pair that has never had a run."""
    with tempfile.TemporaryDirectory() as folder:
        async with hocket(Path(folder) / "empty") as ground:
            idle = await _cost(ground)
        full = Path(folder) / "full"
        async with hocket(full) as ground:
            ids = await _ask(ground, runs)
            worked = await _cost(ground)
        async with hocket(full) as ground:
            again = await _cost(ground)
            went_on = sum(await asyncio.gather(*(_answer(ground, run_id) for run_id in ids[:: runs // answered])))
    condition = f"{runs} runs that wait, gateway and worker, against a pair without runs"
    kb = (again["rss_kb"] - idle["rss_kb"]) / runs
    cpu = again["cpu_ms_per_s"] - idle["cpu_ms_per_s"]
    return [
        Figure("waiting_kb_per_run", kb, condition + ", all restarted", "at most 0.5", kb <= 0.5,
               f"{again['rss_kb'] / 1024:.1f} MB against {idle['rss_kb'] / 1024:.1f} MB"),
        Figure("waiting_kb_per_run_once_worked", (worked["rss_kb"] - idle["rss_kb"]) / runs,
               condition + ", by those who have just run them"),
        Figure("waiting_cpu_ms_per_s", cpu, condition + f", more CPU over {_IDLE_SECONDS:g} s, all restarted",
               "at most 5", cpu <= 5),
        Figure("waiting_answered_and_ended", went_on, f"of {answered} answered after the restart", "all",
               went_on == answered),
    ]  # fmt: skip


async def _cost(ground: Ground) -> dict[str, float]:
    await asyncio.sleep(2.0)
    before = ground.cpu_s(nats=False)
    await asyncio.sleep(_IDLE_SECONDS)
    used = (ground.cpu_s(nats=False) - before) / _IDLE_SECONDS * 1000
    return {"rss_kb": ground.rss_kb(whole=True), "cpu_ms_per_s": used}


async def _ask(ground: Ground, runs: int) -> list[str]:
    """Starts so many runs of the asking agent and waits until all of them wait."""
    ids = [f"w-{uuid.uuid4().hex}" for _ in range(runs)]
    async with httpx.AsyncClient(base_url=ground.url, timeout=_WAIT_SECONDS) as client:

        async def begin(part: list[str]) -> None:
            for run_id in part:
                body = {"agent": "asking", "input": "hi", "run_id": run_id}
                answer = await client.post("/v1/runs", json=body, headers={"prefer": "wait=20"})
                assert answer.json()["status"] == "waiting", answer.text

        await asyncio.gather(*(begin(ids[number::_AT_ONCE]) for number in range(_AT_ONCE)))
    return ids


async def _answer(ground: Ground, run_id: str) -> bool:
    async with httpx.AsyncClient(base_url=ground.url, timeout=_WAIT_SECONDS) as client:
        answers = [{"interrupt_id": "go", "status": "resolved", "payload": {"approved": True}}]
        run = (await client.post(f"/v1/runs/{run_id}/resume", json={"answers": answers})).json()
        while run["status"] == "running":
            run = (await client.get(f"/v1/runs/{run_id}", params={"after_seq": run["seq"], "wait": 20})).json()
        return bool(run["status"] == "completed")
