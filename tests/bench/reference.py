"""The reference: AG-UI's own style in one process. pydantic event → EventEncoder → StreamingResponse; no log.

`python reference.py PORT` serves `/agui/{agent}` with the agents of the bench, `/fan` (one shared stream),
`/fan-frames` (the same by sse-starlette, of frames encoded once) and `/bare` (a bare JSON route).
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from ag_ui.core import (
    EventType,
    RunAgentInput,
    RunFinishedEvent,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
)
from ag_ui.encoder import EventEncoder
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

sys.path.append(str(__import__("pathlib").Path(__file__).parent))
import agents


class _Run:
    def __init__(self, given: RunAgentInput) -> None:
        self.input = given


async def _events(name: str, given: RunAgentInput) -> AsyncIterator[Any]:
    yield RunStartedEvent(type=EventType.RUN_STARTED, thread_id=given.thread_id, run_id=given.run_id)
    yield TextMessageStartEvent(type=EventType.TEXT_MESSAGE_START, message_id="m", role="assistant")
    async for delta in getattr(agents, name)(_Run(given)):
        now = time.time_ns() // 1_000_000
        kind = EventType.TEXT_MESSAGE_CONTENT
        yield TextMessageContentEvent(type=kind, message_id=given.run_id, delta=delta, timestamp=now)
    yield TextMessageEndEvent(type=EventType.TEXT_MESSAGE_END, message_id="m")
    yield RunFinishedEvent(type=EventType.RUN_FINISHED, thread_id=given.thread_id, run_id=given.run_id)


async def _agui(request: Request) -> Response:
    given = RunAgentInput.model_validate_json(await request.body())
    encoder = EventEncoder()

    async def said() -> AsyncIterator[str]:
        async for event in _events(request.path_params["agent"], given):
            yield encoder.encode(event)

    return StreamingResponse(said(), media_type="text/event-stream")


class _Fan:
    """One run, told to all who listen: each subscriber encodes and sends for itself."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.more = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._frames: dict[int, bytes] = {}

    def frame(self, seq: int, event: Any) -> bytes:
        """Encoded once for all subscribers, as hocket's log has it."""
        if seq not in self._frames:
            self._frames[seq] = b"id: %d\n" % seq + EventEncoder().encode(event).encode()
        return self._frames[seq]

    async def speak(self, given: RunAgentInput) -> None:
        async for event in _events("paced", given):
            self.said.append(event)
            self.more.set()
            self.more = asyncio.Event()


async def _fan(request: Request) -> Response:
    fan: _Fan = request.app.state.fan
    given = RunAgentInput.model_validate_json(await request.body())
    if fan.task is None:
        fan.task = asyncio.create_task(fan.speak(given))
    encoder = EventEncoder()

    async def told() -> AsyncIterator[str]:
        at = 0
        while True:
            while at < len(fan.said):
                event = fan.said[at]
                at += 1
                yield encoder.encode(event)
                if event.type == EventType.RUN_FINISHED:
                    return
            await fan.more.wait()

    return StreamingResponse(told(), media_type="text/event-stream")


async def _fan_frames(request: Request) -> Response:
    """The same by sse-starlette, spared all encoding: every subscriber is handed the same ready frame."""
    fan: _Fan = request.app.state.fan
    given = RunAgentInput.model_validate_json(await request.body())
    if fan.task is None:
        fan.task = asyncio.create_task(fan.speak(given))

    async def told() -> AsyncIterator[bytes]:
        at = 0
        while True:
            while at < len(fan.said):
                event = fan.said[at]
                at += 1
                yield fan.frame(at, event)
                if event.type == EventType.RUN_FINISHED:
                    return
            await fan.more.wait()

    return EventSourceResponse(told(), sep="\n")


async def _bare(_: Request) -> Response:
    return JSONResponse({"status": "running"})


def main() -> None:
    routes = [Route("/agui/{agent}", _agui, methods=["POST"]), Route("/fan", _fan, methods=["POST"])]
    routes.append(Route("/fan-frames", _fan_frames, methods=["POST"]))
    app = Starlette(routes=[*routes, Route("/bare", _bare)])
    app.state.fan = _Fan()
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, http="httptools", loop="uvloop")


if __name__ == "__main__":
    main()
