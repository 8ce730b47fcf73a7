"""Many SSE clients in one cheap loop: raw HTTP over asyncio protocols, counting frames and reading latencies."""

import asyncio
import time
import uuid
from typing import Any
from urllib.parse import urlparse

import orjson


def agui_body(text: str, run_id: str | None = None, thread_id: str | None = None) -> bytes:
    run_id = run_id or str(uuid.uuid4())
    message = {"id": "u1", "role": "user", "content": text}
    return orjson.dumps(
        {"threadId": thread_id or f"t-{run_id}", "runId": run_id, "protocolVersion": "1.0", "messages": [message],
         "state": {}, "tools": [], "context": [], "forwardedProps": {}}
    )  # fmt: skip


class SseClient(asyncio.Protocol):
    """One request and its stream. `events` counts `data:` frames; `latencies_ms` holds what paced events say."""

    def __init__(self, request: bytes, read_times: bool) -> None:
        self._request, self._read_times = request, read_times
        self.events = 0
        self.bytes = 0
        self.status = b""
        self.latencies_ms: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tail = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.status = data[9:12]
        self.bytes += len(data)
        text = self._tail + data
        self.events += text.count(b"data: {")
        self._tail = text[-6:] if not text.endswith(b"data: {") else b""
        if self._read_times:
            now = time.time_ns()
            for part in data.split(b'"delta":"@')[1:]:
                self.latencies_ms.append((now - int(part.partition(b";")[0])) / 1e6)
        if not self.first.done():
            self.first.set_result(None)
        if data.endswith(b"0\r\n\r\n") and not self.done.done():
            self.done.set_result(None)
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        for future in (self.done, self.first):
            if not future.done():
                future.set_result(None)


async def open_stream(
    url: str, path: str, body: bytes | None = None, read_times: bool = False, headers: str = ""
) -> SseClient:
    """POSTs `body`, or GETs without one, and counts what comes."""
    where = urlparse(url)
    method = "GET" if body is None else "POST"
    head = f"{method} {path} HTTP/1.1\r\nhost: {where.netloc}\r\naccept: text/event-stream\r\n{headers}"
    if body is not None:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    request = head.encode() + b"\r\n" + (body or b"")
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: SseClient(request, read_times), where.hostname, where.port)
    return client


async def finished(clients: list[SseClient], seconds: float) -> None:
    """Returns once all streams have ended. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        for client in clients:
            await client.done


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")
