"""Webhooks of a tenant: what arrives at a receiver, verified with the library of Standard Webhooks."""

import queue
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

Json = dict[str, Any]
Came = tuple[bytes, dict[str, str]]
LIST = "/v1/webhooks"
SECONDS = 20.0


class Receiver:
    """On loopback; it answers with the statuses of `answers`, then with 204."""

    def __init__(self) -> None:
        self.came: queue.Queue[Came] = queue.Queue()
        self.answers: list[int] = []
        came, answers = self.came, self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                came.put((body, dict(self.headers.items())))
                self.send_response(answers.pop(0) if answers else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def until(self, run_id: str, kind: str, secret: str) -> list[Json]:
        """What was told of the run up to such a message, verified."""
        told: list[Json] = []
        end = time.monotonic() + SECONDS
        while not told or told[-1]["type"] != kind:
            body, headers = self.came.get(timeout=max(end - time.monotonic(), 0.01))
            message = Verifier(secret).verify(body, headers)
            if message["data"]["id"] == run_id:
                told.append(message)
        return told


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join(SECONDS)


@pytest.fixture
def made(http: httpx.Client, receiver: Receiver) -> Iterator[Json]:
    answer = http.post(LIST, json={"url": receiver.url})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    http.delete(f"{LIST}/{answer.json()['id']}")


def ran(http: httpx.Client, agent: str = "plain") -> Json:
    """A run to its end."""
    want = {"agent": agent, "input": "hi", "run_id": f"hooked-{uuid4()}"}
    run: Json = http.post("/v1/runs", json=want, headers={"prefer": "wait=20"}).json()
    assert run["status"] == "completed", run
    return run


@pytest.mark.requirement("webhooks.told")
def test_a_run_is_told_from_its_start_to_its_end(http: httpx.Client, receiver: Receiver, made: Json) -> None:
    run = ran(http)
    began, ended = receiver.until(run["id"], "run.completed", made["secret"])
    assert began["type"] == "run.started" and began["data"]["seq"] < ended["data"]["seq"]
    assert ended["data"] == run and ended["timestamp"] == run["ended_at"]


@pytest.mark.requirement("webhooks.filter")
def test_what_it_does_not_name_is_not_sent(http: httpx.Client, receiver: Receiver, made: Json) -> None:
    path = f"{LIST}/{made['id']}"
    assert http.patch(path, json={"events": ["run.completed"], "agent": "plain"}).status_code == 200
    ran(http, "everything")
    last = ran(http)
    body, headers = receiver.came.get(timeout=SECONDS)
    told = Verifier(made["secret"]).verify(body, headers)
    assert (told["type"], told["data"]["id"]) == ("run.completed", last["id"])
    assert http.patch(path, json={"enabled": False}).json()["enabled"] is False
    ran(http)
    assert http.patch(path, json={"enabled": True}).json()["enabled"] is True
    last = ran(http)
    assert [one["type"] for one in receiver.until(last["id"], "run.completed", made["secret"])] == ["run.completed"]
    assert receiver.came.empty()


@pytest.mark.requirement("webhooks.retry")
def test_what_was_not_taken_comes_again(http: httpx.Client, receiver: Receiver, made: Json) -> None:
    receiver.answers.append(503)
    assert http.patch(f"{LIST}/{made['id']}", json={"events": ["run.completed"]}).status_code == 200
    run = ran(http)
    ids = {}
    for _ in range(2):
        body, headers = receiver.came.get(timeout=SECONDS)
        assert Verifier(made["secret"]).verify(body, headers)["data"]["id"] == run["id"]
        ids = {name.lower(): value for name, value in headers.items()}
    end = time.monotonic() + SECONDS
    listed: list[Json] = []
    while len(listed) < 2 and time.monotonic() < end:
        listed = http.get(f"{LIST}/{made['id']}/deliveries").json()["deliveries"]
    assert [(one["attempt"], one["status"], one["delivered"]) for one in listed] == [(2, 204, True), (1, 503, False)]
    assert {one["message_id"] for one in listed} == {ids["webhook-id"]}


@pytest.mark.requirement("webhooks.rotation")
def test_both_secrets_verify_after_a_rotation(http: httpx.Client, receiver: Receiver, made: Json) -> None:
    rotated = http.post(f"{LIST}/{made['id']}/secret").json()
    assert rotated["secret"] != made["secret"]
    assert http.post(f"{LIST}/{made['id']}/test").json()["delivered"] is True
    body, headers = receiver.came.get(timeout=SECONDS)
    for secret in (made["secret"], rotated["secret"]):
        assert Verifier(secret).verify(body, headers)["type"] == "ping"


@pytest.mark.requirement("webhooks.hidden")
def test_a_secret_is_not_shown_again(http: httpx.Client, made: Json) -> None:
    path = f"{LIST}/{made['id']}"
    told = [http.get(path), http.get(LIST), http.patch(path, json={"description": "x"}), http.get(f"{path}/deliveries")]
    assert all(answer.status_code == 200 and "whsec_" not in answer.text for answer in told)


@pytest.mark.requirement("webhooks.refused")
@pytest.mark.parametrize(
    ("want", "field"),
    [
        ({}, "url"),
        ({"url": "mailto:a@example.com"}, "URL"),
        ({"url": "http://169.254.169.254/latest"}, "169.254.169.254"),
        ({"url": "https://example.com/", "events": ["run.bored"]}, "events"),
        ({"url": "https://example.com/", "what": "ever"}, "what"),
    ],
)
def test_what_cannot_be_a_webhook_is_not_made(http: httpx.Client, want: Json, field: str) -> None:
    before = http.get(LIST).json()
    answer = http.post(LIST, json=want)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert field in answer.json()["detail"] and http.get(LIST).json() == before
