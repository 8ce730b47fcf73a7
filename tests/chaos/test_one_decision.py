"""One question and a crowd of answers at once, through every face and two gateways: one is recorded, all are told."""

import asyncio
import random
import re
from collections import Counter
from typing import Any

import httpx
import orjson
import pytest

from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from tests.chaos.processes import Process
from tests.chaos.test_decisions import asked, over, said
from tests.chaos.test_kills import started
from tests.house import agui_input
from tests.runtime.stage import events

pytestmark = pytest.mark.anyio

REFUSED = {"error": "Review task not found or already resolved"}
_SECONDS = 120.0
_CONNECTIONS = 250

Told = tuple[str, int, Any]
"""Through which face, the status, and what was said."""


class Crowd:
    """Callers of one gateway with a connection each: a client's own pool would line them up."""

    def __init__(self, url: str) -> None:
        self._host, _, self._port = url.removeprefix("http://").partition(":")
        self._at_once = asyncio.Semaphore(_CONNECTIONS)

    async def post(self, path: str, body: Any, headers: str = "") -> tuple[int, str]:
        sent = orjson.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\nconnection: close\r\n{headers}"
        head += f"content-type: application/json\r\ncontent-length: {len(sent)}\r\n\r\n"
        async with self._at_once:
            reader, writer = await asyncio.open_connection(self._host, int(self._port))
            writer.write(head.encode() + sent)
            answer = await reader.read(-1)
            writer.close()
        top, _, rest = answer.partition(b"\r\n\r\n")
        if b"chunked" in top:
            rest = b"".join(part.partition(b"\r\n")[2] for part in re.split(rb"\r\n(?=[0-9a-f]+\r\n)", b"\r\n" + rest))
        return int(top[9:12]), rest.decode()


async def through_agui(crowd: Crowd, run: dict[str, Any], at: int) -> Told:
    entry = {"interruptId": "go", "status": "resolved", "payload": at}
    body = agui_input(run["thread_id"], f"{run['id']}-{at}", resume=[entry])
    status, text = await crowd.post("/agui/asking", body)
    return "agui", status, text if status == 200 else orjson.loads(text)


async def through_rest(crowd: Crowd, run: dict[str, Any], at: int, headers: str = "") -> Told:
    answers = {"answers": [{"interrupt_id": "go", "status": "resolved", "payload": at}]}
    status, text = await crowd.post(f"/v1/runs/{run['id']}/resume", answers, headers)
    return "rest", status, orjson.loads(text)


async def through_the_command(crowd: Crowd, run: dict[str, Any], at: int) -> Told:
    """As `hocket resume` asks: under a key of its own, so that it may ask again."""
    return await through_rest(crowd, run, at, f"idempotency-key: {run['id']}-{at}\r\n")


async def through_cinatra(crowd: Crowd, run: dict[str, Any], at: int) -> Told:
    gate = run["interrupts"][0]["metadata"]["hocket"]["gate"]
    status, text = await crowd.post("/api/a2a/resume", {"reviewTaskId": gate, "values": at})
    return "cinatra", status, orjson.loads(text)


async def through_a2a(crowd: Crowd, run: dict[str, Any], at: int) -> Told:
    said = {"messageId": f"m{at}", "role": "ROLE_USER", "taskId": run["id"], "parts": [{"data": at}]}
    body = {"jsonrpc": "2.0", "id": at, "method": "SendMessage", "params": {"message": said}}
    status, text = await crowd.post("/a2a/asking", body, "a2a-version: 1.0\r\n")
    told = orjson.loads(text)
    return "a2a", 409 if status == 200 and "error" in told else status, told


async def through_mcp(crowd: Crowd, run: dict[str, Any], at: int) -> Told:
    """A tool's refusal is an ordinary result, which is told as 409 here."""
    call = {"name": "agent_run_resume", "arguments": {"runId": run["id"], "userResponse": str(at)}}
    path = ("/mcp", "/api/mcp")[at % 2]
    status, text = await crowd.post(path, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    told = orjson.loads(text)["result"]["structuredContent"]
    return "mcp", 409 if "error" in told else status, told


VOICES = (through_agui, through_rest, through_the_command, through_cinatra, through_a2a, through_mcp)


async def race(gates: int, answers: int, nats: EmbeddedServer, log: Log) -> None:
    gateways = [Process("gateway", nats.url, "0") for _ in range(2)]
    async with started(*gateways, Process("worker", nats.url, "w1")):
        urls = [f"http://127.0.0.1:{gateway.said}" for gateway in gateways]
        crowds = [Crowd(url) for url in urls]
        for number in range(gates):
            run = await asked(urls[number % 2], f"r{number}", 3600)
            voices = len(VOICES)
            turns = [(at, VOICES[at % voices], crowds[at // voices % 2]) for at in range(answers)]
            random.Random(number).shuffle(turns)
            async with asyncio.timeout(_SECONDS):
                told = await asyncio.gather(*(voice(crowd, run, at) for at, voice, crowd in turns))
            check_told(told)
            at = next(turn[0] for turn, one in zip(turns, told, strict=True) if one[1] == 200)
            await check_recorded(log, urls[0], run["id"], at)


def check_told(told: list[Told]) -> None:
    """One has won; every other was refused in the words of its face."""
    (winner,) = [face for face, status, _ in told if status == 200]
    for face, status, body in told:
        if status == 200:
            continue
        if face == "cinatra":
            assert (status, body) == (404, REFUSED)
        elif face == "a2a":
            check_told_in_a2a(body["error"], winner)
        elif face == "mcp":
            assert list(body) == ["error"] and re.match(r"The run is (running|completed)\. ", body["error"]), body
            assert f"through {winner}" in body["error"] or "waits for no answer" in body["error"], body
        else:
            code = body["error"] if face == "agui" else body["code"]
            assert (status, code) == (409, "already_resolved"), body
            assert body["resolved"]["face"] == winner
            assert body["resolved"]["by"]["id"] and body["resolved"]["at"]


def check_told_in_a2a(error: dict[str, Any], winner: str) -> None:
    told = error["data"][0]["metadata"]
    assert (error["code"], told["code"], told["face"]) == (-32004, "already_resolved", winner) and told["by"], error


async def check_recorded(log: Log, url: str, run_id: str, at: int) -> None:
    """The run has gone on once, with answer number `at`, and its record says so."""
    run = await over(url, run_id)
    assert run["status"] == "completed" and said(run) == f"told {at}"
    kinds = Counter(event["type"] for event in await events(log, run_id))
    assert (kinds["ask.resume"], kinds["RUN_STARTED"]) == (1, 2)
    async with httpx.AsyncClient(base_url=url, timeout=_SECONDS) as http:
        record = (await http.get(f"/v1/runs/{run_id}/audit")).json()["audit"]
    assert [one["what"] for one in record] == ["started", "waiting", "answered"]


async def test_of_fifty_answers_at_once_one_is_recorded_at_each_of_ten_questions(
    nats: EmbeddedServer, log: Log
) -> None:
    await race(10, 50, nats, log)


async def test_of_a_thousand_answers_at_once_one_is_recorded(nats: EmbeddedServer, log: Log) -> None:
    await race(1, 1_000, nats, log)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
async def test_of_a_thousand_answers_at_once_one_is_recorded_at_each_of_five_hundred_questions(
    nats: EmbeddedServer, log: Log, part: int
) -> None:
    await race(50, 1_000, nats, log)
