"""The AG-UI face: `POST /agui/{agent}` takes a RunAgentInput and streams the run (reference: docs.ag-ui.com, 1.0).

The client's runId is the run's id: posted again it attaches. A client that joins late gets a prelude; one that
comes back with a cursor gets what comes after it. A client before 1.0 sends no `protocolVersion`, and is spared
what it cannot parse.
"""

from typing import Any

import orjson
from ag_ui.core import RunAgentInput
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from protocol import sse
from protocol.entries import Principal
from protocol.errors import Invalid
from protocol.prelude import ending, prelude
from runtime.engine import Engine, Start
from runtime.follow import Chunk

from .auth import principal
from .body import parse, read_json
from .cursor import cursor_of
from .stream import EventStream, Streams

FACE = "agui"


class AgUi:
    """The face over an engine; CopilotKit's routes speak through it too."""

    def __init__(self, engine: Engine, streams: Streams, body_bytes_max: int) -> None:
        self._engine, self._streams, self._body_bytes_max = engine, streams, body_bytes_max

    def routes(self) -> list[BaseRoute]:
        return [Route("/agui/{agent:path}", self._post, methods=["POST"], name="agui")]

    async def _post(self, request: Request) -> Response | ASGIApp:
        given = await read_json(request, self._body_bytes_max)
        return await self.run(request, request.path_params["agent"], given, FACE)

    async def run(self, request: Request, agent: str, given: Any, face: str) -> ASGIApp:
        """Starts the run, or attaches to it, and streams its present leg."""
        by, cursor = principal(request), cursor_of(request)
        form = parse(RunAgentInput, given)
        if form.resume:
            raise Invalid("resume: this run has no open interrupt to answer.")
        want = Start(agent, own_input(given), form.thread_id, form.run_id, on_busy=_on_busy(given))
        begun = await self._engine.start(want, by, face)
        modern = form.protocol_version is not None
        if begun.created:
            return await self.stream(begun.run_id, by, 0, b"", modern)
        if cursor is not None:
            return await self.stream(begun.run_id, by, cursor, b"", modern)
        return await self.join(begun.run_id, by, modern)

    async def join(self, run_id: str, by: Principal, modern: bool) -> ASGIApp:
        """The prelude of the run as it is, then its live tail."""
        transcript = await self._engine.transcript(run_id, by)
        state = await self._engine.state(run_id, by)
        seq = state.seq
        if not state.leg.attempts:
            return await self.stream(run_id, by, 0, b"", modern)
        events = prelude(state, transcript)
        over = ending(state) is not None
        told = [events[-1] if modern or not over else legacy_end(events[-1])]
        opening = b"".join(sse.loose_frame(event) for event in events[:-1]) + sse.loose_frame(told[0], seq)
        return await self.stream(run_id, by, seq, opening, modern)

    async def stream(self, run_id: str, by: Principal, after_seq: int, opening: bytes, modern: bool) -> ASGIApp:
        follow = await self._engine.follow(run_id, by, after_seq)
        return EventStream(self._streams, follow, render if modern else render_legacy, opening, leg_only=True)


def own_input(given: dict[str, Any]) -> dict[str, Any]:
    """What of a RunAgentInput belongs to the run; ids and resume are the ask's own."""
    return {key: value for key, value in given.items() if key not in ("threadId", "runId", "resume")}


def render(piece: Chunk) -> bytes:
    """As stored. An ask has no AG-UI form: it moves the cursor and shows nothing."""
    if piece.lane == "ask":
        return b"".join(b"id: %d\n: ask\n\n" % seq for seq in range(piece.first, piece.last + 1))
    return piece.body


def render_legacy(piece: Chunk) -> bytes:
    """For clients before 1.0, to whom an unknown type or outcome is fatal."""
    if piece.lane == "flow" and b"\nevent: unknown\n" not in piece.body:
        return piece.body
    if piece.lane == "ask":
        return render(piece)
    told = []
    for found in sse.split(piece.body):
        seq = found.seq or 0
        if found.name is not None:
            told.append(b"id: %d\n: %b\n\n" % (seq, found.name.encode()))
        else:
            told.append(sse.frame(seq, orjson.dumps(legacy_end(orjson.loads(found.data)))))
    return b"".join(told)


def legacy_end(event: dict[str, Any]) -> dict[str, Any]:
    """A terminal event as 0.0.x parses it: a cancel is an error with code abort, other outcomes are bare."""
    outcome = event.get("outcome")
    if event["type"] != "RUN_FINISHED" or outcome is None:
        return event
    if outcome["type"] == "cancelled":
        return {"type": "RUN_ERROR", "message": "The run was stopped.", "code": "abort"}
    if outcome["type"] == "interrupt":
        return {**event, "outcome": {"type": "interrupt", "interrupts": outcome["interrupts"]}}
    return {key: value for key, value in event.items() if key != "outcome"}


def _on_busy(given: dict[str, Any]) -> Any:
    forwarded = given.get("forwardedProps")
    wanted = forwarded.get("on_busy") if isinstance(forwarded, dict) else None
    return wanted if wanted in ("reject", "cancel_previous") else None
