"""Middesk's webhooks: what arrives of a run, signed as every webhook of hocket's."""

from collections.abc import Iterator

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from conformance import scenario as s
from conformance.dialects.middesk import Client
from conformance.receiver import Receiver, receiving
from conformance.test_middesk import YES, waiting
from conformance.test_webhooks import LIST


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def until_completed(receiver: Receiver, run_id: str, secret: str) -> list[s.Json]:
    """What is told of the run up to its end, verified, a repetition as often as it comes."""
    told: list[s.Json] = []
    while not told or told[-1]["type"] != "run.completed":
        body, headers = receiver.next()
        event: s.Json = Verifier(secret).verify(body, headers)
        told += [event] if event["data"]["object"]["id"] == run_id else []
    return told


@pytest.mark.requirement("middesk.webhook")
def test_a_run_is_told_as_created_interrupted_and_completed(
    base_url: str, http: httpx.Client, receiver: Receiver
) -> None:
    middesk = Client(base_url)
    made = http.post(LIST, json={"url": receiver.url, "format": "middesk", "agent": "reviewing"}).json()
    receiver.answers.append(503)
    try:
        run = waiting(middesk)
        assert middesk.answer(run["id"], YES).status_code == 200
        again, created, interrupted, completed = until_completed(receiver, run["id"], made["secret"])
        assert again == created
        assert http.patch(f"{LIST}/{made['id']}", json={"agent": "raising"}).json()["format"] == "middesk"
        failed = middesk.start("raising", "hi")
        *_, error = until_completed(receiver, failed, made["secret"])
    finally:
        http.delete(f"{LIST}/{made['id']}")
    for event, kind in ((created, "created"), (interrupted, "interrupted"), (completed, "completed")):
        assert set(event) == {"object", "id", "type", "data", "created_at"} and set(event["data"]) == {"object"}
        assert (event["object"], event["type"]) == ("event", f"run.{kind}")
        assert event["id"].startswith(f"{run['id']}-") and "steps" not in event["data"]["object"]
    assert len({one["id"] for one in (created, interrupted, completed)}) == 3
    assert [one["data"]["object"]["status"] for one in (created, interrupted, completed)] == [
        "running", "interrupted", "completed",
    ]  # fmt: skip
    assert interrupted["data"]["object"] == {name: value for name, value in run.items() if name != "steps"}
    assert completed["data"]["object"] == middesk.run(run["id"])
    assert error["data"]["object"] == middesk.run(failed) and error["data"]["object"]["status"] == "error"
