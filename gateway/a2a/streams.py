"""SendStreamingMessage and SubscribeToTask of A2A 1.0 over server-sent events: the task, then each of its updates.

    task at entry n ──> every update after n, as it is recorded ──> end of the leg (send), or of the run (subscribe)

The SDK's own route makes an object, a dictionary and a task switch of every update; figures in `README.md`.
"""

from typing import Any

import orjson
from a2a.server.context import ServerCallContext
from a2a.types import SendMessageRequest, SubscribeToTaskRequest
from a2a.utils.errors import InvalidParamsError
from a2a.utils.proto_utils import validate_proto_required_fields
from starlette.types import ASGIApp

from protocol.a2a_updates import Updates
from protocol.entries import decode
from protocol.state import RunState
from runtime.chunks import Chunk
from runtime.engine import Engine

from ..auth import holding
from ..cursor import cursor_of
from ..stream import EventStream, Render, Streams
from .call import Call, call_of, echo
from .cards import Cards
from .refusals import refusing
from .rendering import asked_of, seq_note, task_of
from .sending import send, task_state
from .tasks import check_goes_on

Frame = tuple[bytes, bytes]
"""What stands before and behind a StreamResponse in a frame's data."""
BARE: Frame = b"", b""


def in_rpc(request_id: Any) -> Frame:
    """Each update is a JSON-RPC response to the request."""
    return b'{"jsonrpc":"2.0","id":%b,"result":' % orjson.dumps(request_id), b"}"


class TaskStreams:
    def __init__(self, engine: Engine, streams: Streams, cards: Cards, frame: Frame = BARE) -> None:
        self._engine, self._streams, self._cards, self._frame = engine, streams, cards, frame

    def framed(self, frame: Frame) -> "TaskStreams":
        return TaskStreams(self._engine, self._streams, self._cards, frame)

    @refusing
    async def send(self, params: SendMessageRequest, context: ServerCallContext) -> ASGIApp:
        """Raises A2AError, before anything is recorded if the message cannot be."""
        call = call_of(context)
        self._cards.check_streaming()
        validate_proto_required_fields(params)
        cursor = cursor_of(call.request)
        sent = await send(self._engine, call, params)
        state = await self._engine.state(sent.run_id, call.by)
        if sent.created:  # from its beginning on, however far the agent has got meanwhile
            return await self._follow(call, state, 1, self._framed(1, {"task": asked_of(state, call)}), leg_only=True)
        return await self._open(call, state, cursor, leg_only=True)

    @refusing
    async def subscribe(self, params: SubscribeToTaskRequest, context: ServerCallContext) -> ASGIApp:
        """Raises A2AError."""
        call = call_of(context)
        self._cards.check_streaming()
        validate_proto_required_fields(params)
        call.check_tenant(params.tenant)
        cursor = cursor_of(call.request)
        state = await task_state(self._engine, call, params.id)
        if cursor is None:
            check_goes_on(state)
        return await self._open(call, state, cursor, leg_only=False)

    async def _open(self, call: Call, state: RunState, cursor: int | None, leg_only: bool) -> ASGIApp:
        """From a cursor on nothing is told again, the task neither."""
        if cursor is not None and cursor > state.seq:
            raise InvalidParamsError(f"Last-Event-ID: the task is at {state.seq}, and {cursor} is yet to come.")
        if cursor is not None:
            return await self._follow(call, state, cursor, b"", leg_only)
        return await self._follow(
            call, state, state.seq, self._framed(state.seq, {"task": task_of(state, call)}), leg_only
        )

    async def _follow(self, call: Call, state: RunState, after: int, opening: bytes, leg_only: bool) -> ASGIApp:
        updates = Updates(state, after)
        follow = await self._engine.follow(state.id, call.by, after)
        render = self._renderer(updates, call.numbered)
        holds = holding(call.request, call.by)
        more = [(name.encode(), value.encode()) for name, value in echo(call).items()]
        return EventStream(self._streams, follow, render, opening, leg_only, holds=holds, more_headers=more)

    def _renderer(self, updates: Updates, numbered: bool) -> Render:
        def render(piece: Chunk) -> bytes:
            if piece.lane == "ask":
                return b""
            frames = []
            for seq, event in decode(piece.body):
                told = updates.of(seq, event)
                for update in told:
                    if numbered:
                        (body,) = update.values()
                        body["metadata"] = seq_note(seq)
                    # of several updates of one entry only the last moves the cursor
                    frames.append(self._framed(seq if update is told[-1] else None, update))
            return b"".join(frames)

        return render

    def _framed(self, seq: int | None, update: dict[str, Any]) -> bytes:
        before, after = self._frame
        data = orjson.dumps(update)
        if seq is None:
            return b"data: %b%b%b\n\n" % (before, data, after)
        return b"id: %d\ndata: %b%b%b\n\n" % (seq, before, data, after)
