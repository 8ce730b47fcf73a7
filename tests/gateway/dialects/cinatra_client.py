"""What Cinatra's clients do, and agents that ask, for the tests of the dialect."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson

from protocol.entries import Caller
from runtime.settings import Settings
from tests.house import House

SCHEMA = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}
GONE = b'{"error":"Review task not found or already resolved"}'
APPROVED = {"approved": True}
EVERYTHING = Caller("default", "key:ci-bot", "api_key", "CI bot", frozenset({"admin"}))


def external(settings: Settings) -> Settings:
    return settings.model_copy(update={"agui_external_enabled": True})


class Reviewing:
    """Agents that ask, and what they were told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def review(self, run: Any) -> AsyncIterator[Any]:
        """Asks once, with all that a question can have."""
        if not run.answers:
            yield "Checked."
            more = {"metadata": {"fieldName": "approved"}}
            yield run.interrupt(
                "OK?", name="ok", response_schema=SCHEMA, renderer="acme:approve", values={"amount": 120}, **more
            )
        self.told.append(run.answers["ok"])
        yield "Thank you."

    async def bare(self, run: Any) -> AsyncIterator[Any]:
        """Asks with nothing but a text."""
        if not run.answers:
            yield run.interrupt("OK?", name="ok")
        self.told.append(run.answers["ok"])

    async def two(self, run: Any) -> AsyncIterator[Any]:
        """Asks two questions at once."""
        if not run.answers:
            yield run.interrupts(run.question("A?", name="a"), run.question("B?", name="b"))
        self.told.append({name: run.answers[name].payload for name in ("a", "b")})
        yield "Both."

    async def hasty(self, run: Any) -> AsyncIterator[Any]:
        """Asks, and goes on without an answer, or ends, after the user's text: cancel, fail or answer."""
        if not run.answers:
            outcome = run.input.messages[-1].content
            default = {"approved": False} if outcome == "answer" else None
            yield run.interrupt("Quick?", name="ok", expires_in_s=0.2, on_expiry=outcome, default=default)
        self.told.append(run.answers["ok"])
        yield "On my own."

    async def failing(self, run: Any) -> AsyncIterator[Any]:
        """Fails in the middle."""
        yield "So far "
        raise RuntimeError("password=hunter2")


async def start(house: House, agent: str, run_id: str = "r1", text: str = "hi") -> dict[str, Any]:
    """The run once it waits or has ended."""
    body = {"agent": agent, "input": text, "run_id": run_id, "thread_id": f"t-{run_id}"}
    answer = await house.client.post("/v1/runs", json=body, headers={"Prefer": "wait=5"})
    assert answer.status_code == 201, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def ended(house: House, run_id: str = "r1") -> dict[str, Any]:
    """The run once it has ended."""
    state = await house.engine.changed(run_id, EVERYTHING, lambda run: run.ended_at_ms is not None, 5.0)
    assert state.ended_at_ms is not None
    run: dict[str, Any] = (await house.client.get(f"/v1/runs/{run_id}")).json()
    return run


def gate(number: int = 0, run_id: str = "r1") -> str:
    return f"g-{run_id}-{number}"


class Frame(NamedTuple):
    """A frame as it was sent; `id` is None where it moves no cursor."""

    raw: bytes
    id: str | None
    event: dict[str, Any]


def frames(body: bytes) -> list[Frame]:
    """The frames of a stream, without its comments."""
    told = []
    for raw in body.split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in raw.split(b"\n") if line and not line.startswith(b":"))
        if b"data" in fields:
            last = fields[b"id"].decode() if b"id" in fields else None
            assert set(fields) <= {b"id", b"data"}
            told.append(Frame(raw, last, orjson.loads(fields[b"data"])))
    return told


def types(told: list[Frame]) -> list[str]:
    return [frame.event["type"] for frame in told]


async def stream(house: House, run_id: str = "r1", last: str | None = None, path: str = "/api/a2a") -> bytes:
    """A run's channel to its end."""
    target = f"{path}?taskId={run_id}" if path.endswith("a2a") else f"{path}/{run_id}/stream"
    answer = await house.client.get(target, headers={} if last is None else {"last-event-id": last})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return answer.content
