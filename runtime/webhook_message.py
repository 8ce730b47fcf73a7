"""What a webhook of the tenant is told of a run's entry: one message, the same whoever is told it."""

from collections.abc import Collection
from typing import NamedTuple

import orjson

from protocol import webhooks

from .checkpoints import state_at
from .log import Log
from .push_update import BODY_BYTES_MAX, Update


class Message(NamedTuple):
    """`kind` is the type that it bears, `body` the JSON as it is signed and sent."""

    kind: str
    body: bytes


async def message_of(
    log: Log, run: str, update: Update, events: Collection[str], agent: str | None, form: str = "hocket"
) -> Message | None:
    """In the words of `form`, of FORMATS. None where the entry is not told, or not to those who ask for these events
    and this agent (None: every one's). A run is folded only for an entry that may be told. Raises Unavailable."""
    entry = update.entry
    if webhooks.possible(entry.event) not in events:
        return None
    state = await state_at(log, run, entry.seq, update.rev)
    message = webhooks.told(state, entry.event) if agent in (None, state.agent) else None
    if message is None:
        return None
    message = webhooks.in_format(form, message, state, entry.event)
    body = orjson.dumps(message)
    if len(body) > BODY_BYTES_MAX:
        body = orjson.dumps(webhooks.cut(message))
    return Message(message["type"], body)
