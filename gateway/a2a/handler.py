"""The SDK's RequestHandler over the engine, for what its routes serve: all of 0.3, push configurations and the card.

Tasks of 1.0 do not come through here: `tasks.py` and `streams.py` write them without the SDK's objects.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from a2a import types
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.utils.errors import InvalidParamsError, UnsupportedOperationError

from protocol.a2a_updates import Updates
from protocol.entries import decode
from protocol.state import RunState
from runtime.chunks import Chunk
from runtime.engine import Engine
from runtime.follow import Follow

from ..stream import Streams
from . import objects, pushes
from .call import Call, call_of
from .cards import Cards
from .refusals import refusing, refusing_stream
from .rendering import asked_of, task_of
from .sending import send, task_state
from .tasks import Tasks, check_goes_on


class Handler(RequestHandler):
    """One for all agents: the call that the context carries says which."""

    def __init__(self, engine: Engine, streams: Streams, cards: Cards, tasks: Tasks) -> None:
        self._engine, self._streams, self._cards = engine, streams, cards
        self._tasks = tasks

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────────

    @refusing
    async def on_message_send(
        self, params: types.SendMessageRequest, context: ServerCallContext
    ) -> types.Task | types.Message:
        told = await self._tasks.send(params, context)
        return objects.message(told["message"]) if "message" in told else objects.task(told["task"])

    @refusing_stream
    @validate_request_params
    async def on_message_send_stream(
        self, params: types.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        call = call_of(context)
        self._cards.check_streaming()
        sent = await send(self._engine, call, params)
        state = await self._engine.state(sent.run_id, call.by)
        after, told = (1, asked_of(state, call)) if sent.created else (state.seq, task_of(state, call))
        async for event in self._events(call, state, after, told, leg_only=True):
            yield event

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────

    @refusing
    async def on_get_task(self, params: types.GetTaskRequest, context: ServerCallContext) -> types.Task | None:
        return objects.task(await self._tasks.get(params, context))

    async def on_list_tasks(
        self, params: types.ListTasksRequest, context: ServerCallContext
    ) -> types.ListTasksResponse:
        raise UnsupportedOperationError("A2A 0.3 has no list of tasks.")

    @refusing
    async def on_cancel_task(self, params: types.CancelTaskRequest, context: ServerCallContext) -> types.Task | None:
        return objects.task(await self._tasks.cancel(params, context))

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
        async for event in self._events(call, state, state.seq, task_of(state, call), leg_only=False):
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
