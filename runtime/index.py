"""The list of runs: what each gateway folds from the ask and life lanes into SQLite, and can rebuild.

The index answers lists and nothing else: the state of one run is always read from the log. Rows follow the log
within milliseconds; `caught_up` waits until they hold what this process itself has appended.
"""

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import orjson

from protocol.a2a import state_name
from protocol.checkpoint import FORM, dump, load
from protocol.entries import ASK_START, Entry, decode
from protocol.errors import HocketError, Unavailable
from protocol.run import fold
from protocol.state import RunState
from protocol.subjects import parse_subject

from .layout import STREAM
from .log import Log
from .pull import Delivery
from .reader import Reader

logger = logging.getLogger("hocket.index")

_ROOM = 2_000
_PARAMETERS_BYTES_MAX = 4096
_GATHER_SECONDS = 0.05
"""A run's changes of status within this time are one write; who waits for them does not wait for this."""
_SCHEMA = """
create table if not exists meta (name text primary key, value text);
create table if not exists runs (
    tenant text, id text, agent text, thread_id text, status text, created_at_ms integer, rev integer, state blob,
    task_state text, changed_at_ms integer, primary key (tenant, id)) without rowid;
create index if not exists by_time on runs (tenant, created_at_ms desc, id desc);
create index if not exists by_thread on runs (tenant, thread_id, created_at_ms desc, id desc);
create index if not exists by_change on runs (tenant, agent, changed_at_ms desc, id desc, task_state, thread_id);
"""


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs: every field that is not None must match, and one of `agents` and of `statuses` where there are any.
    `by` is the time that orders them, when they were created or when their status last changed, and `before` the
    (time, id) of a row. `task_state` is A2A's word for the status, `changed_from_ms` counts itself in."""

    agent: str | None = None
    agents: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    thread_id: str | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    changed_from_ms: int | None = None
    task_state: str | None = None
    by: Literal["created_at_ms", "changed_at_ms"] = "created_at_ms"
    before: tuple[int, str] | None = None
    limit: int = 50


class Index:
    """One per gateway process. `path` None keeps it in memory; a file of another log is thrown away."""

    def __init__(self, log: Log, path: Path | None = None) -> None:
        self._log = log
        self._path = path
        self._rev = 0
        self._batch: list[Delivery] = []
        self._advanced = asyncio.Event()
        self._awaited = 0
        self._flushing: asyncio.Handle | None = None
        self._reader = Reader(
            log, "index", STREAM, ["run.*.*.ask", "run.*.*.life"], _ROOM, self._take, self._flushed_rev
        )

    async def start(self) -> None:
        # rows of another form could not be read: the file is of this log and of this form, or it is none
        self._created, last_rev = f"{await self._log.created()} {FORM}", await self._log.last_rev()
        self._db = _open(self._path, self._created, last_rev)
        row = self._db.execute("select value from meta where name = 'rev'").fetchone()
        self._rev = int(row[0]) if row else 0
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()
        self._flush()
        self._db.close()

    @property
    def ready(self) -> bool:
        """Whether it holds everything that stood in the log when it began to read."""
        return self._reader.ready

    async def caught_up(self, rev: int, seconds: float = 2.0) -> None:
        """Returns once the index holds everything up to `rev`, or after that long."""
        self._awaited += 1
        try:
            async with asyncio.timeout(seconds):
                while self._rev < rev:
                    self._flush()
                    if self._rev < rev:
                        self._advanced.clear()
                        await self._advanced.wait()
        except TimeoutError:
            logger.warning("The index is behind the log: at %d, asked for %d", self._rev, rev)
        finally:
            self._awaited -= 1

    def find(self, tenant: str, query: Query) -> list[RunState]:
        """Its newest runs first, at most `query.limit`, as of their last change of status, without messages."""
        where, values = _where(tenant, query)
        if query.before is not None:
            where += f" and ({query.by}, id) < (?, ?)"
            values += query.before
        rows = self._rows(
            f"select state from runs where {where} order by {query.by} desc, id desc limit ?", [*values, query.limit]
        )
        return [state for row in rows if (state := load(row[0])) is not None]

    def count(self, tenant: str, query: Query) -> int:
        """How many runs there are of these, on all pages."""
        where, values = _where(tenant, query)
        return int(self._rows(f"select count(*) from runs where {where}", values)[0][0])

    def _rows(self, asked: str, values: list[object]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(asked, values).fetchall()
        except sqlite3.DatabaseError as bad:
            self._rebuild(bad)
            raise Unavailable("The list of runs was damaged and is being built anew.") from bad

    def _flushed_rev(self) -> int:
        """After which row a new reader goes on."""
        self._flush()
        return self._rev

    def _take(self, delivery: Delivery) -> None:
        self._batch.append(delivery)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(
                0.0 if self._awaited else _GATHER_SECONDS, self._flush
            )

    def _rebuild(self, bad: Exception) -> None:
        """The file cannot be used any more: a new one is filled from the log, in memory if the disk takes none."""
        logger.warning("The list index is built anew: %s", bad)
        self._reader.ready = False
        self._db.close()
        try:
            _discard(self._path)
            self._db = _open(self._path, self._created, 0)
        except (sqlite3.DatabaseError, OSError):
            self._db = _open(None, self._created, 0)
        self._rev, self._batch = 0, []
        self._reader.again()

    def _flush(self) -> None:
        try:
            self._write()
        except sqlite3.DatabaseError as bad:
            self._rebuild(bad)
        self._advanced.set()

    def _write(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        batch, self._batch = self._batch, []
        changed: dict[tuple[str, str], tuple[RunState, int]] = {}
        for delivery in batch:
            if delivery.rev <= self._rev:
                continue
            try:
                self._apply(delivery, changed)
            except (HocketError, ValueError, KeyError, TypeError):  # what it cannot fold must not stop the list
                logger.exception("The index leaves out message %d", delivery.rev)
            self._rev = delivery.rev
        if batch:
            rows = [_row(*one) for one in changed.items()]
            self._db.executemany("insert or replace into runs values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("insert or replace into meta values ('rev', ?)", (str(self._rev),))
            self._db.commit()

    def _apply(self, delivery: Delivery, changed: dict[tuple[str, str], tuple[RunState, int]]) -> None:
        tenant, run_id, _ = parse_subject(delivery.subject)
        held = changed.get((tenant, run_id))
        if held is None:
            row = self._db.execute("select state from runs where tenant = ? and id = ?", (tenant, run_id)).fetchone()
            held = (load(row[0]) if row else None) or RunState(), 0
        state = held[0]
        for seq, event in decode(delivery.body):
            state = fold(state, Entry(seq, _slim(event)))
        changed[tenant, run_id] = state, delivery.rev


def _row(key: tuple[str, str], held: tuple[RunState, int]) -> tuple[object, ...]:
    state, rev = held
    status = state.status.value
    changed = state_name(state), state.changed_at_ms
    return (*key, state.agent, state.thread_id, status, state.created_at_ms, rev, dump(state), *changed)


def _where(tenant: str, query: Query) -> tuple[str, list[object]]:
    clauses, values = ["tenant = ?"], list[object]([tenant])
    for clause, wanted in (("agent = ?", query.agent), ("thread_id = ?", query.thread_id),
                           ("created_at_ms > ?", query.created_after_ms),
                           ("created_at_ms < ?", query.created_before_ms),
                           ("changed_at_ms >= ?", query.changed_from_ms),
                           ("task_state = ?", query.task_state)):  # fmt: skip
        if wanted is not None:
            clauses.append(clause)
            values.append(wanted)
    for column, several in (("status", query.statuses), ("agent", query.agents)):
        if several:
            clauses.append(f"{column} in ({','.join('?' * len(several))})")
            values += several
    return " and ".join(clauses), values


def _slim(event: dict[str, object]) -> dict[str, object]:
    """An ask without what was sent with it: a list shows no messages, no state and no answers, and of the input only
    parameters that are short."""
    slim = {**event, "input": _shown_input(event["input"])} if event["type"] == ASK_START else event
    if "answers" in slim:
        answers = cast(list[dict[str, object]], slim["answers"])
        slim = slim | {"answers": [one | {"payload": None, "text": None} for one in answers], "messages": []}
    return slim


def _shown_input(given: Any) -> dict[str, object]:
    """Null stands for parameters that are longer than a list shows."""
    parameters = given.get("forwardedProps")
    if not parameters:
        return {}
    return {"forwardedProps": parameters if len(orjson.dumps(parameters)) <= _PARAMETERS_BYTES_MAX else None}


def _open(path: Path | None, created: str, last_rev: int) -> sqlite3.Connection:
    """The database of the log made at `created`; anything else under that name is replaced, and so is one that
    knows more than the log, which a power loss can take back by a second."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = _prepared(sqlite3.connect(path))
            noted = dict(held.execute("select name, value from meta").fetchall())
            if noted.get("log", created) == created and int(noted.get("rev", 0)) <= last_rev:
                return _signed(held, created)
            held.close()
        except sqlite3.DatabaseError:
            logger.warning("The list index %s was damaged and is built anew", path)
        _discard(path)
    return _signed(_prepared(sqlite3.connect(path or ":memory:")), created)


def _discard(path: Path | None) -> None:
    if path is not None:
        for stale in path.parent.glob(path.name + "*"):
            stale.unlink()


def _prepared(database: sqlite3.Connection) -> sqlite3.Connection:
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = off")
    database.executescript(_SCHEMA)
    return database


def _signed(database: sqlite3.Connection, created: str) -> sqlite3.Connection:
    database.execute("insert or replace into meta values ('log', ?)", (created,))
    database.commit()
    return database
