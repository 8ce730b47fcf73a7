"""A gateway killed in mid-task: its A2A peer goes on at another one, and no update is lost or told twice."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from tests.chaos.processes import Process
from tests.chaos.test_kills import WHOLE, started

pytestmark = pytest.mark.anyio

Update = dict[str, Any]
SECONDS = 30.0
SENT = {"message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "count"}]}}


class Peer:
    """Reads one task's streams. `updates` is what it was told, `cursor` the id of the last frame that had one."""

    def __init__(self, binding: str) -> None:
        self._binding = binding
        self.updates: list[Update] = []
        self.cursor = ""
        self._grown = asyncio.Event()

    @property
    def task_id(self) -> str:
        return str(self.updates[0]["task"]["id"])

    async def has(self, count: int) -> None:
        async with asyncio.timeout(SECONDS):
            while len(self.updates) < count:
                self._grown.clear()
                await self._grown.wait()

    async def send(self, url: str) -> None:
        """Streams a new task to its end. Raises httpx's error where the stream breaks."""
        await self._read(url, "SendStreamingMessage", SENT, {})

    async def subscribe(self, url: str, after: str | None = None) -> None:
        """Goes on to the task's end."""
        headers = {} if after is None else {"last-event-id": after}
        await self._read(url, "SubscribeToTask", {"id": self.task_id}, headers)

    async def _read(self, url: str, method: str, params: Any, headers: dict[str, str]) -> None:
        path, body = "/a2a/ticker", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        if self._binding == "HTTP+JSON":
            operation = "message:stream" if "message" in params else f"tasks/{params['id']}:subscribe"
            path, body = f"/a2a/ticker/{operation}", params
        more = {"a2a-version": "1.0", **headers}
        async with asyncio.timeout(SECONDS), httpx.AsyncClient(base_url=url, timeout=SECONDS) as http:
            async with http.stream("POST", path, json=body, headers=more) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream"), await answer.aread()
                named = data = ""
                async for line in answer.aiter_lines():
                    field, _, value = line.partition(": ")
                    if field == "id":
                        named = value
                    elif field == "data":
                        data = value
                    elif not line and data:
                        told = json.loads(data)
                        self.updates.append(told["result"] if self._binding == "JSONRPC" else told)
                        self.cursor, named, data = named or self.cursor, "", ""
                        self._grown.set()


def folded(updates: list[Update]) -> tuple[str, str]:
    """The text and the state that these updates make; fails where one is told twice or lacks what it is about."""
    assert "task" in updates[0] and not any("task" in update for update in updates[1:])
    task = updates[0]["task"]
    texts = {one["artifactId"]: "".join(part["text"] for part in one["parts"]) for one in task.get("artifacts", ())}
    state = task["status"]["state"]
    for update in updates[1:]:
        ((kind, told),) = update.items()
        if kind == "statusUpdate":
            state = told["status"]["state"]
            continue
        artifact = told["artifact"]
        text = "".join(part["text"] for part in artifact["parts"])
        assert told.get("append", False) == (artifact["artifactId"] in texts)
        texts[artifact["artifactId"]] = texts.get(artifact["artifactId"], "") + text
    return "".join(texts.values()), state


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
@pytest.mark.parametrize("with_cursor", [False, True])
async def test_a_peer_of_a_killed_gateway_goes_on_at_another_and_misses_nothing(
    nats: EmbeddedServer, log: Log, binding: str, with_cursor: bool
) -> None:
    first, second = Process("gateway", nats.url, "0"), Process("gateway", nats.url, "0")
    async with started(Process("worker", nats.url, "w1"), first, second):
        peer = Peer(binding)
        urls = [f"http://127.0.0.1:{gateway.said}" for gateway in (first, second)]
        staying = asyncio.create_task(peer.send(urls[0]))
        await peer.has(80)
        await first.kill()
        with pytest.raises(httpx.HTTPError):
            await staying
        assert folded(peer.updates)[1] == "TASK_STATE_WORKING"
        if with_cursor:
            before = len(peer.updates)
            await peer.subscribe(urls[1], after=peer.cursor)
            assert len(peer.updates) > before
            told = peer.updates
        else:
            subscribed = Peer(binding)
            subscribed.updates = peer.updates[:1]
            await subscribed.subscribe(urls[1])
            told = subscribed.updates[1:]
        assert folded(told) == (WHOLE, "TASK_STATE_COMPLETED")
        async with httpx.AsyncClient(base_url=urls[1], timeout=SECONDS) as http:
            answer = await http.get(f"/a2a/ticker/tasks/{peer.task_id}", headers={"a2a-version": "1.0"})
        polled = answer.json()
        assert folded([{"task": polled}]) == (WHOLE, "TASK_STATE_COMPLETED")
