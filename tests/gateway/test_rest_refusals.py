"""What the REST face refuses: one clear RFC 9457 problem each, whatever was sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.rest_forms import Problem
from protocol import depth
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, House, open_house

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
OK = {"agent": "echo", "input": "hi"}


async def echo(run: Any) -> AsyncIterator[Any]:
    yield run.input.messages[-1].content


def refused(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    told = Problem.model_validate(answer.json())
    assert (told.status, told.code, told.type) == (status, code, f"urn:hocket:{code}")
    for word in words:
        assert word in told.detail


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"agent": NaN}', b'{"agent": "\xff"}', b'"\\ud800"', b"[" * 5000, b"\xef\xbb\xbf{}"],
)
async def test_what_is_no_json_is_malformed(body: bytes, nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        refused(await house.client.post("/v1/runs", content=body, headers=JSON), 400, "malformed_json")


@pytest.mark.parametrize(
    "body, word",
    [
        ([], "body"),
        ("text", "body"),
        ({}, "agent"),
        ({"agent": "echo"}, "input"),
        (OK | {"agent": 5}, "agent"),
        (OK | {"input": {"text": "hi"}}, "input"),
        (OK | {"input": [{"role": "user"}]}, "id"),
        (OK | {"input": [{"id": "1", "role": "wizard", "content": ""}]}, "role"),
        (OK | {"inputs": "hi"}, "inputs"),
        (OK | {"thread_id": ""}, "thread_id"),
        (OK | {"run_id": "x" * 257}, "run_id"),
        (OK | {"run_id": "ä" * 200}, "256 bytes"),
        (OK | {"tools": [{"name": "t"}]}, "description"),
        (OK | {"context": "c"}, "context"),
        (OK | {"metadata": [1]}, "metadata"),
        (OK | {"metadata": {"k": "x" * 20_000}}, "metadata"),
        (OK | {"on_busy": "queue"}, "on_busy"),
    ],
)
async def test_a_wrong_body_is_told_where_it_is_wrong(
    body: Any, word: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        answer = await house.client.post("/v1/runs", json=body)
    assert answer.status_code == 422 and answer.json()["code"] in ("invalid_request", "invalid_id")
    assert word in answer.json()["detail"]


async def test_a_body_may_be_nested_only_so_deep(nats: EmbeddedServer, settings: Settings) -> None:
    def nested(depth: int) -> bytes:
        return b'{"agent":"echo","input":"hi","state":%b%b}' % (b"[" * depth, b"]" * depth)

    async with open_house(nats, settings, echo=echo) as house:
        deep = await house.client.post("/v1/runs", content=nested(depth.TAKEN), headers=JSON)
        taken = await house.client.post(
            "/v1/runs", content=nested(depth.TAKEN - 1), headers=JSON | {"Prefer": "wait=5"}
        )
        polled = await house.client.get(taken.headers["location"] + "?include=state")
    refused(deep, 422, "invalid_request", "nested")
    assert (taken.status_code, polled.status_code, polled.json()["status"]) == (201, 200, "completed")


@pytest.mark.parametrize("media", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonl"])
async def test_a_body_that_is_not_declared_as_json_is_refused(
    media: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        body = b'{"agent":"echo","input":"hi"}'
        answer = await house.client.post("/v1/runs", content=body, headers={"Content-Type": media})
    refused(answer, 415, "unsupported_media_type", "application/json")


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/r/cancel"])
@pytest.mark.parametrize("declared", [True, False])
async def test_100_megabytes_are_refused(declared: bool, path: str, nats: EmbeddedServer, settings: Settings) -> None:
    piece = b" " * (1 << 20)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield piece

    async with open_house(nats, settings, echo=echo) as house:
        answer = await house.client.post(path, content=piece * 100 if declared else pieces(), headers=JSON)
        after = await house.client.post("/v1/runs", json=OK)
    refused(answer, 413, "too_large", str(settings.body_bytes_max))
    assert after.status_code == 201


async def test_an_input_that_does_not_fit_the_log_leaves_its_thread_free(
    nats: EmbeddedServer, settings: Settings
) -> None:
    roomy = settings.model_copy(update={"body_bytes_max": 16 << 20})
    async with open_house(nats, roomy, echo=echo) as house:
        large = await house.client.post("/v1/runs", json=OK | {"thread_id": "t", "input": "x" * (9 << 20)})
        small = await house.client.post("/v1/runs", json=OK | {"thread_id": "t"}, headers={"Prefer": "wait=5"})
    refused(large, 413, "too_large")
    assert (small.status_code, small.json()["status"]) == (201, "completed")


@pytest.mark.parametrize("key", ["", "x" * 129, "two words", "schlüssel".encode("latin-1")])
async def test_a_bad_idempotency_key_is_refused(key: Any, nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        answer = await house.client.post("/v1/runs", json=OK, headers={"Idempotency-Key": key})
    refused(answer, 422, "invalid_request", "Idempotency-Key")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=ten", "limit=", "limit=1e2", "limit=5&limit=6", "limit=" + "9" * 5000,
        "status=done", "status=completed,nope", "created_after=yesterday", "created_after=2026-01-01",
        "created_after=2026-01-01T00:00:00", "created_before=2026-13-01T00:00:00Z", "created_before=1700000000",
        "created_after=0001-01-01T00:00:00%2B23:59&created_after=x",
        "cursor=", "cursor=x", "cursor=%00", "cursor=WzFd", "cursor=bnVsbA", "cursor=WzEsMl0", "cursor=Wy0xLCJhIl0",
        "cursor=Wzk5OTk5OTk5OTk5OTk5OTk5OTksImEiXQ", "cursor=WzEsIiJd", "cursor=%C3%A4", "offset=5",
    ],
)  # fmt: skip
async def test_a_bad_list_query_is_refused(query: str, nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        refused(await house.client.get(f"/v1/runs?{query}"), 422, "invalid_request", query.partition("=")[0])


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/r?include=everything", "/v1/runs/r?wait=301", "/v1/runs/r?wait=-1", "/v1/runs/r?wait=nan",
        "/v1/runs/r?after_seq=-1", "/v1/runs/r?after_seq=9007199254740992", "/v1/runs/r/events?after_seq=x",
        "/v1/runs/r/events?limit=0", "/v1/runs/r/events?limit=1001", "/v1/runs/r/events?after_seq=" + "1" * 5000,
        "/v1/runs/r/events?after_seq=%C2%B2",
        "/v1/agents?x=1", "/v1/threads/t/messages?limit=1", "/v1/runs/%FF", "/v1/runs/r%FF/events",
    ],
)  # fmt: skip
async def test_a_bad_poll_is_refused(path: str, nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        assert (await house.client.post("/v1/runs", json=OK | {"run_id": "r"})).status_code == 201
        refused(await house.client.get(path), 422, "invalid_request")


async def test_a_bad_last_event_id_is_refused(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        await house.client.post("/v1/runs", json=OK | {"run_id": "r"})
        for given in ("last", "-1", "1.5", "9" * 5000):
            answer = await house.client.get("/v1/runs/r/events", headers={"Last-Event-ID": given})
            refused(answer, 422, "invalid_request", "Last-Event-ID")


async def test_what_does_not_exist_is_not_found(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        client = house.client
        refused(await client.post("/v1/runs", json=OK | {"agent": "nobody"}), 404, "agent_not_found", "nobody", "echo")
        for path in ("/v1/runs/none", "/v1/runs/none?include=messages", "/v1/runs/none?after_seq=1&wait=5",
                     "/v1/runs/none/events", "/v1/runs/..%2Fnone"):  # fmt: skip
            refused(await client.get(path), 404, "run_not_found")
        refused(await client.get("/v1/runs/none/events", headers={"Accept": "application/json"}), 404, "run_not_found")
        refused(await client.post("/v1/runs/none/cancel"), 404, "run_not_found")
        refused(await client.get("/v1/threads/none/messages"), 404, "not_found", "none")
        refused(await client.get("/v1/runs/" + "x" * 10_000), 422, "invalid_id")
        refused(await client.get("/v1/threads/" + "x" * 257 + "/messages"), 422, "invalid_id")
        for path in (
            "/v1",
            "/v1/",
            "/v1/nothing",
            "/v1/runs/",
            "/v1/runs//events",
            "/v1/runs/a/b",
            "/v1/runs/a/events/",
        ):
            refused(await client.get(path), 404, "not_found")


async def test_a_host_that_is_none_is_refused_in_the_face_s_form(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        refused(await house.client.get("/v1/runs/none", headers={"Host": "[rubbish"}), 403, "foreign_origin")
        assert (await house.client.get("/nothing", headers={"Host": "[rubbish"})).json()["error"] == "not_found"


async def test_a_method_that_is_not_there_is_named_with_those_that_are(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        for method, path, allowed in (
            ("DELETE", "/v1/runs", "POST, GET, HEAD, OPTIONS"),
            ("PUT", "/v1/runs/r", "GET, HEAD, OPTIONS"),
            ("GET", "/v1/runs/r/cancel", "POST, OPTIONS"),
        ):
            answer = await house.client.request(method, path)
            refused(answer, 405, "method_not_allowed", method)
            assert answer.headers["allow"] == allowed
            options = await house.client.options(path)
            assert (options.status_code, options.headers["allow"]) == (204, allowed)


async def test_head_is_get_without_its_body(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        path = (await house.client.post("/v1/runs", json=OK, headers={"Prefer": "wait=5"})).headers["location"]
        got, head = await house.client.get(path), await house.client.head(path)
        missing = await house.client.head("/v1/runs/none")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", got.headers["etag"])
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (missing.status_code, missing.content) == (404, b"")


async def test_a_bad_cancel_changes_nothing(nats: EmbeddedServer, settings: Settings) -> None:
    gate = asyncio.Event()

    async def gated(run: Any) -> AsyncIterator[Any]:
        await gate.wait()
        yield "done"

    async with open_house(nats, settings, gated=gated) as house:
        await house.client.post("/v1/runs", json=OK | {"agent": "gated", "run_id": "r"})
        for body in ({"reason": 5}, {"reason": "x" * 1001}, {"why": "so"}, []):
            assert (await house.client.post("/v1/runs/r/cancel", json=body)).status_code == 422
        refused(await house.client.post("/v1/runs/r/cancel", content=b"{", headers=JSON), 400, "malformed_json")
        gate.set()
        ended = await house.client.get("/v1/runs/r?after_seq=1000&wait=5")
    assert ended.json()["status"] == "completed"


@pytest.mark.parametrize(
    "said", [{"type": 5}, {"no": "type"}, 5, {"type": "TEXT_MESSAGE_END", "messageId": "m"}, object()]
)
async def test_an_agent_that_yields_rubbish_fails_its_run_clearly(
    said: Any, nats: EmbeddedServer, settings: Settings
) -> None:
    async def rubbish(run: Any) -> AsyncIterator[Any]:
        yield said

    async with open_house(nats, settings, rubbish=rubbish) as house:
        answer = await house.client.post("/v1/runs", json=OK | {"agent": "rubbish"}, headers={"Prefer": "wait=5"})
    assert (answer.status_code, answer.json()["status"]) == (201, "failed")
    assert answer.json()["error"]["code"] and answer.json()["error"]["message"]


async def digger(run: Any) -> AsyncIterator[Any]:
    """Nests its state one level deeper with each word, for ever."""
    path = ""
    while True:
        path += "/a"
        yield run.state_delta({"op": "add", "path": path, "value": {}})


async def test_an_agent_whose_state_grows_too_deep_fails_and_its_thread_goes_on(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, digger=digger, echo=echo) as house:
        deep = OK | {"agent": "digger", "thread_id": "t", "run_id": "deep"}
        answer = await house.client.post("/v1/runs", json=deep, headers={"Prefer": "wait=5"})
        polled = await house.client.get("/v1/runs/deep?include=state,messages,steps")
        next_one = await house.client.post("/v1/runs", json=OK | {"thread_id": "t"}, headers={"Prefer": "wait=5"})
    assert (answer.json()["status"], answer.json()["error"]["code"]) == ("failed", "ILLEGAL_EVENT")
    assert polled.status_code == 200
    assert (next_one.status_code, next_one.json()["status"]) == (201, "completed")


async def test_a_log_that_is_away_is_a_503_that_says_when_to_come_back(
    nats: EmbeddedServer, settings: Settings
) -> None:
    hasty = settings.model_copy(update={"append_timeout_s": 0.2})
    async with open_house(nats, hasty, echo=echo) as house:
        path = (await house.client.post("/v1/runs", json=OK | {"run_id": "done"})).headers["location"]
        await nats.stop()
        answers = await asked_of_everything(house, path)
    for answer in answers:
        refused(answer, 503, "log_unavailable")
        assert answer.headers["retry-after"] == "2"


async def asked_of_everything(house: House, path: str) -> list[httpx.Response]:
    async with asyncio.timeout(4 * WAIT_SECONDS):
        return list(
            await asyncio.gather(
                house.client.post("/v1/runs", json=OK),
                house.client.get("/v1/runs/unknown"),
                house.client.get("/v1/threads/t/messages"),
                house.client.get("/v1/agents"),
                house.client.get(f"{path}/events", headers={"Accept": "application/json"}),
                house.client.post("/v1/runs/unknown/cancel"),
            )
        )
