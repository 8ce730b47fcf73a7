"""The door to threads, `engine.threads`: opened before their first run, posted to, told and listed.

A posted message goes into the next start that asks for what was posted. Once a start that has it is in the log it is
taken, and no second write says so.
"""

import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from protocol.entries import Principal, decode
from protocol.errors import Conflict, Invalid, RunNotFound, ThreadNotFound, TooLarge, Unavailable
from protocol.run import abandoned
from protocol.state import RunState
from protocol.subjects import check_id, run_subject

from . import thread_records, threads
from .access import check_scope
from .asks import Start
from .index import Index
from .log import Log, WrongRevision
from .thread_records import WAITING_MAX, Post, Record

TITLE_CHARS_MAX = 1_000
LIST_MAX = 200
MESSAGES_MAX = 1_000
_START_ROOM = 64 << 10
"""What a start has besides what is posted: all that waits must fit into one."""
_TIDY_RUNS = 10
"""After so many runs what they have taken is written down, so that they are not looked through again."""
_TURNS_MAX = 100


@dataclass(frozen=True, slots=True)
class Thread:
    """`by` is who opened it, else who asked for its first run; `latest` is its latest run. A list has that as of its
    last change of status and without messages."""

    id: str
    title: str | None
    private: bool
    created_at_ms: int
    updated_at_ms: int
    by: Principal | None
    latest: RunState | None


@dataclass(frozen=True, slots=True)
class Said:
    """A message in AG-UI's wire form. What was posted has the time and the author of its post, what was sent with a run
    those of its ask; what the agent said has the time at which its leg began, and no `by`."""

    message: dict[str, Any]
    at_ms: int
    by: Principal | None


class Threads:
    """Every method may raise Unavailable, InvalidId, and Forbidden: to open and to post takes `runs:start` besides
    `runs:read`, and no token of a single run does. A thread of another tenant does not exist."""

    def __init__(
        self,
        log: Log,
        histories: threads.Histories,
        state: Callable[[str, Principal], Awaitable[RunState]],
        listed: Callable[[Principal], Awaitable[Index]],
    ) -> None:
        self._log, self._histories, self._state, self._listed = log, histories, state, listed

    async def open(
        self, by: Principal, thread_id: str | None = None, title: str | None = None, private: bool = False
    ) -> Thread:
        """A thread without a run, under a fresh UUID for None. Raises Conflict where there is one, Invalid."""
        _check(by, start=True)
        thread_id = check_id(thread_id if thread_id is not None else str(uuid.uuid4()), "The thread id")
        if title is not None and len(title) > TITLE_CHARS_MAX:
            raise Invalid(f"A thread's title has at most {TITLE_CHARS_MAX} characters; this one has {len(title)}.")
        now_ms = _now_ms()
        record = Record(title, private, now_ms, now_ms, _plain(by))
        taken = Conflict(f"There is a thread {thread_id[:80]!r} already.")
        if await threads.head(self._log, by.tenant, thread_id, exact=True) is not None:
            raise taken
        try:
            await thread_records.save(self._log, by.tenant, thread_id, thread_records.encode(record), 0)
        except WrongRevision:
            raise taken from None
        return _thread(thread_id, record, None, None)

    async def get(self, thread_id: str, by: Principal) -> Thread:
        """Raises ThreadNotFound."""
        _check(by)
        record, _, head = await self._look(thread_id, by)
        latest = await self._latest(head, by)
        if latest is None and record is None:
            raise ThreadNotFound(thread_id)
        first = latest
        if latest is not None and latest.previous is not None and (record is None or record.created_at_ms is None):
            first = await self._first(latest, by)
        return _thread(thread_id, record, first, latest)

    async def post(self, thread_id: str, content: str, by: Principal) -> Said:
        """A message of the user's for the thread's next run. Of racing posts each stays.

        Raises ThreadNotFound, Invalid, TooLarge, Conflict where as much waits as one run can be given.
        """
        _check(by, start=True)
        size, size_max = _size(content), self._log.body_bytes_max - _START_ROOM
        if size > size_max:
            raise TooLarge(f"The message has {size} bytes; a thread takes {size_max}.")
        post = Post(str(uuid.uuid4()), content, _now_ms(), _plain(by))
        for _ in range(_TURNS_MAX):
            record, rev, head = await self._look(thread_id, by)
            if record is None and await self._latest(head, by) is None:
                raise ThreadNotFound(thread_id)
            record = (await self._settled(record or Record(), head, by.tenant))[0]
            if len(record.waiting) >= WAITING_MAX:
                raise Conflict(f"{WAITING_MAX} messages wait for the thread's next run already: start it first.")
            body = thread_records.encode(
                replace(record, posts=(*record.posts, post), updated_at_ms=max(post.at_ms, record.updated_at_ms))
            )
            if len(body) > size_max:
                if not record.waiting:
                    raise TooLarge(f"The message is too large: with all else a thread's record has {size_max} bytes.")
                raise Conflict("What waits for the thread's next run leaves no room for this message: start it first.")
            try:
                await thread_records.save(self._log, by.tenant, thread_id, body, rev)
                return _posted(post)
            except WrongRevision:
                continue
        raise Unavailable("The thread is being posted to by too many at once.")

    async def messages(self, thread_id: str, by: Principal, limit: int = 50) -> list[Said]:
        """What its runs hold and what waits, the first `limit` of it, oldest first, without what another attempt has
        replaced. Raises ThreadNotFound."""
        _check(by)
        record, _, head = await self._look(thread_id, by)
        latest = await self._latest(head, by)
        if latest is None and record is None:
            raise ThreadNotFound(thread_id)
        record = (await self._settled(record or Record(), head, by.tenant))[0]
        told = await self._histories.told(by.tenant, latest.id if latest is not None else None)
        posted = {post.id: post for post in record.posts}
        found = list[Said]()
        for message in told.messages:
            if not abandoned(message):
                origin = posted.get(message["id"]) or told.origins[message["id"]]
                found.append(Said(message, origin.at_ms, origin.by))
        return [*found, *map(_posted, record.waiting)][: max(0, min(limit, MESSAGES_MAX))]

    async def waiting(self, thread_id: str, by: Principal) -> list[dict[str, Any]]:
        """The posted messages that no run has taken, in AG-UI's wire form and in order; empty where there is no such
        thread. `Start.posted` gives them to a run, and unlike a caller of this cannot be overtaken by another start."""
        _check(by)
        record, rev, head = await self._look(thread_id, by)
        return [*await self._waiting(thread_id, record, rev, head, by.tenant)]

    async def hand_over(self, want: Start, thread_id: str, head: threads.Head | None, tenant: str) -> Start:
        """For the engine: the start with what waits as of that head, where it asks for that. It is recorded only if the
        thread still has that head, so nothing is taken twice. Raises Unavailable."""
        if not want.posted:
            return want
        record, rev = await thread_records.load(self._log, tenant, thread_id)
        posted = await self._waiting(thread_id, record, rev, head, tenant)
        return replace(want, input={**want.input, "messages": [*posted, *(want.input.get("messages") or ())]})

    async def list(self, by: Principal, limit: int, offset: int) -> tuple[list[Thread], int]:
        """Newest first, with and without runs, at most LIST_MAX after `offset` others, and how many there are in all.
        Raises Unavailable also in a process that keeps no list, as a worker does."""
        index = await self._listed(by)
        found, total = await index.threads(by.tenant, max(0, min(limit, LIST_MAX)), max(0, offset))
        return [_thread(*one) for one in found], total

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look(self, thread_id: str, by: Principal) -> tuple[Record | None, int, threads.Head | None]:
        """The head is read after the record: who took what that holds is known."""
        check_id(thread_id, "The thread id")
        record, rev = await thread_records.load(self._log, by.tenant, thread_id)
        return record, rev, await threads.head(self._log, by.tenant, thread_id, exact=True)

    async def _latest(self, head: threads.Head | None, by: Principal) -> RunState | None:
        """A head without a run is a start that is on its way, or got no further than its claim."""
        for run_id in (head.run_id, head.previous) if head is not None else ():
            if run_id is not None:
                try:
                    return await self._state(run_id, by)
                except RunNotFound:
                    continue
        return None

    async def _first(self, latest: RunState, by: Principal) -> RunState:
        """The first run of a thread. The index reads the log in order: if it has any of them, it has that one."""
        index = await self._listed(by)
        first, _ = index.ends(by.tenant, latest.thread_id)
        if first is None:
            asked = await self._log.last(run_subject(by.tenant, latest.id), exact=True, lane="ask")
            await index.caught_up(asked.rev if asked is not None else 0)
            first, _ = index.ends(by.tenant, latest.thread_id)
        if first is None:
            raise Unavailable("The list of runs is behind the log: try again.")
        return first

    async def _waiting(
        self, thread_id: str, record: Record | None, rev: int, head: threads.Head | None, tenant: str
    ) -> Sequence[threads.Wire]:
        if record is None or not record.waiting:
            return []
        settled, runs = await self._settled(record, head, tenant)
        if runs > _TIDY_RUNS:
            try:
                await thread_records.save(self._log, tenant, thread_id, thread_records.encode(settled), rev)
            except WrongRevision:
                pass  # whoever came first has looked through them too
        return [_posted(post).message for post in settled.waiting]

    async def _settled(self, record: Record, head: threads.Head | None, tenant: str) -> tuple[Record, int]:
        """The record as of that head, and how many runs have been looked through: from the head back to what the record
        has seen. What a start has carried stands in the log for ever, whatever becomes of the run's messages."""
        if head is None:
            return record, 0
        taken, left, runs = set[str](), {post.id for post in record.waiting}, 0
        run_id: str | None = head.run_id
        while run_id is not None and left and runs < threads.RUNS_MAX:
            runs += 1
            start = await self._start(run_id, tenant)
            if start is not None:
                carried = {str(message.get("id")) for message in start["input"]["messages"]}
                taken, left = taken | left & carried, left - carried
            if run_id in record.seen:
                break
            run_id = start["previous"] if start is not None else head.previous if run_id == head.run_id else None
        seen = (head.run_id,) if head.previous is None else (head.run_id, head.previous)
        return record.without(taken, seen), runs

    async def _start(self, run_id: str, tenant: str) -> dict[str, Any] | None:
        """The ask that began a run, None for one that was claimed alone."""
        run = run_subject(tenant, run_id)
        first = await self._log.first_after(run, 0)
        if first is not None:
            return decode(first.body)[0].event
        if await self._log.last(run, exact=True) is not None:
            raise Unavailable("The log was read by a replica that has not all of it yet.")
        return None


def _check(by: Principal, start: bool = False) -> None:
    if start:
        check_scope(by, "runs:start", everywhere=True)
    check_scope(by, "runs:read", everywhere=True)


def _size(content: str) -> int:
    try:
        return len(content.encode())
    except UnicodeEncodeError:
        raise Invalid("The message is not valid Unicode text.") from None


def _thread(id_: str, record: Record | None, first: RunState | None, latest: RunState | None) -> Thread:
    record = record or Record()
    opened_ms, by = record.created_at_ms, record.by
    if opened_ms is None:
        opened_ms, by = (first.created_at_ms, first.requester) if first is not None else (record.updated_at_ms, None)
    changed_ms = latest.changed_at_ms if latest is not None else 0
    updated_ms = max(opened_ms, record.updated_at_ms, changed_ms)
    return Thread(id_, record.title, record.private, opened_ms, updated_ms, by, latest)


def _posted(post: Post) -> Said:
    return Said({"id": post.id, "role": "user", "content": post.content}, post.at_ms, post.by)


def _plain(by: Principal) -> Principal:
    """What is recorded of a caller."""
    return Principal(by.tenant, by.id, by.kind, by.name)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
