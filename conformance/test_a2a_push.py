"""Push notifications: a task's configurations, and what arrives at a webhook."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from a2a.types import StreamResponse
from google.protobuf.json_format import ParseDict

from conformance.a2a.peer import Json, Peer, message

SECONDS = 20.0
HOOK = "https://example.com/hook"


class Webhook:
    """A receiver on loopback: what it was posted, as (headers, body)."""

    def __init__(self) -> None:
        self.posted: queue.Queue[tuple[dict[str, str], Json]] = queue.Queue()
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                posted.put(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def until(self, state: str) -> list[tuple[dict[str, str], Json]]:
        """Everything up to the notification that tells this state."""
        told = []
        end = time.monotonic() + SECONDS
        while True:
            told.append(self.posted.get(timeout=max(end - time.monotonic(), 0.01)))
            (body,) = told[-1][1].values()
            if body.get("status", {}).get("state") == state:
                return told


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    thread = threading.Thread(target=hook.server.serve_forever, daemon=True)
    thread.start()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()
    thread.join(SECONDS)


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
def test_a_webhook_is_told_of_the_task_until_its_end(peer: Peer, webhook: Webhook) -> None:
    signed = {"scheme": "Bearer", "credentials": "secret"}
    config = {"url": webhook.url, "token": "t0", "authentication": signed}
    task = peer.send("hi", configuration={"taskPushNotificationConfig": config})
    told = webhook.until("TASK_STATE_COMPLETED")
    for headers, body in told:
        assert headers["content-type"].startswith("application/a2a+json")
        assert headers["authorization"] == "Bearer secret" and headers["x-a2a-notification-token"] == "t0"
        ParseDict(body, StreamResponse())
        ((_, one),) = body.items()
        assert task["id"] in (one.get("id"), one.get("taskId"))


@pytest.mark.requirement("A2A-102")
def test_a_webhook_is_told_of_questions_and_of_nothing_once_it_is_removed(peer: Peer, webhook: Webhook) -> None:
    asking = peer.to("reviewing")
    task = asking.send("check", configuration={"taskPushNotificationConfig": {"url": webhook.url, "id": "mine"}})
    webhook.until("TASK_STATE_INPUT_REQUIRED")
    asking.call("DeleteTaskPushNotificationConfig", {"taskId": task["id"], "id": "mine"})
    other = asking.send("check", configuration={"taskPushNotificationConfig": {"url": webhook.url}})
    webhook.until("TASK_STATE_INPUT_REQUIRED")
    for one in (task, other):
        asking.send(None, parts=[{"data": {"approved": True}}], taskId=one["id"])
    for _, body in webhook.until("TASK_STATE_COMPLETED"):
        ((_, one),) = body.items()
        assert other["id"] in (one.get("id"), one.get("taskId"))
