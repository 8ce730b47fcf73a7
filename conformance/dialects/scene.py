"""The five clients side by side, and what a run is called in each of their systems."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from conformance.dialects import arkloop, cinatra, middesk, operativus, veryfront

SECONDS = 20.0
APPROVED = {"approved": True}
NAMES = ("cinatra", "operativus", "veryfront", "middesk", "arkloop")
WITH_CANCEL = tuple(name for name in NAMES if name != "middesk")

STATUSES = {
    "queued": ("queued", "QUEUED", "pending", "running", "running"),
    "running": ("running", "RUNNING", "running", "running", "running"),
    "waiting": ("pending_approval", "PAUSED", "waiting", "interrupted", "waiting_for_input"),
    "completed": ("completed", "COMPLETED", "completed", "completed", "completed"),
    "failed": ("failed", "FAILED", "failed", "error", "failed"),
    "cancelled": ("stopped", "CANCELLED", "cancelled", "error", "cancelled"),
}

STREAMS = {
    "cinatra": "/cinatra/api/a2a?taskId={run}",
    "operativus": "/operativus/api/v1/runs/{run}/events",
    "veryfront": "/veryfront/conversations/{thread}/runs/{run}/stream",
    "middesk": "/middesk/v1/runs/{run}/stream",
    "arkloop": "/arkloop/v1/runs/{run}/events",
}

Clients = dict[str, Any]
_MODULES = {"cinatra": cinatra, "operativus": operativus, "veryfront": veryfront, "middesk": middesk,
            "arkloop": arkloop}  # fmt: skip


@contextlib.contextmanager
def clients(base_url: str, token: str | None = None) -> Iterator[Clients]:
    """A client of each system, with nothing but its base URL."""
    made: Clients = {name: module.Client(f"{base_url}/{name}", token) for name, module in _MODULES.items()}
    try:
        yield made
    finally:
        for client in made.values():
            client.http.close()


def until(found: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `found` finds, asked again until it is not None or False."""
    end = time.monotonic() + seconds
    while not (told := found()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return told


def shown(all_: Clients, run: str, status: str) -> bool:
    """Whether every dialect shows the run with its word for the status."""
    return tuple(all_[name].status(run) for name in NAMES) == STATUSES[status]


def became(http: httpx.Client, run: str, *statuses: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        told: dict[str, Any] = http.get(f"/v1/runs/{run}").json()
        return told if told["status"] in statuses else None

    told: dict[str, Any] = until(found)
    return told


def release(http: httpx.Client, name: str) -> None:
    answer = http.post("/v1/runs", json={"agent": "release", "input": name}, headers={"prefer": "wait=10"})
    assert answer.status_code == 201
