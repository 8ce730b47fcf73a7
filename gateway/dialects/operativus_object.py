"""A run as Operativus' clients are shown it: the answer of a waiting call, the record of a poll, a question as an
approval."""

from typing import Any

import orjson

from protocol.entries import Principal
from protocol.messages import REF
from protocol.run_object import rfc3339
from protocol.spoken import last_words, output, reasonings
from protocol.state import Gate, RunState, Status
from protocol.tool_calls import Called, asked_about, calls
from protocol.usage import input_tokens, output_tokens, total_tokens

Json = dict[str, Any]

STATUS = {
    Status.QUEUED: "QUEUED",
    Status.RUNNING: "RUNNING",
    Status.WAITING: "PAUSED",
    Status.COMPLETED: "COMPLETED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "CANCELLED",
}
STATUS_OF = {word: status for status, word in STATUS.items()}


def run_response(state: RunState) -> Json:
    """RunResponse: exactly these seven keys."""
    return {
        "runId": state.id,
        "sessionId": state.thread_id,
        "content": _content(state) or "",
        "metadata": _metadata(state),
        "tools": [{"name": one.name, "arguments": one.arguments, "result": one.result} for one in _executed(state)],
        "reasoningSteps": reasonings(state),
        "status": STATUS[state.status],
    }


def agent_run(state: RunState) -> Json:
    """AgentRun. What is not known is null."""
    error = state.error or {}
    return {
        "id": state.id,
        "agentId": state.agent,
        "sessionId": state.thread_id,
        "userId": _id(state.requester),
        "orgId": state.tenant,
        "parentRunId": state.parent,
        "status": STATUS[state.status],
        "model": state.model,
        "inputTokens": input_tokens(state),
        "outputTokens": output_tokens(state),
        "durationMs": _duration_ms(state),
        "totalCostUsd": state.cost_usd,
        "errorType": error.get("code"),
        "errorMessage": error.get("message"),
        "input": _input(state),
        "output": _content(state),
        "requiredAction": _required_action(state),
        "createdAt": rfc3339(state.created_at_ms),
        "updatedAt": rfc3339(state.changed_at_ms),
    }


def listed_run(state: RunState) -> Json:
    """AgentRun as a list has it."""
    return {name: value for name, value in agent_run(state).items() if name not in ("input", "output")}


def page_of(content: list[Json], total: int, number: int, size: int) -> Json:
    pages = -(-total // size)
    return {"content": content, "totalElements": total, "totalPages": pages, "number": number, "size": size}


def agent(told: Json) -> Json:
    """An agent that a worker has announced."""
    name = told["name"]
    return {"id": name, "name": told.get("title") or name, "description": told["description"], "active": True}


def approval(state: RunState, gate: Gate) -> Json:
    """A question by its gate's id, and who decided it: nobody where its time was over or its run was ended."""
    call = asked_about(state, gate)
    decided = gate.status in ("resolved", "cancelled")
    return {
        "id": gate.id,
        "runId": state.id,
        "agentId": state.agent,
        "toolName": call.name if call is not None else None,
        "toolArguments": orjson.dumps(call.arguments).decode() if call is not None else None,
        "status": approval_status(gate),
        "requestedBy": _id(state.requester),
        "resolvedBy": _id(gate.by) if decided else None,
        "contextualMessage": gate.interrupt.get("message"),
        "createdAt": rfc3339(gate.opened_at_ms),
        "resolvedAt": rfc3339(gate.at_ms),
    }


def approval_status(gate: Gate) -> str:
    """An answer that is no plain rejection is an approval; a question that was put aside is rejected."""
    if gate.status == "open":
        return "PENDING"
    if gate.status not in ("resolved", "cancelled"):
        return "EXPIRED"
    return decision(gate.status, (gate.answer or {}).get("decision"))


def decision(status: str, decided: str | None) -> str:
    """How an answer is told, by its recorded status and decision."""
    return "REJECTED" if status == "cancelled" or decided == "reject" else "APPROVED"


def required(state: RunState) -> list[Json]:
    """What a paused run waits for."""
    return [_required(state, gate) for gate in state.open_gates]


def _required(state: RunState, gate: Gate) -> Json:
    call = asked_about(state, gate)
    return {
        "approvalId": gate.id,
        "toolName": call.name if call is not None else None,
        "toolArguments": call.arguments if call is not None else None,
    }


def _required_action(state: RunState) -> str | None:
    if state.status is not Status.WAITING:
        return None
    told = [
        _required(state, gate)
        | {"message": gate.interrupt.get("message"), "schema": gate.interrupt.get("responseSchema")}
        for gate in state.open_gates
    ]
    return orjson.dumps(told).decode()


def _content(state: RunState) -> str | None:
    """What a completed run has said last, or else come to; None for any other run."""
    return (last_words(state) or output(state)) if state.status is Status.COMPLETED else None


def _metadata(state: RunState) -> Json:
    """What the agent has reported, and why a run has failed."""
    told: Json = {
        "model": state.model,
        "promptTokens": input_tokens(state),
        "completionTokens": output_tokens(state),
        "totalTokens": total_tokens(state),
    }
    if state.error is not None:
        told |= {"errorCode": state.error["code"], "errorMessage": state.error["message"]}
    return {name: value for name, value in told.items() if value is not None}


def _executed(state: RunState) -> list[Called]:
    """The run's calls that have a result, but for what a cancel or an expiry has put in its place."""
    over = [one["seq"] for one in state.audit if one["what"] in ("cancelled", "expired") and _ends(one)]
    own = [one for one in calls(state) if one.began_seq is not None and one.result is not None]
    return [one for one in own if not over or one.done_seq is None or one.done_seq < over[0]]


def _ends(noted: Json) -> bool:
    """Whether the run is over by this; one that goes on with default answers is not."""
    return noted.get("outcome") != "answer"


def _duration_ms(state: RunState) -> int | None:
    """From when the agent began to the end of the run or, while it is paused, to the pause."""
    if state.started_at_ms is None or not (state.terminal or state.status is Status.WAITING):
        return None
    return max(state.changed_at_ms - state.started_at_ms, 0)


def _input(state: RunState) -> str | None:
    """The user's words that the run was started with: the last before the agent's first."""
    found = None
    for message in state.messages:
        if message.rest.get(REF):
            continue  # the thread's history
        if message.role == "assistant" and f"message {message.id}" in state.begun:
            break
        if message.role == "user":
            content = "".join(message.text) if message.text is not None else message.rest.get("content")
            found = content if isinstance(content, str) else _texts(content)
    return found


def _texts(content: Any) -> str:
    parts = content if isinstance(content, list) else []
    return "\n".join(str(one["text"]) for one in parts if isinstance(one, dict) and "text" in one)


def _id(by: Principal | None) -> str | None:
    return by.id if by is not None else None
