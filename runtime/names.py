"""Which id a name stands for: some dialects show an id that is no UUID as the UUID that follows from it."""

from collections.abc import Awaitable, Callable
from typing import Literal

from protocol.entries import Caller, Principal
from protocol.ids import as_uuid, is_uuid
from protocol.subjects import run_subject

from . import thread_records, threads
from .index import Index
from .log import Log


async def id_of(
    kind: Literal["runs", "threads"],
    name: str,
    by: Principal,
    log: Log,
    listed: Callable[[Principal], Awaitable[Index]],
) -> str:
    """The name itself, unless nothing has that id and it is the UUID of something of the caller's tenant. Raises
    Unavailable, Forbidden."""
    if not is_uuid(name):
        return name
    if isinstance(by, Caller) and by.run is not None:  # this caller's list is that one run
        return by.run if kind == "runs" and as_uuid(by.tenant, by.run).lower() == name.lower() else name
    if await (_has_run if kind == "runs" else _has_thread)(log, by.tenant, name):
        return name
    return await (await listed(by)).named(kind, by.tenant, name) or name


async def _has_run(log: Log, tenant: str, run_id: str) -> bool:
    return await log.last(run_subject(tenant, run_id), exact=True) is not None


async def _has_thread(log: Log, tenant: str, thread_id: str) -> bool:
    if await threads.head(log, tenant, thread_id, exact=True) is not None:
        return True
    return (await thread_records.load(log, tenant, thread_id))[0] is not None
