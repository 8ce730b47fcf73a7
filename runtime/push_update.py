"""What one webhook is told next, and the request that tells it: the same for a first try, a retry and a dead letter."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from protocol import a2a, a2a_legacy
from protocol.entries import Entry, decode
from protocol.errors import Unavailable

from .checkpoints import state_at
from .log import Log
from .push_configs import PushConfig, Standing

_MEDIA = {"1.0": "application/a2a+json", "0.3": "application/json"}
_TOLD = {"1.0": a2a.pushed, "0.3": a2a_legacy.pushed}
BODY_BYTES_MAX = 1 << 20
"""A longer task is told by its status alone."""


@dataclass(frozen=True, slots=True)
class Update:
    """An entry of the run's life and the revision of the message that holds it."""

    entry: Entry
    rev: int


async def next_update(log: Log, run: str, one: Standing, up_to: int) -> Update:
    """The first life entry after those that the webhook has been told; there is one at or before the revision `up_to`.
    Raises Unavailable where a replica does not have it yet."""
    async for batch in log.read(run, max(one.rev - 1, 0), up_to, lane="life"):
        for stored in batch:
            for entry in decode(stored.body):
                if entry.seq > one.seq:
                    return Update(entry, stored.rev)
    raise Unavailable("The log was read by a replica that has not all of it yet.")


async def body_of(log: Log, run: str, update: Update, version: str, floor: int = 0) -> bytes | None:
    """What the update says, None for nothing. Raises Unavailable."""
    state = await state_at(log, run, update.entry.seq, update.rev, floor)
    told = _TOLD[version](state, update.entry.event)
    body = orjson.dumps(told)
    if len(body) > BODY_BYTES_MAX:
        body = orjson.dumps(_TOLD[version](state, update.entry.event, whole=False))
    return body if told is not None else None


def headers_of(config: PushConfig, run_id: str, seq: int) -> Mapping[str, str]:
    """Ids are percent-encoded: they may hold anything. A receiver tells repetitions by X-Hocket-Delivery."""
    run = quote(run_id, safe="")
    told = {
        "Content-Type": _MEDIA[config.version],
        "A2A-Version": config.version,
        "X-Hocket-Run": run,
        "X-Hocket-Seq": str(seq),
        "X-Hocket-Delivery": f"{run}/{quote(config.id, safe='')}/{seq}",
    }
    if config.credentials:
        told["Authorization"] = f"{config.scheme} {config.credentials}"
    if config.token:
        told["X-A2A-Notification-Token"] = config.token
    return told
