"""RunState as Cinatra's tools tell it: the record of a poll, the messages, and who asked and who decided."""

from typing import Any

import orjson

from protocol.entries import Principal
from protocol.messages import Message
from protocol.spoken import outcome, own_messages, spoken
from protocol.state import Gate, RunState, Status
from runtime.triggers import FACE as TRIGGER_FACE

from ..dialects.cinatra_snapshot import STATUS, contexts
from ..run_object import rfc3339, steps

SPOKEN_CHARS_MAX = 65_536
"""Most of the agent's words that a poll tells: the last ones. The messages have them all."""
MESSAGES_BYTES_MAX = 4 << 20
MESSAGES_MAX = 10_000

Json = dict[str, Any]

_TYPES = {"system": "setup", "developer": "setup", "user": "user", "assistant": "assistant", "tool": "tool"}


def record(state: RunState, status_url: str) -> Json:
    """The run as it is now, without what its agent declares today."""
    given = state.input.get("forwardedProps")
    by = state.requester
    assert by is not None  # a run begins with its start
    open_contexts = contexts(state)
    told: Json = {
        "id": state.id,
        "runId": state.id,
        "templateId": state.agent,
        "packageName": state.agent,
        "packageVersion": None,
        "versionId": None,
        "status": STATUS[state.status],
        "title": None,
        "inputParams": given if isinstance(given, dict) else {},
        "stepResults": [{"name": one["name"], "startedAt": one["started_at"], "completedAt": one["ended_at"]}
                        for one in steps(state)],
        "streamedText": spoken(state, SPOKEN_CHARS_MAX),
        "error": state.error["message"] if state.error is not None else None,
        "createdAt": rfc3339(state.created_at_ms),
        "startedAt": rfc3339(state.started_at_ms),
        "completedAt": rfc3339(state.ended_at_ms),
        "timeoutSeconds": state.timeout_s,
        "runBy": by.id,
        "orgId": state.tenant,
        "projectId": None,
        "authPolicy": None,
        "sourceType": state.face,
        "sourceId": _trigger_of(state),
        "idempotencyKey": None,
        "a2aTaskId": state.id,
        "a2aContextId": state.thread_id,
        "parentRunId": None,
        "agUiEnabled": True,
        "lgThreadId": None,
        "traceId": None,
        "workflowId": None,
        "workflowTaskId": None,
        "statusUrl": status_url,
        "hitlContext": open_contexts[0] if open_contexts else None,
        "audit": audit(state),
    }  # fmt: skip
    return told | ({"hitlContexts": open_contexts} if len(open_contexts) > 1 else {})


def _trigger_of(state: RunState) -> str | None:
    """The trigger that has started the run. What is noted on a run counts only where a trigger has: a client may write
    there what it likes."""
    noted = state.metadata.get("trigger") if state.face == TRIGGER_FACE else None
    return noted["id"] if noted is not None else None


def audit(state: RunState) -> Json:
    """Who started the run, who answered and who stopped it, from credentials alone."""
    resumed = [gate for gate in state.gates if gate.by is not None and gate.answered_seq is not None]
    resumed.sort(key=lambda gate: gate.answered_seq or 0)
    started = _actor(state.requester)
    stopped = _actor(state.cancelled_by) if state.cancelled_by is not None else None
    said = [f"started by {started['id']}", *(f"resumed by {gate.by.id}" for gate in resumed if gate.by is not None)]
    return {
        "startedBy": started,
        "resumedBy": [_resumer(gate) for gate in resumed],
        "stoppedBy": stopped,
        "summary": ", ".join(said + ([f"stopped by {stopped['id']}"] if stopped is not None else [])),
    }


def _actor(by: Principal | None) -> Json:
    assert by is not None
    return {"id": by.id, "kind": by.kind, "clientId": None}


def _resumer(gate: Gate) -> Json:
    return _actor(gate.by) | {"reviewTaskId": gate.id, "at": rfc3339(gate.at_ms), "dialect": gate.face}


def messages(state: RunState, only: str | None) -> Json:
    """The run's messages in order, the newest 4 MB of them; `hasMore` says that older ones were left out."""
    whole = [item for item in _items(state) if only is None or item["messageType"] == only]
    kept: list[Json] = []
    size = 0
    for item in reversed(whole[-MESSAGES_MAX:]):
        size += len(item["body"].encode(errors="replace"))
        if size > MESSAGES_BYTES_MAX and kept:
            break
        kept.append(item)
    return {
        "items": kept[::-1],
        "total": len(whole),
        "hasMore": len(kept) < len(whole),
        "runId": state.id,
        "runStatus": STATUS[state.status],
        "lgThreadId": None,
    }


def _items(state: RunState) -> list[Json]:
    """An ended run's outcome is its last message: the error, the result, or else what the agent said last."""
    sent, said = rfc3339(state.created_at_ms), rfc3339(state.started_at_ms or state.created_at_ms)
    ended = rfc3339(state.ended_at_ms)
    told: list[Json] = []
    for message in own_messages(state):
        kind = _TYPES.get(message.role)
        if kind is not None:
            told.append({"id": message.id, "sequence": len(told) + 1, "role": message.role, "messageType": kind,
                         "body": _body(message), "createdAt": sent if kind in ("setup", "user") else said})  # fmt: skip
    came_to = outcome(state)
    if came_to is not None:
        told.append({"id": f"{state.id}-final", "sequence": len(told) + 1, "role": "assistant",
                     "messageType": "final", "body": came_to, "createdAt": ended})  # fmt: skip
    elif state.status is Status.COMPLETED:
        last = next((item for item in reversed(told) if item["messageType"] == "assistant"), None)
        if last is not None:
            last |= {"messageType": "final", "createdAt": ended}
    return told


def _body(message: Message) -> str:
    """Its text; the calls of one that only calls; JSON of content that is in parts."""
    if message.text is not None and (any(message.text) or not message.calls):
        return "".join(message.text)
    if message.calls:
        return orjson.dumps([{"name": call.name, "arguments": "".join(call.args)} for call in message.calls]).decode()
    content = message.rest.get("content")
    return "" if content is None else orjson.dumps(content).decode()
