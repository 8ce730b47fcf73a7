"""What Veryfront's clients send, and agents that ask, for the tests of the dialect."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson

from protocol import sse
from protocol.entries import Caller
from tests.house import House

CONVERSATION = "b2f1c0de-1c3e-4f8a-8a55-90d1c6f0e001"
EVERYTHING = Caller("default", "key:ci-bot", "api_key", "CI bot", frozenset({"admin"}))
SCHEMA = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}


class Asking:
    """Agents that ask, and what they were told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def sending(self, run: Any) -> AsyncIterator[Any]:
        """Asks about a call, and then says what the call has brought."""
        if not run.answers:
            yield "Let me see."
            yield run.tool_call("send_email", {"to": "you"}, id="call_7")
            yield run.interrupt("Send it?", name="ok", tool_call_id="call_7")
        self.told.append(run.answers["ok"])
        yield "Sent."

    async def again(self, run: Any) -> AsyncIterator[Any]:
        """Asks twice about one call, one time after the other."""
        if not run.answers:
            yield run.tool_call("send_email", {"to": "you"}, id="call_7")
        for name in ("first", "second"):
            if name not in run.answers:
                yield run.interrupt(name, name=name, tool_call_id="call_7")
                return
        self.told.append([run.answers[name].payload for name in ("first", "second")])

    async def bare(self, run: Any) -> AsyncIterator[Any]:
        """Asks outside of any call, for an answer of a schema."""
        if not run.answers:
            yield run.interrupt("OK?", name="ok", response_schema=SCHEMA, renderer="acme:ok")
        self.told.append(run.answers["ok"])
        yield "Thank you."

    async def two(self, run: Any) -> AsyncIterator[Any]:
        """Asks two questions at once."""
        if not run.answers:
            yield run.interrupts(run.question("A?", name="a"), run.question("B?", name="b"))
        self.told.append([run.answers[name].payload for name in ("a", "b")])

    async def hasty(self, run: Any) -> AsyncIterator[Any]:
        """Asks, and goes on without an answer, or ends, after the user's text: cancel, fail or answer."""
        if not run.answers:
            outcome = run.input.messages[-1].content
            default = {"approved": False} if outcome == "answer" else None
            yield run.interrupt("Quick?", name="ok", expires_in_s=0.2, on_expiry=outcome, default=default)
        yield "On my own."

    async def failing(self, run: Any) -> AsyncIterator[Any]:
        """Fails in the middle."""
        yield "So far "
        raise RuntimeError("password=hunter2")

    async def plain(self, run: Any) -> AsyncIterator[Any]:
        """Says what it was given."""
        context = [[item.description, item.value] for item in run.input.context]
        roles = [[message.role, message.id, message.content] for message in run.input.messages]
        yield orjson.dumps({"messages": roles, "context": context, "forwarded": run.input.forwarded_props}).decode()


def start_body(agent: str, conversation: str | None = None, text: str | None = "hi", **more: Any) -> dict[str, Any]:
    """A body of `POST /runs`; without a conversation it is in one of its own. What is named like a field of `request`
    goes there."""
    request: dict[str, Any] = {"mode": "agent", "agent_id": agent, "initial_status": "pending"}
    if text is not None:
        request["input"] = {"messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]}]}
    outside = {name: more.pop(name) for name in ("public_id", "parent_run_id") if name in more}
    owner = {"kind": "conversation", "id": conversation or str(uuid.uuid4())}
    return {"kind": "agent", "owner": owner, "request": request | more, **outside}


async def start(house: House, agent: str, **given: Any) -> dict[str, Any]:
    """The run as it is answered with."""
    answer = await house.client.post("/veryfront/runs", json=start_body(agent, **given))
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()["run"]
    return run


async def reached(house: House, run_id: str, status: str) -> dict[str, Any]:
    """The conversation's object of the run once it has that status and nothing is owed any more."""
    ending = status in ("completed", "failed", "cancelled")
    words = {"waiting_for_tool": "waiting"}
    state = await house.engine.changed(
        run_id,
        EVERYTHING,
        lambda run: run.status == words.get(status, status) and (not ending or run.ended_at_ms is not None),
        5.0,
    )
    assert state.status == words.get(status, status)
    return await owned(house, run_id)


async def owned(house: House, run_id: str) -> dict[str, Any]:
    answer = await house.client.get(await place(house, run_id))
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def place(house: House, run_id: str) -> str:
    """The run's path under its conversation."""
    run = (await house.client.get(f"/veryfront/runs/{run_id}")).json()
    return f"/veryfront/conversations/{run['owner']['id']}/runs/{run_id}"


async def waiting(house: House, agent: str, **given: Any) -> tuple[str, str]:
    """A run that waits, and the call that it waits for."""
    run_id = (await start(house, agent, **given))["run_id"]
    return run_id, (await reached(house, run_id, "waiting_for_tool"))["waiting_tool_call_id"]


async def resume(house: House, run_id: str, call_id: str, result: Any, **more: Any) -> httpx.Response:
    body = {"type": "tool_result", "tool_call_id": call_id, "result": result, **more}
    return await house.client.post(f"/veryfront/runs/{run_id}/resume", json=body)


async def streamed(house: House, run_id: str, last: int | None = None) -> list[tuple[int | None, dict[str, Any]]]:
    """The run's stream to its end."""
    headers = {} if last is None else {"last-event-id": str(last)}
    answer = await house.client.get(f"{await place(house, run_id)}/stream", headers=headers)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    return [(found.seq, orjson.loads(found.data)) for found in sse.split(answer.content) if found.data]


def types(told: list[tuple[int | None, dict[str, Any]]]) -> list[str]:
    return [event["type"] for _, event in told]


def told(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()


def refused(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "detail"} and isinstance(body["detail"], str), body
    return answer.status_code, body["error"]
