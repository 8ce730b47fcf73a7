"""A run as Veryfront shows it: the tool's object, the canonical run of its REST calls, and by which tool call each
question goes. What hocket has no value for is null."""

from typing import Any

from protocol import spoken, usage
from protocol.ids import as_uuid
from protocol.messages import Message
from protocol.state import Gate, RunState, Status
from runtime.triggers import FACE as TRIGGER_FACE

from ..run_object import rfc3339

Json = dict[str, Any]

FACE = "veryfront"
"""Also the key of a run's metadata under which is kept what `POST /runs` gave for showing."""

STATUS = {
    Status.QUEUED: "pending",
    Status.RUNNING: "running",
    Status.WAITING: "waiting_for_tool",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
REQUEST_INPUT = "request_input"
"""The tool of a question that is about no call."""

SOURCE_TARGET = ("source_target_kind", "source_target_environment_id", "source_target_branch_id")
RUNTIME_TARGET = ("runtime_target_kind", "runtime_target_environment_id", "runtime_target_branch_id")
SOURCE = ("type", "path", "hash", "catalog_entry_id")
TARGET = ("kind", "environment_id", "branch_id", "resolved_target_id", "resolved_target_kind", "deployment_id")
NAMES = (
    *("run_id", "conversation_id", "parent_conversation_id", "message_id", "project_id", "requested_by_user_id"),
    *("agent_id", "status", "implementation_kind", "worker_key", *SOURCE_TARGET, *RUNTIME_TARGET),
    *("parent_run_id", "spawned_from_message_id", "spawned_from_tool_call_id", "input_anchor_message_id"),
    *("handoff_message_id", "resolved_deployment_id", "latest_event_id", "waiting_tool_call_id", "waiting_tool_name"),
    *("terminal_error_code", "terminal_error_message", "created_at", "started_at", "finished_at"),
)
"""The keys of the tool's object, but for the last one, `run_snapshot`."""

_NO_CODE = "AGENT_ERROR"
_EXPIRED = "Nobody answered in time."
_TRIGGERS = {"now": "manual", "at": "schedule", "cron": "schedule", "event": "webhook"}


def run_object(state: RunState) -> Json:
    """The object of 31 keys, at every status."""
    by = _requester(state)
    asked = _asked(state)
    waits = next(iter(state.open_gates), None) if state.status is Status.WAITING else None
    call_id, tool = call_of(state, waits) if waits is not None else (None, None)
    error = _error(state)
    given = _given(state)
    asked_id = asked.id if asked is not None else None
    own: Json = {
        **given,
        "run_id": state.id,
        "conversation_id": conversation_id(state),
        "parent_run_id": state.parent,
        "parent_conversation_id": as_uuid(state.tenant, state.parent_thread) if state.parent_thread else None,
        "message_id": asked_id,
        "input_anchor_message_id": asked_id,
        "handoff_message_id": spoken.last_said(state) if state.status is Status.COMPLETED else None,
        "requested_by_user_id": by,
        "agent_id": state.agent,
        "status": STATUS[state.status],
        "latest_event_id": state.seq,
        "waiting_tool_call_id": call_id,
        "waiting_tool_name": tool,
        "terminal_error_code": error["code"] if error is not None else None,
        "terminal_error_message": error["message"] if error is not None else None,
        "created_at": rfc3339(state.created_at_ms),
        "started_at": rfc3339(state.started_at_ms),
        "finished_at": rfc3339(state.ended_at_ms),
    }
    target = dict(zip(TARGET, (given[name] for name in RUNTIME_TARGET), strict=False))
    snapshot = {
        "project_agent": None,
        "source": dict.fromkeys(SOURCE),
        "runtime_target": dict.fromkeys(TARGET) | target,
        "requester": {"user_id": by},
    }
    return {name: own.get(name) for name in NAMES} | {"run_snapshot": snapshot}


def canonical_run(state: RunState, root_run_id: str | None) -> Json:
    """The run of the REST calls. `root_run_id` is the first of the runs that this one was started for."""
    waits = state.status is Status.WAITING
    asked, given, trigger = _asked(state), _given(state), _trigger(state)
    return {
        "run_id": state.id,
        "kind": "agent",
        "status": "waiting" if waits else STATUS[state.status],
        "owner": {"kind": "conversation", "id": conversation_id(state)},
        "parent_run_id": state.parent,
        "root_run_id": root_run_id,
        "waiting_reason": "tool" if waits else None,
        "metadata": {name: value for name, value in state.metadata.items() if name != FACE} or None,
        "target": None,
        "workflow_id": None,
        "schedule_id": trigger.get("id") if trigger.get("kind") in ("at", "cron") else None,
        "batch_id": None,
        **{name: given[name] for name in RUNTIME_TARGET},
        "input": {"text": _text(asked)} if asked is not None else None,
        "config": None,
        "output": _output(state),
        "error": _error(state),
        "logs": None,
        "artifacts": [],
        "duration_ms": usage.duration_ms(state),
        "exit_code": None,
        "start_mode": None,
        "timeout_seconds": state.timeout_s,
        "backoff_limit": None,
        "trigger_kind": _TRIGGERS.get(str(trigger.get("kind")), "api"),
        "trigger_id": trigger.get("id"),
        "created_by": _requester(state),
        "updated_at": rfc3339(state.changed_at_ms),
        "created_at": rfc3339(state.created_at_ms),
        "started_at": rfc3339(state.started_at_ms),
        "completed_at": rfc3339(state.ended_at_ms),
    }


def conversation_id(state: RunState) -> str:
    return as_uuid(state.tenant, state.thread_id)


def is_conversation(state: RunState, given: str) -> bool:
    """Whether that is the run's conversation, in either form of its id."""
    return given == state.thread_id or given.lower() == conversation_id(state).lower()


# ── questions as tool calls ───────────────────────────────────────────────────────────────────────────────────────


def call_of(state: RunState, gate: Gate) -> tuple[str, str]:
    """The tool call by whose id a question goes, and the tool's name. A question outside of a call goes by its gate's
    id; so does one about a call that has a result already or that another question was about before it: an answer sent
    twice can then never be taken for that to the second question. The same at any time, as it follows from what was
    there when it was asked."""
    call_id = gate.interrupt.get("toolCallId")
    if not isinstance(call_id, str) or not call_id:
        return gate.id, REQUEST_INPUT
    done = state.begun.get(f"result {call_id}", gate.opened_seq) < gate.opened_seq
    if done or _first_about(state, call_id) is not gate:
        return gate.id, REQUEST_INPUT
    made = state.messages.call(call_id)
    return call_id, made.name if made is not None else REQUEST_INPUT


def gate_of(state: RunState, tool_call_id: str) -> Gate | None:
    """The question that goes by that call, or has that id as its gate's."""
    gate = _first_about(state, tool_call_id)
    if gate is not None and call_of(state, gate)[0] == tool_call_id:
        return gate
    return next((gate for gate in state.gates if gate.id == tool_call_id), None)


def _first_about(state: RunState, call_id: str) -> Gate | None:
    return next((gate for gate in state.gates if gate.interrupt.get("toolCallId") == call_id), None)


def error_code(code: str) -> str:
    """As it is shown; hocket's own word for an agent that gave none is Veryfront's."""
    return "agent_error" if code == _NO_CODE else code


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _requester(state: RunState) -> str:
    assert state.requester is not None  # a run begins with its start
    return state.requester.id


def _error(state: RunState) -> Json | None:
    """Of a run that has failed; one that was cancelled has none. An expiry makes it fail before its end is recorded."""
    if state.status is not Status.FAILED:
        return None
    error = state.error or {"message": _EXPIRED, "code": "INTERRUPT_EXPIRED"}
    return {"message": error["message"], "code": error_code(error["code"])}


def _given(state: RunState) -> Json:
    """The targets that the run was started with here; metadata of another face's client is not read as ours."""
    kept = state.metadata.get(FACE) if state.face == FACE else None
    held = kept if isinstance(kept, dict) else {}
    return {name: held.get(name) for name in (*SOURCE_TARGET, *RUNTIME_TARGET)}


def _trigger(state: RunState) -> Json:
    noted = state.metadata.get("trigger") if state.face == TRIGGER_FACE else None
    return noted if isinstance(noted, dict) else {}


def _asked(state: RunState) -> Message | None:
    """The last user message of the start, not of what came with an answer."""
    later = {message.get("id") for leg in state.legs[1:] for message in leg.messages}
    found = (message for message in state.messages.backwards() if message.role == "user" and message.id not in later)
    return next(found, None)


def _text(message: Message) -> str:
    if message.text is not None:
        return "".join(message.text)
    parts = message.rest.get("content")
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "".join(text for text in texts if isinstance(text, str))


def _output(state: RunState) -> Json | None:
    text = spoken.output(state)
    if text is None:
        return None
    return {"text": text} | ({"result": state.result} if state.result is not None else {})
