"""Triggers as a tenant's callers see them: set, looked at, deleted, and fired by hand. When they fire by themselves is
for the workers (`trigger_clock`, `trigger_events`).

A record lies in the bucket `TRIGGERS` under `<tenant>.<id>` and is written by compare-and-set. Its next tick is planned
in the log's clock before it is written, under its generation: a plan whose generation is not the record's is stale.
"""

import asyncio
import contextlib
import hashlib
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from protocol.entries import Caller, Principal
from protocol.errors import Invalid, NotOwner, TriggerExists, TriggerNotFound, Unavailable
from protocol.instants import rfc3339
from protocol.subjects import check_id, encode_token, run_subject

from .access import check_scope
from .asks import Start, Started
from .layout import EVENTS, STREAM, TRIGGERS
from .log import Log, Stored, WrongRevision
from .trigger import Fired, Occasion, Trigger, Wanted, check, check_subject, dump, first_tick, load, start_of

FACE = "trigger"
PLAN = "trigger"
TRIGGERS_MAX = 10_000
"""Of one tenant."""
_TRIES_MAX = 50
_PAUSE_SECONDS = 0.02


class Held(NamedTuple):
    """A trigger and the revision of its record."""

    trigger: Trigger
    rev: int


class Triggers:
    """Every method may raise Unavailable, and Forbidden where the caller's credential lacks a scope: to see needs
    `runs:read`; to change also `triggers:write`; to set, and to fire by hand, also `runs:start`. A trigger of another
    tenant is one that does not exist."""

    def __init__(
        self,
        log: Log,
        agent: Callable[[str], Awaitable[Any]],
        start: Callable[[Start, Principal, str], Awaitable[Started]],
        triggers_max: int = TRIGGERS_MAX,
    ) -> None:
        self._log, self._agent, self._start = log, agent, start
        self._triggers_max = triggers_max
        self._shown = ""
        self.shown_rev = 0
        """Where in the log the latest run begins that somebody was shown as a trigger's."""

    async def set(
        self, want: Wanted, by: Principal, trigger_id: str | None = None, fresh: bool = False, owner: str = ""
    ) -> Trigger:
        """Makes the trigger, or replaces the one of that id with everything that was planned; without an id it has a
        new one. Its runs are started in the name of `by` from now on, as long as `by` may start runs. It is for `by`,
        or for the principal of the id `owner`, and for an admin to change.

        Raises Invalid, also where the tenant has TRIGGERS_MAX, InvalidId, TooLarge, AgentNotFound; NotOwner where it
        would replace one that is not for `by` to change; with `fresh` TriggerExists where the id is taken.
        """
        for scope in ("triggers:write", "runs:start", "runs:read"):
            check_scope(by, scope, everywhere=True)
        if trigger_id is None:
            trigger_id = str(uuid.uuid4())
        check_id(trigger_id, "The trigger id")
        now_ms = _now_ms()
        check(want, now_ms)
        await self._agent(want.agent)
        if want.event is not None and want.event.agent is not None:
            await self._agent(want.event.agent)
        key = _key(by.tenant, trigger_id)
        record = await self._log.get(TRIGGERS, key, exact=True)
        before = _replaceable(record, trigger_id, by, fresh)
        if before is None:
            await self._check_room(by.tenant)
        maker = Principal(by.tenant, by.id, by.kind, by.name)
        credential = by.credential if isinstance(by, Caller) else ""
        trigger = Trigger(
            trigger_id, secrets.token_hex(8), want, maker, credential, now_ms, now_ms, first_tick(want, now_ms),
            await self._events_from(want), owner=owner,
        )  # fmt: skip
        await plan(self._log, trigger)
        for _ in range(_TRIES_MAX):
            if before is not None:
                trigger = _replacing(trigger, before)
            try:
                await self._log.put(TRIGGERS, key, dump(trigger), record.rev if record is not None else 0)
            except WrongRevision:
                await asyncio.sleep(_PAUSE_SECONDS)
                record = await self._log.get(TRIGGERS, key, exact=True)
                try:
                    before = _replaceable(record, trigger_id, by, fresh)
                except (TriggerExists, NotOwner):
                    await unplan(self._log, trigger)
                    raise
                continue
            if before is not None:
                await unplan(self._log, before)
            return trigger
        raise Unavailable(f"Trigger {trigger_id[:80]!r} is being changed by too many at once.")

    async def get(self, trigger_id: str, by: Principal) -> Trigger:
        """Raises TriggerNotFound, InvalidId."""
        check_scope(by, "runs:read", everywhere=True)
        held = await read(self._log, by.tenant, check_id(trigger_id, "The trigger id"))
        if held is None:
            raise TriggerNotFound(trigger_id)
        await self._show([held.trigger])
        return held.trigger

    async def list(self, by: Principal) -> list[Trigger]:
        """All triggers of the tenant, the newest first."""
        check_scope(by, "runs:read", everywhere=True)
        found = await self._log.keys(TRIGGERS, encode_token(by.tenant))
        told = [trigger for record in found.values() if (trigger := load(record)) is not None]
        await self._show(told)
        return sorted(told, key=lambda trigger: (trigger.created_at_ms, trigger.id), reverse=True)

    async def delete(self, trigger_id: str, by: Principal) -> None:
        """Ends the trigger; runs that it has started go on. Raises TriggerNotFound, InvalidId, NotOwner."""
        check_scope(by, "triggers:write", everywhere=True)
        check_scope(by, "runs:read")
        check_id(trigger_id, "The trigger id")
        for _ in range(_TRIES_MAX):
            held = await read(self._log, by.tenant, trigger_id)
            if held is None:
                raise TriggerNotFound(trigger_id)
            _check_owner(held.trigger, by)
            try:
                await self._log.put(TRIGGERS, _key(by.tenant, trigger_id), b"", held.rev)
            except WrongRevision:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            await unplan(self._log, held.trigger)
            return
        raise Unavailable(f"Trigger {trigger_id[:80]!r} is being changed by too many at once.")

    async def fire(self, trigger_id: str, by: Principal, key: str | None = None) -> Started:
        """Starts a run of the trigger now, enabled or not, in the name of `by`; its ticks stay as they are. The same
        `key` from the same caller is the same run.

        Raises TriggerNotFound, InvalidId, AgentNotFound, ThreadBusy, TooLarge.
        """
        check_scope(by, "triggers:write", everywhere=True)
        trigger = await self.get(trigger_id, by)
        now_ms = _now_ms()
        occasion = Occasion(f"hand\n{by.id}\n{key if key is not None else uuid.uuid4()}", now_ms)
        started = await self._start(start_of(trigger, occasion), by, FACE)
        if started.created:
            await note(self._log, trigger, Fired(now_ms, _now_ms(), started.run_id))
        return started

    async def tell(self, subject: str, data: Any, by: Principal, key: str | None = None) -> int:
        """Tells the tenant's event triggers something, and returns the message's number. The same `key` within two
        minutes is the same message. Needs `runs:start` and `runs:read`. Raises Invalid, TooLarge."""
        for scope in ("runs:start", "runs:read"):
            check_scope(by, scope, everywhere=True)
        check_subject(subject, "subject", wild=False)
        once = f"{by.tenant}\n{by.id}\n{key}" if key is not None else str(uuid.uuid4())
        name = hashlib.sha256(once.encode()).hexdigest()
        return await self._log.tell(f"event.{encode_token(by.tenant)}.{subject}", orjson.dumps(data), name)

    async def _check_room(self, tenant: str) -> None:
        """Raises Invalid. Of racing callers some may still get past it. The quick count has what was deleted in it, so
        only where that is too many are the records looked at."""
        under = encode_token(tenant)
        if await self._log.count(TRIGGERS, under) < self._triggers_max:
            return
        if len(await self._log.keys(TRIGGERS, under)) >= self._triggers_max:
            raise Invalid(f"A tenant has at most {self._triggers_max} triggers: delete one that is over first.")

    async def _show(self, told: Sequence[Trigger]) -> None:
        """Notes which run is shown: a list of runs must have it from now on, as it has what this process started."""
        latest = max(told, key=lambda trigger: trigger.last.at_ms if trigger.last is not None else 0, default=None)
        if latest is not None and latest.last_run_id is not None and latest.last_run_id != self._shown:
            begun = await self._log.last(run_subject(latest.by.tenant, latest.last_run_id), lane="ask")
            self._shown, self.shown_rev = latest.last_run_id, max(self.shown_rev, begun.rev if begun is not None else 0)

    async def _events_from(self, want: Wanted) -> int:
        """The place in the stream of its events after which they count: it has not waited for what was there before."""
        if want.event is None:
            return 0
        return await self._log.last_rev(EVENTS if want.event.subject is not None else STREAM)


async def read(log: Log, tenant: str, trigger_id: str) -> Held | None:
    """The record of a trigger, None where there is none. Raises Unavailable."""
    record = await log.get(TRIGGERS, _key(tenant, trigger_id))
    trigger = load(record.body) if record is not None else None
    return Held(trigger, record.rev) if record is not None and trigger is not None else None


async def plan(log: Log, trigger: Trigger) -> None:
    """Sets the clock for the next tick, if there is one. May be said again. Raises Unavailable."""
    if trigger.next_at_ms is not None:
        body = {"tenant": trigger.by.tenant, "trigger": trigger.id, "generation": trigger.generation,
                "at": trigger.next_at_ms, "planned": _now_ms()}  # fmt: skip
        await log.plan(_plan_key(trigger), orjson.dumps(body), rfc3339(trigger.next_at_ms))


async def unplan(log: Log, trigger: Trigger) -> None:
    """Takes the plan out of the clock, for tidiness: one that stays is found stale when it is due."""
    if trigger.next_at_ms is not None:
        with contextlib.suppress(Unavailable):
            await log.unplan(_plan_key(trigger))


async def note(log: Log, trigger: Trigger, fired: Fired, tries: int = 3) -> None:
    """Shows how the trigger fired last, if it is still the same one. Where many fire it at once, one of them is shown.
    Raises nothing: the run is there."""
    with contextlib.suppress(Unavailable):
        for _ in range(tries):
            held = await read(log, trigger.by.tenant, trigger.id)
            if held is None or held.trigger.generation != trigger.generation:
                return
            with contextlib.suppress(WrongRevision):
                await write(log, Held(noted(held.trigger, fired), held.rev))
                return


def noted(trigger: Trigger, fired: Fired) -> Trigger:
    return replace(trigger, last=fired, last_run_id=fired.run_id or trigger.last_run_id)


async def write(log: Log, held: Held) -> None:
    """Raises WrongRevision where somebody has written the record since; Unavailable."""
    await log.put(TRIGGERS, _key(held.trigger.by.tenant, held.trigger.id), dump(held.trigger), held.rev)


def _replaceable(record: Stored | None, trigger_id: str, by: Principal, fresh: bool) -> Trigger | None:
    """What stands under the id now, if `by` may put another in its place. Raises TriggerExists, NotOwner."""
    before = load(record.body) if record is not None else None
    if before is not None and fresh:
        raise TriggerExists(trigger_id)
    if before is not None:
        _check_owner(before, by)
    return before


def _check_owner(trigger: Trigger, by: Principal) -> None:
    """Raises NotOwner."""
    if not trigger.may_change(by):
        raise NotOwner(f"Trigger {trigger.id[:80]!r}", trigger.owner or trigger.by.id)


def _replacing(trigger: Trigger, before: Trigger) -> Trigger:
    return replace(trigger, created_at_ms=before.created_at_ms, last=before.last, last_run_id=before.last_run_id)


def _key(tenant: str, trigger_id: str) -> str:
    return f"{encode_token(tenant)}.{encode_token(trigger_id)}"


def _plan_key(trigger: Trigger) -> str:
    return f"{PLAN}.{_key(trigger.by.tenant, trigger.id)}.{trigger.generation}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
