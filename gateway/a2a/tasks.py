"""SendMessage, GetTask, ListTasks and CancelTask: what a peer is told of tasks, in ProtoJSON.

A peer of 1.0 gets exactly this, as it does on streams (`streams.py`). The SDK's objects, which its 0.3 side needs
(`handler.py`), hold each number as a double and write no milliseconds where there are none.
"""

from typing import Any

from a2a import types
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import validate_request_params
from a2a.utils.errors import TaskNotCancelableError, UnsupportedOperationError

from protocol import a2a
from protocol.state import RunState, Status
from runtime.engine import Engine

from ..auth import principal
from ..long_poll import hold
from ..stream import Streams
from . import lists
from .call import call_of
from .refusals import refusing
from .rendering import task_of
from .sending import Sent, send, task_state

WAIT_SECONDS_MAX = 24 * 3600.0
"""How long a blocking SendMessage waits; after that it is told the task as it is."""

Wire = dict[str, Any]


class Tasks:
    """Each method raises A2AError."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine, self._streams = engine, streams

    @refusing
    @validate_request_params
    async def send(self, params: types.SendMessageRequest, context: ServerCallContext) -> Wire:
        """A SendMessageResponse: the `task`, or the `message` of an agent that replies without one."""
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
            return {"message": message}
        length = configuration.history_length if configuration.HasField("history_length") else None
        return {"task": task_of(state, call, length)}

    @refusing
    @validate_request_params
    async def get(self, params: types.GetTaskRequest, context: ServerCallContext) -> Wire:
        call = call_of(context)
        call.check_tenant(params.tenant)
        return task_of(await task_state(self._engine, call, params.id), call, lists.history_length(params))

    @refusing
    @validate_request_params
    async def list(self, params: types.ListTasksRequest, context: ServerCallContext) -> Wire:
        call = call_of(context)
        call.check_tenant(params.tenant)
        return await lists.page(self._engine, call, params)

    @refusing
    @validate_request_params
    async def cancel(self, params: types.CancelTaskRequest, context: ServerCallContext) -> Wire:
        call = call_of(context)
        call.check_tenant(params.tenant)
        state = await task_state(self._engine, call, params.id)
        if not state.terminal:
            state = await self._engine.cancel(params.id, call.by, call.face)
            if state.status is Status.CANCELLED:
                return task_of(state, call)
        raise TaskNotCancelableError(f"The task has ended already: it is {state.status.value}.")


def settled(state: RunState, sent: Sent) -> bool:
    """Whether a message is dealt with: its leg has ended, or the run."""
    return state.ended_at_ms is not None or (state.status is Status.WAITING and state.seq > sent.seq)


def check_goes_on(state: RunState) -> None:
    """Raises UnsupportedOperationError where nothing will come any more (A2A 1.0.1, 3.1.6)."""
    if state.terminal:
        raise UnsupportedOperationError(f"The task has ended: it is {state.status.value}. Get it with GetTask.")
