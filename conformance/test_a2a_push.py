"""Push notifications: a task's configurations, and what arrives at a webhook."""

import json
from collections.abc import Iterator

import pytest
from a2a.types import StreamResponse
from google.protobuf.json_format import ParseDict

from conformance.a2a.peer import Json, Peer, message
from conformance.receiver import Receiver, receiving

HOOK = "https://example.com/hook"


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def until(webhook: Receiver, state: str) -> list[tuple[dict[str, str], Json]]:
    """Everything up to the notification that tells this state."""
    told: list[tuple[dict[str, str], Json]] = []
    for body, headers in webhook.each():
        told.append((headers, json.loads(body)))
        (update,) = told[-1][1].values()
        if update.get("status", {}).get("state") == state:
            break
    return told


def configured(peer: Peer, task_id: str) -> list[Json]:
    told: list[Json] = peer.call("ListTaskPushNotificationConfigs", {"taskId": task_id}).get("configs", [])
    return told


@pytest.mark.requirement("A2A-100")
def test_a_tasks_configurations_are_made_read_listed_and_removed(peer: Peer) -> None:
    task = peer.send("hi")
    own = peer.call("CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": HOOK, "token": "t"})
    assert (own["id"], own["taskId"], own["url"], own["token"]) == (task["id"], task["id"], HOOK, "t")
    signed = {"scheme": "Bearer", "credentials": "secret"}
    named = {"taskId": task["id"], "id": "second", "url": f"{HOOK}/2", "authentication": signed}
    assert peer.call("CreateTaskPushNotificationConfig", named)["id"] == "second"
    one = {"taskId": task["id"], "id": "second"}
    assert peer.call("GetTaskPushNotificationConfig", one)["url"] == f"{HOOK}/2"
    assert {config["id"] for config in configured(peer, task["id"])} == {task["id"], "second"}
    for _ in range(2):  # removing is idempotent
        peer.call("DeleteTaskPushNotificationConfig", one)
    assert [config["id"] for config in configured(peer, task["id"])] == [task["id"]]
    assert peer.refused("GetTaskPushNotificationConfig", one).reason == "TASK_NOT_FOUND"


@pytest.mark.requirement("A2A-101")
def test_a_configuration_that_cannot_be_is_refused(peer: Peer) -> None:
    task = peer.send("hi")
    for url in ("", "x", "ftp://example.com/", "http://", "file:///etc/passwd", "https://user:pw@example.com/"):
        refusal = peer.refused("CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": url})
        assert (refusal.code or -32602) == -32602 and refusal.status in (200, 400), url
        inline = message("hi", configuration={"taskPushNotificationConfig": {"url": url}})
        assert (peer.refused("SendMessage", inline).code or -32602) == -32602, url
    assert configured(peer, task["id"]) == []
    unknown = {"taskId": "no-such-task", "url": HOOK}
    assert peer.refused("CreateTaskPushNotificationConfig", unknown).reason == "TASK_NOT_FOUND"
    assert peer.refused("ListTaskPushNotificationConfigs", {"taskId": "no-such-task"}).reason == "TASK_NOT_FOUND"


@pytest.mark.requirement("A2A-102")
def test_a_webhook_is_told_of_the_task_until_its_end(peer: Peer, webhook: Receiver) -> None:
    signed = {"scheme": "Bearer", "credentials": "secret"}
    config = {"url": webhook.url, "token": "t0", "authentication": signed}
    task = peer.send("hi", configuration={"taskPushNotificationConfig": config})
    told = until(webhook, "TASK_STATE_COMPLETED")
    for headers, body in told:
        assert headers["content-type"].startswith("application/a2a+json")
        assert headers["authorization"] == "Bearer secret" and headers["x-a2a-notification-token"] == "t0"
        ParseDict(body, StreamResponse())
        ((_, one),) = body.items()
        assert task["id"] in (one.get("id"), one.get("taskId"))


@pytest.mark.requirement("A2A-102")
def test_a_webhook_is_told_of_questions_and_of_nothing_once_it_is_removed(peer: Peer, webhook: Receiver) -> None:
    asking = peer.to("reviewing")
    task = asking.send("check", configuration={"taskPushNotificationConfig": {"url": webhook.url, "id": "mine"}})
    until(webhook, "TASK_STATE_INPUT_REQUIRED")
    asking.call("DeleteTaskPushNotificationConfig", {"taskId": task["id"], "id": "mine"})
    other = asking.send("check", configuration={"taskPushNotificationConfig": {"url": webhook.url}})
    until(webhook, "TASK_STATE_INPUT_REQUIRED")
    for one in (task, other):
        asking.send(None, parts=[{"data": {"approved": True}}], taskId=one["id"])
    for _, body in until(webhook, "TASK_STATE_COMPLETED"):
        ((_, one),) = body.items()
        assert other["id"] in (one.get("id"), one.get("taskId"))
