"""A message of a peer: a new run, or the answer to what a waiting one has asked (A2A 1.0.1, 3.1.1 and 3.4)."""

import contextlib
from typing import Any, NamedTuple

import orjson
from a2a.types import AgentCard, SendMessageRequest
from a2a.utils.errors import InvalidParamsError, TaskNotFoundError, UnsupportedOperationError
from a2a.utils.input_mode_validator import validate_input_modes
from a2a.utils.task import validate_history_length
from google.protobuf.json_format import MessageToDict

from protocol import a2a_parts
from protocol.answers import repeated, resolved
from protocol.errors import AlreadyResolved, HocketError, Invalid, RunNotFound
from protocol.state import Gate, RunState, Status
from runtime.asks import Resume, Start, resume_digest
from runtime.engine import Engine
from runtime.push_configs import PushConfig

from ..idempotency import message_id
from .call import Call
from .pushes import config_of
from .refusals import about

METADATA_BYTES_MAX = 16 << 10


class Sent(NamedTuple):
    """The run that a message is about. `seq` is the entry that records it; an update of the task comes after it.
    `created` says that the message has begun the run just now."""

    run_id: str
    seq: int
    created: bool = False


async def send(engine: Engine, call: Call, asked: SendMessageRequest) -> Sent:
    """Records the message. Raises A2A's errors and the engine's."""
    call.check_tenant(asked.tenant)
    if asked.configuration.HasField("history_length"):
        validate_history_length(asked.configuration)
    modes = (await engine.agent(call.agent)).get("input_modes")
    if modes:
        validate_input_modes(asked.message, AgentCard(default_input_modes=modes))
    message = whole(MessageToDict(asked.message))
    own_id = message_id(call.key or None, call.by)
    said = a2a_parts.user_message(message, own_id)
    if asked.message.task_id:
        return await _answer(engine, call, asked, message, said)
    return await _start(engine, call, asked, said)


async def _start(engine: Engine, call: Call, asked: SendMessageRequest, said: dict[str, Any]) -> Sent:
    metadata = whole(MessageToDict(asked.metadata))
    if len(orjson.dumps(metadata)) > METADATA_BYTES_MAX:
        raise Invalid(f"metadata: at most {METADATA_BYTES_MAX} bytes of JSON.")
    forwarded = {"acceptedOutputModes": list(asked.configuration.accepted_output_modes), "metadata": metadata}
    told = {"messages": [said], "state": {}, "tools": [], "context": [], "forwardedProps": {"a2a": forwarded}}
    run_id = engine.fresh_id(call.key, call.by)
    want = Start(call.agent, told, asked.message.context_id or None, run_id, call.key, metadata)
    config = _push_config(call, asked, run_id)
    if config is not None:  # before there is a run, so that nothing of it can be missed
        await engine.push.set(run_id, config, call.by, new_run=True)
    try:
        begun = await engine.start(want, call.by, call.face)
    except HocketError:
        if config is not None:
            await engine.push.forget(run_id, call.by)
        raise
    return Sent(begun.run_id, 1, begun.created)


async def _answer(
    engine: Engine, call: Call, asked: SendMessageRequest, message: dict[str, Any], said: dict[str, Any]
) -> Sent:
    state = await task_state(engine, call, asked.message.task_id)
    parts = message["parts"]
    if call.key is not None and (before := _repeated(state, call, parts)) is not None:
        return Sent(state.id, before)
    if asked.message.context_id and asked.message.context_id != state.thread_id:
        raise InvalidParamsError("message.contextId: it is not the context of the task; leave it out, or send its own.")
    if state.terminal:
        told = f"The task is {state.status.value} and takes no more messages: send a new one."
        raise UnsupportedOperationError(told, _decided(state))
    if state.status is not Status.WAITING:
        told = "The task is at work and has asked nothing: wait until it is input-required."
        raise UnsupportedOperationError(told, _decided(state))
    want = Resume(a2a_parts.answers(state.open_gates, parts), call.key, messages=[said])
    config = _push_config(call, asked, state.id)
    if config is not None:  # before the leg begins, as above
        await engine.push.set(state.id, config, call.by)
    try:
        done = await engine.resume(state.id, want, call.by, call.face)
    except HocketError:
        if config is not None:
            await engine.push.remove(state.id, config.id, call.by)
        raise
    return Sent(state.id, done.seq)


def _decided(state: RunState) -> dict[str, Any]:
    """Who has answered what the task asked last, for whoever comes after."""
    answered = [gate for gate in state.gates if gate.answered_seq is not None]
    return about(AlreadyResolved(answered[-1].interrupt_id, resolved(answered[-1]))) if answered else {}


def _repeated(state: RunState, call: Call, parts: list[dict[str, Any]]) -> int | None:
    """The entry in which this very message was recorded before: the run may have asked something else since."""
    answered: dict[int, list[Gate]] = {}
    for gate in state.gates:
        if gate.answered_seq is not None:
            answered.setdefault(gate.answered_seq, []).append(gate)
    for gates in answered.values():
        with contextlib.suppress(Invalid):
            given = a2a_parts.answers(gates, parts)
            if repeated(state, given, call.by, resume_digest(Resume(given, call.key))) is not None:
                return gates[0].answered_seq
    return None


async def task_state(engine: Engine, call: Call, task_id: str) -> RunState:
    """The run of a task of this agent. Raises TaskNotFoundError, InvalidParamsError, Unavailable."""
    if not task_id:
        raise InvalidParamsError("id: the task's id is missing.")
    with contextlib.suppress(RunNotFound):
        state = await engine.state(task_id, call.by)
        if state.agent == call.agent:
            return state
    raise TaskNotFoundError(f"There is no task {task_id[:80]!r}.")


def _push_config(call: Call, asked: SendMessageRequest, run_id: str) -> PushConfig | None:
    if not asked.configuration.HasField("task_push_notification_config"):
        return None
    call.check_pushes()
    return config_of(call, asked.configuration.task_push_notification_config, run_id)


def whole(told: Any) -> Any:
    """A Value's numbers are doubles; what is whole is told as such."""
    if isinstance(told, dict):
        return {name: whole(value) for name, value in told.items()}
    if isinstance(told, list):
        return [whole(value) for value in told]
    return int(told) if isinstance(told, float) and told.is_integer() and abs(told) <= 2**53 else told
