"""ListTasks: an agent's tasks from the list index, those first whose status changed last (A2A 1.0.1, 3.1.4)."""

from dataclasses import replace
from typing import Any

from a2a.types import ListTasksRequest, TaskState
from a2a.utils.errors import InvalidParamsError
from a2a.utils.task import (
    ListTasksCursor,
    decode_list_tasks_cursor,
    encode_list_tasks_cursor,
    validate_history_length,
    validate_page_size,
)

from protocol.state import RunState
from runtime.engine import Engine
from runtime.index import Query

from .call import Call
from .rendering import task_of

PAGE_SIZE = 50
_MS = 1_000_000


async def page(engine: Engine, call: Call, asked: ListTasksRequest) -> dict[str, Any]:
    """A ListTasksResponse. History and artifacts of a task cost a look at its run, so they are told only where asked
    for. Raises InvalidParamsError, and what `Engine.list` does.
    """
    size = asked.page_size if asked.HasField("page_size") else PAGE_SIZE
    validate_page_size(size)
    length = history_length(asked) or 0
    query = Query(
        agent=call.agent,
        thread_id=asked.context_id or None,
        task_state=TaskState.Name(asked.status) if asked.status else None,
        changed_from_ms=_from_ms(asked) if asked.HasField("status_timestamp_after") else None,
        by="changed_at_ms",
    )
    found = await engine.list(replace(query, before=_place(asked.page_token), limit=size + 1), call.by)
    shown = found[:size]
    if length or asked.include_artifacts:
        states = [await engine.state(state.id, call.by) for state in shown]
    else:
        states = shown
    return {
        "tasks": [task_of(state, call, length, asked.include_artifacts) for state in states],
        "nextPageToken": _token(shown[-1]) if len(found) > size else "",
        "pageSize": size,
        "totalSize": await engine.count(query, call.by),
    }


def history_length(asked: Any) -> int | None:
    """None where none is asked for. Raises InvalidParamsError."""
    if not asked.HasField("history_length"):
        return None
    validate_history_length(asked)
    return int(asked.history_length)


def _from_ms(asked: ListTasksRequest) -> int:
    """The first millisecond that is not before."""
    return -(-asked.status_timestamp_after.ToNanoseconds() // _MS)


def _token(last: RunState) -> str:
    return encode_list_tasks_cursor(ListTasksCursor(last.changed_at_ms * _MS, last.id))


def _place(token: str) -> tuple[int, str] | None:
    if not token:
        return None
    found = decode_list_tasks_cursor(token) if token.isascii() and len(token) <= 2_000 else None
    if found is None or found.timestamp_ns is None:
        raise InvalidParamsError("pageToken: this is no nextPageToken of ListTasks.")
    return min(max(found.timestamp_ns // _MS, 0), 2**53), found.task_id
