"""Whatever a peer sends, it is told what was wrong in A2A's own words, and nothing of ours breaks."""

import asyncio
import functools
import logging
from typing import Any

import orjson
import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.a2a.peer import VERSION, Wire, asking, call, echo, message, send
from tests.house import WAIT_SECONDS, bearer, give_key, open_house

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def rpc(method: Any = "SendMessage", params: Any = None, **more: Any) -> bytes:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": message() if params is None else params}
    return orjson.dumps(body | more)


DEEP = b"[" * 5_000 + b"]" * 5_000
PARTS: list[tuple[Any, int]] = [
    ([], -32602),
    ([{}], -32602),
    ([{"text": 5}], -32602),
    ([{"raw": "no base64!"}], -32602),
    ([{"text": "a", "data": {}}], -32602),
    ("text", -32602),
    ([{"text": "x"}] * 1_001, -32602),
    ([{"data": orjson.loads(b"[" * 101 + b"]" * 101)}], -32600),
]
BODIES: list[tuple[bytes, int]] = [
    (b"", -32700),
    (b"{", -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":NaN}}', -32700),
    (b"\xff\xfe", -32700),
    (DEEP, -32700),
    (b"[]", -32600),
    (b"[" + rpc() + b"]", -32600),
    (b"5", -32600),
    (rpc(jsonrpc="1.0"), -32600),
    (rpc(id={"a": 1}), -32600),
    (rpc(id=True), -32600),
    (rpc(id=1.5), -32600),
    (rpc(5), -32600),
    (rpc(""), -32600),
    (rpc(params=[]), -32602),
    (rpc("Nonsense"), -32601),
    (rpc("sendMessage"), -32601),
    (rpc("SendMessage", {}), -32602),
    (rpc("SendMessage", {"message": "hi"}), -32602),
    (rpc("SendMessage", message(role="ROLE_KING")), -32602),
    (rpc("SendMessage", message(role=7)), -32602),
    (rpc("SendMessage", message(messageId="")), -32602),
    (rpc("SendMessage", message(messageId=5)), -32602),
    (rpc("SendMessage", message(taskId="nothing")), -32001),
    (rpc("SendMessage", message(contextId="c" * 300)), -32602),
    (rpc("SendMessage", message(configuration={"historyLength": -1})), -32602),
    (rpc("SendMessage", message(configuration={"historyLength": 2**40})), -32602),
    (rpc("SendMessage", message(tenant="other")), -32602),
    (rpc("SendMessage", message(metadata={"a": "x" * 20_000})), -32602),
    (rpc("SendMessage", message(metadata=[1])), -32602),
    (rpc("SendStreamingMessage", message(parts=[])), -32602),
    (rpc("SendStreamingMessage", message(tenant="other")), -32602),
    (rpc("GetTask", {}), -32602),
    (rpc("GetTask", {"id": ""}), -32602),
    (rpc("GetTask", {"id": "x" * 300}), -32602),
    (rpc("GetTask", {"id": "nothing"}), -32001),
    (rpc("GetTask", {"id": "a.b/c *>"}), -32001),
    (rpc("CancelTask", {"id": "nothing"}), -32001),
    (rpc("SubscribeToTask", {"id": "nothing"}), -32001),
    (rpc("SubscribeToTask", {}), -32602),
    (rpc("GetTaskPushNotificationConfig", {"taskId": "nothing", "id": "c"}), -32001),
    (rpc("message/send", {}), -32009),
    *((rpc("SendMessage", message(parts=given)), code) for given, code in PARTS),
]


async def test_what_is_no_request_is_told_why_in_json_rpc(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        for body, code in BODIES:
            answer = await house.client.post("/a2a/echo", content=body, headers=VERSION | JSON)
            told = answer.json()
            assert answer.status_code == 200 and set(told) == {"jsonrpc", "id", "error"}, body[:200]
            assert told["error"]["code"] == code, (body[:200], told)
            assert told["error"]["data"][0]["@type"] == INFO and told["error"]["message"], body[:200]
            assert "Traceback" not in answer.text and "google.protobuf" not in answer.text
        for method, params in (("message/send", {}), ("tasks/get", {"id": 5}), ("tasks/resubscribe", {})):
            answer = await house.client.post("/a2a/echo", content=rpc(method, params), headers=JSON)
            assert answer.json()["error"]["code"] == -32602 and "errors.pydantic" not in answer.text
        runs = (await house.client.get("/v1/runs")).json()["runs"]
    assert runs == []


async def test_what_is_no_request_is_told_why_in_http_json(nats: EmbeddedServer, settings: Settings) -> None:
    asked: list[tuple[str, str, Any, int]] = [
        ("POST", "message:send", b"{", 400),
        ("POST", "message:send", b"[]", 400),
        ("POST", "message:send", b"", 400),
        ("POST", "message:stream", b"null", 400),
        ("POST", "message:send", orjson.dumps(message(role="ROLE_KING")), 400),
        ("POST", "message:stream", orjson.dumps(message(parts=[])), 400),
        ("POST", "other/message:send", orjson.dumps(message()), 400),
        ("GET", "tasks/nothing", None, 404),
        ("GET", "tasks/nothing?historyLength=x", None, 400),
        ("GET", "other/tasks/nothing", None, 400),
        ("GET", "tasks/a%2Fb", None, 404),
        ("GET", "tasks/%FF", None, 404),
        ("POST", "tasks/nothing:cancel", b"", 404),
        ("GET", "tasks/nothing:subscribe", None, 404),
        ("POST", "tasks/nothing/pushNotificationConfigs", b"{", 400),
        ("POST", "tasks/nothing/pushNotificationConfigs", b'{"url": 5}', 400),
        ("DELETE", "tasks/nothing/pushNotificationConfigs/c", None, 404),
        ("GET", "nonsense", None, 404),
        ("GET", "tasks/nothing/nonsense", None, 404),
        ("PUT", "tasks", None, 405),
        ("GET", "message:send", None, 405),
        ("GET", "message:stream", None, 405),
    ]
    async with open_house(nats, settings, echo=echo) as house:
        for method, path, body, status in asked:
            answer = await house.client.request(method, f"/a2a/echo/{path}", content=body, headers=VERSION | JSON)
            told = answer.json().get("error", {"code": None})
            assert (answer.status_code, told["code"]) == (status, status), (method, path, answer.text)
            assert told["status"] and told["message"] and told["details"][0]["@type"] == INFO, (method, path)
        rpc_only = await house.client.get("/a2a/echo", headers=VERSION)
        nobody = [
            await house.client.post(f"/a2a/nobody{path}", content=b"{}", headers=VERSION | JSON)
            for path in ("", "/message:send")
        ]
    assert rpc_only.status_code == 405 and rpc_only.headers["allow"] == "POST"
    assert [one.status_code for one in nobody] == [404, 404]


async def test_a_body_over_its_limit_is_refused_before_it_is_read(nats: EmbeddedServer, settings: Settings) -> None:
    body = rpc(params=message("x" * 50_000_000))
    async with open_house(nats, settings, echo=echo) as house:
        declared = await house.client.post("/a2a/echo", content=body, headers=VERSION | JSON)

        async def pieces() -> Any:
            for start in range(0, 3_000_000, 100_000):
                yield body[start : start + 100_000]

        chunked = await house.client.post("/a2a/echo", content=pieces(), headers=VERSION | JSON)
        rest = await house.client.post("/a2a/echo/message:send", content=body, headers=VERSION | JSON)
    for answer in (declared, chunked):
        assert answer.status_code == 200 and answer.json()["error"]["code"] == -32600
        assert "1048576" in answer.json()["error"]["message"]
    assert rest.status_code == 400 and rest.json()["error"]["details"][0]["reason"] == "INVALID_REQUEST"


async def test_only_json_is_taken_for_json_rpc(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        told = [
            (await house.client.post("/a2a/echo", content=rpc(), headers=VERSION | {"content-type": kind})).json()
            for kind in ("text/plain", "application/xml", "application/json; charset=utf-8", "application/a2a+json")
        ]
    assert [one.get("error", {}).get("code") for one in told] == [-32005, -32005, None, None]


async def test_a_version_is_named_in_the_header_or_the_query_and_none_is_0_3(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:

        async def code(method: str, query: str = "", **headers: str) -> int | None:
            body = rpc(method, message() if method.startswith("Send") else {"id": "nothing"})
            answer = await house.client.post(f"/a2a/echo{query}", content=body, headers=JSON | headers)
            return answer.json().get("error", {}).get("code") if "json" in answer.headers["content-type"] else None

        for method in ("SendMessage", "SendStreamingMessage"):
            assert await code(method, **{"a2a-version": "1.0"}) is None
            assert await code(method, **{"a2a-version": "1.0.1"}) is None
            assert await code(method, "?A2A-Version=1.0") is None
            for other in ("99.0", "0.3", "2.0", "one", ""):
                assert await code(method, **{"a2a-version": other}) == -32009, other
            assert await code(method) == -32009
        assert await code("tasks/get") == -32001 and await code("tasks/get", **{"a2a-version": "1.0"}) == -32009
        rest = await house.client.get("/a2a/echo/tasks", headers={"a2a-version": "99.0"})
    assert rest.status_code == 400 and rest.json()["error"]["details"][0]["reason"] == "VERSION_NOT_SUPPORTED"


async def test_a_key_that_does_not_allow_it_and_a_log_that_is_away_are_told_by_http(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo, asking=asking) as house:
        task, bound = await send(house, "asking"), VERSION | JSON
        reader = bearer(await give_key(house, scopes=["runs:read"]))
        seen = await call(house, "asking", "GetTask", reader, id=task["id"])
        asked: list[tuple[str, Wire]] = [
            ("SendMessage", message()), ("SendStreamingMessage", message()), ("CancelTask", {"id": task["id"]}),
            ("SendMessage", message(taskId=task["id"])),
        ]  # fmt: skip
        for method, params in asked:
            answer = await house.client.post(
                "/a2a/asking", content=rpc(method, params), headers=VERSION | JSON | reader
            )
            assert answer.status_code == 403 and answer.json()["error"]["status"] == "PERMISSION_DENIED", method
        for path in ("message:send", f"tasks/{task['id']}:cancel"):
            answer = await house.client.post(f"/a2a/asking/{path}", json=message(), headers=VERSION | reader)
            assert answer.status_code == 403, path
        writer = bearer(await give_key(house))
        await nats.stop(kill=True)
        async with asyncio.timeout(WAIT_SECONDS):
            while house.engine.ready:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        away = [
            await house.client.post("/a2a/asking", content=rpc("GetTask", {"id": task["id"]}), headers=bound | writer),
            await house.client.get(f"/a2a/asking/tasks/{task['id']}", headers=VERSION | writer),
        ]  # fmt: skip
        port = int(nats.url.rpartition(":")[2])
        await nats.start(port)
    assert seen["result"]["id"] == task["id"]
    assert [one.status_code for one in away] == [503, 503] and away[0].headers["retry-after"]


async def test_what_breaks_inside_is_logged_and_not_told(
    nats: EmbeddedServer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def odd(run: Any) -> Any:
        yield run.artifact({"data": functools.reduce(lambda inner, _: [inner], range(60), 0)})

    async with open_house(nats, settings, odd=odd) as house:
        old = {"message": {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}}
        answer = await house.client.post("/a2a/odd", content=rpc("message/send", old), headers=JSON)
        refused = answer.json()["error"]
        with caplog.at_level(logging.ERROR, "hocket.a2a"):
            house.engine.agent = None  # type: ignore[method-assign, assignment]
            broken = await house.client.post("/a2a/odd", content=rpc(), headers=VERSION | JSON)
    assert refused["code"] == -32006 and "evel" not in refused["message"]
    assert broken.status_code == 500 and "NoneType" not in broken.text
