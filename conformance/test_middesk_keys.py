"""Middesk's run API with keys: whose run it is, who may answer, and in which order a resume is refused."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.dialects.middesk import Client
from conformance.keyed import SECONDS, Keyed, served
from conformance.test_middesk import YES, refused, waiting

Fresh = Callable[..., contextlib.AbstractContextManager[str]]


@pytest.fixture
def keyed(fresh: Fresh, tmp_path: Path) -> Iterator[Keyed]:
    with fresh() as url:
        yield Keyed(url, tmp_path / "data")


def client(keyed: Keyed, *words: str, tenant: str = "acme") -> Client:
    """Of whoever holds a new key."""
    key = keyed.hocket("create", "--tenant", tenant, *words)
    with keyed.of(key) as http:
        assert served(http).status_code in (200, 403)
    return Client(keyed.url, key)


@pytest.mark.requirement("MD-010")
def test_the_requester_is_the_person_the_account_or_nobody_and_stays_so(keyed: Keyed, name: str) -> None:
    alice = client(keyed, "--principal", "user:alice", "--kind", "user", "--name", "Alice")
    machine = client(keyed, "--principal", "key:ci", "--kind", "api_key", "--scope", "admin")
    service = client(keyed, "--principal", "svc", "--kind", "service")
    account = {"id": "acme", "name": "acme"}
    expected = {alice: {"id": "user:alice", "name": "Alice"}, machine: account, service: account}
    for who, requester in expected.items():
        run = waiting(who)
        assert run["requester"] == requester
        other = machine if who is alice else alice
        answered = other.resume(run["id"], interrupt_id=run["interrupts"][0]["id"], input=YES | {"requester": "me"})
        assert answered.status_code == 200 and answered.json()["requester"] == requester
        assert other.until(run["id"], "completed")["requester"] == requester
    trigger = {"id": name, "agent": "reviewing", "input": "hi", "kind": "now"}
    made = machine.http.post(f"{keyed.url}/v1/triggers", json=trigger)
    assert made.status_code == 201, made.text
    end = time.monotonic() + SECONDS
    while len(alice.listed()) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    started = alice.until(alice.listed()[0], "interrupted")
    assert started["requester"] is None
    assert alice.answer(started["id"], YES).json()["requester"] is None


@pytest.mark.requirement("MD-009")
def test_a_run_of_another_tenant_answers_as_one_that_is_not_there(keyed: Keyed) -> None:
    alice = client(keyed, "--principal", "alice", "--kind", "user")
    eve = client(keyed, "--principal", "eve", "--kind", "user", "--scope", "admin", tenant="evil")
    run = waiting(alice)
    nobody = "00000000-0000-4000-8000-000000000000"
    for path in ("/v1/runs/{}", "/v1/runs/{}/stream", "/v1/runs/{}?include=steps"):
        foreign, missing = (eve.http.get(path.format(name)) for name in (run["id"], nobody))
        assert refused(foreign, 404) == refused(missing, 404) and foreign.content == missing.content
    gate = run["interrupts"][0]["id"]
    foreign, missing = (eve.resume(name, interrupt_id=gate, input=YES) for name in (run["id"], nobody))
    assert refused(foreign, 404) == refused(missing, 404) and foreign.content == missing.content
    refused(eve.http.get(f"/v1/threads/{run['thread_id']}"), 404)
    assert eve.listed() == [] and alice.listed() == [run["id"]]
    assert eve.page("threads")["data"] == []


@pytest.mark.requirement("middesk.order")
def test_a_resume_is_refused_in_order(keyed: Keyed) -> None:
    alice = client(keyed, "--principal", "alice", "--kind", "user")
    reader = client(keyed, "--principal", "reader", "--kind", "user", "--scope", "runs:read")
    run = waiting(alice)
    gate = run["interrupts"][0]["id"]
    bad = {"content": b"{", "headers": {"content-type": "application/json"}}
    path = f"/v1/runs/{run['id']}/resume"
    for nobody in (Client(keyed.url), Client(keyed.url, "wrong")):
        for answer in (nobody.http.post("/v1/runs/none/resume", **bad), nobody.http.get("/v1/runs/none")):  # type: ignore[arg-type]
            refused(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
    refused(reader.http.post("/v1/runs/none/resume", **bad), 404)  # type: ignore[arg-type]
    refused(reader.http.post(path, **bad), 403)  # type: ignore[arg-type]
    refused(reader.resume(run["id"], interrupt_id=gate, input=YES), 403)
    refused(reader.http.post("/v1/runs", json={"type": "plain", "input": 1}), 403)
    refused(alice.http.post(path, **bad), 422)  # type: ignore[arg-type]
    assert alice.resume(run["id"], interrupt_id=gate, input=YES).status_code == 200
    refused(alice.http.post(path, **bad), 422)  # type: ignore[arg-type]
    (told,) = refused(alice.resume(run["id"], interrupt_id=gate, input={"approved": 7}), 409)
    assert "approved" not in told
