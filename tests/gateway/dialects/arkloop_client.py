"""What Arkloop's clients do, and agents that ask, for the tests of the dialect."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson

from protocol.entries import Caller
from tests.house import House

Json = dict[str, Any]

EVERYTHING = Caller("default", "key:ci-bot", "api_key", "CI bot", frozenset({"admin"}))
APPROVED = {"approved": True}
ENVELOPE = ["error", "code", "message", "trace_id", "details"]


class Agents:
    """Agents, and what they were given."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def hear(self, run: Any) -> AsyncIterator[Any]:
        """Ends at once, with a report of what it cost."""
        self.heard.append((run.input.forwarded_props, [message.content for message in run.input.messages]))
        yield "Heard."
        used = [{"model": "acme-large", "inputTokens": 800, "outputTokens": 60, "cachedInputTokens": 200,
                 "costUsd": 0.0021}]  # fmt: skip
        yield {"type": "RUN_FINISHED", "usage": used}

    async def ask(self, run: Any) -> AsyncIterator[Any]:
        """Asks with nothing but a text."""
        if not run.answers:
            yield run.interrupt("OK?", name="ok")
        told = run.answers["ok"]
        self.heard.append((told.payload, told.text, told.by.id))
        yield "Thank you."

    async def two(self, run: Any) -> AsyncIterator[Any]:
        """Asks two questions at once."""
        if not run.answers:
            yield run.interrupts(run.question("A?", name="a"), run.question("B?", name="b"))
        self.heard.append([run.answers[name].payload for name in ("a", "b")])

    async def hasty(self, run: Any) -> AsyncIterator[Any]:
        """Goes on by itself after a moment, and asks again."""
        if "ok" not in run.answers:
            yield run.interrupt("Quick?", name="ok", expires_in_s=0.1, on_expiry="answer", default="late")
        if "more" not in run.answers:
            yield run.interrupt("And now?", name="more")


async def thread(house: House, *posts: str, **fields: Any) -> str:
    made = await house.client.post("/arkloop/v1/threads", json=fields)
    assert made.status_code == 201, made.text
    for text in posts:
        path = f"/arkloop/v1/threads/{made.json()['id']}/messages"
        assert (await house.client.post(path, json={"content": text})).status_code == 201
    return str(made.json()["id"])


async def run(house: House, thread_id: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return await house.client.post(f"/arkloop/v1/threads/{thread_id}/runs", json=fields, headers=headers)


async def started(house: House, agent: str, *posts: str) -> str:
    """A run on a thread of its own, once it waits or has ended."""
    made = await run(house, await thread(house, *posts), persona_id=agent)
    assert made.status_code == 201, made.text
    run_id = str(made.json()["run_id"])
    await settled(house, run_id)
    return run_id


async def settled(house: House, run_id: str) -> str:
    """Its status, once it waits or has ended."""
    state = await house.engine.changed(
        run_id, EVERYTHING, lambda one: bool(one.open_gates) or one.ended_at_ms is not None, 5.0
    )
    assert state.open_gates or state.ended_at_ms is not None
    return state.status.value


async def give(house: House, run_id: str, content: str, **fields: Any) -> httpx.Response:
    return await house.client.post(f"/arkloop/v1/runs/{run_id}/input", json={"content": content, **fields})


async def frames(house: House, run_id: str, **params: Any) -> list[Json]:
    answer = await house.client.get(f"/arkloop/v1/runs/{run_id}/events", params=params)
    assert answer.status_code == 200, answer.text
    return [orjson.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]


def refused(answer: httpx.Response) -> tuple[int, str]:
    told = answer.json()
    assert list(told) == ENVELOPE and told["error"] == told["code"] and told["message"], told
    assert answer.headers["x-trace-id"] == told["trace_id"] and len(told["trace_id"]) == 32
    return answer.status_code, told["code"]
