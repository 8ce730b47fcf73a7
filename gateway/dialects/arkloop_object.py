"""Runs, threads and messages as Arkloop shows them: plain values with exactly its keys."""

from typing import Any

from protocol import usage
from protocol.entries import Principal
from protocol.ids import trace_id
from protocol.state import RunState, Status
from runtime.thread_door import Said, Thread

from ..run_object import rfc3339

DIALECT = "arkloop"

STATUS = {
    Status.QUEUED: "running",
    Status.RUNNING: "running",
    Status.WAITING: "waiting_for_input",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_PEOPLE = ("user", "development")
_SHOWN_ROLES = ("user", "assistant", "system")


def statuses(word: str | None) -> tuple[str, ...]:
    """The statuses that a word stands for; all of them, told as none, without one."""
    return tuple(status.value for status, told in STATUS.items() if told == word)


def asked_as(persona_id: str | None, route_id: str | None) -> dict[str, Any]:
    """What a start has of Arkloop's, kept with the run for `persona` and `route`."""
    return {DIALECT: {"persona_id": persona_id, "route_id": route_id}}


def persona(state: RunState) -> str | None:
    """The agent under which the run was asked for, None for the default one."""
    noted = state.metadata.get(DIALECT)
    return _text(noted.get("persona_id")) if isinstance(noted, dict) else state.agent


def route(state: RunState) -> str | None:
    noted = state.metadata.get(DIALECT)
    return _text(noted.get("route_id")) if isinstance(noted, dict) else None


def detail(state: RunState) -> dict[str, Any]:
    return {
        "run_id": state.id,
        "org_id": state.tenant,
        "thread_id": state.thread_id,
        "created_by_user_id": _id(state.requester),
        "status": STATUS[state.status],
        "created_at": rfc3339(state.created_at_ms),
        "trace_id": trace_id(state),
    }


def short_row(state: RunState) -> dict[str, Any]:
    """A row of a thread's list."""
    return {"run_id": state.id, "status": STATUS[state.status], "created_at": rfc3339(state.created_at_ms)}


def row(state: RunState) -> dict[str, Any]:
    """A row of the tenant's list; null for what the agent did not report."""
    ended = rfc3339(state.changed_at_ms)
    by = state.requester
    return {
        "run_id": state.id,
        "org_id": state.tenant,
        "thread_id": state.thread_id,
        "status": STATUS[state.status],
        "model": state.model,
        "persona_id": persona(state),
        "total_input_tokens": usage.input_tokens(state),
        "total_output_tokens": usage.output_tokens(state),
        "total_cost_usd": state.cost_usd,
        "duration_ms": usage.duration_ms(state),
        "cache_hit_rate": usage.cache_hit_rate(state),
        "credits_used": None,
        "created_at": rfc3339(state.created_at_ms),
        "completed_at": ended if state.status is Status.COMPLETED else None,
        "failed_at": ended if state.status is Status.FAILED else None,
        "created_by_user_id": _id(by),
        "created_by_user_name": by.name if by is not None and by.kind in _PEOPLE else None,
        "created_by_email": None,
    }


def thread(told: Thread, tenant: str) -> dict[str, Any]:
    active = told.latest is not None and not told.latest.terminal
    return {
        "id": told.id,
        "org_id": tenant,
        "created_by_user_id": _id(told.by),
        "title": told.title,
        "project_id": None,
        "created_at": rfc3339(told.created_at_ms),
        "active_run_id": told.latest.id if active and told.latest is not None else None,
        "is_private": told.private,
    }


def is_shown(said: Said) -> bool:
    """What people and the agent have said to each other; tool results, reasoning and empty messages are not."""
    return said.message["role"] in _SHOWN_ROLES and bool(content(said))


def message(said: Said, thread_id: str, tenant: str) -> dict[str, Any]:
    return {
        "id": said.message["id"],
        "org_id": tenant,
        "thread_id": thread_id,
        "created_by_user_id": _id(said.by),
        "role": said.message["role"],
        "content": content(said),
        "created_at": rfc3339(said.at_ms),
    }


def content(said: Said) -> str:
    """The text of a message; of one in parts that of its texts."""
    given = said.message.get("content")
    if isinstance(given, list):
        return "".join(one["text"] for one in given if isinstance(one, dict) and isinstance(one.get("text"), str))
    return given if isinstance(given, str) else ""


def _id(by: Principal | None) -> str | None:
    return by.id if by is not None else None


def _text(given: Any) -> str | None:
    return given if isinstance(given, str) else None
