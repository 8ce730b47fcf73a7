"""What a client of Cinatra does: starts runs, follows their channel, resumes their questions."""

from typing import Any, NamedTuple

import httpx
import orjson

from conformance import scenario as s

RESUME = "/api/a2a/resume"
GONE = (404, b'{"error":"Review task not found or already resolved"}')
EXPIRED = (410, b'{"error":"Review task has expired"}')
BAD_BODY = (400, b'{"error":"Invalid request body"}')
OK = (200, b'{"ok":true}')
APPROVED = {"approved": True}
JSON = {"content-type": "application/json"}


def start(http: httpx.Client, agent: str, name: str, wait: int = 10, **given: object) -> s.Json:
    """The run of that name, waited for until it asks something or ends."""
    body = {"agent": agent, "input": "hi", "run_id": name, "thread_id": f"t-{name}", **given}
    answer = http.post("/v1/runs", json=body, headers={"prefer": f"wait={wait}"})
    assert answer.status_code == 201, answer.text
    run: s.Json = answer.json()
    return run


def hurry(http: httpx.Client, name: str, on_expiry: str) -> None:
    """A run of `hurried`, until its question has expired and it has ended."""
    given = {"threadId": f"t-{name}", "runId": name, "messages": [{"id": "u", "role": "user", "content": "hi"}],
             "state": {}, "tools": [], "context": [], "forwardedProps": {"on_expiry": on_expiry}}  # fmt: skip
    assert http.post("/agui/hurried", json=given).status_code == 200
    ended(http, name)


def ended(http: httpx.Client, name: str) -> s.Json:
    """The run once it has ended: its channel closes then."""
    channel(http, name)
    run: s.Json = http.get(f"/v1/runs/{name}").json()
    assert run["ended_at"] is not None
    return run


def gate(name: str, number: int = 0) -> str:
    return f"g-{name}-{number}"


def resume(http: httpx.Client, task: str, **body: Any) -> tuple[int, bytes]:
    answer = http.post(RESUME, json={"reviewTaskId": task, **body})
    return answer.status_code, answer.content


class Frame(NamedTuple):
    """A frame as it was sent; `id` is None where it moves no cursor."""

    raw: bytes
    id: str | None
    event: s.Json


def frames(body: bytes) -> list[Frame]:
    """The frames of a channel, without its comments and its retry."""
    assert b"\r" not in body
    told = []
    for raw in body.split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in raw.split(b"\n") if line and not line.startswith(b":"))
        if b"data" in fields:
            assert set(fields) <= {b"id", b"data"}
            last = fields[b"id"].decode() if b"id" in fields else None
            told.append(Frame(raw, last, orjson.loads(fields[b"data"])))
    return told


def types(told: list[Frame]) -> list[str]:
    return [frame.event["type"] for frame in told]


def channel(http: httpx.Client, name: str, last: str | None = None) -> bytes:
    """A run's channel to its end."""
    answer = http.get("/api/a2a", params={"taskId": name}, headers={} if last is None else {"last-event-id": last})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    return answer.content
