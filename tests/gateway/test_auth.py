"""Who may ask: every door without a key, with a bad one, with one that does not allow it, and of another tenant."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.rest_push import PUSH_OPERATIONS
from gateway.rest_table import OPERATIONS
from gateway.trigger_table import TRIGGER_OPERATIONS
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, agui_input, bearer, give_key, now_ms, open_house, routes_of, take_key

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
PUBLIC = re.compile(
    r"^GET (/healthz|/readyz|/openapi\.json|/docs.*|(/cinatra)?/agents/status/.*|/agents/page/.*|.*/agent-card\.json)$"
)
BODIES = {"create_run": {"agent": "echo", "input": "hi"}, "resume_run": {"answers": []}}
NAMES = dict.fromkeys(("run_id", "thread_id", "trigger_id", "subject"), "r1") | {"dead_letter_id": "1"}
SINGLE = {"method": "agent/connect", "params": {"agentId": "echo"}, "body": agui_input()}


async def echo(run: Any) -> AsyncIterator[Any]:
    yield "hi"


async def asks(run: Any) -> AsyncIterator[Any]:
    if not run.input.messages[-1].content.startswith("slowly"):
        yield run.interrupt("Go on?", name="gate")
    else:
        yield "one "
        await asyncio.sleep(60)


def doors() -> list[tuple[str, str, str, Any]]:
    """One request for everything that can be asked: face, method, path, body."""
    rest = [
        ("rest", one.method, one.path.format_map(NAMES), BODIES.get(one.name))
        for one in (*OPERATIONS, *TRIGGER_OPERATIONS, *PUSH_OPERATIONS)
    ]
    copilot = [("copilotkit", "POST", "/copilotkit", {"method": "info"}), ("copilotkit", "POST", "/copilotkit", SINGLE)]
    copilot += [
        ("copilotkit", "POST", "/copilotkit", {"method": f"agent/{verb}", "params": {"agentId": "echo"}, "body": {}})
        for verb in ("run", "stop")
    ]
    copilot += [
        ("copilotkit", "GET", "/copilotkit/info", None),
        ("copilotkit", "POST", "/copilotkit/agent/echo/run", agui_input()),
        ("copilotkit", "POST", "/copilotkit/agent/echo/connect", agui_input()),
        ("copilotkit", "POST", "/copilotkit/agent/echo/stop/t1", {}),
        ("copilotkit", "GET", "/copilotkit/nothing", None),
    ]
    cinatra = [
        ("cinatra", "GET", f"{prefix}{path}", None)
        for prefix in ("", "/cinatra")
        for path in ("/api/a2a?taskId=r1", "/api/a2a", "/api/agents/runs/r1", "/api/agents/runs/r1/stream")
    ]
    resume = ("cinatra", "POST", "/api/a2a/resume", {"reviewTaskId": "g-r1-0"})
    return [*rest, ("agui", "POST", "/agui/echo", agui_input()), *copilot, *cinatra, resume]


DOORS = doors()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With every route there is."""
    return settings.model_copy(update={"agui_external_enabled": True})


async def ask(client: httpx.AsyncClient, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
    return await client.request(method, path, json=body, headers=headers)


def refused(face: str, answer: httpx.Response, status: int) -> str:
    """Holds the answer to its face's form; the sentence that it gives."""
    code, phrase = {401: ("unauthorized", "Unauthorized"), 403: ("forbidden", "Forbidden")}[status]
    assert answer.status_code == status, answer.text
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)
    told: dict[str, str] = answer.json()
    if face == "rest":
        assert answer.headers["content-type"] == "application/problem+json"
        assert (told["code"], told["status"], told["title"]) == (code, status, phrase)
        return told["detail"]
    assert answer.headers["content-type"] == "application/json"
    if face == "cinatra":
        assert told == {"error": code}
        return ""
    assert told["error"] == (phrase if face == "copilotkit" else code) and set(told) == {"error", "message"}
    return told["message"]


async def test_every_door_of_every_face_is_shut_without_a_good_key_and_always_in_the_same_words(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        good = await give_key(house)
        expired = await give_key(house, expires_at_ms=now_ms() + 2000)
        revoked = await give_key(house)
        await take_key(house, revoked)
        async with asyncio.timeout(WAIT_SECONDS):
            while house.knows(revoked) or house.knows(expired):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        bad = [None, "", "Bearer", "Bearer hk_unknown", f"Bearer {expired}", f"Bearer {revoked}", good,
               f"Basic {good}", f"Bearer {good}x", f"Bearer Bearer {good}", "Bearer a.b.c", "Bearer ..", "Bearer \xff",
               f"Token {good}"]  # fmt: skip
        told = set()
        for face, method, path, body in DOORS:
            for given in bad if face != "rest" or path == "/v1/runs" else bad[:7]:
                headers = {} if given is None else {"authorization": given.encode("latin-1")}
                answer = await house.client.request(method, path, json=body, headers=headers)
                told.add(refused(face, answer, 401))
        assert told - {""} == {
            "Send `Authorization: Bearer <key>` with a key that is good; `hocket keys create` makes one."
        }
        assert (await house.client.get("/v1/runs", headers=bearer(good))).json()["runs"] == []
        assert (await ask(house.client, "GET", "/v1/runs", None, authorization=f"bEARER  {good}")).status_code == 200


async def test_no_route_answers_without_a_key_but_those_that_say_nothing_of_anyone(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        await give_key(house)
        shut, open_to_all = [], []
        for route in routes_of(house.gateway):
            path = re.sub(r"\{[^}]*\}", "x", str(getattr(route, "path", "")))
            methods = set(getattr(route, "methods", None) or getattr(route, "_handlers", ())) - {"HEAD"}
            for method in methods:
                answer = await ask(house.client, method, path, {} if method == "POST" else None)
                (shut if answer.status_code == 401 else open_to_all).append(f"{method} {path}")
    assert not [path for path in open_to_all if not PUBLIC.match(path)]
    assert {"GET /healthz", "GET /openapi.json", "GET /docs"} <= set(open_to_all) and len(shut) > 10


async def test_what_is_asked_without_a_key_is_refused_before_its_body_is_read(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        await give_key(house)
        for face, path in (("rest", "/v1/runs"), ("agui", "/agui/echo"), ("copilotkit", "/copilotkit")):
            answer = await house.client.post(path, content=b"x" * (settings.body_bytes_max + 1))
            refused(face, answer, 401)


STARTS = [door for door in DOORS if door[2] in ("/v1/runs", "/agui/echo", "/copilotkit/agent/echo/run")]


async def test_a_key_without_the_scope_is_refused_in_each_faces_form_and_nothing_is_recorded(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo, asks=asks) as house:
        full, reads = await give_key(house), await give_key(house, scopes=["runs:read"])
        starts, nothing = await give_key(house, scopes=["runs:start"]), await give_key(house, scopes=["triggers:write"])
        for face, method, path, body in STARTS:
            if method == "POST":
                told = refused(face, await ask(house.client, method, path, body, **bearer(reads)), 403)
                assert "runs:start" in told
        single = {"method": "agent/run", "params": {"agentId": "echo"}, "body": agui_input()}
        refused("copilotkit", await ask(house.client, "POST", "/copilotkit", single, **bearer(reads)), 403)
        # a stream that could not be read is not begun either
        for face, path in (("agui", "/agui/echo"), ("copilotkit", "/copilotkit/agent/echo/run")):
            refused(face, await ask(house.client, "POST", path, agui_input(), **bearer(starts)), 403)
        assert (await house.client.get("/v1/runs", headers=bearer(full))).json()["runs"] == []

        want = {"agent": "asks", "input": "hi", "run_id": "r1", "thread_id": "t1"}
        waits = {"prefer": "wait=5", **bearer(full)}
        run = (await house.client.post("/v1/runs", json=want, headers=waits)).json()
        assert run["status"] == "waiting"
        answers = {"answers": [{"interrupt_id": run["interrupts"][0]["id"], "status": "resolved", "payload": {}}]}
        for key in (reads, starts):
            answer = await house.client.post("/v1/runs/r1/resume", json=answers, headers=bearer(key))
            assert "runs:resume" in refused("rest", answer, 403)
        for key in (reads, starts, nothing):
            assert "runs:cancel" in refused(
                "rest", await house.client.post("/v1/runs/r1/cancel", headers=bearer(key)), 403
            )
        for path in ("/api/a2a?taskId=r1", "/api/agents/runs/r1", "/cinatra/api/agents/runs/r1/stream"):
            refused("cinatra", await house.client.get(path, headers=bearer(nothing)), 403)
        gate = {"reviewTaskId": run["interrupts"][0]["metadata"]["hocket"]["gate"]}
        refused("cinatra", await ask(house.client, "POST", "/api/a2a/resume", gate, **bearer(reads)), 403)
        for path in ("/v1/runs", "/v1/runs/r1", "/v1/runs/r1/events", "/v1/runs/r1/audit", "/v1/threads/t1/messages"):
            assert "runs:read" in refused("rest", await house.client.get(path, headers=bearer(nothing)), 403)
        refused("rest", await house.client.post("/v1/runs/r1/token", headers=bearer(starts)), 403)
        connect = "/copilotkit/agent/asks/connect"
        refused("copilotkit", await ask(house.client, "POST", connect, agui_input(), **bearer(nothing)), 403)
        assert (await house.client.get("/v1/runs/r1", headers=bearer(full))).json()["status"] == "waiting"


async def test_an_admin_key_may_do_everything(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        admin = bearer(await give_key(house, scopes=["admin"]))
        want = {"agent": "asks", "input": "hi", "run_id": "r1"}
        answer = await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5", **admin})
        assert (answer.status_code, answer.json()["status"]) == (201, "waiting")
        cancelled = await house.client.post("/v1/runs/r1/cancel", headers=admin)
        assert cancelled.json()["status"] == "cancelled"


async def test_who_may_start_or_cancel_but_not_read_does_neither(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        full, acts = await give_key(house), await give_key(house, scopes=["runs:start", "runs:resume", "runs:cancel"])
        want = {"agent": "asks", "input": "hi", "run_id": "r1"}
        for face, path, body in (("rest", "/v1/runs", want), ("agui", "/agui/asks", agui_input())):
            assert "runs:read" in refused(face, await ask(house.client, "POST", path, body, **bearer(acts)), 403)
        assert (await house.client.get("/v1/runs", headers=bearer(full))).json()["runs"] == []
        await ask(house.client, "POST", "/v1/runs", want, prefer="wait=5", **bearer(full))
        cancel = await ask(house.client, "POST", "/v1/runs/r1/cancel", None, **bearer(acts))
        assert "runs:read" in refused("rest", cancel, 403)
        assert (await house.client.get("/v1/runs/r1", headers=bearer(full))).json()["status"] == "waiting"


async def test_a_run_of_another_tenant_answers_exactly_like_one_that_does_not_exist(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo, asks=asks) as house:
        theirs, ours = await give_key(house, tenant="theirs"), await give_key(house, tenant="ours", scopes=["admin"])
        want = {"agent": "asks", "input": "hi", "run_id": "their-r1", "thread_id": "their-t1"}
        made = await house.client.post("/v1/runs", json=want, headers={"prefer": "wait=5", **bearer(theirs)})
        assert made.json()["status"] == "waiting"
        interrupt = made.json()["interrupts"][0]["id"]
        gate = made.json()["interrupts"][0]["metadata"]["hocket"]["gate"]
        bodies = {"resume_run": {"answers": [{"interrupt_id": interrupt, "status": "resolved", "payload": 1}]}}
        seen = 0
        for one in OPERATIONS:
            if "{" not in one.path:
                continue
            told = []
            for name in ("their", "none!"):
                path = one.path.format(run_id=f"{name}-r1", thread_id=f"{name}-t1")
                answer = await ask(house.client, one.method, path, bodies.get(one.name), **bearer(ours))
                told.append((answer.status_code, unlike(answer), answer.content.replace(name.encode(), b"")))
            assert told[0] == told[1] and told[0][0] == 404, one.name
            seen += 1
        assert seen >= 6
        for path, query in (("/v1/runs", ""), ("/v1/runs", "?thread_id=their-t1"), ("/v1/runs", "?status=waiting")):
            assert (await house.client.get(path + query, headers=bearer(ours))).json()["runs"] == []
        for path in ("/api/a2a?taskId={}-r1", "/api/agents/runs/{}-r1", "/api/agents/runs/{}-r1/stream"):
            told = []
            for name in ("their", "none!"):
                answer = await house.client.get(path.format(name), headers=bearer(ours))
                told.append((answer.status_code, unlike(answer), answer.content.replace(name.encode(), b"")))
            assert told[0] == told[1] and told[0][0] == 404, path
        one, two = [
            await ask(house.client, "POST", "/api/a2a/resume", {"reviewTaskId": task}, **bearer(ours))
            for task in (gate, "g-none-0")
        ]
        assert one.status_code == two.status_code == 404 and one.content == two.content
        # AG-UI and CopilotKit know threads: one of another tenant is an empty one
        for path in ("/copilotkit/agent/asks/connect", "/copilotkit/agent/asks/stop/{}-t1"):
            told = []
            for name in ("their", "none!"):
                body = agui_input(f"{name}-t1", f"{name}-r1") if path.endswith("connect") else {}
                answer = await ask(house.client, "POST", path.format(name), body, **bearer(ours))
                told.append((answer.status_code, unlike(answer), answer.content.replace(name.encode(), b"")))
            assert told[0] == told[1], path
        mine = await ask(house.client, "POST", "/agui/echo", agui_input("their-t1", "their-r1"), **bearer(ours))
        assert "RUN_FINISHED" in mine.text and "interrupt" not in mine.text
        still = await house.client.get("/v1/runs/their-r1", headers=bearer(theirs))
        assert still.json()["status"] == "waiting" and still.json()["agent"] == "asks"


def unlike(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}


async def test_nothing_in_a_body_or_a_header_but_the_credential_says_who_asks(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        key = await give_key(house, tenant="acme", principal="ada", kind="user", name="Ada")
        lies = {"user": "eve", "by": {"id": "eve"}, "tenant": "other", "userId": "eve", "principal": "eve"}
        headers = {"x-user": "eve", "x-tenant": "other", "x-forwarded-user": "eve", **bearer(key)}
        body = agui_input("t1", "r1", forwardedProps=lies, state=lies)
        streamed = await house.client.post("/agui/echo", json=body, headers=headers)
        assert "RUN_FINISHED" in streamed.text
        body = agui_input("t2", "r2", forwardedProps=lies)
        await house.client.post("/copilotkit/agent/echo/run", json=body, headers=headers)
        want = {"agent": "echo", "input": "hi", "run_id": "r3", "metadata": lies}
        await house.client.post("/v1/runs", json=want, headers=headers)
        strict = await house.client.post("/v1/runs", json=want | lies, headers=headers)
        assert strict.status_code == 422
        for run_id in ("r1", "r2", "r3"):
            answer = await house.client.get(f"/v1/runs/{run_id}/audit", headers=bearer(key))
            by = answer.json()["audit"][0]["by"]
            assert (by["id"], by["kind"], by["name"]) == ("ada", "user", "Ada"), answer.text


async def test_two_gateways_see_a_revocation_within_a_second(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as one, open_house(nats, settings, echo=echo) as two:
        key, other = await give_key(one, two), await give_key(one, two)
        for house in (one, two):
            assert (await house.client.get("/v1/agents", headers=bearer(key))).status_code == 200
        await take_key(one, key)
        async with asyncio.timeout(1.0):
            for house in (one, two):
                while (await house.client.get("/v1/agents", headers=bearer(key))).status_code == 200:
                    pass
        for house in (one, two):
            assert (await house.client.get("/v1/agents", headers=bearer(other))).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/v1/runs/r1/events", None), ("POST", "/agui/asks", agui_input(text="slowly"))],
)
async def test_an_open_stream_is_cut_off_soon_after_its_key_was_revoked(
    nats: EmbeddedServer, settings: Settings, method: str, path: str, body: Any
) -> None:
    quick = settings.model_copy(update={"keep_alive_s": 0.3})
    async with open_house(nats, quick, asks=asks) as house:
        key, other = await give_key(house), await give_key(house)
        want = {"agent": "asks", "input": "slowly", "run_id": "other", "thread_id": "other"}
        await house.client.post("/v1/runs", json=want, headers=bearer(other))
        if body is None:
            await house.client.post("/v1/runs", json=want | {"run_id": "r1", "thread_id": "t1"}, headers=bearer(key))
        async with (
            house.client.stream(method, path, json=body, headers=bearer(key)) as stream,
            house.client.stream("GET", "/v1/runs/other/events", headers=bearer(other)) as kept,
        ):
            pieces, others = stream.aiter_bytes(), kept.aiter_bytes()
            assert await anext(pieces) and await anext(others)
            await take_key(house, key)
            async with asyncio.timeout(WAIT_SECONDS):
                with pytest.raises(httpx.RemoteProtocolError):
                    async for _ in pieces:
                        pass
                assert await anext(others)  # the other's goes on


async def test_a_held_answer_is_not_given_to_a_key_that_was_revoked_meanwhile(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asks=asks) as house:
        key, other = await give_key(house), await give_key(house)
        want = {"agent": "asks", "input": "slowly", "run_id": "r1"}
        await house.client.post("/v1/runs", json=want, headers=bearer(key))
        run = (await house.client.get("/v1/runs/r1", headers=bearer(key))).json()
        path = f"/v1/runs/r1?after_seq={run['seq'] + 20}&wait=60"
        held = asyncio.create_task(house.client.get(path, headers=bearer(key)))
        await take_key(house, key)
        async with asyncio.timeout(WAIT_SECONDS):
            while house.knows(key):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert (await house.client.post("/v1/runs/r1/cancel", headers=bearer(other))).status_code == 200
        assert (await held).status_code == 401
