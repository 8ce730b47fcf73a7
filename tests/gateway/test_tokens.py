"""Page tokens: one run, for minutes, with nothing of the key but what a page needs, and dead with it."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from gateway.tokens import LIFE_SECONDS, RENEWAL_SECONDS, SCOPES, issue, read
from protocol.entries import SCOPES as ALL_SCOPES
from protocol.entries import Caller
from protocol.errors import Unauthorized
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, House, agui_input, bearer, give_key, key_id, open_house, take_key

pytestmark = pytest.mark.anyio

SECRET = bytes(range(32))
NOW = 1_800_000_000
ADA = Caller("acme", "ada", "user", "Ada", frozenset(ALL_SCOPES), credential="key_1")


def changed(token: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token with other claims and its old signature."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    parts = [header or json.loads(base64.urlsafe_b64decode(head + "==")), told | claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, signature])


def claims_of(token: str) -> dict[str, Any]:
    told: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return told


def test_a_token_says_who_asks_and_allows_at_most_to_read_answer_and_cancel_one_run() -> None:
    token, until = issue(SECRET, ADA, "r1", NOW)
    by = read(SECRET, token, NOW)
    assert by is not None and until == by.until == NOW + LIFE_SECONDS
    assert (by.tenant, by.id, by.kind, by.name, by.run, by.credential) == ("acme", "ada", "user", "Ada", "r1", "key_1")
    assert by.scopes == set(SCOPES) and by.auth_at == NOW
    assert set(claims_of(token)) == {
        "tenant", "sub", "kind", "name", "run", "scopes", "key", "iat", "exp", "auth_at",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scopes", "kept"),
    [
        (["runs:read"], {"runs:read"}),
        (["runs:read", "runs:start", "triggers:write"], {"runs:read"}),
        (["runs:read", "runs:cancel"], {"runs:read", "runs:cancel"}),
        (["admin"], set(SCOPES)),
    ],
)
def test_a_token_allows_nothing_that_its_key_does_not(scopes: list[str], kept: set[str]) -> None:
    token, _ = issue(SECRET, Caller("acme", "ada", "user", "Ada", frozenset(scopes), credential="k"), "r1", NOW)
    by = read(SECRET, token, NOW)
    assert by is not None and by.scopes == kept and not by.may("runs:start") and not by.may("admin")


def test_a_token_ends_after_a_quarter_of_an_hour_to_the_second() -> None:
    token, until = issue(SECRET, ADA, "r1", NOW)
    assert read(SECRET, token, until - 1) is not None
    assert read(SECRET, token, until) is None


def test_a_token_renews_itself_for_eight_hours_after_the_first_and_no_longer() -> None:
    token, _ = issue(SECRET, ADA, "r1", NOW)
    now, times = NOW, 0
    while True:
        now += LIFE_SECONDS - 1
        by = read(SECRET, token, now)
        if by is None:
            break
        assert by.auth_at == NOW and by.scopes == set(SCOPES)
        token, until = issue(SECRET, by, "r1", now)
        assert now < until <= NOW + RENEWAL_SECONDS
        times += 1
    assert times == RENEWAL_SECONDS // (LIFE_SECONDS - 1)
    kept = read(SECRET, issue(SECRET, ADA, "r1", NOW)[0], NOW)
    assert kept is not None
    with pytest.raises(Unauthorized):
        issue(SECRET, kept, "r1", NOW + RENEWAL_SECONDS)


def test_what_was_not_signed_here_is_nothing() -> None:
    token, _ = issue(SECRET, ADA, "r1", NOW)
    claims = claims_of(token)
    head, body, signature = token.split(".")
    forged = [
        "", "..", "a.b.c", token[:-2], token + "x", f"{head}.{body}.", f"{head}.{body}",
        changed(token, run="r2"),
        changed(token, tenant="other"),
        changed(token, exp=NOW * 2),
        changed(token, {"alg": "none", "typ": "JWT"}),
        changed(token, {"alg": "none", "typ": "JWT"}).rpartition(".")[0] + ".",
        jwt.encode(claims, None, "none"),
        jwt.encode(claims, bytes(32), "HS256"),
        jwt.encode(claims, SECRET * 2, "HS512"),
        jwt.encode(claims, SECRET * 2, "HS256"),
    ]  # fmt: skip
    assert [one for one in forged if read(SECRET, one, NOW) is not None] == []
    assert read(SECRET, token, NOW) is not None


@pytest.mark.parametrize("missing", ["tenant", "sub", "run", "key", "exp", "iat", "auth_at", "scopes", "kind", "name"])
def test_a_token_without_a_claim_is_nothing_even_if_it_is_signed(missing: str) -> None:
    claims = claims_of(issue(SECRET, ADA, "r1", NOW)[0])
    del claims[missing]
    assert read(SECRET, jwt.encode(claims, SECRET, "HS256"), NOW) is None


def test_scopes_beyond_those_of_a_page_are_cut_even_if_they_are_signed() -> None:
    claims = claims_of(issue(SECRET, ADA, "r1", NOW)[0]) | {"scopes": list(ALL_SCOPES)}
    by = read(SECRET, jwt.encode(claims, SECRET, "HS256"), NOW)
    assert by is not None and by.scopes == set(SCOPES)


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def asks(run: Any) -> AsyncIterator[Any]:
    yield run.interrupt("Go on?", name="gate")


async def waiting(house: House, run_id: str, **headers: str) -> str:
    """A run that waits; the id of its interrupt."""
    want = {"agent": "asks", "input": "hi", "run_id": run_id, "thread_id": f"t-{run_id}"}
    answer = await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5", **headers})
    interrupt: str = answer.json()["interrupts"][0]["id"]
    return interrupt


async def token_of(house: House, run_id: str, **headers: str) -> str:
    answer = await house.client.post(f"/v1/runs/{run_id}/token", headers=headers)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


async def test_a_key_gets_a_token_for_a_run_and_the_address_of_its_page(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        key = bearer(await give_key(house, principal="ada"))
        await waiting(house, "a/run", **key)
        before = int(time.time())
        answer = await house.client.post("/v1/runs/a%2Frun/token", headers=key)
        told = answer.json()
    assert answer.status_code == 201 and set(told) == {"token", "expires_at", "page"}
    assert answer.headers["cache-control"] == "no-store"
    assert told["page"] == f"/agents/status/a%2Frun#token={told['token']}"
    claims = claims_of(told["token"])
    assert claims["run"] == "a/run" and claims["sub"] == "ada"
    assert before + LIFE_SECONDS <= claims["exp"] <= before + LIFE_SECONDS + 5
    assert told["expires_at"] == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(claims["exp"]))
    assert "hk_" not in answer.text


async def test_a_token_reads_answers_and_renews_its_run_and_is_recorded_as_its_keys_principal(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        key = bearer(await give_key(house, principal="ada", name="Ada", kind="user"))
        interrupt = await waiting(house, "r1", **key)
        page = bearer(await token_of(house, "r1", **key))
        for path in ("/v1/runs/r1", "/v1/runs/r1?include=messages,state", "/v1/runs/r1/audit"):
            assert (await house.client.get(path, headers=page)).status_code == 200
        async with house.client.stream("GET", "/v1/runs/r1/events", headers=page) as stream:
            assert stream.status_code == 200
        next_page = bearer(await token_of(house, "r1", **page))
        first, second = (claims_of(one["authorization"][7:]) for one in (page, next_page))
        assert second["auth_at"] == first["auth_at"] and second["scopes"] == first["scopes"]
        answers = {"answers": [{"interrupt_id": interrupt, "status": "resolved", "payload": 1}]}
        resumed = await house.client.post("/v1/runs/r1/resume", json=answers, headers=next_page)
        assert resumed.status_code == 200, resumed.text
        record = (await house.client.get("/v1/runs/r1/audit", headers=page)).json()["audit"]
        assert len(record) > 1 and {one["by"]["id"] for one in record if one["by"] is not None} == {"ada"}


async def test_a_token_is_good_for_nothing_but_its_run(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        key = bearer(await give_key(house, scopes=["admin"]))
        await waiting(house, "r1", **key)
        interrupt = await waiting(house, "r2", **key)
        page = bearer(await token_of(house, "r1", **key))
        resume = {"answers": [{"interrupt_id": interrupt, "status": "resolved", "payload": 1}]}
        for method, path, body in [
            ("GET", "/v1/runs/{}", None), ("GET", "/v1/runs/{}/events", None), ("GET", "/v1/runs/{}/audit", None),
            ("POST", "/v1/runs/{}/token", None), ("POST", "/v1/runs/{}/cancel", None),
            ("POST", "/v1/runs/{}/resume", resume),
        ]:  # fmt: skip
            other, none = [
                await house.client.request(method, path.format(run_id), json=body, headers=page)
                for run_id in ("r2", "r9")
            ]
            assert other.status_code == 404 and other.text == none.text.replace("r9", "r2"), path
        start = {"agent": "asks", "input": "hi"}
        for method, path, body in [
            ("POST", "/v1/runs", start), ("GET", "/v1/runs", None), ("GET", "/v1/agents", None),
            ("GET", "/v1/threads/t-r1/messages", None), ("POST", "/agui/asks", agui_input("t-new", "r-new")),
            ("GET", "/copilotkit/info", None), ("POST", "/copilotkit", {"method": "info"}),
            ("POST", "/copilotkit/agent/asks/connect", agui_input("t-r2", "x")),
            ("POST", "/copilotkit/agent/asks/stop/t-r2", {}),
        ]:  # fmt: skip
            answer = await house.client.request(method, path, json=body, headers=page)
            assert answer.status_code == 403, (path, answer.text)
        listed = (await house.client.get("/v1/runs", headers=key)).json()["runs"]
        assert {(one["id"], one["status"]) for one in listed} == {("r1", "waiting"), ("r2", "waiting")}


async def test_a_token_dies_with_its_key_on_every_gateway_and_an_attachment_with_it(
    nats: EmbeddedServer, settings: Settings
) -> None:
    quick = settings.model_copy(update={"keep_alive_s": 0.3})
    async with open_house(nats, quick, asks=asks) as one, open_house(nats, quick, asks=asks) as two:
        key, other = await give_key(one, two), await give_key(one, two)
        await waiting(one, "r1", **bearer(key))
        page = bearer(await token_of(one, "r1", **bearer(key)))
        others = bearer(await token_of(two, "r1", **bearer(other)))
        for house in (one, two):
            assert (await house.client.get("/v1/runs/r1", headers=page)).status_code == 200
        async with two.client.stream("GET", "/v1/runs/r1/events", headers=page) as stream:
            await take_key(one, key)
            async with asyncio.timeout(WAIT_SECONDS):
                with pytest.raises(Exception, match="peer closed connection"):
                    await stream.aread()
        for house in (one, two):
            assert (await house.client.get("/v1/runs/r1", headers=page)).status_code == 401
            assert (await house.client.post("/v1/runs/r1/token", headers=page)).status_code == 401
            assert (await house.client.get("/v1/runs/r1", headers=others)).status_code == 200


async def test_an_expired_or_forged_token_is_refused_like_a_bad_key(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        key = await give_key(house)
        await waiting(house, "r1", **bearer(key))
        good = await token_of(house, "r1", **bearer(key))
        secret = house.gateway.auth._keys.secret
        assert secret is not None
        now = int(time.time())
        old, _ = issue(secret, Caller("default", "a", "user", "A", frozenset(SCOPES), credential=key_id(key)), "r1", 1)
        stranger, _ = issue(bytes(32), ADA, "r1", now)
        keyless, _ = issue(secret, Caller("default", "a", "user", "A", frozenset(SCOPES)), "r1", now)
        unknown, _ = issue(secret, ADA, "r1", now)
        none = jwt.encode(claims_of(good), None, "none")
        bad = await house.client.get("/v1/runs/r1", headers=bearer("hk_bad"))
        for token in (old, stranger, keyless, unknown, none, changed(good, run="r2")):
            answer = await house.client.get("/v1/runs/r1", headers=bearer(token))
            assert (answer.status_code, answer.content) == (401, bad.content)
        assert (await house.client.get("/v1/runs/r1", headers=bearer(good))).status_code == 200
        assert (await house.client.get(f"/v1/runs/r1?token={good}")).status_code == 401


async def test_a_line_of_tokens_that_is_eight_hours_old_gets_no_other(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        key = await give_key(house)
        await waiting(house, "r1", **bearer(key))
        good = await token_of(house, "r1", **bearer(key))
        secret, now = house.gateway.auth._keys.secret, int(time.time())
        assert secret is not None
        aged = claims_of(good) | {"auth_at": now - RENEWAL_SECONDS, "exp": now + 60}
        late = bearer(jwt.encode(aged, secret, "HS256"))
        assert (await house.client.get("/v1/runs/r1", headers=late)).status_code == 200
        answer = await house.client.post("/v1/runs/r1/token", headers=late)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        young = claims_of(good) | {"auth_at": now - RENEWAL_SECONDS + 60}
        renewed = await token_of(house, "r1", **bearer(jwt.encode(young, secret, "HS256")))
        assert claims_of(renewed)["exp"] <= now + 60


async def test_a_stream_ends_with_the_token_that_it_was_opened_with(nats: EmbeddedServer, settings: Settings) -> None:
    quick = settings.model_copy(update={"keep_alive_s": 0.3})
    async with open_house(nats, quick, asks=asks) as house:
        key = await give_key(house)
        await waiting(house, "r1", **bearer(key))
        good = await token_of(house, "r1", **bearer(key))
        secret = house.gateway.auth._keys.secret
        assert secret is not None
        brief = jwt.encode(claims_of(good) | {"exp": int(time.time()) + 2}, secret, "HS256")
        async with house.client.stream("GET", "/v1/runs/r1/events", headers=bearer(brief)) as stream:
            assert stream.status_code == 200
            with pytest.raises(Exception, match="peer closed connection"):
                await stream.aread()


async def test_a_token_works_in_development_until_there_is_a_key(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        assert (await house.client.post("/v1/runs/none/token")).status_code == 404
        await waiting(house, "r1")
        await waiting(house, "r2")
        page = bearer(await token_of(house, "r1"))
        assert not house.gateway.auth.keyed
        assert (await house.client.get("/v1/runs/r1", headers=page)).status_code == 200
        assert (await house.client.get("/v1/runs/r2", headers=page)).status_code == 404
        assert (await house.client.get("/v1/runs", headers=page)).status_code == 403
        assert (await house.client.get("/v1/runs/r1", headers=bearer("a.b.c"))).status_code == 401
        await token_of(house, "r1", **page)
        await give_key(house)
        assert (await house.client.get("/v1/runs/r1", headers=page)).status_code == 401
