"""A task as a stream: from its beginning, from where it is, or from a cursor, and never twice or with a hole."""

import asyncio
from typing import Any

import httpx
import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.a2a.peer import VERSION, Wire, asking, call, echo, frames, later, message, send, texts
from tests.house import WAIT_SECONDS, House, open_house
from tests.protocol.test_a2a_updates import artifacts, grown

pytestmark = pytest.mark.anyio

CURSOR = "urn:hocket:a2a:cursor:1"


class Gate:
    """An agent that says a word, waits until it is let on, and says the rest."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, run: Any) -> Any:
        yield "one "
        await self.open.wait()
        yield "two "
        yield run.state({"n": 1})
        yield {"type": "RUN_FINISHED", "result": {"done": True}}


async def streamed(house: House, agent: str, method: str, headers: dict[str, str] | None = None, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": "s", "method": method, "params": params}
    answer = await house.client.post(f"/a2a/{agent}", json=body, headers=VERSION | (headers or {}))
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    return answer


def folded(told: list[tuple[int | None, Wire]], task: Wire | None = None) -> Wire:
    first, *rest = [one for _, one in told] if task is None else [{"task": task}, *(one for _, one in told)]
    return grown(first["task"], rest)


async def test_a_new_task_is_streamed_from_its_beginning_and_folds_into_what_is_polled(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        rpc = frames(await streamed(house, "echo", "SendStreamingMessage", **message("hello")))
        rest = await house.client.post("/a2a/echo/message:stream", json=message("hello"), headers=VERSION)
        bare = frames(rest)
        polled = (await call(house, "echo", "GetTask", id=rpc[0][1]["task"]["id"]))["result"]
    for told in (rpc, bare):
        first, *updates = [one for _, one in told]
        assert first["task"]["status"]["state"] == "TASK_STATE_SUBMITTED" and len(first["task"]["history"]) == 1
        assert updates[0]["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING"
        assert updates[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
        chunks = [one["artifactUpdate"] for one in updates if "artifactUpdate" in one]
        assert [one["artifact"]["parts"][0]["text"] for one in chunks] == ["", "You said: ", "hello", ""]
        assert [(one.get("append", False), one.get("lastChunk", False)) for one in chunks] == [
            (False, False), (True, False), (True, False), (True, True),
        ]  # fmt: skip
    assert [set(one) for _, one in rpc] == [set(one) for _, one in bare]
    assert artifacts(folded(rpc)) == artifacts(polled) and folded(rpc)["status"] == polled["status"]
    assert "a2a-extensions" not in rest.headers


async def test_a_subscriber_is_shown_the_task_as_it_is_and_then_every_later_update(
    nats: EmbeddedServer, settings: Settings
) -> None:
    gate = Gate()
    async with open_house(nats, settings, gate=gate) as house:
        task = await later(house, "gate")
        said = lambda run: any(one.text == ["one "] for one in run.messages)  # noqa: E731
        await house.engine.changed(task["id"], (await _development()), said, WAIT_SECONDS)
        watching = [
            asyncio.create_task(streamed(house, "gate", "SubscribeToTask", id=task["id"])),
            asyncio.create_task(house.client.get(f"/a2a/gate/tasks/{task['id']}:subscribe", headers=VERSION)),
            asyncio.create_task(house.client.post(f"/a2a/gate/tasks/{task['id']}:subscribe", headers=VERSION)),
        ]
        await _open(house, 3)
        gate.open.set()
        told = [frames(await one) for one in watching]
        polled = (await call(house, "gate", "GetTask", id=task["id"]))["result"]
        refused = (await call(house, "gate", "SubscribeToTask", id=task["id"]))["error"]
    assert told[0] == told[1] == told[2]
    assert texts(told[0][0][1]["task"]) == ["one "]
    assert artifacts(folded(told[0])) == artifacts(polled)
    assert [one["artifactId"] for one in polled["artifacts"]][1:] == ["state", "result"]
    ids = [seq for seq, _ in told[0]]
    assert ids[-2] is None and [seq for seq in ids if seq] == sorted(seq for seq in ids if seq)
    assert refused["code"] == -32004


async def test_a_peer_that_comes_back_with_its_cursor_is_told_what_is_left_and_nothing_twice(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        whole = frames(await streamed(house, "echo", "SendStreamingMessage", **message("hello")))
        task_id = whole[0][1]["task"]["id"]
        for number, (seq, _) in enumerate(whole):
            rest = frames(await streamed(house, "echo", "SubscribeToTask", {"last-event-id": str(seq)}, id=task_id))
            assert rest == whole[number + 1 :]
        bad = [
            (await call(house, "echo", "SubscribeToTask", {"last-event-id": given}, id=task_id))["error"]
            for given in ("999", "x", "-1")
        ]
        key = {"idempotency-key": "k"}
        first = frames(await streamed(house, "echo", "SendStreamingMessage", key, **message("again")))
        back = {**key, "last-event-id": "3"}
        again = frames(await streamed(house, "echo", "SendStreamingMessage", back, **message("again")))
        joined = frames(await streamed(house, "echo", "SendStreamingMessage", key, **message("again")))
    assert [one["code"] for one in bad] == [-32602] * 3
    assert again == [one for one in first if (one[0] or 0) > 3]
    assert len(joined) == 1 and texts(joined[0][1]["task"]) == ["You said: again"]


async def test_a_subscription_stays_open_over_a_question_and_ends_with_the_task(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        opened = frames(await streamed(house, "asking", "SendStreamingMessage", **message()))
        task_id = opened[0][1]["task"]["id"]
        watching = asyncio.create_task(streamed(house, "asking", "SubscribeToTask", id=task_id))
        await _open(house, 1)
        answered = frames(await streamed(house, "asking", "SendStreamingMessage", **message("ok", taskId=task_id)))
        watched = frames(await watching)
    assert opened[-1][1]["statusUpdate"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert watched[0][1]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    for told in (answered, watched):
        assert "task" in told[0][1]
        assert told[-1][1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
        assert texts(folded(told))[-1] == "'ok'" or folded(told)["artifacts"][-1]["parts"][-2]["text"] == "'ok'"


async def test_updates_say_their_entry_to_who_has_activated_the_extension(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        asked = {"a2a-extensions": f"urn:unknown, {CURSOR}"}
        answer = await streamed(house, "echo", "SendStreamingMessage", asked, **message())
        told = frames(answer)
        task = (await call(house, "echo", "GetTask", asked, id=told[0][1]["task"]["id"]))["result"]
    assert answer.headers["a2a-extensions"] == CURSOR
    assert all(next(iter(one.values()))["metadata"][CURSOR] == {"seq": seq} for seq, one in told)
    assert task["metadata"][CURSOR] == {"seq": told[-1][0]}


async def test_a_gateway_that_stops_ends_its_streams_and_answers_who_waits(
    nats: EmbeddedServer, settings: Settings
) -> None:
    gate = Gate()
    async with open_house(nats, settings, gate=gate) as house:
        watching = asyncio.create_task(streamed(house, "gate", "SendStreamingMessage", **message()))
        await _open(house, 1)
        blocked = asyncio.create_task(send(house, "gate"))
        listed = lambda: len(house.gateway.engine.tails._open) == 2  # noqa: E731
        await _until(listed)
        house.gateway.streams.drain()
        told, task = frames(await watching), await blocked
    assert "task" in told[0][1] and not any(one["status"]["state"] == "TASK_STATE_COMPLETED" for one in _statuses(told))
    assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")


async def test_streaming_that_is_switched_off_is_refused_in_both_versions(
    nats: EmbeddedServer, settings: Settings
) -> None:
    settings = settings.model_copy(update={"a2a_capabilities": "push"})
    async with open_house(nats, settings, echo=echo) as house:
        card = (await house.client.get("/a2a/echo/.well-known/agent-card.json")).json()
        refused = await call(house, "echo", "SendStreamingMessage", **message())
        rest = await house.client.post("/a2a/echo/message:stream", json=message(), headers=VERSION)
        old = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
        body = {"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": {"message": old}}
        legacy = await house.client.post("/a2a/echo", json=body)
        runs = (await house.client.get("/v1/runs")).json()["runs"]
    assert card["capabilities"]["streaming"] is False and refused["error"]["code"] == -32004
    assert rest.status_code == 400 and rest.json()["error"]["details"][0]["reason"] == "UNSUPPORTED_OPERATION"
    assert "-32004" in legacy.text and runs == []


async def test_a_peer_of_0_3_streams_and_subscribes_in_its_own_words(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asking=asking) as house:

        def asked(method: str, **params: Any) -> Any:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return house.client.post("/a2a/asking", json=body)

        def said(text: str, **more: Any) -> Wire:
            part = {"kind": "text", "text": text}
            return {"message": {"kind": "message", "messageId": "m", "role": "user", "parts": [part], **more}}

        opened = _legacy(await asked("message/stream", **said("hi")))
        task_id = opened[0]["id"]
        watching = asyncio.create_task(asked("tasks/resubscribe", id=task_id))
        await _until(lambda: len(house.gateway.engine.tails._open) == 1)
        done = (await asked("message/send", **said("ok", taskId=task_id))).json()["result"]
        watched = _legacy(await watching)
        polled = (await asked("tasks/get", id=task_id)).json()["result"]
    assert [one["kind"] for one in opened][:2] == ["task", "status-update"]
    assert opened[-1]["status"]["state"] == "input-required"
    assert done["status"]["state"] == "completed" == watched[-1]["status"]["state"] and polled == done
    assert watched[0]["kind"] == "task" and watched[0]["status"]["state"] == "input-required"


def _legacy(answer: httpx.Response) -> list[Wire]:
    return [one for _, one in frames(httpx.Response(200, text=answer.text.replace("\r\n", "\n")))]


def _statuses(told: list[tuple[int | None, Wire]]) -> list[Wire]:
    return [one["statusUpdate"] for _, one in told if "statusUpdate" in one]


async def _development() -> Any:
    from gateway.auth import DEVELOPMENT

    return DEVELOPMENT


async def _open(house: House, count: int) -> None:
    await _until(lambda: len(house.gateway.streams) == count)


async def _until(holds: Any) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
