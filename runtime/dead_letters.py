"""Updates that no webhook has taken: kept for each tenant in the order in which they were given up, the newest first
when they are listed, and the oldest dropped when there are too many."""

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from protocol.errors import NotFound, Unavailable
from protocol.subjects import encode_token

from .layout import DEAD
from .log import Log

_REV_MAX = 2**53


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Entry `seq` of a run, which the webhook `config_id`, of the run or else `of_tenant`, was not told, and why. It
    holds no credentials; what would be sent is made of the run and the webhook again."""

    id: str
    run_id: str
    config_id: str
    url: str
    seq: int
    rev: int
    error: str
    attempts: int
    first_at_ms: int
    last_at_ms: int
    of_tenant: bool = False


async def bury(log: Log, tenant: str, letter: DeadLetter) -> None:
    """Keeps the letter; its id is given here. Said again within two minutes it is kept once. Raises Unavailable."""
    told = {name: value for name, value in asdict(letter).items() if name != "id"}
    once = encode_token(f"{tenant}/{letter.run_id}/{letter.config_id}/{letter.seq}/{letter.first_at_ms}")
    await log.add(_subject(tenant), orjson.dumps(told), once)


async def newest(log: Log, tenant: str, limit: int, before: str | None = None) -> list[DeadLetter]:
    """The latest letters, newest first; those given up before the letter `before`, if it is named. Raises NotFound for
    what is no letter's id, Unavailable."""
    last = await _last(log, tenant)
    end = last + 1 if before is None else min(_rev(before), last + 1)
    width, found, start = 2 * limit, list[DeadLetter](), end
    while len(found) < limit and start > 1:  # a stream is read forward alone: look further and further back
        stop, start = start, max(start - width, 1)
        stretch = await log.stretch(DEAD, _subject(tenant), start, stop)
        found += [_letter(stored.rev, stored.body) for stored in reversed(stretch)]
        width *= 4
    return found[:limit]


async def find(log: Log, tenant: str, dead_id: str) -> DeadLetter:
    """Raises NotFound, Unavailable."""
    rev = _rev(dead_id)
    for stored in await log.stretch(DEAD, _subject(tenant), rev, rev + 1):
        return _letter(stored.rev, stored.body)
    raise _unknown(dead_id)


async def drop(log: Log, letter: DeadLetter) -> None:
    """That it is gone already is no error. Raises Unavailable."""
    await log.request(f"$JS.API.STREAM.MSG.DELETE.{DEAD}", orjson.dumps({"seq": int(letter.id), "no_erase": True}))


async def _last(log: Log, tenant: str) -> int:
    """The revision of the tenant's last letter, 0 if it has none."""
    want = orjson.dumps({"last_by_subj": _subject(tenant)})
    answer: dict[str, Any] = orjson.loads(await log.request(f"$JS.API.STREAM.MSG.GET.{DEAD}", want))
    if answer.get("error", {}).get("code", 404) != 404:
        raise Unavailable(f"The dead letters cannot be read: {answer['error'].get('description', '')}")
    return int(answer.get("message", {}).get("seq", 0))


def _subject(tenant: str) -> str:
    return f"dead.{encode_token(tenant)}"


def _letter(rev: int, body: bytes) -> DeadLetter:
    return DeadLetter(id=str(rev), **orjson.loads(body))


def _rev(dead_id: str) -> int:
    if not (dead_id.isascii() and dead_id.isdigit() and len(dead_id) < 17 and 0 < int(dead_id) < _REV_MAX):
        raise _unknown(dead_id)
    return int(dead_id)


def _unknown(dead_id: str) -> NotFound:
    return NotFound(f"There is no dead letter {dead_id[:80]!r}.")
