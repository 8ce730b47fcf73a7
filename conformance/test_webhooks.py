"""Webhooks of a tenant: what arrives at a receiver, verified with the library of Standard Webhooks."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from conformance.receiver import SECONDS, Receiver, receiving

Json = dict[str, Any]
LIST = "/v1/webhooks"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def made(http: httpx.Client, receiver: Receiver) -> Iterator[Json]:
    answer = http.post(LIST, json={"url": receiver.url})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    http.delete(f"{LIST}/{answer.json()['id']}")


def until(receiver: Receiver, run_id: str, kind: str, secret: str) -> list[Json]:
    """What was told of the run up to such a message, verified."""
    told: list[Json] = []
    for body, headers in receiver.each():
        message = Verifier(secret).verify(body, headers)
        told += [message] if message["data"]["id"] == run_id else []
        if told and told[-1]["type"] == kind:
            break
    return told


def ran(http: httpx.Client, agent: str = "plain") -> Json:
    """A run to its end."""
    want = {"agent": agent, "input": "hi", "run_id": f"hooked-{uuid4()}"}
    run: Json = http.post("/v1/runs", json=want, headers={"prefer": "wait=20"}).json()
    assert run["status"] == "completed", run
    return run


@pytest.mark.requirement("webhooks.told")
def test_a_run_is_told_from_its_start_to_its_end(http: httpx.Client, receiver: Receiver, made: Json) -> None:
    run = ran(http)
    began, ended = until(receiver, run["id"], "run.completed", made["secret"])
    assert began["type"] == "run.started" and began["data"]["seq"] < ended["data"]["seq"]
    assert ended["data"] == run and ended["timestamp"] == run["ended_at"]


@pytest.mark.requirement("webhooks.filter")
def test_what_it_does_not_name_is_not_sent(http: httpx.Client, receiver: Receiver, made: Json) -> None:
    path = f"{LIST}/{made['id']}"
    assert http.patch(path, json={"events": ["run.completed"], "agent": "plain"}).status_code == 200
    ran(http, "everything")
    last = ran(http)
    body, headers = receiver.next()
    told = Verifier(made["secret"]).verify(body, headers)
    assert (told["type"], told["data"]["id"]) == ("run.completed", last["id"])
    assert http.patch(path, json={"enabled": False}).json()["enabled"] is False
    ran(http)
    assert http.patch(path, json={"enabled": True}).json()["enabled"] is True
    last = ran(http)
    assert [one["type"] for one in until(receiver, last["id"], "run.completed", made["secret"])] == ["run.completed"]
    assert receiver.came.empty()


@pytest.mark.requirement("webhooks.retry")
def test_what_was_not_taken_comes_again(http: httpx.Client, receiver: Receiver, made: Json) -> None:
    receiver.answers.append(503)
    assert http.patch(f"{LIST}/{made['id']}", json={"events": ["run.completed"]}).status_code == 200
    run = ran(http)
    ids: dict[str, str] = {}
    for _ in range(2):
        body, headers = receiver.next()
        assert Verifier(made["secret"]).verify(body, headers)["data"]["id"] == run["id"]
        ids = headers
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
    body, headers = receiver.next()
    for secret in (made["secret"], rotated["secret"]):
        assert Verifier(secret).verify(body, headers)["type"] == "ping"


@pytest.mark.requirement("webhooks.hidden")
def test_a_secret_is_not_shown_again(http: httpx.Client, made: Json) -> None:
    path = f"{LIST}/{made['id']}"
    told = [http.get(path), http.get(LIST), http.patch(path, json={"description": "x"}), http.get(f"{path}/deliveries")]
    assert all(answer.status_code == 200 and "whsec_" not in answer.text for answer in told)


Event = dict[str, str]


@contextlib.contextmanager
def listening(http: httpx.Client, last: str | None = None, **query: str) -> Iterator[Iterator[Event]]:
    """The events of GET /v1/webhooks/events, which is sure to be listening."""
    headers = {"last-event-id": last} if last is not None else {}
    with http.stream("GET", f"{LIST}/events", headers=headers, params=query) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer)


def events(answer: httpx.Response) -> Iterator[Event]:
    event: Event = {}
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if line:
            event[field] = value
        else:
            yield event
            event = {}


def messages(stream: Iterator[Event], run_id: str) -> Iterator[tuple[Event, Json]]:
    for event in stream:
        if event["event"] != "listening" and (message := json.loads(event["data"]))["data"]["id"] == run_id:
            yield event, message


@pytest.mark.requirement("webhooks.listen")
def test_who_listens_is_sent_the_bodies_that_a_webhook_is_sent(
    http: httpx.Client, receiver: Receiver, made: Json
) -> None:
    with listening(http, agent="plain") as stream:
        assert next(stream)["event"] == "listening"
        run = ran(http)
        told = messages(stream, run["id"])
        (began, _), (ended, last) = next(told), next(told)
    assert (began["event"], ended["event"]) == ("run.started", "run.completed") and last["data"] == run
    bodies = [body for body, _ in (receiver.next(), receiver.next())]
    assert bodies == [began["data"].encode(), ended["data"].encode()]


@pytest.mark.requirement("webhooks.listen-resume")
def test_who_listens_again_goes_on_right_after_the_last_id(http: httpx.Client) -> None:
    with listening(http) as stream:
        begun = next(stream)["id"]
    run = ran(http)
    with listening(http, begun) as stream:
        told = messages(stream, run["id"])
        first, second = next(told)[0], next(told)[0]
    later = ran(http)
    with listening(http, first["id"]) as stream:
        known: dict[str, list[str]] = {run["id"]: [], later["id"]: []}
        for event in stream:
            name = event["event"] != "listening" and json.loads(event["data"])["data"]["id"]
            if name in known:
                known[name].append(event["id"])
            if len(known[later["id"]]) == 2:
                break
    assert known[run["id"]] == [second["id"]]
    refused = http.get(f"{LIST}/events", headers={"last-event-id": "none"})
    assert refused.status_code == 422 and "Last-Event-ID" in refused.json()["detail"]


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
