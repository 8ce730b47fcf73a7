"""A trigger as it is recorded, when it is due, and the start that it makes: plain values, and no log.

Ticks are instants in milliseconds since the epoch, UTC.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson

from protocol.entries import Caller, Principal
from protocol.errors import Invalid, TooLarge
from protocol.instants import rfc3339
from protocol.state import Status
from protocol.subjects import check_id

from .asks import Start
from .expiry import PLAN_MS_MAX
from .schedule import check_cron, latest_ticks, next_tick

Kind = Literal["now", "at", "cron", "event"]
CatchUp = Literal["none", "last", "all"]

STATUSES = tuple(status.value for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.WAITING))
"""What another agent's run can come to for an event trigger to fire."""
DEPTH_MAX = 8
"""Longest chain of runs, each started by what became of the one before."""
CATCH_UP_MAX = 1_000
LATE_MS = 60_000
"""A tick that nobody has taken for longer was missed."""
RECORD_BYTES_MAX = 256 << 10
_SUBJECT_CHARS_MAX = 200
_NAMESPACE = uuid.UUID("1c7f7a1e-9a3b-5d52-8a40-2f0f6f1d9b0c")


@dataclass(frozen=True, slots=True)
class Source:
    """What an event trigger waits for: a run of `agent` that comes to one of `statuses` and whose metadata holds all
    of `metadata`; or a message to `event.<tenant>.<subject>`, where `subject` may have NATS wildcards."""

    agent: str | None = None
    statuses: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A trigger that somebody asks for. `input` is AG-UI's, as in a Start. Without `thread_id` each run has a thread of
    its own; `timeout_s` bounds the working time of each. `at_ms` goes with kind at, `cron` (five fields) and `timezone`
    (IANA) with cron, `event` with event."""

    agent: str
    input: dict[str, Any]
    kind: Kind
    at_ms: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    event: Source | None = None
    catch_up: CatchUp = "last"
    enabled: bool = True
    thread_id: str | None = None
    on_busy: Literal["reject", "cancel_previous"] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    timeout_s: int | None = None


@dataclass(frozen=True, slots=True)
class Fired:
    """How a trigger fired: what for (the tick, or the event's instant), when, with which run; or why there is none, as
    a `code` and a `message`."""

    due_at_ms: int
    at_ms: int
    run_id: str | None = None
    error: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of a tenant. `by` set it last, with the credential of that id, and its runs are in that one's name.

    `generation` is another one each time it is set. `next_at_ms` is the tick that is planned. `from_rev` is the place
    in the stream of its events after which they count. `last_run_id` is the last run that it started. `owner` is the id
    of who may change it beside an admin, empty for the one who set it.
    """

    id: str
    generation: str
    want: Wanted
    by: Principal
    credential: str
    created_at_ms: int
    updated_at_ms: int
    next_at_ms: int | None = None
    from_rev: int = 0
    last: Fired | None = None
    last_run_id: str | None = None
    owner: str = ""

    def may_change(self, by: Principal) -> bool:
        """Whether the trigger is that one's to replace and to delete; hocket itself may."""
        return not isinstance(by, Caller) or by.id == (self.owner or self.by.id) or by.may("admin")

    @property
    def principal(self) -> Principal:
        """Who its runs are asked for by: the one who set it, as a trigger."""
        return Principal(self.by.tenant, self.by.id, "trigger", f"trigger {self.id} of {self.by.name or self.by.id}")


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why a trigger fires. The same `key` is the same occasion, and makes one run however often it is told of."""

    key: str
    at_ms: int
    depth: int = 1
    event: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now: the ticks to start runs for, in order, or the one that was passed over; and the next one
    to plan."""

    ticks: list[int]
    missed_at_ms: int | None
    next_at_ms: int | None


def check(want: Wanted, now_ms: int) -> None:
    """Raises Invalid with the field that is wrong and what was expected, TooLarge."""
    if want.kind not in get_args(Kind):
        raise Invalid(f"kind: expected one of {', '.join(get_args(Kind))}.")
    for name, given, kind in (("at", want.at_ms, "at"), ("cron", want.cron, "cron"), ("event", want.event, "event")):
        if (given is None) == (want.kind == kind):
            raise Invalid(f"{name}: needed with kind {kind}, and given with that one alone; kind is {want.kind}.")
    if want.catch_up not in get_args(CatchUp):
        raise Invalid(f"catch_up: expected one of {', '.join(get_args(CatchUp))}.")
    if want.at_ms is not None and not now_ms < want.at_ms < PLAN_MS_MAX:
        raise Invalid(f"at: must be later than now, {rfc3339(now_ms)}, and before {rfc3339(PLAN_MS_MAX)}.")
    check_cron(want.cron if want.cron is not None else "* * * * *", want.timezone, now_ms)
    if want.event is not None:
        _check_source(want.event)
    if want.thread_id is not None:
        check_id(want.thread_id, "The thread id")
        if want.catch_up == "all" and want.kind == "cron":
            raise Invalid("catch_up: `all` needs a thread for each run, for a thread holds one run at a time.")
    if "trigger" in want.metadata:
        raise Invalid("metadata: `trigger` is what hocket itself notes there.")
    size = len(orjson.dumps(want))
    if size > RECORD_BYTES_MAX:
        raise TooLarge(f"The trigger has {size} bytes; it may have {RECORD_BYTES_MAX}.")


def _check_source(source: Source) -> None:
    if (source.agent is None) == (source.subject is None):
        raise Invalid("event: expected either an agent or a subject.")
    if source.subject is not None:
        if source.statuses or source.metadata:
            raise Invalid("event: statuses and metadata go with an agent, not with a subject.")
        check_subject(source.subject, "event.subject")
    elif not source.statuses or not set(source.statuses) <= set(STATUSES):
        raise Invalid(f"event.statuses: expected one or more of {', '.join(STATUSES)}.")


def check_subject(subject: str, what: str, wild: bool = True) -> None:
    """Raises Invalid for what is no subject of NATS, or, where it may be `wild`, no pattern."""
    tokens = subject.split(".")
    whole = all((wild and token in ("*", ">")) or (token and not set(token) & set("*>")) for token in tokens)
    plain = subject.isascii() and subject.isprintable() and " " not in subject
    if not (whole and plain and len(subject) <= _SUBJECT_CHARS_MAX) or ">" in tokens[:-1] or tokens == [">"]:
        wildcards = ", where a whole token may be * and the last one >, but not a > alone" if wild else ""
        raise Invalid(
            f"{what}: {subject[:80]!r} must be a NATS subject of at most {_SUBJECT_CHARS_MAX} visible ASCII "
            f"characters{wildcards}."
        )


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of the pattern's, as NATS has it."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and matches(".".join(wanted[:-1]), ".".join(given[: len(wanted) - 1]))
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


def first_tick(want: Wanted, now_ms: int) -> int | None:
    """When a trigger that is set now is due first, None for one that waits for events or is not enabled."""
    if not want.enabled:
        return None
    if want.kind == "now":
        return now_ms
    return want.at_ms if want.kind == "at" else _next(want, now_ms)


def due(trigger: Trigger, now_ms: int) -> Due:
    """What the policy makes of the ticks from the planned one up to now. At least one is due."""
    want, planned = trigger.want, trigger.next_at_ms
    assert planned is not None and planned <= now_ms
    count = CATCH_UP_MAX if want.catch_up == "all" else 1
    ticks = latest_ticks(want.cron, want.timezone, planned, now_ms, count) if want.cron is not None else []
    if len(ticks) < count:
        ticks = [planned, *ticks]
    late = want.catch_up == "none" and want.kind != "now" and now_ms - ticks[-1] > LATE_MS
    return Due([] if late else ticks, ticks[-1] if late else None, _next(want, now_ms))


def _next(want: Wanted, after_ms: int) -> int | None:
    return next_tick(want.cron, want.timezone, after_ms) if want.cron is not None else None


def start_of(trigger: Trigger, occasion: Occasion) -> Start:
    """The run of that occasion. Its id follows from trigger and occasion alone; its messages have ids of their own, or
    a thread would take them for those of the run before."""
    want, tenant = trigger.want, trigger.by.tenant
    run_id = str(uuid.uuid5(_NAMESPACE, f"{tenant}\n{trigger.id}\n{occasion.key}"))
    messages = [
        {**message, "id": str(uuid.uuid5(_NAMESPACE, f"{run_id}\n{message.get('id')}\n{number}"))}
        for number, message in enumerate(want.input.get("messages") or ())
    ]
    forwarded = want.input.get("forwardedProps")
    if occasion.event is not None:
        forwarded = {**(forwarded if isinstance(forwarded, dict) else {}), "event": occasion.event}
    noted = {"id": trigger.id, "kind": want.kind, "at": rfc3339(occasion.at_ms), "depth": occasion.depth}
    return Start(
        want.agent,
        {**want.input, "messages": messages, "forwardedProps": forwarded or {}},
        want.thread_id or run_id,
        run_id,
        None,
        {**want.metadata, "trigger": noted},
        want.on_busy,
        want.timeout_s,
    )


def dump(trigger: Trigger) -> bytes:
    return orjson.dumps(trigger)


def load(record: bytes) -> Trigger | None:
    """None for what is no record of a trigger, or was deleted."""
    try:
        told = orjson.loads(record)
        want = told["want"]
        source = want["event"]
        if source is not None:
            source = Source(**source | {"statuses": tuple(source["statuses"])})
        last = Fired(**told["last"]) if told["last"] is not None else None
        return Trigger(
            **told | {"want": Wanted(**want | {"event": source}), "by": Principal(**told["by"]), "last": last}
        )
    except (ValueError, KeyError, TypeError):
        return None
