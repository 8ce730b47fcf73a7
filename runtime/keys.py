"""API keys: made, listed and revoked in a bucket of the log, and known to every replica as they change.

A key is stored as its SHA-256 alone. It is 256 random bits, so no slower hash would make it any harder to find.
"""

import asyncio
import base64
import hashlib
import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from protocol.entries import SCOPES, Caller
from protocol.errors import Invalid, NotFound, Unavailable
from protocol.subjects import check_id

from .layout import KEYS
from .log import Log, WrongRevision
from .pull import Delivery
from .reader import Reader

logger = logging.getLogger("hocket.keys")

PREFIX = "hk_"
KINDS = ("api_key", "user", "service")
SCOPES_USUAL = tuple(scope for scope in SCOPES if scope != "admin")
_SECRET = "page-token-secret"
_SECRET_BYTES = 32
_HASH = re.compile(r"[0-9a-f]{64}")
_ROOM = 1_000
_LOAD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key. `id` may be shown to anyone; `principal` is the id under which its asks are recorded."""

    id: str
    tenant: str
    principal: str
    kind: str
    name: str
    scopes: tuple[str, ...]
    created_at_ms: int
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None

    def good(self, now_ms: int) -> bool:
        return self.revoked_at_ms is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)

    def state(self, now_ms: int) -> str:
        if self.revoked_at_ms is not None:
            return "revoked"
        return "good" if self.good(now_ms) else "expired"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key to be made. Without a principal it is its own, and without a name it is called by its principal."""

    tenant: str = "default"
    principal: str | None = None
    kind: str = "api_key"
    name: str | None = None
    scopes: Sequence[str] = SCOPES_USUAL
    expires_at_ms: int | None = None


def fresh_token() -> str:
    """A key as its owner holds it; to be shown once and kept nowhere."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


async def create(log: Log, token: str, want: Wanted, now_ms: int) -> Key:
    """Records the key `token`. Raises Invalid where something wanted is not possible, Unavailable."""
    digest = _digest(token)
    key_id = f"key_{digest[:12]}"
    principal = check_id(want.principal if want.principal is not None else key_id, "The principal")
    name = want.name if want.name is not None else principal
    if want.kind not in KINDS:
        raise Invalid(f"A key's kind is one of {', '.join(KINDS)}, not {want.kind!r}.")
    if len(name) > 200 or not name.isprintable():
        raise Invalid("A key's name is at most 200 printable characters.")
    unknown = [scope for scope in want.scopes if scope not in SCOPES]
    if unknown or not want.scopes:
        raise Invalid(f"Scopes are {', '.join(SCOPES)}; given: {', '.join(map(repr, unknown)) or 'none'}.")
    scopes = tuple(scope for scope in SCOPES if scope in want.scopes)
    tenant = check_id(want.tenant, "The tenant")
    key = Key(key_id, tenant, principal, want.kind, name, scopes, now_ms, want.expires_at_ms)
    await log.put(KEYS, digest, orjson.dumps(asdict(key)), expected=0)
    return key


async def revoke(log: Log, key_id: str, now_ms: int) -> Key:
    """Ends the key for ever; one that was revoked before is left as it is. Raises NotFound, Unavailable."""
    while True:
        for digest in await log.keys(KEYS):
            held = await log.get(KEYS, digest) if _HASH.fullmatch(digest) else None
            key = _key(held.body) if held is not None else None
            if held is None or key is None or key.id != key_id:
                continue
            if key.revoked_at_ms is not None:
                return key
            key = replace(key, revoked_at_ms=now_ms)
            try:
                await log.put(KEYS, digest, orjson.dumps(asdict(key)), expected=held.rev)
                return key
            except WrongRevision:
                break
        else:
            raise NotFound(f"There is no key {key_id[:80]!r}: `hocket keys list` shows all of them.")


async def all_keys(log: Log) -> list[Key]:
    """Every key that was ever made, in the order of their making. Raises Unavailable."""
    found = [_key(value) for name, value in (await log.keys(KEYS)).items() if _HASH.fullmatch(name)]
    return sorted((key for key in found if key is not None), key=lambda key: (key.created_at_ms, key.id))


class Keys:
    """All keys as one replica knows them. What is changed anywhere is known here within milliseconds, or half a second
    after the connection is back."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._by_digest: dict[str, Key] = {}
        self._by_id: dict[str, Key] = {}
        self._loaded = asyncio.Event()
        # Always from the first message on: the bucket is small, and one that was made anew is then read as well.
        self._reader = Reader(log, "keys", f"KV_{KEYS}", [f"$KV.{KEYS}.>"], _ROOM, self._take, lambda: 0)
        self.configured = False
        """Whether there is or was a key. It stays so: who takes the last key away must not open the door."""
        self.secret: bytes | None = None
        """What page tokens are signed with, as far as a replica has needed it yet."""

    async def start(self) -> None:
        """Returns once every key is known. Raises Unavailable or Refused if they cannot be read."""
        await self._reader.start()
        if not self._reader.ready:
            try:
                async with asyncio.timeout(_LOAD_SECONDS):
                    await self._loaded.wait()
            except TimeoutError:
                await self._reader.stop()
                raise Unavailable(f"The keys could not be read within {_LOAD_SECONDS:g} s.") from None

    async def stop(self) -> None:
        await self._reader.stop()

    @property
    def ready(self) -> bool:
        """Whether it knows every key that stood in the log when it began to read."""
        return self._reader.ready

    def find(self, token: str, now_ms: int) -> Caller | None:
        """Who holds the key, None if it is unknown, expired or revoked."""
        key = self._by_digest.get(_digest(token))
        if key is None or not key.good(now_ms):
            return None
        return Caller(key.tenant, key.principal, key.kind, key.name, frozenset(key.scopes), credential=key.id)

    def good(self, key_id: str, now_ms: int) -> bool:
        """Whether the key of that public id is good still."""
        key = self._by_id.get(key_id)
        return key is not None and key.good(now_ms)

    def allows(self, tenant: str, principal: str, scope: str, now_ms: int) -> bool:
        """Whether that principal holds any good key that allows it."""
        return any(
            (key.tenant, key.principal) == (tenant, principal)
            and key.good(now_ms)
            and (scope in key.scopes or "admin" in key.scopes)
            for key in self._by_id.values()
        )

    async def signing_secret(self) -> bytes:
        """The secret that all replicas share; made now if this is the first to need it. Raises Unavailable."""
        while self.secret is None:
            held = await self._log.get(KEYS, _SECRET)
            if held is not None and held.body:
                self.secret = held.body
                break
            try:
                fresh = secrets.token_bytes(_SECRET_BYTES)
                await self._log.put(KEYS, _SECRET, fresh, expected=held.rev if held is not None else 0)
                self.secret = fresh
            except WrongRevision:
                continue
        return self.secret

    def _take(self, delivery: Delivery) -> None:
        name = delivery.subject.removeprefix(f"$KV.{KEYS}.")
        if name == _SECRET:
            self.secret = delivery.body or None
        else:
            self.configured = True
            self._know(name, _key(delivery.body))
        if delivery.pending == 0:
            self._loaded.set()

    def _know(self, digest: str, key: Key | None) -> None:
        """A record that was deleted or cannot be read is a key that is good for nothing."""
        before = self._by_digest.pop(digest, None)
        if before is not None:
            self._by_id.pop(before.id, None)
        if key is not None:
            self._by_digest[digest] = self._by_id[key.id] = key
        else:
            logger.warning("The record of a key was deleted or cannot be read: the key is refused")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _key(record: bytes) -> Key | None:
    """None for what is no record of a key."""
    try:
        told: dict[str, Any] = orjson.loads(record)
        return Key(**told | {"scopes": tuple(told["scopes"])})
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
