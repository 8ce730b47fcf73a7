"""Cinatra's channel: what a run tells there, its cursor, and its snapshot."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from gateway.dialects.cinatra_events import cursor, word
from protocol.entries import Entry
from protocol.state import RunState
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.cinatra_client import (
    APPROVED,
    SCHEMA,
    Frame,
    Reviewing,
    ended,
    external,
    frames,
    gate,
    start,
    stream,
    types,
)
from tests.house import WAIT_SECONDS, House, open_house

pytestmark = pytest.mark.anyio

IDS = {"threadId": "t-r1", "runId": "r1"}
RUN_FINISHED = {"type": "RUN_FINISHED", **IDS, "status": "completed"}


async def answered(house: House, *numbers: int) -> None:
    for number in numbers:
        body = {"reviewTaskId": gate(number), "values": APPROVED}
        assert (await house.client.post("/api/a2a/resume", json=body)).status_code == 200


def timeless(frame: Frame) -> dict[str, Any]:
    """The event without its time, which is a whole number and stands in the id."""
    told = dict(frame.event)
    at_ms = told.pop("timestamp")
    assert type(at_ms) is int and (frame.id is None or frame.id.startswith(f"{at_ms}-"))
    assert told["threadId"] == IDS["threadId"]
    return told


async def test_a_run_with_a_question_is_one_stream_from_its_start_to_its_end(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, external(settings), review=Reviewing().review) as house:
        await start(house, "review")
        await answered(house, 0)
        await ended(house)
        told = frames(await stream(house))
    text = ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]
    assert types(told) == ["RUN_STARTED", *text, "INTERRUPT", "RESUME", *text, "RUN_FINISHED"]
    shown = {frame.event["type"]: timeless(frame) for frame in told}
    assert list(told[0].event)[:2] == ["type", "timestamp"]
    assert shown["RUN_STARTED"] == {"type": "RUN_STARTED", **IDS}
    assert shown["INTERRUPT"] == {
        "type": "INTERRUPT", **IDS, "reviewTaskId": gate(), "schema": SCHEMA, "xRenderer": "acme:approve",
        "values": {"amount": 120}, "fieldName": "approved",
    }  # fmt: skip
    by = {"id": "development", "kind": "development", "name": "Development"}
    assert shown["RESUME"] == {"type": "RESUME", **IDS, "reviewTaskId": gate(), "resumedBy": by}
    assert shown["RUN_FINISHED"] == RUN_FINISHED
    seqs = [int(frame.id.split("-")[1]) for frame in told if frame.id]
    assert seqs == sorted(set(seqs)) and len(seqs) == len(told)


async def test_a_question_that_declares_nothing_is_told_with_what_stands_in(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, external(settings), bare=Reviewing().bare) as house:
        await start(house, "bare")
        await answered(house, 0)
        await ended(house)
        told = frames(await stream(house))
    plain = {"reviewTaskId": gate(), "schema": {}, "xRenderer": "hocket:generic", "values": {}}
    assert timeless(told[1]) == {"type": "INTERRUPT", **IDS, **plain}


async def test_a_question_with_another_systems_metadata_is_told_by_it(nats: EmbeddedServer, settings: Settings) -> None:
    async def foreign(run: Any) -> AsyncIterator[Any]:
        at = {"expires_at": "2999-01-01T01:00:00+01:00"}
        yield run.interrupt("?", metadata={"xRenderer": "@acme/x:y", "fieldName": 7}, values=[0], **at)

    async with open_house(nats, settings, foreign=foreign) as house:
        await start(house, "foreign")
        told = (await house.client.get("/api/agents/runs/r1")).json()["hitlContext"]
        await house.client.post("/v1/runs/r1/cancel", json={})
        event = timeless(frames(await stream(house))[1])
    assert (told["xRenderer"], told["currentValues"], told["inputSchema"]) == ("@acme/x:y", [0], {})
    assert event["expiresAt"] == told["expiresAt"] == "2999-01-01T00:00:00.000Z"
    assert event["values"] == [0] and "fieldName" not in event


async def test_a_failing_run_ends_with_its_error(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, failing=Reviewing().failing) as house:
        await start(house, "failing")
        told = frames(await stream(house))
    message = "The agent failed with RuntimeError."
    assert timeless(told[-1]) == {"type": "RUN_ERROR", **IDS, "message": message, "code": "AGENT_ERROR"}
    assert types(told).count("RUN_ERROR") == 1


async def test_a_waiting_run_that_is_cancelled_is_stopped_and_not_started_again(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, bare=Reviewing().bare) as house:
        await start(house, "bare")
        await house.client.post("/v1/runs/r1/cancel", json={})
        told = frames(await stream(house))
    assert types(told) == ["RUN_STARTED", "INTERRUPT", "RUN_FINISHED"]
    assert timeless(told[-1]) == RUN_FINISHED | {"status": "stopped"}


async def test_a_run_that_is_cancelled_in_the_queue_is_told_from_start_to_end(
    nats: EmbeddedServer, settings: Settings
) -> None:
    busy, over = asyncio.Event(), asyncio.Event()

    async def holding(run: Any) -> AsyncIterator[Any]:
        busy.set()
        await over.wait()
        yield "free"

    alone = settings.model_copy(update={"concurrency": 1})
    async with open_house(nats, alone, holding=holding) as house:
        await house.client.post("/v1/runs", json={"agent": "holding", "input": "hi"})
        async with asyncio.timeout(WAIT_SECONDS):
            await busy.wait()
        body = {"agent": "holding", "input": "hi", "run_id": "r1", "thread_id": "t-r1"}
        await house.client.post("/v1/runs", json=body)
        queued = (await house.client.get("/api/agents/runs/r1")).json()
        await house.client.post("/v1/runs/r1/cancel", json={})
        told = frames(await stream(house))
        over.set()
    assert (queued["status"], queued["startedAt"]) == ("queued", None)
    assert [timeless(frame) for frame in told] == [
        {"type": "RUN_STARTED", **IDS},
        RUN_FINISHED | {"status": "stopped"},
    ]


EXPIRED = {"answer": ["RESUME", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED"],
           "cancel": ["RUN_FINISHED"], "fail": ["RUN_ERROR"]}  # fmt: skip


@pytest.mark.parametrize("outcome", EXPIRED)
async def test_an_expiry_is_a_resume_by_hocket_where_it_has_a_default_and_else_the_end(
    outcome: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, hasty=Reviewing().hasty) as house:
        await start(house, "hasty", text=outcome)
        await ended(house)
        told = frames(await stream(house))
    assert types(told) == ["RUN_STARTED", "INTERRUPT", *EXPIRED[outcome]]
    assert told[1].event["expiresAt"].endswith("Z")
    if outcome == "answer":
        by = {"id": "hocket", "kind": "system", "name": "hocket"}
        assert timeless(told[2]) == {"type": "RESUME", **IDS, "reviewTaskId": gate(), "resumedBy": by}
    else:
        assert told[-1].event.get("status", "stopped") == "stopped"


async def test_of_an_entry_that_is_told_as_several_frames_only_the_last_moves_the_cursor(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, external(settings), two=Reviewing().two) as house:
        await start(house, "two")
        await answered(house, 1, 0)
        await ended(house)
        told = frames(await stream(house))
    asked = [frame for frame in told if frame.event["type"] in ("INTERRUPT", "RESUME")]
    assert [(one.event["type"], one.event["reviewTaskId"], one.id is not None) for one in asked] == [
        ("INTERRUPT", gate(0), False), ("INTERRUPT", gate(1), True),
        ("RESUME", gate(1), True), ("RESUME", gate(0), True),
    ]  # fmt: skip
    assert types(told).count("RUN_STARTED") == 1


async def test_cut_after_any_frame_and_taken_up_again_it_is_the_uncut_stream(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, external(settings), review=Reviewing().review, two=Reviewing().two) as house:
        await start(house, "review")
        await answered(house, 0)
        await ended(house)
        await start(house, "two", "r2")
        await house.client.post("/v1/runs/r2/cancel", json={})
        for run_id in ("r1", "r2"):
            whole = frames(await stream(house, run_id))
            for cut in range(1, len(whole) + 1):
                known = [number for number in range(cut) if whole[number].id is not None][-1]
                rest = frames(await stream(house, run_id, whole[known].id))
                assert [*whole[: known + 1], *rest] == whole


@pytest.mark.parametrize("last", ["", "7", "x-3", "3-x", "-3", "3-", "1-2-3", "1 -2", "²-3", "0x1-2", "1-²", "+1-2"])
async def test_a_last_event_id_of_another_form_is_passed_over(
    last: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, failing=Reviewing().failing) as house:
        await start(house, "failing")
        answer = await house.client.get("/api/a2a?taskId=r1", headers={b"last-event-id": last.encode()})
        assert (answer.status_code, answer.content) == (200, await stream(house))


def test_only_the_seq_of_a_cursor_counts() -> None:
    assert [cursor(one) for one in (None, "9-7", "0-007", "99999-0", "1-" + "9" * 5000)] == [0, 7, 7, 0, 2**53 - 1]


async def test_an_ended_run_with_nothing_more_tells_its_client_not_to_hurry(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, failing=Reviewing().failing) as house:
        await start(house, "failing")
        last = frames(await stream(house))[-1].id
        assert await stream(house, last=last) == await stream(house, last="0-99999") == b"retry: 30000\n\n"


async def test_the_four_addresses_send_the_same_bytes(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, external(settings), review=Reviewing().review) as house:
        await start(house, "review")
        await answered(house, 0)
        await ended(house)
        paths = [prefix + path for prefix in ("", "/cinatra") for path in ("/api/a2a", "/api/agents/runs")]
        told = {await stream(house, path=path) for path in paths}
        heads = [await house.client.head(f"{path}/r1/stream") for path in paths[1::2]]
        snapshots = {(await house.client.get(f"{path}/r1")).content for path in paths[1::2]}
    assert len(told) == len(snapshots) == 1 and b"\r" not in told.pop()
    assert [(head.status_code, head.headers["content-type"]) for head in heads] == [
        (200, "text/event-stream; charset=utf-8")
    ] * 2


async def test_a_live_client_hears_a_question_stays_and_hears_how_it_goes_on(
    nats: EmbeddedServer, settings: Settings
) -> None:
    quick = external(settings).model_copy(update={"keep_alive_s": 0.05})
    async with open_house(nats, quick, review=Reviewing().review) as house:
        heard = bytearray()
        asked, kept = asyncio.Event(), asyncio.Event()

        async def listen() -> None:
            async with house.client.stream("GET", "/api/a2a?taskId=r1") as answer:
                async for part in answer.aiter_bytes():
                    heard.extend(part)
                    if b'"INTERRUPT"' in heard:
                        asked.set()
                    if b": keepalive\n\n" in heard:
                        kept.set()

        await start(house, "review")
        listening = asyncio.create_task(listen())
        async with asyncio.timeout(WAIT_SECONDS):
            await asked.wait()
            await kept.wait()
            await answered(house, 0)
            await listening
        whole = await stream(house)
    assert frames(bytes(heard)) == frames(whole) and b"keep-alive" not in heard


async def test_what_agents_say_is_told_as_they_said_it_and_what_no_client_knows_is_left_out(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def talkative(run: Any) -> AsyncIterator[Any]:
        yield {"type": "X_PRIVATE", "detail": 1}
        yield run.tool_call("look", {"a": 1}, result="seen")
        yield run.state({"n": 1})
        yield run.state_delta({"op": "replace", "path": "/n", "value": 2})
        yield run.custom("note", {"threadId": "inner"})
        yield {"type": "CUSTOM", "name": "early", "value": 1, "timestamp": -5, "threadId": "elsewhere"}

    async with open_house(nats, settings, talkative=talkative) as house:
        await start(house, "talkative")
        told = frames(await stream(house))
    assert types(told)[1:-1] == [
        "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT", "STATE_SNAPSHOT", "STATE_DELTA",
        "CUSTOM", "CUSTOM",
    ]  # fmt: skip
    by_type = {frame.event["type"]: frame.event for frame in told}
    assert by_type["TOOL_CALL_ARGS"]["delta"] == '{"a":1}' and by_type["STATE_SNAPSHOT"]["snapshot"] == {"n": 1}
    assert told[-3].event["value"] == {"threadId": "inner"} and told[-2].event["threadId"] == "t-r1"
    assert told[-2].id is not None and told[-2].id.startswith("0-")


def test_what_an_agent_says_is_told_with_the_thread_it_belongs_to() -> None:
    event = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Ü\n", "timestamp": 5}
    told = frames(word(RunState(id="r", thread_id="t"), Entry(4, event)))
    assert [(one.id, one.event) for one in told] == [("5-4", event | {"threadId": "t"})]


async def test_the_snapshot_is_the_run_as_it_is(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, external(settings), review=Reviewing().review, failing=Reviewing().failing) as house:
        await start(house, "review")
        waiting: dict[str, Any] = (await house.client.get("/api/agents/runs/r1")).json()
        await answered(house, 0)
        run = await ended(house)
        done: dict[str, Any] = (await house.client.get("/api/agents/runs/r1")).json()
        await start(house, "failing", "r2")
        failed: httpx.Response = await house.client.get("/api/agents/runs/r2")
    messages = waiting.pop("messages")
    assert [(one["role"], one["content"]) for one in messages] == [("user", "hi"), ("assistant", "Checked.")]
    screen = {"xRenderer": "acme:approve", "childRunId": None, "reviewTaskId": gate(), "inputSchema": SCHEMA,
              "currentValues": {"amount": 120}, "expiresAt": None}  # fmt: skip
    assert waiting == {
        "status": "pending_approval", "error": None, "inputParams": {}, "startedAt": run["started_at"],
        "completedAt": None, "templateId": "review", "agentPackageName": "review", "agUiEnabled": True, "taskId": "r1",
        "traceId": None, "hitlContext": screen,
    }  # fmt: skip
    assert (done["status"], done["completedAt"], done["hitlContext"]) == ("completed", run["ended_at"], None)
    assert (failed.json()["status"], failed.json()["error"]) == ("failed", "The agent failed with RuntimeError.")


async def test_the_snapshot_lists_all_screens_where_several_are_open(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, two=Reviewing().two) as house:
        await start(house, "two")
        told = (await house.client.get("/api/agents/runs/r1")).json()
        given = {"threadId": "t", "runId": "r2", "messages": [], "state": {}, "tools": [], "context": []}
        async with asyncio.timeout(WAIT_SECONDS):
            await house.client.post("/agui/two", json=given | {"forwardedProps": {"invoice": "A-17"}})
        other = (await house.client.get("/api/agents/runs/r2")).json()
        await house.client.post("/v1/runs/r1/cancel", json={})
        stopped = (await house.client.get("/api/agents/runs/r1")).json()
    assert [one["reviewTaskId"] for one in told["hitlContexts"]] == [gate(0), gate(1)]
    assert told["hitlContext"] == told["hitlContexts"][0]
    assert other["inputParams"] == {"invoice": "A-17"}
    assert (stopped["status"], stopped["hitlContext"]) == ("stopped", None) and "hitlContexts" not in stopped


def test_an_answer_of_hocket_own_has_no_secret_of_the_run_in_it() -> None:
    """What is told of a resume is who and which, not what was answered."""
    by = {"tenant": "default", "id": "u", "kind": "user", "name": "U"}
    answer = {"interruptId": "i", "gate": "g-r-0", "status": "resolved", "decision": "answer", "payload": "secret"}
    event = {"type": "ask.resume", "timestamp": 5, "by": by, "answers": [answer]}
    told = word(RunState(id="r", thread_id="t"), Entry(4, event))
    assert b"secret" not in told and b"tenant" not in told
    assert orjson.loads(told.split(b"data: ")[1])["resumedBy"] == {"id": "u", "kind": "user", "name": "U"}
