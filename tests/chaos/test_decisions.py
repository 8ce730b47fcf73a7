"""A question outlives everything: an answer given before all is killed is acted upon after it, once, and so is time."""

import asyncio
import signal
from datetime import datetime
from typing import Any

import httpx
import pytest

from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from tests.chaos.processes import Process
from tests.chaos.test_kills import started
from tests.runtime.stage import events, restart

pytestmark = pytest.mark.anyio

LATE_MS_MAX = 2_000


async def asked(url: str, run_id: str, open_s: float) -> dict[str, Any]:
    """A run that waits."""
    want = {"agent": "asking", "input": str(open_s), "run_id": run_id}
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post("/v1/runs", json=want, headers={"prefer": "wait=10"})
    run: dict[str, Any] = answer.json()
    assert run["status"] == "waiting", run
    return run


async def over(url: str, run_id: str) -> dict[str, Any]:
    """The run once it has ended."""
    run: dict[str, Any] = {"status": "", "seq": 0}
    async with asyncio.timeout(20), httpx.AsyncClient(base_url=url, timeout=20) as http:
        while run["status"] not in ("completed", "failed", "cancelled"):
            query = {"after_seq": run["seq"], "wait": 10, "include": "messages"}
            run = (await http.get(f"/v1/runs/{run_id}", params=query)).json()
    return run


def said(run: dict[str, Any]) -> str:
    return "".join(one.get("content", "") for one in run["messages"] if one["role"] == "assistant")


async def test_an_answer_recorded_before_everything_is_killed_opens_its_leg_after_it_once(
    nats: EmbeddedServer, log: Log
) -> None:
    gateway, worker = Process("gateway", nats.url, "0"), Process("worker", nats.url, "w1")
    async with started(gateway, worker):
        url = f"http://127.0.0.1:{gateway.said}"
        runs = [f"r{number}" for number in range(5)]
        for run_id in runs:
            await asked(url, run_id, 600)
        await worker.kill()
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            for run_id in runs:
                answers = [{"interrupt_id": "go", "payload": run_id}]
                answer = await http.post(f"/v1/runs/{run_id}/resume", json={"answers": answers})
                assert answer.status_code == 200 and answer.json()["status"] == "running"
        await gateway.kill()
        await restart(nats)
        gateway, workers = (
            Process("gateway", nats.url, "0"),
            [Process("worker", nats.url, name) for name in ("w2", "w3")],
        )
        async with started(gateway, *workers):
            for run_id in runs:
                run = await over(f"http://127.0.0.1:{gateway.said}", run_id)
                assert run["status"] == "completed" and said(run) == f"told {run_id}"
                kinds = [event["type"] for event in await events(log, run_id)]
                assert kinds.count("ask.resume") == 1 and kinds.count("RUN_STARTED") == 2


async def test_a_worker_killed_in_the_leg_after_an_answer_leaves_it_to_another_with_the_same_answer(
    nats: EmbeddedServer, log: Log
) -> None:
    gateway, first = Process("gateway", nats.url, "0"), Process("worker", nats.url, "w1")
    async with started(gateway, first):
        url = f"http://127.0.0.1:{gateway.said}"
        await asked(url, "r1", 600)
        first.send(signal.SIGSTOP)
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            answer = await http.post("/v1/runs/r1/resume", json={"answers": [{"interrupt_id": "go", "payload": 1}]})
            assert answer.status_code == 200
        await first.kill()
        async with started(Process("worker", nats.url, "w2")):
            run = await over(url, "r1")
    assert run["status"] == "completed" and said(run) == "told 1"


async def test_expiry_comes_within_two_seconds_of_its_time_over_a_restart_of_all(
    nats: EmbeddedServer, log: Log
) -> None:
    gateway, worker = Process("gateway", nats.url, "0"), Process("worker", nats.url, "w1")
    async with started(gateway, worker):
        run = await asked(f"http://127.0.0.1:{gateway.said}", "r1", 6.0)
        expires_at = run["interrupts"][0]["expiresAt"]
        await asyncio.gather(gateway.kill(), worker.kill())
        await restart(nats)
        gateway, worker = Process("gateway", nats.url, "0"), Process("worker", nats.url, "w2")
        async with started(gateway, worker):
            run = await over(f"http://127.0.0.1:{gateway.said}", "r1")
    assert said(run) == "told nothing"
    (decided,) = run["decisions"]
    assert (decided["status"], decided["by"]["kind"]) == ("expired", "system")
    late_ms = _ms(decided["at"]) - _ms(expires_at)
    assert 0 <= late_ms <= LATE_MS_MAX


def _ms(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)
