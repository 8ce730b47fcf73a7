"""A task's webhooks, as a peer sets them and as they are told."""

from typing import Any

import orjson
import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.a2a.peer import VERSION, Wire, asking, call, echo, message, send
from tests.house import bearer, give_key, open_house
from tests.runtime.receiver import Receiver, open_receiver

pytestmark = pytest.mark.anyio


@pytest.fixture
def local(settings: Settings) -> Settings:
    return settings.model_copy(update={"push_loopback_enabled": True, "push_retry_s": 0.05})


def hook(url: str, **more: Any) -> Wire:
    return {"configuration": {"taskPushNotificationConfig": {"url": url, **more}}}


async def test_a_webhook_that_comes_with_a_message_is_told_everything_from_the_beginning_and_in_order(
    nats: EmbeddedServer, local: Settings
) -> None:
    async with open_receiver() as receiver, open_house(nats, local, asking=asking) as house:
        secret = {"token": "t0k", "authentication": {"scheme": "Bearer", "credentials": "s3cret"}}
        task = await send(house, "asking", **hook(receiver.url, **secret))
        await send(house, "asking", "yes", taskId=task["id"])
        told = await _told(receiver, 4)
    assert [one.state for one in told] == ["WORKING", "INPUT_REQUIRED", "WORKING", "COMPLETED"]
    assert [one.seq for one in told] == sorted({one.seq for one in told})
    assert {one.headers["authorization"] for one in told} == {"Bearer s3cret"}
    assert {one.headers["x-a2a-notification-token"] for one in told} == {"t0k"}
    assert {one.headers["content-type"] for one in told} == {"application/a2a+json"}


async def test_an_answer_may_bring_a_webhook_which_is_told_of_its_leg(nats: EmbeddedServer, local: Settings) -> None:
    async with open_receiver() as receiver, open_house(nats, local, asking=asking) as house:
        task = await send(house, "asking")
        await send(house, "asking", "yes", taskId=task["id"], **hook(receiver.url))
        told = await _told(receiver, 2)
    assert [one.state for one in told] == ["WORKING", "COMPLETED"]


async def test_a_peer_of_0_3_is_told_in_its_own_form(nats: EmbeddedServer, local: Settings) -> None:
    async with open_receiver() as receiver, open_house(nats, local, echo=echo) as house:
        said = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
        params = {"message": said, "configuration": {"pushNotificationConfig": {"url": receiver.url, "token": "t"}}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": params}
        task = (await house.client.post("/a2a/echo", json=body)).json()["result"]
        told = await _told(receiver, 2, state=False)
    assert [one["kind"] for one in told] == ["task", "task"] and told[-1]["id"] == task["id"]
    assert [one["status"]["state"] for one in told] == ["working", "completed"]
    assert told[-1]["artifacts"][0]["parts"][0] == {"kind": "text", "text": "You said: hi"}


async def test_configurations_are_set_read_listed_and_removed_in_both_bindings(
    nats: EmbeddedServer, local: Settings
) -> None:
    async with open_house(nats, local, echo=echo) as house:
        task = await send(house, "echo")
        ids = {"taskId": task["id"]}
        first = (await call(house, "echo", "CreateTaskPushNotificationConfig", url="https://example.com/a", **ids))[
            "result"
        ]
        path = f"/a2a/echo/tasks/{task['id']}/pushNotificationConfigs"
        given = {"id": "mine", "url": "https://example.com/b", "token": "t"}
        second = (await house.client.post(path, json=given, headers=VERSION)).json()
        got = (await call(house, "echo", "GetTaskPushNotificationConfig", id="mine", **ids))["result"]
        listed = (await house.client.get(path, headers=VERSION)).json()["configs"]
        gone = [await house.client.delete(f"{path}/mine", headers=VERSION) for _ in range(2)]
        missing = (await call(house, "echo", "GetTaskPushNotificationConfig", id="mine", **ids))["error"]
        left = (await call(house, "echo", "ListTaskPushNotificationConfigs", **ids))["result"]["configs"]
    assert first["id"] == task["id"] and second == got == given | ids
    assert sorted(one["id"] for one in listed) == sorted([task["id"], "mine"])
    assert [one.status_code for one in gone] == [200, 200] and missing["code"] == -32001
    assert [one["id"] for one in left] == [task["id"]]


async def test_a_webhook_that_may_not_be_is_refused_and_the_message_with_it(
    nats: EmbeddedServer, settings: Settings
) -> None:
    bad: list[Wire] = [
        {"url": "http://127.0.0.1/x"}, {"url": "http://169.254.169.254/"}, {"url": "ftp://example.com"}, {"url": ""},
        {"url": "https://user:pw@example.com"}, {"url": "https://example.com", "token": "a\r\nb"},
        {"url": "https://" + "x" * 3_000},
    ]  # fmt: skip
    async with open_house(nats, settings, echo=echo) as house:
        told = [
            (await call(house, "echo", method, **message(configuration={"taskPushNotificationConfig": one})))["error"]
            for one in bad
            for method in ("SendMessage", "SendStreamingMessage")
        ]
        runs = (await house.client.get("/v1/runs")).json()["runs"]
    assert {one["code"] for one in told} == {-32602} and runs == []


async def test_of_a_start_that_fails_no_webhook_is_left(nats: EmbeddedServer, local: Settings) -> None:
    async with open_house(nats, local, asking=asking) as house:
        await send(house, "asking", contextId="c")
        refused = (
            await call(house, "asking", "SendMessage", **message(contextId="c", **hook("https://example.com/x")))
        )["error"]
        kept = await house.engine._log.keys("PUSH")
    assert refused["code"] == -32004 and kept == {}


async def test_a_webhook_of_another_tenants_task_cannot_be_set_or_seen(nats: EmbeddedServer, local: Settings) -> None:
    async with open_house(nats, local, echo=echo) as house:
        acme, other = [bearer(await give_key(house, tenant=name)) for name in ("acme", "other")]
        task = await send(house, "echo", headers=acme)
        asked: list[tuple[str, Wire]] = [
            ("CreateTaskPushNotificationConfig", {"url": "https://example.com/x"}),
            ("GetTaskPushNotificationConfig", {"id": "c"}), ("ListTaskPushNotificationConfigs", {}),
            ("DeleteTaskPushNotificationConfig", {"id": "c"}),
        ]  # fmt: skip
        told = [
            (await call(house, "echo", method, other, taskId=task["id"], **more))["error"] for method, more in asked
        ]
        own = (await call(house, "echo", "ListTaskPushNotificationConfigs", acme, taskId=task["id"]))["result"]
    assert {one["code"] for one in told} == {-32001} and own == {}


async def test_push_that_is_switched_off_is_not_supported(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings.model_copy(update={"a2a_capabilities": "streaming"}), echo=echo) as house:
        task = await send(house, "echo")
        told = [
            (await call(house, "echo", "ListTaskPushNotificationConfigs", taskId=task["id"]))["error"],
            (await call(house, "echo", "SendMessage", **message(**hook("https://example.com/x"))))["error"],
        ]
    assert [one["code"] for one in told] == [-32003, -32003]


async def _told(receiver: Receiver, count: int, state: bool = True) -> Any:
    await receiver.has_taken(count)
    return receiver.taken if state else [orjson.loads(one.body) for one in receiver.taken]
