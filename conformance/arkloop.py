"""What a client of Arkloop does, over and over, in the tests of its run API."""

import contextlib
import time

import httpx

from conformance.dialects.arkloop import Client, Json

DETAIL = {"run_id", "org_id", "thread_id", "created_by_user_id", "status", "created_at", "trace_id"}
ROW = {"run_id", "org_id", "thread_id", "status", "model", "persona_id", "total_input_tokens", "total_output_tokens",
       "total_cost_usd", "duration_ms", "cache_hit_rate", "credits_used", "created_at", "completed_at", "failed_at",
       "created_by_user_id", "created_by_user_name", "created_by_email"}  # fmt: skip
THREAD = {"id", "org_id", "created_by_user_id", "title", "project_id", "created_at", "active_run_id", "is_private"}
MESSAGE = {"id", "org_id", "thread_id", "created_by_user_id", "role", "content", "created_at"}
ERROR = {"error", "code", "message", "trace_id", "details"}
APPROVED = {"approved": True}
WAIT_SECONDS = 20.0


def reaches(client: Client, run_id: str, *words: str) -> str:
    """The status, once it is one of these."""
    end = time.monotonic() + WAIT_SECONDS
    while (status := client.status(run_id)) not in words and time.monotonic() < end:
        time.sleep(0.02)
    assert status in words
    return status


def events(client: Client, run_id: str, after: int | None = None) -> list[Json]:
    """What the run tells until its end."""
    return [event for _, event in client.stream(run_id, after)]


def types(told: list[Json]) -> list[str]:
    return [event["type"] for event in told]


def asking(client: Client, agent: str = "reviewing") -> str:
    run_id = client.start(agent, "hi")
    reaches(client, run_id, "waiting_for_input")
    return run_id


def busy(client: Client) -> str:
    """A run that goes on until it is cancelled, once its agent is at work."""
    run_id = client.start("endless", "hi")
    with contextlib.closing(client.stream(run_id)) as told:
        assert next(event for _, event in told if event["type"] == "message.delta")
    return run_id


def refused(answer: httpx.Response, status: int, code: str) -> Json:
    told: Json = answer.json()
    assert (answer.status_code, told["code"]) == (status, code), answer.text
    assert set(told) == ERROR and told["error"] == told["code"] and told["message"]
    assert answer.headers["x-trace-id"] == told["trace_id"] and len(told["trace_id"]) == 32
    return told
