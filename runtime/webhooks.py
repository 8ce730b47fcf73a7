"""The door to a tenant's webhooks, `engine.webhooks`: made, changed and deleted, given new secrets, tried out."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import orjson

from protocol.entries import Principal
from protocol.errors import Invalid, NotFound, Unavailable
from protocol.webhooks import ping

from . import deliveries, webhook
from .access import check_scope
from .addresses import AddressRefused
from .deliveries import Tried
from .log import Log
from .outbound import Outbound, Undelivered
from .settings import Settings
from .webhook import WEBHOOKS_MAX, Held, Webhook
from .webhook_feed import Place, WebhookFeed

FEEDS_MAX = 20
"""Of one tenant at once in one process."""
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Change:
    """What a webhook is to be; None leaves it as it is, an `agent` of "" makes it every agent's."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    agent: str | None = None
    format: str | None = None
    description: str | None = None
    enabled: bool | None = None


class Webhooks:
    """Every method may raise Unavailable, and Forbidden: to see takes `runs:read`, all else `admin`, for a webhook is
    sent every run of the tenant and outlives the key that made it. Those of one raise NotFound."""

    def __init__(self, log: Log, settings: Settings, outbound: Outbound | None = None) -> None:
        self._log, self._loopback = log, settings.push_loopback_enabled
        self._outbound = outbound or Outbound(settings.push_timeout_s, self._loopback)
        self._under_way = 0
        self._feeds: Counter[str] = Counter()

    async def create(self, want: Change, by: Principal) -> Webhook:
        """Told of everything that is recorded after this has returned. Its secret is in the answer. Raises Invalid."""
        check_scope(by, "admin", everywhere=True)
        now_ms = _now_ms()
        rev = await self._log.last_rev()
        made = Webhook(f"wh_{secrets.token_hex(12)}", "", from_rev=rev, created_at_ms=now_ms).rotated(now_ms)
        made = _changed(made, want)
        webhook.check(made, self._loopback)

        def add(held: Held) -> Held:
            if len(held) >= WEBHOOKS_MAX:
                raise Invalid(f"A tenant has at most {WEBHOOKS_MAX} webhooks.")
            return {**held, made.id: made}

        await webhook.change(self._log, by.tenant, add)
        return made

    async def list(self, by: Principal) -> Sequence[Webhook]:
        """In the order of their making."""
        check_scope(by, "runs:read", everywhere=True)
        return list((await webhook.load(self._log, by.tenant)).values())

    async def get(self, webhook_id: str, by: Principal) -> Webhook:
        check_scope(by, "runs:read", everywhere=True)
        return _found(await webhook.load(self._log, by.tenant), webhook_id)

    async def change(self, webhook_id: str, want: Change, by: Principal) -> Webhook:
        """What is sent from now on is sent so, also what was recorded before; but what was recorded while it was not
        enabled is never told. Raises Invalid."""
        check_scope(by, "admin", everywhere=True)
        rev, now_ms = await self._log.last_rev(), _now_ms()

        def changed(before: Webhook) -> Webhook:
            after = replace(_changed(before, want), updated_at_ms=now_ms)
            webhook.check(after, self._loopback)
            return replace(after, from_rev=rev) if after.enabled and not before.enabled else after

        return await self._change(webhook_id, by, changed)

    async def rotate(self, webhook_id: str, by: Principal) -> Webhook:
        """With a new secret, which is in the answer; the one before signs beside it for another day."""
        check_scope(by, "admin", everywhere=True)
        return await self._change(webhook_id, by, lambda before: before.rotated(_now_ms()))

    async def delete(self, webhook_id: str, by: Principal) -> None:
        """Ends it, at once: a try that waits is not made."""
        check_scope(by, "admin", everywhere=True)

        def without(held: Held) -> Held:
            _found(held, webhook_id)
            return {name: one for name, one in held.items() if name != webhook_id}

        await webhook.change(self._log, by.tenant, without)
        await deliveries.forget(self._log, by.tenant, webhook_id)

    async def test(self, webhook_id: str, by: Principal) -> Tried:
        """Sends a `ping`, once, whether it is enabled or not."""
        check_scope(by, "admin", everywhere=True)
        one = _found(await webhook.load(self._log, by.tenant), webhook_id)
        if self._under_way >= _AT_ONCE:
            raise Unavailable(f"{_AT_ONCE} webhooks are being tried out already: try again.")
        self._under_way += 1
        try:
            return await self._ping(one, by.tenant)
        finally:
            self._under_way -= 1

    async def deliveries(self, webhook_id: str, by: Principal) -> Sequence[Tried]:
        """The latest posts, newest first."""
        await self.get(webhook_id, by)
        return await deliveries.latest(self._log, by.tenant, webhook_id)

    async def listen(
        self, events: Collection[str], agent: str | None, by: Principal, place: Place | None = None
    ) -> WebhookFeed:
        """What a webhook of these events and this agent (None: every agent's) would be told, from `place` on, else from
        now on. Raises Invalid for a place that the log has not reached. Close it."""
        check_scope(by, "runs:read", everywhere=True)
        if self._feeds[by.tenant] >= FEEDS_MAX:
            raise Unavailable(f"{FEEDS_MAX} listen to the webhooks of this tenant already: end one of them.")
        self._feeds[by.tenant] += 1
        feed = WebhookFeed(self._log, by.tenant, Place(0, 0), events, agent, lambda: self._left(by.tenant))
        try:
            await feed.open()
            rev = await self._log.last_rev()  # after the feed has begun to hear, so that nothing lies between
            if place is not None and place.rev > rev + 1:
                raise Invalid(f"Nothing is recorded at the place {place.rev}-{place.seq} yet: begin without a place.")
        except BaseException:
            await feed.close()
            raise
        feed.place = place or Place(rev + 1, 0)
        return feed

    @property
    def listening(self) -> int:
        """How many feeds are open in this process."""
        return self._feeds.total()

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    def _left(self, tenant: str) -> None:
        self._feeds[tenant] -= 1
        if not self._feeds[tenant]:
            del self._feeds[tenant]

    async def _change(self, webhook_id: str, by: Principal, how: Callable[[Webhook], Webhook]) -> Webhook:
        made: list[Webhook] = []

        def put(held: Held) -> Held:
            made[:] = [how(_found(held, webhook_id))]
            return {**held, webhook_id: made[0]}

        await webhook.change(self._log, by.tenant, put)
        return made[0]

    async def _ping(self, one: Webhook, tenant: str) -> Tried:
        now_ms, name = _now_ms(), f"msg_{secrets.token_hex(16)}"
        body = orjson.dumps(ping(one.format, name, one.id, now_ms))
        status, error = None, ""
        try:
            answer = await self._outbound.post(one.url, one.headers(name, body, now_ms), body)
            status, error = answer.status, "" if answer.good else f"{answer.status} {answer.reason}".strip()
        except (AddressRefused, Undelivered) as fault:
            error = fault.message
        tried = Tried(now_ms, name, "ping", None, None, 1, status, error, _now_ms() - now_ms)
        await deliveries.note(self._log, tenant, one.id, tried)
        return tried


def _changed(one: Webhook, want: Change) -> Webhook:
    given = {name: getattr(want, name) for name in want.__slots__ if getattr(want, name) is not None}
    if "agent" in given:
        given["agent"] = given["agent"] or None
    return replace(one, **given)


def _found(held: Held, webhook_id: str) -> Webhook:
    one = held.get(webhook_id)
    if one is None:
        raise NotFound(f"There is no webhook {webhook_id[:80]!r}.")
    return one


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
