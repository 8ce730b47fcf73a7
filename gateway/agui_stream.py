"""A run as AG-UI over SSE, for every face that speaks it: start or attach, join in mid-run, resume by cursor.

A client of AG-UI 1.0 names its `protocolVersion` and is sent what is stored; one of 0.0.x names none, and is spared
what is fatal to it (`protocol/legacy.py`). Every stream ends with a terminal event.
"""

import logging
from collections.abc import Callable
from typing import Any

import orjson
from ag_ui.core import RunAgentInput
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol import sse
from protocol.answers import Answer
from protocol.entries import Caller
from protocol.errors import ThreadBusy, UnknownInterrupt
from protocol.events import PROTOCOL_VERSION
from protocol.legacy import STRANGE, legacy
from protocol.prelude import ending, prelude
from runtime.asks import Resume, Start
from runtime.chunks import Chunk
from runtime.engine import Engine

from .auth import holding, principal
from .body import parse
from .cursor import cursor_of
from .stream import DRAINED, HEADERS, EventStream, Streams

logger = logging.getLogger("hocket.agui")

Event = dict[str, Any]
Render = Callable[[Chunk], bytes]


FAREWELL = DRAINED + sse.loose_frame(
    {
        "type": "RUN_ERROR",
        "code": "GATEWAY_STOPPING",
        "message": "The gateway is stopping and the run goes on: post its runId again to follow it.",
    }
)
"""A client of AG-UI takes a stream that merely ends for a run that has succeeded, so it is told otherwise."""


class AgUiStreams:
    """What the faces over AG-UI share."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine, self._streams = engine, streams

    async def run(self, request: Request, agent: str, given: Any, face: str) -> ASGIApp:
        """Starts the run, or attaches to it, and streams its present leg. Raises what `Engine.start` does, Invalid."""
        by, cursor = principal(request), cursor_of(request)
        form = parse(RunAgentInput, given)
        modern = form.protocol_version is not None
        if form.resume:
            return await self._resume(request, agent, form, by, face, cursor)
        want = Start(agent, own_input(form), form.thread_id, form.run_id, on_busy=_on_busy(form))
        try:
            begun = await self._engine.start(want, by, face)
        except ThreadBusy as busy:
            if not busy.waiting:
                raise
            return await self._ask_again(busy, form, by)
        if begun.created:
            cursor = 0
        if cursor is not None:
            return await self._stream(request, begun.run_id, by, cursor, b"", renderer(modern))
        return await self.join(request, begun.run_id, by, modern)

    async def _resume(
        self, request: Request, agent: str, form: RunAgentInput, by: Caller, face: str, cursor: int | None
    ) -> ASGIApp:
        """Answers the open interrupts of the thread's latest run and streams the leg that they open. The client's
        runId is that leg's, and with the answers it tells a repeated request from another's."""
        asked = await self._engine.agent(agent)
        run = await self._engine.thread_head(form.thread_id, by)
        entries = form.resume or []
        if run is None or run.agent != asked["name"]:
            raise UnknownInterrupt(entries[0].interrupt_id, [])
        answers = [Answer(entry.interrupt_id, entry.status, entry.payload) for entry in entries]
        messages = own_input(form)["messages"]
        want = Resume(answers, form.run_id, form.run_id, messages, lenient=True)
        done = await self._engine.resume(run.id, want, by, face)
        if done.passed_over:
            logger.warning("Run %s: answers to what is not open are passed over: %s", run.id, done.passed_over)
        modern = form.protocol_version is not None
        if done.created or cursor is not None:
            warning = b"".join(b": passed over: %b\n\n" % orjson.dumps(name) for name in done.passed_over)
            after = done.seq if done.created else max(cursor or 0, done.seq)
            return await self._stream(request, run.id, by, after, warning, renderer(modern))
        return await self.join(request, run.id, by, modern)

    async def _ask_again(self, busy: ThreadBusy, form: RunAgentInput, by: Caller) -> ASGIApp:
        """To a run on a thread that waits for an answer: nothing is run, and the client is shown what is open (AG-UI
        1.0, resume). Nothing is said of messages, so the client keeps its own, to send them with its answers."""
        state = await self._engine.state(busy.run_id, by)
        if not state.interrupts:
            raise busy
        told = [opened(form), {"type": "STATE_SNAPSHOT", "snapshot": state.state}]
        told.append(ended(form) | {"outcome": {"type": "interrupt", "interrupts": state.interrupts}})
        if form.protocol_version is None:
            told = [spared for event in told if (spared := legacy(event)) is not None]
        return whole_stream(told)

    async def join(self, request: Request, run_id: str, by: Caller, modern: bool) -> ASGIApp:
        """The prelude of the run as it is, then its live tail. Raises RunNotFound."""
        state, transcript = await self._engine.snapshot(run_id, by)
        seq, begun = state.seq, bool(state.leg.attempts)
        told = prelude(state, transcript)
        if not modern:
            told = [spared for event in told if (spared := legacy(event)) is not None]
        # Only its end moves the client's cursor: a prelude that was cut off must not count as heard.
        over = ending(state) is not None
        opening = b"".join(sse.loose_frame(event) for event in (told[:-1] if over else told))
        opening += sse.loose_frame(told[-1], seq) if over else b"id: %d\n: joined\n\n" % seq
        render = renderer(modern)
        return await self._stream(request, run_id, by, seq, opening, render if begun else _without_start(render))

    async def _stream(
        self, request: Request, run_id: str, by: Caller, after_seq: int, opening: bytes, render: Render
    ) -> ASGIApp:
        follow = await self._engine.follow(run_id, by, after_seq)
        holds = holding(request, by)
        return EventStream(self._streams, follow, render, opening, leg_only=True, farewell=FAREWELL, holds=holds)


def opened(form: RunAgentInput) -> Event:
    """The RUN_STARTED of a stream that a face makes itself, for the run that the client has asked for."""
    return {
        "type": "RUN_STARTED",
        "threadId": form.thread_id,
        "runId": form.run_id,
        "protocolVersion": PROTOCOL_VERSION,
    }


def ended(form: RunAgentInput) -> Event:
    return {"type": "RUN_FINISHED", "threadId": form.thread_id, "runId": form.run_id}


def whole_stream(told: list[Event]) -> Response:
    """A stream that has all it will ever have."""
    response = Response(b"".join(sse.loose_frame(event) for event in told))
    response.raw_headers = [*HEADERS, (b"content-length", str(len(response.body)).encode())]
    return response


def own_input(form: RunAgentInput) -> dict[str, Any]:
    """What of a RunAgentInput belongs to the run, in wire form; ids and resume are the ask's own.

    A null where a field may be absent is left out: told to a client in a snapshot it would be fatal.
    """
    own: dict[str, Any] = form.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"thread_id", "run_id", "resume"}
    )
    return own


def renderer(modern: bool) -> Render:
    return render if modern else render_legacy


def render(piece: Chunk) -> bytes:
    """As stored. An ask has no AG-UI form: it moves the cursor and shows nothing."""
    if piece.lane == "ask":
        return b"".join(_silent(seq, "ask") for seq in range(piece.first, piece.last + 1))
    return piece.body


def render_legacy(piece: Chunk) -> bytes:
    """For clients before 1.0. Most messages hold nothing strange and go out as they are stored."""
    if piece.lane == "ask" or (piece.lane == "flow" and not any(mark in piece.body for mark in STRANGE)):
        return render(piece)
    return _each(piece, legacy)


def _without_start(render: Render) -> Render:
    """For who joined before the leg began: its prelude has said RUN_STARTED already."""

    def rendered(piece: Chunk) -> bytes:
        if piece.lane != "life" or b'"type":"RUN_STARTED"' not in piece.body:
            return render(piece)
        rest = _each(piece, lambda event: None if event["type"] == "RUN_STARTED" else event)
        return render(piece._replace(body=rest))

    return rendered


def _each(piece: Chunk, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> bytes:
    """The message with each event changed; where nothing is left of one, only the cursor moves."""
    told = []
    for found in sse.split(piece.body):
        seq = found.seq or 0
        event = change(orjson.loads(found.data)) if found.data and found.name is None else None
        told.append(_silent(seq, "left out") if event is None else sse.frame(seq, orjson.dumps(event)))
    return b"".join(told)


def _silent(seq: int, why: str) -> bytes:
    return b"id: %d\n: %b\n\n" % (seq, why.encode())


def _on_busy(form: RunAgentInput) -> Any:
    forwarded = form.forwarded_props
    wanted = forwarded.get("on_busy") if isinstance(forwarded, dict) else None
    return wanted if wanted in ("reject", "cancel_previous") else None
