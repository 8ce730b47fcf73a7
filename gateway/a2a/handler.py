"""The SDK's RequestHandler over the engine: each method asks the engine and renders a fold of the log.

Streams of 1.0 do not come through here but through `streams.py`, which writes the same updates without an object each;
those of 0.3 do.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from a2a import types
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.utils.errors import InvalidParamsError, TaskNotCancelableError, UnsupportedOperationError

from protocol import a2a
from protocol.a2a_updates import Updates
from protocol.entries import decode
from protocol.state import RunState, Status
from runtime.chunks import Chunk
from runtime.engine import Engine
from runtime.follow import Follow

from ..auth import principal
from ..long_poll import hold
from ..stream import Streams
from . import lists, objects, pushes
from .call import Call, call_of
from .cards import Cards
from .refusals import refusing, refusing_stream
from .rendering import asked_of, task_of, wire_of
from .sending import Sent, send, task_state

WAIT_SECONDS_MAX = 24 * 3600.0
"""How long a blocking SendMessage waits; after that it is told the task as it is."""


class Handler(RequestHandler):
    """One for all agents: the call that the context carries says which."""

    def __init__(self, engine: Engine, streams: Streams, cards: Cards) -> None:
        self._engine, self._streams, self._cards = engine, streams, cards

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────────

    @refusing
    @validate_request_params
    async def on_message_send(
        self, params: types.SendMessageRequest, context: ServerCallContext
    ) -> types.Task | types.Message:
        call = call_of(context)
        sent = await send(self._engine, call, params)
        configuration = params.configuration
        if not configuration.return_immediately:
            waiting = self._engine.changed(sent.run_id, call.by, lambda run: settled(run, sent), WAIT_SECONDS_MAX)
            await hold(waiting, call.request, self._streams)
            call.by = principal(call.request)  # a key may have been revoked meanwhile
        state = await self._engine.state(sent.run_id, call.by)
        message = a2a.reply(state) if state.terminal else None
        if message is not None:
            return objects.message(message)
        length = configuration.history_length if configuration.HasField("history_length") else None
        return task_of(state, call, length)

    @refusing_stream
    @validate_request_params
    async def on_message_send_stream(
        self, params: types.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        call = call_of(context)
        self._cards.check_streaming()
        sent = await send(self._engine, call, params)
        state = await self._engine.state(sent.run_id, call.by)
        after, told = (1, asked_of(state, call)) if sent.created else (state.seq, wire_of(state, call))
        async for event in self._events(call, state, after, told, leg_only=True):
            yield event

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────

    @refusing
    @validate_request_params
    async def on_get_task(self, params: types.GetTaskRequest, context: ServerCallContext) -> types.Task | None:
        call = call_of(context)
        call.check_tenant(params.tenant)
        return task_of(await task_state(self._engine, call, params.id), call, lists.history_length(params))

    @refusing
    @validate_request_params
    async def on_list_tasks(
        self, params: types.ListTasksRequest, context: ServerCallContext
    ) -> types.ListTasksResponse:
        call = call_of(context)
        call.check_tenant(params.tenant)
        return await lists.page(self._engine, call, params)

    @refusing
    @validate_request_params
    async def on_cancel_task(self, params: types.CancelTaskRequest, context: ServerCallContext) -> types.Task | None:
        call = call_of(context)
        call.check_tenant(params.tenant)
        state = await task_state(self._engine, call, params.id)
        if not state.terminal:
            state = await self._engine.cancel(params.id, call.by, call.face)
            if state.status is Status.CANCELLED:
                return task_of(state, call)
        raise TaskNotCancelableError(f"The task has ended already: it is {state.status.value}.")

    @refusing_stream
    @validate_request_params
    async def on_subscribe_to_task(
        self, params: types.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        call = call_of(context)
        self._cards.check_streaming()
        call.check_tenant(params.tenant)
        state = await task_state(self._engine, call, params.id)
        check_goes_on(state)
        async for event in self._events(call, state, state.seq, wire_of(state, call), leg_only=False):
            yield event

    async def _events(
        self, call: Call, state: RunState, after: int, told: dict[str, Any], leg_only: bool
    ) -> AsyncGenerator[Event]:
        """The task as it is told at the entry `after`, then its updates, as the SDK's objects."""
        updates, first = Updates(state, after), objects.task(told)
        follow = await self._engine.follow(state.id, call.by, after)
        try:
            yield first
            async for pieces in self._until_stopped(follow, leg_only):
                for piece in pieces:
                    for seq, event in decode(piece.body):
                        for update in updates.of(seq, event):
                            yield objects.update(update)
                    if leg_only and piece.ends:
                        return
        finally:
            follow.close()

    async def _until_stopped(self, follow: Follow, leg_only: bool) -> AsyncGenerator[list[Chunk]]:
        """What is recorded, until nothing will come or the gateway stops."""
        batches, stopping = aiter(follow), asyncio.ensure_future(self._streams.stopping.wait())
        try:
            while not follow.over(leg_only):
                step = asyncio.ensure_future(anext(batches, None))
                await asyncio.wait([step, stopping], return_when=asyncio.FIRST_COMPLETED)
                pieces = step.result() if step.done() else None
                if pieces is None:
                    step.cancel()
                    return
                yield pieces
        finally:
            stopping.cancel()

    # ── push notifications ────────────────────────────────────────────────────────────────────────────────────

    @refusing
    @validate_request_params
    async def on_create_task_push_notification_config(
        self, params: types.TaskPushNotificationConfig, context: ServerCallContext
    ) -> types.TaskPushNotificationConfig:
        call, state = await self._pushing(params, params.task_id, context)
        config = pushes.config_of(call, params, state.id)
        return pushes.told(await self._engine.push.set(state.id, config, call.by), state.id)

    @refusing
    @validate_request_params
    async def on_get_task_push_notification_config(
        self, params: types.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> types.TaskPushNotificationConfig:
        call, state = await self._pushing(params, params.task_id, context)
        return pushes.told(await self._engine.push.get(state.id, params.id, call.by), state.id)

    @refusing
    @validate_request_params
    async def on_list_task_push_notification_configs(
        self, params: types.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> types.ListTaskPushNotificationConfigsResponse:
        call, state = await self._pushing(params, params.task_id, context)
        if params.page_token:
            raise InvalidParamsError("pageToken: a task's configurations are one page.")
        return pushes.page(await self._engine.push.list(state.id, call.by), state.id)

    @refusing
    @validate_request_params
    async def on_delete_task_push_notification_config(
        self, params: types.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        call, state = await self._pushing(params, params.task_id, context)
        await self._engine.push.remove(state.id, params.id, call.by)

    async def _pushing(self, params: Any, task_id: str, context: ServerCallContext) -> tuple[Call, RunState]:
        call = call_of(context)
        call.check_pushes()
        call.check_tenant(params.tenant)
        return call, await task_state(self._engine, call, task_id)

    # ── card ──────────────────────────────────────────────────────────────────────────────────────────────────

    @refusing
    async def on_get_extended_agent_card(
        self, params: types.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> types.AgentCard:
        call = call_of(context)
        call.check_tenant(params.tenant)
        if not self._cards.extends:
            raise UnsupportedOperationError("There is no extended card.")
        return self._cards.card(await self._engine.agent(call.agent), call.request, extended=True)


def settled(state: RunState, sent: Sent) -> bool:
    """Whether a message is dealt with: its leg has ended, or the run."""
    return state.ended_at_ms is not None or (state.status is Status.WAITING and state.seq > sent.seq)


def check_goes_on(state: RunState) -> None:
    """Raises UnsupportedOperationError where nothing will come any more (A2A 1.0.1, 3.1.6)."""
    if state.terminal:
        raise UnsupportedOperationError(f"The task has ended: it is {state.status.value}. Get it with GetTask.")
