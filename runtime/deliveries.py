"""What was sent to each webhook of a tenant and what came of it: the last 100 posts of each, for whoever looks why."""

import contextlib
from dataclasses import asdict, dataclass

import orjson

from protocol.errors import HocketError
from protocol.subjects import encode_token

from .layout import DELIVERIES
from .log import Log


@dataclass(frozen=True, slots=True)
class Tried:
    """One post, the `attempt`th of its update: `status` is the receiver's, None where it did not answer, `error` why it
    was not taken, empty where it was. `run_id` is None for what is not about a run."""

    at_ms: int
    message_id: str
    type: str
    run_id: str | None
    seq: int | None
    attempt: int
    status: int | None
    error: str
    duration_ms: int


async def note(log: Log, tenant: str, webhook_id: str, tried: Tried) -> None:
    """A post is what it is even if it cannot be written down, so this raises nothing."""
    once = encode_token(f"{tenant}/{webhook_id}/{tried.message_id}/{tried.at_ms}")
    with contextlib.suppress(HocketError):
        await log.add(_subject(tenant, webhook_id), orjson.dumps(asdict(tried)), once)


async def latest(log: Log, tenant: str, webhook_id: str) -> list[Tried]:
    """Newest first. Raises Unavailable."""
    end = await log.last_rev(DELIVERIES) + 1
    stretch = await log.stretch(DELIVERIES, _subject(tenant, webhook_id), 1, end)
    return [Tried(**orjson.loads(stored.body)) for stored in reversed(stretch)]


async def forget(log: Log, tenant: str, webhook_id: str) -> None:
    """Raises nothing: what stays is nobody's and bounded."""
    with contextlib.suppress(HocketError):
        want = orjson.dumps({"filter": _subject(tenant, webhook_id)})
        await log.request(f"$JS.API.STREAM.PURGE.{DELIVERIES}", want)


def _subject(tenant: str, webhook_id: str) -> str:
    return f"delivery.{encode_token(tenant)}.{encode_token(webhook_id)}"
