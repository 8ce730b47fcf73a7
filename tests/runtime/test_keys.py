"""API keys: made, found, expired and revoked, on every replica, through lost connections and restarts."""

import asyncio
import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from protocol.entries import SCOPES
from protocol.errors import Invalid, InvalidId, NotFound
from runtime.keys import Key, Keys, Wanted, all_keys, create, fresh_token, revoke
from runtime.layout import KEYS
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from tests.runtime.stage import eventually, open_wire, restart

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000_000


@contextlib.asynccontextmanager
async def open_keys(url: str) -> AsyncIterator[Keys]:
    """What one replica knows, over a connection of its own."""
    log = await Log.open(url, "test-keys", 10.0)
    keys = Keys(log)
    await keys.start()
    try:
        yield keys
    finally:
        await keys.stop()
        await log.close()


async def make(log: Log, **wanted: Any) -> tuple[str, Key]:
    token = fresh_token()
    return token, await create(log, token, Wanted(**wanted), NOW)


def test_a_key_is_256_random_bits_behind_its_prefix() -> None:
    tokens = {fresh_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert re.fullmatch(r"hk_[A-Za-z0-9_-]{43}", token)
        assert len(base64.urlsafe_b64decode(token.removeprefix("hk_") + "=")) == 32


async def test_a_key_is_found_by_itself_and_is_who_it_was_made_for(nats: EmbeddedServer, log: Log) -> None:
    async with open_keys(nats.url) as keys:
        assert not keys.configured
        token, key = await make(log, tenant="acme", principal="ada", kind="user", name="Ada", scopes=["runs:read"])
        await eventually(lambda: keys.configured)
        by = keys.find(token, NOW)
        assert by is not None
        assert (by.tenant, by.id, by.kind, by.name, by.credential, by.run) == (
            "acme", "ada", "user", "Ada", key.id, None,
        )  # fmt: skip
        assert by.may("runs:read") and not by.may("runs:start")
        for other in ("", token[:-1], token + "x", token.upper(), key.id, fresh_token(), "hk_\udcff"):
            assert keys.find(other, NOW) is None


async def test_a_key_without_a_principal_is_its_own_and_may_all_but_administer(log: Log) -> None:
    _, key = await make(log)
    assert key.principal == key.name == key.id and key.tenant == "default" and key.kind == "api_key"
    assert set(key.scopes) == set(SCOPES) - {"admin"} and key.expires_at_ms is None


async def test_neither_the_key_nor_a_part_of_it_is_stored(nats: EmbeddedServer, log: Log) -> None:
    token, key = await make(log)
    await log.put(KEYS, "flush", b"x")
    held = await log.keys(KEYS)
    stored = b"".join(name.encode() + value for name, value in held.items())
    assert key.id.encode() in stored
    secret = token.removeprefix("hk_")
    raw = base64.urlsafe_b64decode(secret + "=")
    assert not any(part in stored for part in (secret[:12].encode(), secret[-12:].encode(), raw, raw.hex().encode()))
    files = [path.read_bytes() for path in nats.folder.rglob("*") if path.is_file()]
    assert files and not any(secret.encode() in content for content in files)


async def test_a_key_ends_with_the_millisecond_of_its_expiry(nats: EmbeddedServer, log: Log) -> None:
    token, key = await make(log, expires_at_ms=NOW + 1000)
    async with open_keys(nats.url) as keys:
        assert keys.find(token, NOW + 999) is not None and keys.good(key.id, NOW + 999)
        assert keys.find(token, NOW + 1000) is None and not keys.good(key.id, NOW + 1000)
    assert [key.state(NOW + 999), key.state(NOW + 1000)] == ["good", "expired"]


async def test_a_revocation_is_seen_on_every_replica_within_a_second_and_opens_no_door(
    nats: EmbeddedServer, log: Log
) -> None:
    token, key = await make(log)
    async with open_keys(nats.url) as one, open_keys(nats.url) as two:
        assert one.find(token, NOW) and two.find(token, NOW)
        ended = await revoke(log, key.id, NOW + 5)
        await eventually(lambda: not one.find(token, NOW) and not two.find(token, NOW), 1.0)
        assert not one.good(key.id, NOW)
        assert one.configured and two.configured
    async with open_keys(nats.url) as later:
        assert later.configured and later.find(token, NOW) is None
    assert ended == replace(key, revoked_at_ms=NOW + 5) and await all_keys(log) == [ended]


async def test_a_revoked_key_stays_as_it_was_revoked_first_whoever_revokes_it_again(log: Log) -> None:
    _, key = await make(log)
    _, other = await make(log)
    told = await asyncio.gather(*(revoke(log, key.id, NOW + at) for at in range(1, 6)))
    assert len({one.revoked_at_ms for one in told}) == 1
    assert (await revoke(log, key.id, NOW + 99)).revoked_at_ms == told[0].revoked_at_ms
    assert [one.revoked_at_ms for one in await all_keys(log) if one.id == other.id] == [None]


async def test_a_key_that_is_not_there_cannot_be_revoked(log: Log) -> None:
    for key_id in ("key_000000000000", "", "nonsense"):
        with pytest.raises(NotFound, match="There is no key"):
            await revoke(log, key_id, NOW)
    await make(log)
    with pytest.raises(NotFound):
        await revoke(log, "key_", NOW)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"scopes": ["runs:everything"]}, "runs:everything"),
        ({"scopes": []}, "given: none"),
        ({"kind": "development"}, "kind"),
        ({"kind": "system"}, "kind"),
        ({"tenant": ""}, "tenant"),
        ({"principal": "x" * 257}, "principal"),
        ({"name": "two\nlines"}, "printable"),
        ({"name": "x" * 201}, "200"),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(log: Log, wanted: dict[str, Any], words: str) -> None:
    with pytest.raises((Invalid, InvalidId), match=words):
        await make(log, **wanted)
    assert await all_keys(log) == []


async def test_keys_are_known_and_change_after_nats_was_killed_and_came_back(nats: EmbeddedServer, log: Log) -> None:
    token, key = await make(log)
    async with open_keys(nats.url) as keys:
        await restart(nats)
        assert keys.find(token, NOW) is not None
        await eventually(lambda: log.connected)
        await revoke(log, key.id, NOW)
        second, _ = await make(log)
        await eventually(lambda: keys.find(token, NOW) is None and keys.find(second, NOW) is not None)
        assert keys.ready


async def test_a_revocation_that_was_lost_on_the_way_is_learned_with_the_next_connection(
    nats: EmbeddedServer, log: Log
) -> None:
    token, key = await make(log)
    async with open_wire(nats) as (wire, far), open_keys(far) as keys:
        assert keys.find(token, NOW) is not None
        wire.deaf = True
        await revoke(log, key.id, NOW)
        async with asyncio.timeout(5):
            await wire.lost.wait()
        assert keys.find(token, NOW) is not None
        wire.deaf = False
        wire.cut()
        await eventually(lambda: keys.find(token, NOW) is None)


@pytest.mark.parametrize("record", [b"", b"rubbish", b"[]", b"{}", b'{"scopes":["admin"]}', b"\xff"])
async def test_a_record_that_was_deleted_or_damaged_is_a_key_that_is_good_for_nothing(
    nats: EmbeddedServer, log: Log, record: bytes
) -> None:
    token, _ = await make(log)
    kept, _ = await make(log)
    async with open_keys(nats.url) as keys:
        await log.put(KEYS, hashlib.sha256(token.encode()).hexdigest(), record)
        await eventually(lambda: keys.find(token, NOW) is None)
        assert keys.find(kept, NOW) is not None and keys.configured
    async with open_keys(nats.url) as keys:
        assert keys.find(token, NOW) is None and keys.find(kept, NOW) is not None and keys.configured
    assert len(await all_keys(log)) == 1


async def test_all_replicas_share_one_signing_secret_and_it_counts_as_no_key(nats: EmbeddedServer, log: Log) -> None:
    async with open_keys(nats.url) as one, open_keys(nats.url) as two:
        assert one.secret is None
        secrets = await asyncio.gather(*(keys.signing_secret() for keys in (one, two, one, two)))
        assert len(set(secrets)) == 1 and len(secrets[0]) == 32
        assert not one.configured and not two.configured
        async with open_keys(nats.url) as later:
            assert later.secret == secrets[0] and not later.configured
        await log.put(KEYS, "page-token-secret", b"")
        await eventually(lambda: one.secret is None and two.secret is None)
        assert await two.signing_secret() not in (None, secrets[0])
        await eventually(lambda: one.secret == two.secret)
    assert await all_keys(log) == []


async def test_many_keys_are_all_known_as_soon_as_a_replica_has_started(nats: EmbeddedServer, log: Log) -> None:
    made = [await make(log) for _ in range(50)]
    async with open_keys(nats.url) as keys:
        assert all(keys.find(token, NOW) is not None for token, _ in made)
    listed = await all_keys(log)
    assert {key.id for key in listed} == {key.id for _, key in made}
    assert orjson.dumps([key.id for key in listed])
