"""A peer of A2A that knows nothing but its wire: requests, streams, and agents for it to speak to."""

import itertools
from typing import Any

import httpx
import orjson

from tests.house import House

Wire = dict[str, Any]

VERSION = {"a2a-version": "1.0"}
_ids = itertools.count(1)


def message(text: str = "hi", **more: Any) -> Wire:
    """The params of SendMessage; `parts` and the fields of the message may be given, `configuration` beside it."""
    beside = {name: more.pop(name) for name in ("configuration", "metadata", "tenant") if name in more}
    return {"message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": text}], **more}, **beside}


async def call(house: House, agent: str, method: str, headers: dict[str, str] | None = None, **params: Any) -> Wire:
    """The JSON-RPC response, whatever it says."""
    body = {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": params}
    answer = await house.client.post(f"/a2a/{agent}", json=body, headers=VERSION | (headers or {}))
    assert answer.status_code == 200, answer.text
    told: Wire = answer.json()
    assert told["id"] == body["id"] and told["jsonrpc"] == "2.0"
    return told


async def send(house: House, agent: str, text: str = "hi", **more: Any) -> Wire:
    """The task of a message that is taken."""
    headers = more.pop("headers", None)
    told = await call(house, agent, "SendMessage", headers, **message(text, **more))
    task: Wire = told["result"]["task"]
    return task


async def later(house: House, agent: str, text: str = "hi", **more: Any) -> Wire:
    """The task right after it was recorded."""
    return await send(house, agent, text, configuration={"returnImmediately": True}, **more)


def frames(answer: httpx.Response) -> list[tuple[int | None, Wire]]:
    """(id, StreamResponse) of every event of a whole stream."""
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            data = orjson.loads(lines["data"])
            found.append((int(lines["id"]) if "id" in lines else None, data.get("result", data)))
    return found


def texts(task: Wire) -> list[str]:
    """The text artifacts."""
    return [one["parts"][0]["text"] for one in task.get("artifacts", []) if "text" in one["parts"][0]]


# ── agents ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def echo(run: Any) -> Any:
    """Says back what it was told."""
    yield "You said: "
    yield str(run.input.messages[-1].content)


async def asking(run: Any) -> Any:
    """Asks once, and tells the answer."""
    if run.answers:
        yield f"{run.answers['q'].payload!r}"
    else:
        yield "Well. "
        yield run.interrupt("Really?", name="q")
