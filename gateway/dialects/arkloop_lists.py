"""Arkloop's list of all runs of a tenant, newest first."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from protocol.entries import Caller
from protocol.errors import Invalid, RunNotFound
from protocol.state import RunState
from runtime.engine import Engine
from runtime.index import Query

from .arkloop_forms import RunsQuery
from .arkloop_object import persona, row, statuses

_PAGE = 500


async def runs(engine: Engine, by: Caller, asked: RunsQuery) -> list[dict[str, Any]] | dict[str, Any]:
    """A bare array; the later object with `total` where there is an `offset`. Raises Invalid for a `before` that is no
    run."""
    query = Query(
        statuses=statuses(asked.status) if asked.status is not None else (),
        thread_id=asked.thread_id,
        parent=asked.parent_run_id,
        created_after_ms=_ms(asked.since) - 1 if asked.since is not None else None,
        created_before_ms=_ms(asked.until) + 1 if asked.until is not None else None,
        before=await _place(engine, by, asked.before) if asked.before is not None else None,
    )
    offset = asked.offset or 0
    if asked.persona_id is None:
        found = await engine.list(replace(query, limit=asked.limit, offset=offset), by)
        total = await engine.count(query, by) if asked.offset is not None else 0
    else:
        whole = await _of_persona(engine, by, query, asked.persona_id, asked)
        found, total = whole[offset : offset + asked.limit], len(whole)
    rows = [row(state) for state in found]
    return rows if asked.offset is None else {"data": rows, "total": total}


async def _of_persona(engine: Engine, by: Caller, query: Query, given: str, asked: RunsQuery) -> list[RunState]:
    """Its runs, all of them where they are counted. The list knows agents, and not under which version each was asked
    for: the runs of the agent are looked through."""
    found: list[RunState] = []
    query = replace(query, agents=(given, given.rpartition("@")[0]), limit=_PAGE)
    while asked.offset is not None or len(found) < asked.limit:
        page = await engine.list(query, by)
        found += [state for state in page if _goes_by(given, persona(state))]
        if len(page) < _PAGE:
            break
        query = replace(query, before=(page[-1].created_at_ms, page[-1].id))
    return found


def _goes_by(given: str, shown: str | None) -> bool:
    return shown is not None and given in (shown, shown.rpartition("@")[0])


async def _place(engine: Engine, by: Caller, run_id: str) -> tuple[int, str]:
    try:
        state = await engine.state(run_id, by)
    except RunNotFound:
        raise Invalid(f"before: there is no run {run_id[:80]!r}.") from None
    return state.created_at_ms, state.id


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
