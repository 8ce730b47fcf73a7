"""The list of runs and threads: what each gateway folds from the ask and life lanes and from the records of threads
into SQLite, and can rebuild.

The index answers lists and names, nothing else: the state of one run is always read from the log. Rows follow the log
within milliseconds; `caught_up` waits until they hold what this process itself has appended.
"""

import asyncio
import logging
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import orjson

from protocol.a2a import state_name
from protocol.checkpoint import FORM, dump, load
from protocol.entries import ASK_START, Entry, decode
from protocol.errors import HocketError, Unavailable
from protocol.ids import as_uuid
from protocol.run import fold
from protocol.state import RunState
from protocol.subjects import parse_subject

from .layout import STREAM, THREAD_RECORDS
from .log import Log
from .mirror import Mirror
from .pull import Delivery
from .reader import Reader
from .thread_records import Record, whose
from .thread_records import decode as decode_record
from .thread_records import encode as encode_record

logger = logging.getLogger("hocket.index")

_ROOM = 2_000
_PARAMETERS_BYTES_MAX = 4096
_GATHER_SECONDS = 0.05
"""A run's changes of status within this time are one write; who waits for them does not wait for this."""
_TABLES = 3
"""Changes with the tables below: a file of another form is thrown away."""
_META = "create table if not exists meta (name text primary key, value text)"
_SCHEMA = """
create table if not exists runs (
    tenant text, id text, agent text, thread_id text, status text, created_at_ms integer, rev integer, state blob,
    task_state text, changed_at_ms integer, uuid text, parent text, primary key (tenant, id)) without rowid;
create table if not exists threads (
    tenant text, id text, created_at_ms integer, record blob, uuid text, primary key (tenant, id)) without rowid;
create index if not exists by_time on runs (tenant, created_at_ms desc, id desc);
create index if not exists by_thread on runs (tenant, thread_id, created_at_ms desc, id desc);
create index if not exists by_change on runs (tenant, agent, changed_at_ms desc, id desc, task_state, thread_id);
create index if not exists by_name on runs (tenant, uuid) where uuid is not null;
create index if not exists by_parent on runs (tenant, parent, created_at_ms desc, id desc) where parent is not null;
create index if not exists threads_by_time on threads (tenant, created_at_ms desc, id desc);
create index if not exists threads_by_name on threads (tenant, uuid) where uuid is not null;
"""
_PUT_RUN = "insert or replace into runs values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_THREAD = """insert into threads values (?, ?, ?, ?, ?) on conflict do update set
    created_at_ms = min(created_at_ms, excluded.created_at_ms), record = coalesce(excluded.record, record)"""
"""Of a run it has no record; the earliest time is that of the thread."""
_OFFSET_MAX = 1 << 40


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs: every field that is not None must match, and one of `agents` and of `statuses` where there are any.
    `by` is the time that orders them, when they were created or when their status last changed, and `before` the
    (time, id) of a row, `offset` a number of rows to leave out. `task_state` is A2A's word for the status,
    `changed_from_ms` counts itself in."""

    agent: str | None = None
    agents: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    thread_id: str | None = None
    parent: str | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    changed_from_ms: int | None = None
    task_state: str | None = None
    by: Literal["created_at_ms", "changed_at_ms"] = "created_at_ms"
    before: tuple[int, str] | None = None
    limit: int = 50
    offset: int = 0


class Listed(NamedTuple):
    """A thread of the list: its record without its posts, and its first and its latest run, where there are any."""

    id: str
    record: Record | None
    first: RunState | None
    latest: RunState | None


class Index:
    """One per gateway process. `path` None keeps it in memory; a file of another log is thrown away."""

    def __init__(self, log: Log, path: Path | None = None) -> None:
        self._log = log
        self._path = path
        self._rev = 0
        self._batch: list[Delivery] = []
        self._records: list[Delivery] = []
        self._advanced = asyncio.Event()
        self._awaited = 0
        self._flushing: asyncio.Handle | None = None
        self._reader = Reader(
            log, "index", STREAM, ["run.*.*.ask", "run.*.*.life"], _ROOM, self._take, self._flushed_rev
        )
        self._opened = Mirror(log, "thread-records", THREAD_RECORDS, self._take_record)

    async def start(self) -> None:
        # rows of another form could not be read: the file is of this log and of this form, or it is none
        self._created, last_rev = f"{await self._log.created()} {FORM} {_TABLES}", await self._log.last_rev()
        self._db = _open(self._path, self._created, last_rev)
        row = self._db.execute("select value from meta where name = 'rev'").fetchone()
        self._rev = int(row[0]) if row else 0
        await self._reader.start()
        await self._opened.start()

    async def stop(self) -> None:
        await self._opened.stop()
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
            f"select state from runs where {where} order by {query.by} desc, id desc limit ? offset ?",
            [*values, query.limit, min(query.offset, _OFFSET_MAX)],
        )
        return [state for row in rows if (state := load(row[0])) is not None]

    def count(self, tenant: str, query: Query) -> int:
        """How many runs there are of these, on all pages."""
        where, values = _where(tenant, query)
        return int(self._rows(f"select count(*) from runs where {where}", values)[0][0])

    async def threads(self, tenant: str, limit: int, offset: int) -> tuple[list[Listed], int]:
        """Its newest threads first, with every record that was written before the question, and how many there are."""
        await self._opened.current()
        self._flush()
        rows = self._rows(
            "select id, record from threads where tenant = ? order by created_at_ms desc, id desc limit ? offset ?",
            [tenant, limit, min(offset, _OFFSET_MAX)],
        )
        total = self._rows("select count(*) from threads where tenant = ?", [tenant])[0][0]
        return [
            Listed(id_, decode_record(record) if record is not None else None, *self.ends(tenant, id_))
            for id_, record in rows
        ], total

    def ends(self, tenant: str, thread_id: str) -> tuple[RunState | None, RunState | None]:
        """The first and the latest run of a thread, as far as the index is."""
        asked = "select state from runs where tenant = ? and thread_id = ? order by created_at_ms {0}, id {0} limit 1"
        found = [self._rows(asked.format(order), [tenant, thread_id]) for order in ("asc", "desc")]
        first, latest = (load(rows[0][0]) if rows else None for rows in found)
        return first, latest

    async def named(self, kind: Literal["runs", "threads"], tenant: str, name: str) -> str | None:
        """The id of a run or a thread that is shown as that UUID, and is none or is written otherwise."""
        if kind == "threads":
            await self._opened.current()
            self._flush()
        rows = self._rows(f"select id from {kind} where tenant = ? and uuid = ? limit 1", [tenant, name.lower()])
        return rows[0][0] if rows else None

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
        self._flush_soon()

    def _take_record(self, delivery: Delivery) -> None:
        self._records.append(delivery)
        self._flush_soon()

    def _flush_soon(self) -> None:
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
        self._rev, self._batch, self._records = 0, [], []
        self._reader.again()
        self._opened.again()

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
            self._db.executemany(_PUT_RUN, [_row(*one) for one in changed.items()])
            threads = [_thread(tenant, one.thread_id, one.created_at_ms) for (tenant, _), (one, _) in changed.items()]
            self._db.executemany(_PUT_THREAD, threads)
            self._db.execute("insert or replace into meta values ('rev', ?)", (str(self._rev),))
        records, self._records = self._records, []
        self._db.executemany(_PUT_THREAD, filter(None, map(_recorded, records)))
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
    more = state_name(state), state.changed_at_ms, _name(*key), state.parent
    return (*key, state.agent, state.thread_id, status, state.created_at_ms, rev, dump(state), *more)


def _thread(tenant: str, id_: str, at_ms: int, record: bytes | None = None) -> tuple[object, ...]:
    return tenant, id_, at_ms, record, _name(tenant, id_)


def _recorded(delivery: Delivery) -> tuple[object, ...] | None:
    """One that cannot be read must not stop the list. What is posted to a thread that began with a run comes later
    than that."""
    try:
        tenant, id_ = whose(delivery.subject)
        record = replace(decode_record(delivery.body), posts=())
        at_ms = record.created_at_ms if record.created_at_ms is not None else record.updated_at_ms
        return _thread(tenant, id_, at_ms, encode_record(record))
    except (ValueError, KeyError, TypeError):
        logger.exception("The index leaves out a record of a thread, %d", delivery.rev)
        return None


def _name(tenant: str, id_: str) -> str | None:
    """The UUID that stands for an id which is none, or is written in another case."""
    name = as_uuid(tenant, id_).lower()
    return name if name != id_ else None


def _where(tenant: str, query: Query) -> tuple[str, list[object]]:
    clauses, values = ["tenant = ?"], list[object]([tenant])
    for clause, wanted in (("agent = ?", query.agent), ("thread_id = ?", query.thread_id), ("parent = ?", query.parent),
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
            held = sqlite3.connect(path)
            held.execute(_META)  # a file of other tables is looked at, not changed
            noted = dict(held.execute("select name, value from meta").fetchall())
            if noted.get("log", created) == created and int(noted.get("rev", 0)) <= last_rev:
                return _signed(_prepared(held), created)
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
    database.execute(_META)
    database.executescript(_SCHEMA)
    return database


def _signed(database: sqlite3.Connection, created: str) -> sqlite3.Connection:
    database.execute("insert or replace into meta values ('log', ?)", (created,))
    database.commit()
    return database
