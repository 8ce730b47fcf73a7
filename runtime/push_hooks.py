"""Who is told of a run: its own webhooks, which stand in its record with all they need, and those of its tenant, of
which a second record of the run says only how far each is. Both are told by the same machinery."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from protocol.subjects import parse_subject

from . import deliveries, webhook
from .deliveries import Tried
from .log import Log
from .push_configs import PushConfig, Record, Standing
from .push_update import Update, body_of, headers_of
from .webhook import Webhook
from .webhook_message import message_of


class Post(NamedTuple):
    """What is sent where. `kind` and `message_id` are for the list of deliveries."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    kind: str = ""
    message_id: str = ""


class Hook(Protocol):
    """One webhook and one run. `record` is the key of the record that says how far it is, `of_tenant` whether it is a
    webhook of the tenant."""

    name: str
    record: str
    of_tenant: bool

    def standing(self, record: Record) -> Standing | None:
        """How far it is; None if it is there no more."""

    def url(self, one: Standing) -> str:
        """Where it leads now."""

    async def post(self, log: Log, run_id: str, one: Standing, update: Update) -> Post | None:
        """None where it is not told of that. Raises Unavailable."""

    async def note(self, log: Log, update: Update, post: Post, attempt: int, status: int | None, error: str,
                   began: float) -> None:  # fmt: skip
        """Writes down what came of a post that began at `began` of the monotonic clock."""

    async def end(self, log: Log) -> None:
        """Its receiver says that it is gone for good. Raises Unavailable."""


class RunHook:
    """A webhook of one run."""

    of_tenant = False

    def __init__(self, run: str, name: str) -> None:
        self.record, self.name = run, name
        self._run = run

    def standing(self, record: Record) -> Standing | None:
        return record.get(self.name)

    def url(self, one: Standing) -> str:
        return one.config.url

    async def post(self, log: Log, run_id: str, one: Standing, update: Update) -> Post | None:
        body = await body_of(log, self._run, update, one.config.version, one.floor)
        return body and Post(one.config.url, headers_of(one.config, run_id, update.entry.seq), body) or None

    async def note(self, log: Log, update: Update, post: Post, attempt: int, status: int | None, error: str,
                   began: float) -> None:  # fmt: skip
        """There is no list."""

    async def end(self, log: Log) -> None:
        """It ends with its standing."""


class TenantHook:
    """A webhook of the tenant, for one of its runs. `find` says what it is at that moment."""

    of_tenant = True

    def __init__(self, run: str, name: str, find: Callable[[], Webhook | None]) -> None:
        self.record, self.name = record_of(run), name
        self._run, self._find = run, find
        self._tenant, self._run_id, _ = parse_subject(f"{run}.life")

    def standing(self, record: Record) -> Standing | None:
        """One that has not been told of this run begins behind what was there when it was made or enabled."""
        found = self._find()
        if found is None or not found.enabled:
            return None
        held = record.get(self.name)
        if held is None:
            return Standing(PushConfig(self.name, ""), 0, found.from_rev + 1)
        if held.rev > found.from_rev:
            return held
        return replace(held, rev=found.from_rev + 1, attempts=0, first_at_ms=0, retry_at_ms=0, error="")

    def url(self, one: Standing) -> str:
        found = self._find()
        return found.url if found is not None else ""

    async def post(self, log: Log, run_id: str, one: Standing, update: Update) -> Post | None:
        found = self._find()
        if found is None:
            return None
        message = await message_of(log, self._run, update, found.events, found.agent, found.format)
        if message is None:
            return None
        name = webhook.message_id(found.id, self._run, update.entry.seq)
        return Post(found.url, found.headers(name, message.body, now_ms()), message.body, message.kind, name)

    async def note(self, log: Log, update: Update, post: Post, attempt: int, status: int | None, error: str,
                   began: float) -> None:  # fmt: skip
        took = round((time.monotonic() - began) * 1000)
        tried = Tried(
            now_ms() - took, post.message_id, post.kind, self._run_id, update.entry.seq, attempt, status, error, took
        )
        await deliveries.note(log, self._tenant, self.name, tried)

    async def end(self, log: Log) -> None:
        await webhook.change(
            log, self._tenant,
            lambda held: {**held, self.name: replace(held[self.name], enabled=False)} if self.name in held else None,
        )  # fmt: skip


def record_of(run: str) -> str:
    """Of the record that says how far the tenant's webhooks are with the run."""
    return f"{run}.webhooks"


def now_ms() -> int:
    return time.time_ns() // 1_000_000
