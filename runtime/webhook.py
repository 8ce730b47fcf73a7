"""A webhook of a tenant: where what becomes of its runs is sent, and how that is signed (Standard Webhooks 1.0.0).

All of a tenant's lie in one record of the bucket WEBHOOKS, which is written by compare-and-set. It holds the secrets in
clear, as a sender needs them; nothing that is logged, listed or raised does.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from standardwebhooks import Webhook as Signer

from protocol.errors import Invalid, Unavailable
from protocol.subjects import check_id, encode_token
from protocol.webhooks import EVENTS, FORMATS

from .addresses import check_url
from .layout import WEBHOOKS
from .log import Log, WrongRevision

WEBHOOKS_MAX = 20
SECRETS_MAX = 10
ROTATION_MS = 24 * 3600 * 1000
DESCRIPTION_CHARS_MAX = 1000
_SECRET_BYTES = 32
_TURNS_MAX = 100


@dataclass(frozen=True, slots=True)
class Secret:
    """`whsec_` and base64. One that was replaced signs beside its successor until `until_ms`."""

    value: str = field(repr=False)
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """`events` are of EVENTS; `agent` None is every agent; `format`, of FORMATS, says in whose words it is told. It is
    told of what was recorded behind the log's revision `from_rev`: when it was made, or enabled last."""

    id: str
    url: str
    events: tuple[str, ...] = EVENTS
    agent: str | None = None
    format: str = "hocket"
    description: str = ""
    enabled: bool = True
    secrets: tuple[Secret, ...] = ()
    from_rev: int = 0
    created_at_ms: int = 0
    updated_at_ms: int = 0

    def rotated(self, now_ms: int) -> "Webhook":
        """With a new secret. The one before signs for another day; of more than SECRETS_MAX the oldest go."""
        fresh = Secret("whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())
        before = [
            replace(one, until_ms=now_ms + ROTATION_MS) if one.until_ms is None else one
            for one in self.secrets
            if one.until_ms is None or one.until_ms > now_ms
        ]
        return replace(self, secrets=(fresh, *before)[:SECRETS_MAX], updated_at_ms=now_ms)

    def headers(self, message_id: str, body: bytes, now_ms: int) -> Mapping[str, str]:
        """Of a post: one signature for each secret that is good."""
        at = datetime.fromtimestamp(now_ms // 1000, UTC)
        good = [one.value for one in self.secrets if one.until_ms is None or one.until_ms > now_ms]
        return {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now_ms // 1000),
            "webhook-signature": " ".join(Signer(value).sign(message_id, at, body.decode()) for value in good),
        }


Held = Mapping[str, Webhook]
"""The webhooks of a tenant by id, in the order of their making."""


def message_id(webhook_id: str, run: str, seq: int) -> str:
    """The same for every try of one update, and for no other. Ids of runs may hold anything, hence the hash."""
    return "msg_" + hashlib.sha256(f"{webhook_id}/{run}/{seq}".encode()).hexdigest()[:32]


def check(webhook: Webhook, loopback: bool) -> None:
    """Raises Invalid for what cannot be sent to; no name is looked up."""
    check_url(webhook.url, loopback)
    if not webhook.events or not set(webhook.events) <= set(EVENTS):
        raise Invalid(f"A webhook's events are one or more of {', '.join(EVENTS)}.")
    if webhook.format not in FORMATS:
        raise Invalid(f"A webhook's format is one of {', '.join(FORMATS)}.")
    if webhook.agent is not None:
        check_id(webhook.agent, "A webhook's agent")
    if len(webhook.description) > DESCRIPTION_CHARS_MAX:
        raise Invalid(f"A webhook's description has at most {DESCRIPTION_CHARS_MAX} characters.")


async def load(log: Log, tenant: str) -> Held:
    """Raises Unavailable."""
    held = await log.get(WEBHOOKS, encode_token(tenant), exact=True)
    return decode(held.body) if held is not None else {}


async def change(log: Log, tenant: str, how: Callable[[Held], Held | None]) -> None:
    """Writes what `how` makes of the tenant's webhooks, again for as long as others write between; nothing where it
    says None. Raises Unavailable, and what `how` raises."""
    key = encode_token(tenant)
    for _ in range(_TURNS_MAX):
        stored = await log.get(WEBHOOKS, key, exact=True)
        wanted = how(decode(stored.body) if stored is not None else {})
        if wanted is None:
            return
        body = orjson.dumps([asdict(one) for one in wanted.values()]) if wanted else b""
        try:
            await log.put(WEBHOOKS, key, body, expected=stored.rev if stored is not None else 0)
            return
        except WrongRevision:
            continue
    raise Unavailable("The webhooks of this tenant are being changed by too many at once.")


def decode(body: bytes) -> Held:
    """Of a record."""
    told: list[dict[str, Any]] = orjson.loads(body) if body else []
    return {one["id"]: _webhook(one) for one in told}


def _webhook(told: dict[str, Any]) -> Webhook:
    more = {"events": tuple(told["events"]), "secrets": tuple(Secret(**one) for one in told["secrets"])}
    return Webhook(**told | more)
