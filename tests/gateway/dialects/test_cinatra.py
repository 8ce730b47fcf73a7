"""Cinatra's resume, row by row, and what its endpoints refuse."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import strategies as st

from protocol.entries import Caller
from protocol.errors import Unauthorized
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings, load
from tests.drawn import drawn
from tests.gateway.dialects.cinatra_client import APPROVED, GONE, Reviewing, ended, external, gate, start
from tests.house import House, open_house

pytestmark = pytest.mark.anyio

PATHS = ("/api/a2a/resume", "/cinatra/api/a2a/resume")
RESUME = PATHS[0]
BAD_BODY = b'{"error":"Invalid request body"}'
JSON = {"content-type": "application/json"}


async def resume(house: House, review_task_id: str, path: str = RESUME, **body: Any) -> httpx.Response:
    return await house.client.post(path, json={"reviewTaskId": review_task_id, **body})


def signed_in(monkeypatch: pytest.MonkeyPatch, *scopes: str, tenant: str = "default") -> None:
    """From here on the dialect's caller has these scopes."""
    caller = Caller(tenant, "user:bob", "user", "Bob", frozenset(scopes))
    monkeypatch.setattr("gateway.dialects.cinatra.principal", lambda request: caller)


def signed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: Any) -> Any:
        raise Unauthorized("No credential was sent.")

    monkeypatch.setattr("gateway.dialects.cinatra.principal", refuse)


async def test_a_switched_off_resume_is_told_from_a_missing_route_by_nothing(
    nats: EmbeddedServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_out(monkeypatch)
    async with open_house(nats, settings, bare=Reviewing().bare) as house:
        for method in ("POST", "GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
            for prefix in ("/api/a2a", "/cinatra/api/a2a"):
                off = await house.client.request(method, f"{prefix}/resume", content=b"{", headers=JSON)
                missing = await house.client.request(method, f"{prefix}/nothing", content=b"{", headers=JSON)
                assert (off.status_code, off.content) == (404, b"Not Found")
                assert off.headers["content-type"] == "text/plain; charset=utf-8"
                told = [dict(one.headers, date="") for one in (off, missing)]
                assert (missing.content, told[0]) == (off.content, told[1])


OWN, OTHER = "HOCKET_AGUI_EXTERNAL_ENABLED", "CINATRA_AGUI_EXTERNAL_ENABLED"


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False), ({OWN: "true"}, True), ({OTHER: "true"}, True), ({OWN: "false", OTHER: "true"}, False),
        ({OWN: "true", OTHER: "false"}, True), ({OWN: "1"}, False), ({OWN: "TRUE"}, False), ({OWN: " true"}, False),
        ({OWN: "", OTHER: "true"}, True),
    ],
)  # fmt: skip
def test_the_resume_is_on_for_the_word_true_alone_and_the_own_name_goes_first(
    environ: dict[str, str], on: bool
) -> None:
    assert load(environ).agui_external_enabled is on


async def test_no_credential_is_refused_before_the_body_is_looked_at(
    nats: EmbeddedServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_out(monkeypatch)
    async with open_house(nats, external(settings)) as house:
        answer = await house.client.post(RESUME, content=b"{")
    assert (answer.status_code, answer.content) == (401, b'{"error":"unauthorized"}')
    assert answer.headers["www-authenticate"] == "Bearer"


WRONG = [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"reviewTaskId":""}', b'{"reviewTaskId":7}', b'{"values":{}}',
         b'{"reviewTaskId":"\\ud800"}', b"\xff", b"[" * 10_000,
         orjson.dumps({"reviewTaskId": gate(), "values": "x" * 65_535})]  # fmt: skip


async def test_a_body_of_another_shape_is_refused_in_fixed_words(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, external(settings), bare=Reviewing().bare) as house:
        await start(house, "bare")
        for body in WRONG:
            answer = await house.client.post(RESUME, content=body, headers=JSON)
            assert (answer.status_code, answer.content) == (400, BAD_BODY), body[:40]
        right = orjson.dumps({"reviewTaskId": gate(), "values": APPROVED})
        for kind in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
            answer = await house.client.post(RESUME, content=right, headers=kind)
            assert (answer.status_code, answer.content) == (400, BAD_BODY), kind
        large = await house.client.post(RESUME, content=b" " * (1 << 20) + right, headers=JSON)
        assert large.status_code == 413 and list(large.json()) == ["error"]
        assert (await house.client.post(RESUME, content=right, headers=JSON)).status_code == 200


async def test_values_may_have_as_many_characters_as_are_allowed_and_not_one_more(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), bare=agents.bare) as house:
        await start(house, "bare")
        assert (await resume(house, gate(), values="日" * 65_535)).content == BAD_BODY
        assert (await resume(house, gate(), values="日" * 65_534)).content == b'{"ok":true}'
        await ended(house)
    assert agents.told[0].payload == "日" * 65_534


@pytest.mark.parametrize(
    "unknown", ["x", "g-", "g--0", "g-r1", "g-r1-7", "g-r1-00", "g-r1-x", "g-nobody-0", "ok", "g-" + "x" * 400 + "-0"]
)
async def test_an_unknown_task_is_not_found(unknown: str, nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, external(settings), bare=Reviewing().bare) as house:
        await start(house, "bare")
        for path in PATHS:
            answer = await resume(house, unknown, path, values=APPROVED)
            assert (answer.status_code, answer.content) == (404, GONE)


async def test_a_task_of_another_tenant_looks_unknown(
    nats: EmbeddedServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(nats, external(settings), bare=Reviewing().bare) as house:
        await start(house, "bare")
        signed_in(monkeypatch, "admin", tenant="acme")
        answer = await resume(house, gate())
        paths = ("/api/a2a?taskId={}", "/api/agents/runs/{}/stream", "/api/agents/runs/{}")
        told = [[await house.client.get(path.format(name)) for name in ("r1", "rX")] for path in paths]
    assert (answer.status_code, answer.content) == (404, GONE)
    for hidden, unknown in told:
        assert hidden.status_code == unknown.status_code == 404 and list(hidden.json()) == ["error"]
        assert hidden.content.replace(b"r1", b"rX") == unknown.content


async def test_a_repeat_and_a_task_closed_by_a_cancel_are_not_found(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), bare=agents.bare) as house:
        await start(house, "bare")
        assert (await resume(house, gate(), values=APPROVED)).status_code == 200
        await ended(house)
        again = await resume(house, gate(), values=APPROVED)
        await start(house, "bare", "r2")
        await house.client.post("/v1/runs/r2/cancel", json={})
        closed = await resume(house, gate(run_id="r2"), values=APPROVED)
    assert (again.status_code, again.content) == (closed.status_code, closed.content) == (404, GONE)
    assert len(agents.told) == 1


async def test_a_caller_without_the_scope_is_told_so_only_of_an_open_task(
    nats: EmbeddedServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(nats, external(settings), bare=Reviewing().bare) as house:
        await start(house, "bare")
        signed_in(monkeypatch, "runs:read")
        refused = await resume(house, gate())
        unknown = [await resume(house, gate(3)), await resume(house, gate(run_id="nobody"))]
        signed_in(monkeypatch, "runs:read", "runs:resume")
        assert (await resume(house, gate())).status_code == 200
        signed_in(monkeypatch, "runs:read")
        unknown.append(await resume(house, gate()))
        signed_in(monkeypatch, "runs:start")
        blind = await house.client.get("/api/agents/runs/r1")
    assert (refused.status_code, refused.content) == (403, b'{"error":"forbidden"}')
    assert {(answer.status_code, answer.content) for answer in unknown} == {(404, GONE)}
    assert (blind.status_code, blind.content) == (403, b'{"error":"forbidden"}')


async def test_an_expired_task_is_gone_and_its_agent_was_never_told(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), hasty=agents.hasty) as house:
        await start(house, "hasty", text="cancel")
        run = await ended(house)
        for path in PATHS:
            answer = await resume(house, gate(), path, values=APPROVED)
            assert (answer.status_code, answer.content) == (410, b'{"error":"Review task has expired"}')
    assert run["status"] == "cancelled" and agents.told == []


async def test_values_that_break_the_schema_are_refused_and_the_task_stays_open(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, external(settings), review=Reviewing().review) as house:
        await start(house, "review")
        wrong = await resume(house, gate(), values={"approved": "yes"})
        null = await resume(house, gate(), values=None)
        assert (await resume(house, gate(), values=APPROVED)).status_code == 200
    told = wrong.json()
    assert wrong.status_code == null.status_code == 400 and null.json()["error"] == "Invalid values"
    assert list(told) == ["error", "details"] and told["error"] == "Invalid values"
    assert [(list(one), one["path"]) for one in told["details"]] == [(["path", "message"], "/approved")]


NOTE = {"approved": True, "note": "[Approved by operator]"}
GIVEN: list[tuple[dict[str, Any], Any, str]] = [
    ({}, NOTE, "[Approved by operator]"),
    ({"values": {"userResponse": "use this", "approvalNote": "not this"}}, ..., "use this"),
    ({"values": {"approvalNote": "fine", "approved": True}}, ..., "fine"),
    ({"values": {"approved": False}}, ..., '{"approved":false}'),
    ({"values": {"userResponse": 7}}, ..., '{"userResponse":7}'),
    ({"values": "text"}, "text", '"text"'),
    ({"values": [1]}, [1], "[1]"),
    ({"values": None}, None, "null"),
]


@pytest.mark.parametrize(("body", "payload", "text"), GIVEN)
async def test_the_agent_gets_the_values_and_their_words(
    body: dict[str, Any], payload: Any, text: str, nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), bare=agents.bare) as house:
        await start(house, "bare")
        answer = await resume(house, gate(), **body)
        await ended(house)
    assert (answer.status_code, answer.content) == (200, b'{"ok":true}')
    assert answer.headers["content-type"] == "application/json"
    assert (agents.told[0].payload, agents.told[0].text) == (body["values"] if payload is ... else payload, text)


async def test_an_approval_without_values_is_not_held_against_the_schema(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Reviewing()
    strict = {"type": "object", "required": ["amount"]}

    async def demanding(run: Any) -> Any:
        if not run.answers:
            yield run.interrupt("How much?", name="ok", response_schema=strict)
        agents.told.append(run.answers["ok"])

    async with open_house(nats, external(settings), demanding=demanding) as house:
        await start(house, "demanding")
        assert (await resume(house, gate(), values=APPROVED)).status_code == 400
        assert (await resume(house, gate())).status_code == 200
        await ended(house)
    assert agents.told[0].approved and agents.told[0].payload == NOTE


async def test_who_resumes_is_the_caller_whatever_the_body_claims(
    nats: EmbeddedServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), bare=agents.bare) as house:
        await start(house, "bare")
        signed_in(monkeypatch, "admin")
        claims = {"userId": "user:mallory", "by": {"id": "user:mallory"}, "runBy": "user:mallory"}
        assert (await resume(house, gate(), values=APPROVED | claims, **claims)).status_code == 200
        run = await ended(house)
    (decision,) = run["decisions"]
    assert (decision["by"]["id"], decision["face"]) == ("user:bob", "cinatra")
    assert agents.told[0].by.id == "user:bob"


async def test_of_twenty_resumes_at_once_one_counts(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), bare=agents.bare) as house:
        await start(house, "bare")
        calls = [resume(house, gate(), PATHS[number % 2], values={"n": number}) for number in range(20)]
        answers = await asyncio.gather(*calls)
        await ended(house)
    won = [answer for answer in answers if answer.status_code == 200]
    assert [answer.content for answer in won] == [b'{"ok":true}']
    assert [(one.status_code, one.content) for one in answers if one not in won] == [(404, GONE)] * 19
    assert [told.payload["n"] for told in agents.told] == [answers.index(won[0])]


async def test_of_several_questions_each_is_answered_by_itself_and_the_last_lets_the_run_go_on(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), two=agents.two) as house:
        await start(house, "two")
        assert (await resume(house, gate(1), values={"b": 2})).status_code == 200
        assert (await resume(house, gate(1), values={"b": 3})).content == GONE
        waiting = (await house.client.get("/api/agents/runs/r1")).json()
        assert agents.told == []
        assert (await resume(house, gate(0), values={"a": 1})).status_code == 200
        run = await ended(house)
    assert (waiting["status"], waiting["hitlContext"]["reviewTaskId"]) == ("pending_approval", gate(0))
    assert "hitlContexts" not in waiting
    assert run["status"] == "completed" and agents.told == [{"a": {"a": 1}, "b": {"b": 2}}]


async def test_a_log_that_is_away_is_a_503_on_every_surface(nats: EmbeddedServer, settings: Settings) -> None:
    hasty = external(settings).model_copy(update={"append_timeout_s": 0.2})
    async with open_house(nats, hasty, bare=Reviewing().bare) as house:
        await start(house, "bare")
        await nats.stop()
        answers = [await resume(house, gate()), await resume(house, gate(run_id="unread"))]
        answers += [await house.client.get(f"/api/agents/runs/unread{more}") for more in ("", "/stream")]
    for answer in answers:
        assert (answer.status_code, answer.content) == (503, b'{"error":"unavailable"}')
        assert answer.headers["retry-after"]


async def test_a_preflight_is_answered_with_204_and_names_an_allowed_origin_alone(
    nats: EmbeddedServer, settings: Settings
) -> None:
    opened = external(settings).model_copy(update={"cors_origins": "https://app.example"})
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    async with open_house(nats, opened) as house:
        for path in PATHS:
            told = await house.client.options(path, headers={"origin": "https://app.example", **asked})
            foreign = await house.client.options(path, headers={"origin": "https://evil.example", **asked})
            plain = await house.client.options(path)
            assert (told.status_code, foreign.status_code, plain.status_code) == (204, 204, 204)
            assert told.content == foreign.content == b"" and "content-type" not in told.headers
            assert told.headers["access-control-allow-origin"] == "https://app.example"
            assert told.headers["access-control-allow-headers"] == "content-type"
            assert "POST" in told.headers["access-control-allow-methods"]
            assert not any(name.startswith("access-control") for name in foreign.headers)


async def test_what_a_surface_does_not_do_is_told_in_its_own_form(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, external(settings)) as house:
        told = [
            (await house.client.get(RESUME), 405),
            (await house.client.delete("/cinatra/api/agents/runs/r1"), 405),
            (await house.client.get("/api/a2a"), 400),
            (await house.client.get("/api/a2a?taskId="), 400),
            (await house.client.get("/api/a2a?taskId=nobody"), 404),
            (await house.client.get("/cinatra/api/agents/runs/nobody/stream"), 404),
            (await house.client.get("/api/agents/runs/nobody"), 404),
            (await house.client.get("/api/agents/runs/" + "x" * 300), 400),
            (await house.client.get("/api/agents/runs/%FF/stream"), 400),
        ]
    for answer, status in told:
        assert answer.status_code == status
        assert list(answer.json()) == ["error"] and answer.json()["error"]


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
TASKS = st.sampled_from([gate(), gate(1), "g-r1-", "g--", "r1", ""]) | st.text(max_size=20) | JSONS
BODIES = (
    st.binary(max_size=40)
    | JSONS.map(lambda given: orjson.dumps(_within(given)))
    | st.fixed_dictionaries({"reviewTaskId": TASKS}, optional={"values": JSONS}).map(
        lambda given: orjson.dumps(_within(given))
    )
)


def _within(given: Any) -> Any:
    """Numbers as JSON has them everywhere."""
    if isinstance(given, dict):
        return {name.encode(errors="ignore").decode(): _within(value) for name, value in given.items()}
    if isinstance(given, list):
        return [_within(value) for value in given]
    if isinstance(given, str):
        return given.encode(errors="ignore").decode()
    return given if not isinstance(given, int) or abs(given) < 2**63 else float(given % 2**60)


async def test_rubbish_is_refused_and_never_an_error_of_the_gateway(nats: EmbeddedServer, settings: Settings) -> None:
    agents = Reviewing()
    async with open_house(nats, external(settings), bare=agents.bare) as house:
        await start(house, "bare")
        for body in await drawn(BODIES, 150):
            answer = await house.client.post(RESUME, content=body, headers=JSON)
            if answer.status_code == 200:  # it was the task after all
                assert answer.content == b'{"ok":true}' and b'"reviewTaskId":"g-r1-0"' in body
            else:
                assert answer.status_code in (400, 404) and list(answer.json()) == ["error"], body
    assert len(agents.told) <= 1
