"""A run as an A2A task, in ProtoJSON (reference: A2A 1.0.1, `lf.a2a.v1`; as a table: `gateway/a2a/README.md`).

A run is a task, its thread the context, an interrupt TASK_STATE_INPUT_REQUIRED. What the agent says becomes artifacts,
each under the id of what it stems from; what people say and what the agent asks them is the history.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from . import a2a_parts, depth
from .instants import rfc3339
from .messages import REF
from .run import abandoned
from .state import Gate, RunState, Status

Wire = dict[str, Any]

STATES = {
    Status.QUEUED: "TASK_STATE_SUBMITTED",
    Status.RUNNING: "TASK_STATE_WORKING",
    Status.WAITING: "TASK_STATE_INPUT_REQUIRED",
    Status.COMPLETED: "TASK_STATE_COMPLETED",
    Status.FAILED: "TASK_STATE_FAILED",
    Status.CANCELLED: "TASK_STATE_CANCELED",
}
REJECTED = "REJECTED"
"""Code of the RUN_ERROR with which an agent refuses a task."""
AUTH_REQUIRED = "auth_required"
"""Reason of an interrupt that asks for a credential and not for words."""
STATE_ARTIFACT = "state"
RESULT_ARTIFACT = "result"
PATCH = "application/json-patch+json"
"""Media type of a data part that changes the part before it: RFC 6902 operations under `patch`."""


def state_name(state: RunState) -> str:
    """The task's state."""
    if state.status is Status.FAILED and state.error is not None and state.error.get("code") == REJECTED:
        return "TASK_STATE_REJECTED"
    if state.status is Status.WAITING and asks_for_auth(state.interrupts):
        return "TASK_STATE_AUTH_REQUIRED"
    return STATES[state.status]


def asks_for_auth(interrupts: list[Wire]) -> bool:
    return bool(interrupts) and all(one.get("reason") == AUTH_REQUIRED for one in interrupts)


def task(state: RunState, history_length: int | None = None, artifacts: bool = True) -> Wire:
    """The whole task. `history_length` None is all of its history, 0 none of it."""
    told: Wire = {"id": state.id, "contextId": state.thread_id, "status": status(state)}
    said = list(_artifacts(state)) if artifacts else []
    if said:
        told["artifacts"] = said
    past = history(state) if history_length != 0 else []
    if past:
        told["history"] = past if history_length is None else past[-history_length:]
    if state.metadata:
        told["metadata"] = state.metadata
    return told


def asked(state: RunState) -> Wire:
    """The task as it was when it was asked for, with what it was sent."""
    first = {"state": STATES[Status.QUEUED], "timestamp": rfc3339(state.created_at_ms)}
    told: Wire = {"id": state.id, "contextId": state.thread_id, "status": first, "history": _first(state)}
    return told | ({"metadata": state.metadata} if state.metadata else {})


def status(state: RunState) -> Wire:
    """The task's status; `timestamp` is when it last changed."""
    told: Wire = {"state": state_name(state), "timestamp": rfc3339(state.changed_at_ms)}
    message = _status_message(state)
    if message is not None:
        told["message"] = message
    return told


def _status_message(state: RunState) -> Wire | None:
    if state.status is Status.WAITING:
        return question(state.id, state.thread_id, state.interrupts)
    if state.status is Status.FAILED and state.error is not None:
        return words(state.id, state.thread_id, "error", state.error["message"])
    if state.status is Status.COMPLETED and (parts := reply_parts(state.result)) is not None:
        return reply_status(state.id, state.thread_id, parts)
    return None


def words(run_id: str, thread_id: str, name: str, text: str) -> Wire:
    """A message of the agent's side that says `text`."""
    return _of_agent(run_id, thread_id, f"{run_id}-{name}", [{"text": text}])


def question(run_id: str, thread_id: str, interrupts: list[Wire]) -> Wire:
    """What the agent asks, for people as text and for programs as data: `interrupts`, each with its id and, where
    it has one, the JSON Schema of its answer."""
    texts = [{"text": one["message"]} for one in interrupts if one.get("message")]
    asked = [_asked(one) for one in interrupts]
    return _of_agent(run_id, thread_id, str(interrupts[0]["id"]), [*texts, {"data": {"interrupts": asked}}])


def _asked(interrupt: Wire) -> Wire:
    metadata = {name: value for name, value in (interrupt.get("metadata") or {}).items() if name != "hocket"}
    bare = {name: value for name, value in interrupt.items() if name != "metadata"}
    return bare | ({"metadata": metadata} if metadata else {})


def _of_agent(run_id: str, thread_id: str, message_id: str, parts: list[Wire]) -> Wire:
    return {"messageId": message_id, "contextId": thread_id, "taskId": run_id, "role": "ROLE_AGENT", "parts": parts}


# ── history ───────────────────────────────────────────────────────────────────────────────────────────────────────


def history(state: RunState) -> list[Wire]:
    """What the run was sent and what it has asked, in order. The question that is open stands in its status."""
    told = _first(state)
    gates = list(state.gates)
    for number, leg in enumerate(state.legs):
        told += [_sent(state, message) for message in leg.messages if message.get("role") == "user"]
        until = state.legs[number + 1].asked_seq if number + 1 < len(state.legs) else state.seq + 1
        asked = [gate for gate in gates if leg.asked_seq < gate.opened_seq < until]
        told += [_asked_then(state, group) for group in _by_leg(asked) if group[0].status != "open"]
    return told


def _first(state: RunState) -> list[Wire]:
    """What the run was started with, of what the thread did not hold yet."""
    later = {str(message.get("id")) for leg in state.legs for message in leg.messages}
    sent = [one for one in state.messages if one.role == "user" and not one.rest.get(REF) and one.id not in later]
    return [_sent(state, one.wire()) for one in sent]


def _by_leg(gates: list[Gate]) -> Iterator[list[Gate]]:
    opened: dict[int, list[Gate]] = {}
    for gate in gates:
        opened.setdefault(gate.opened_seq, []).append(gate)
    yield from opened.values()


def _asked_then(state: RunState, gates: list[Gate]) -> Wire:
    return question(state.id, state.thread_id, [gate.interrupt for gate in gates])


def _sent(state: RunState, message: Wire) -> Wire:
    """A user's message in A2A's form, under the id that the peer gave it."""
    noted = a2a_parts.noted(message)
    told: Wire = {"messageId": noted.get("messageId", message["id"]), "contextId": state.thread_id, "taskId": state.id}
    told |= {"role": "ROLE_USER", "parts": a2a_parts.from_content(message.get("content"))}
    return told | {name: noted[name] for name in ("metadata", "extensions", "referenceTaskIds") if noted.get(name)}


# ── artifacts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _artifacts(state: RunState) -> Iterator[Wire]:
    """What the agent has said, in the order of its messages; then its state and its result."""
    results = results_of(state)
    for message in state.messages:
        given_up = abandoned(message.rest)
        if message.role == "assistant":
            if f"message {message.id}" in state.begun:
                yield withdrawn(message.id) if given_up else text_artifact(message.id, "".join(message.text or ()))
            for call in message.calls:
                if f"call {call.id}" in state.begun and f"ended {call.id}" in state.begun:
                    lost = given_up or abandoned(call.rest)
                    said = call_artifact(call.id, call.name, "".join(call.args), results.get(call.id, ()))
                    yield withdrawn(call.id) if lost else said
        elif message.role == "activity" and f"activity {message.id}" in state.begun:
            yield (
                withdrawn(message.id)
                if given_up
                else activity_artifact(message.id, str(message.rest.get("activityType")), message.rest.get("content"))
            )
    if "state" in state.begun:
        yield state_artifact(state.state)
    if state.result is not None and reply_parts(state.result) is None:
        yield result_artifact(state.result)


def results_of(state: RunState) -> dict[str, list[Any]]:
    """What the agent's calls have come to, by call. A client's own results are not the agent's to tell."""
    found: dict[str, list[Any]] = {}
    for message in state.messages:
        call_id = str(message.rest.get("toolCallId"))
        if message.role == "tool" and f"result {call_id}" in state.begun:
            found.setdefault(call_id, []).append(message.wire().get("content"))
    return found


def withdrawn(artifact_id: str) -> Wire:
    """What an attempt said that another attempt has replaced: nothing is left of it but its id."""
    return {"artifactId": artifact_id, "parts": [{"text": ""}], "metadata": {"hocket": {"abandoned": True}}}


def text_artifact(message_id: str, text: str) -> Wire:
    return {"artifactId": message_id, "parts": [{"text": text}]}


def call_artifact(call_id: str, name: str, args: str, results: Sequence[Any] = ()) -> Wire:
    """A tool call; each result is a part of its own behind it. Arguments that are no JSON, or such as is nested too
    deep to be told within other, are told as their text."""
    try:
        parsed = orjson.loads(args) if args else {}
    except orjson.JSONDecodeError:
        parsed = args
    if depth.is_deeper(parsed, depth.SAID):
        parsed = args
    data = {"toolCallId": call_id, "toolCallName": name, "arguments": parsed}
    told = [result_part(call_id, content) for content in results]
    return {"artifactId": call_id, "name": name, "parts": [{"data": data}, *told]}


def result_part(call_id: str, content: Any) -> Wire:
    return {"data": {"toolCallId": call_id, "content": content}}


def activity_artifact(message_id: str, kind: str, content: Any) -> Wire:
    """An activity of the type `artifact` is the artifact that it describes; any other is data."""
    if kind == "artifact" and isinstance(content, dict) and a2a_parts.are_parts(content.get("parts")):
        named = {name: content[name] for name in ("name", "description") if isinstance(content.get(name), str)}
        return {"artifactId": message_id, **named, "parts": content["parts"]}
    return {"artifactId": message_id, "name": kind, "parts": [{"data": content}]}


def state_artifact(state: Any) -> Wire:
    return {"artifactId": STATE_ARTIFACT, "name": "state", "parts": [{"data": state}]}


def result_artifact(result: Any) -> Wire:
    return {"artifactId": RESULT_ARTIFACT, "name": "result", "parts": [{"data": result}]}


def reply(state: RunState) -> Wire | None:
    """The message with which an agent answers in place of a task: `{"a2aMessage": {"parts": [...]}}` as its result.
    Whoever streams or polls the task has it as the message of its status."""
    parts = reply_parts(state.result)
    if parts is None:
        return None
    message_id = f"{state.id}-reply"
    return {"messageId": message_id, "contextId": state.thread_id, "role": "ROLE_AGENT", "parts": parts}


def reply_parts(result: Any) -> list[Wire] | None:
    """The parts of a result that is such a message."""
    given = result.get("a2aMessage") if isinstance(result, dict) else None
    parts = given.get("parts") if isinstance(given, dict) else None
    return parts if isinstance(parts, list) and a2a_parts.are_parts(parts) else None


def reply_status(run_id: str, thread_id: str, parts: list[Wire]) -> Wire:
    """Such a message as that of the task's status."""
    return _of_agent(run_id, thread_id, f"{run_id}-reply", parts)


# ── push ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def pushed(state: RunState, event: Wire, whole: bool = True) -> Wire | None:
    """What a webhook is told of a life entry, with the run as it is right after it: that the agent is at work, or the
    whole task where a leg or the run has ended. None for what is nothing to a peer. Not `whole`, it is the status
    alone, and the receiver has to ask for the rest."""
    if event["type"] not in ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"):
        return None
    if whole and event["type"] != "RUN_STARTED":
        return {"task": task(state)}
    return {"statusUpdate": {"taskId": state.id, "contextId": state.thread_id, "status": status(state)}}
