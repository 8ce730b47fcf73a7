"""Where the updates of a run are to be sent, and how far each receiver has been told: one record a run.

A record lies in the bucket PUSH under `<tenant>.<run>` and is written by compare-and-set alone. It holds credentials in
clear, as a sender needs them; nothing that is logged, listed or raised does.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from protocol.errors import Invalid, Unavailable
from protocol.subjects import check_id

from .addresses import check_url
from .layout import PUSH
from .log import Log, WrongRevision

CONFIGS_MAX = 20
ID_BYTES_MAX = 128
SECRET_CHARS_MAX = 4096
VERSIONS = ("1.0", "0.3")
_TURNS_MAX = 100
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class PushConfig:
    """One webhook of a run. `token` is sent back as X-A2A-Notification-Token, `scheme` and `credentials` as
    Authorization; `version` of A2A decides the body's form."""

    id: str
    url: str
    token: str = field(default="", repr=False)
    scheme: str = ""
    credentials: str = field(default="", repr=False)
    version: str = "1.0"
    created_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A webhook and how far it is: everything up to entry `seq`, which lies at or before the revision `rev`, has been
    told or given up. `floor` is a revision that the whole run lies behind, 0 if none is known.

    Of the next update `attempts` have failed, the first one at `first_at_ms`, the latest with `error`, and the next one
    is not to be made before `retry_at_ms`. Whoever sends it holds it by `claim` until `claimed_until_ms`.
    """

    config: PushConfig
    seq: int
    rev: int
    floor: int = 0
    attempts: int = 0
    first_at_ms: int = 0
    retry_at_ms: int = 0
    error: str = field(default="", repr=False)
    claim: str = ""
    claimed_until_ms: int = 0

    def told(self, seq: int, rev: int) -> "Standing":
        """After the update at `seq`."""
        return Standing(self.config, seq, rev, self.floor)

    def freed(self) -> "Standing":
        return replace(self, claim="", claimed_until_ms=0)


Record = Mapping[str, Standing]
"""The webhooks of a run by id, in the order of their making."""


def check(config: PushConfig, loopback: bool) -> None:
    """Raises Invalid for what cannot be sent to or with; no name is looked up."""
    check_id(config.id, "A webhook's id")
    if len(config.id.encode()) > ID_BYTES_MAX:
        raise Invalid(f"A webhook's id has at most {ID_BYTES_MAX} bytes of UTF-8.")
    check_url(config.url, loopback)
    for what, value in (("token", config.token), ("credentials", config.credentials)):
        if len(value) > SECRET_CHARS_MAX:
            raise Invalid(f"A webhook's {what}: at most {SECRET_CHARS_MAX} characters.")
        if value and not _VALUE.fullmatch(value):
            raise Invalid(f"A webhook's {what} is sent as a header: printable ASCII, with no space at either end.")
    if config.scheme and not _SCHEME.fullmatch(config.scheme):
        raise Invalid("A webhook's authentication scheme is a token of at most 64 characters, as in Bearer.")
    if config.credentials and not config.scheme:
        raise Invalid("A webhook's credentials need an authentication scheme, as in Bearer.")
    if config.version not in VERSIONS:
        raise Invalid(f"A webhook's version is {' or '.join(VERSIONS)}, not {config.version[:20]!r}.")


def key_of(run: str) -> str:
    """Of the record, from the run's subject."""
    return run.removeprefix("run.")


async def load(log: Log, run: str) -> tuple[Record, int]:
    """The run's webhooks as of now, and the revision of their record (0: there has never been one). Raises
    Unavailable."""
    held = await log.get(PUSH, key_of(run), exact=True)
    return (_decode(held.body), held.rev) if held is not None else ({}, 0)


async def change(log: Log, run: str, how: Callable[[Record], Record | None]) -> Record | None:
    """Writes what `how` makes of the record, again for as long as others write between; None where it says None.
    Raises Unavailable."""
    for _ in range(_TURNS_MAX):
        record, rev = await load(log, run)
        wanted = how(record)
        if wanted is None:
            return None
        try:
            await log.put(PUSH, key_of(run), _encode(wanted), expected=rev)
            return wanted
        except WrongRevision:
            continue
    raise Unavailable("The webhooks of this run are being changed by too many at once.")


def _encode(record: Record) -> bytes:
    return orjson.dumps([asdict(one) for one in record.values()]) if record else b""


def _decode(body: bytes) -> Record:
    told: list[dict[str, Any]] = orjson.loads(body) if body else []
    found = [Standing(**one | {"config": PushConfig(**one["config"])}) for one in told]
    return {one.config.id: one for one in found}
