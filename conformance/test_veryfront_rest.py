"""Veryfront's REST calls: start, read, events, resume, cancel, and the whole of it by a client of its own."""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from conformance import scenario as s
from conformance.dialects.veryfront import Client
from conformance.keyed import Keyed, served

Fresh = Callable[..., contextlib.AbstractContextManager[str]]

GIVES = json.loads((Path(__file__).parent / "veryfront" / "get_agent_run.output.schema.json").read_text())
APPROVED = {"approved": True}
SECONDS = 20.0


@pytest.fixture(scope="module")
def client(base_url: str) -> Client:
    return Client(base_url)


def until(client: Client, run_id: str, *statuses: str) -> s.Json:
    """The run as its conversation has it, once it has one of those statuses and, if that is an end, its time."""
    deadline = time.monotonic() + SECONDS
    while True:
        run = client.owned(run_id)
        ended = run["status"] in ("completed", "failed", "cancelled")
        if run["status"] in statuses and (not ended or run["finished_at"] is not None):
            return run
        assert time.monotonic() < deadline and not ended, run
        time.sleep(0.02)


def asked(client: Client, agent: str = "reviewing") -> tuple[str, str]:
    """A run that waits, and the call that it waits for."""
    run_id = client.start(agent, "x")
    return run_id, until(client, run_id, "waiting_for_tool")["waiting_tool_call_id"]


def code(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "detail"}, body
    return answer.status_code, body["error"]


@pytest.mark.requirement("VF-015", "VF-008")
def test_a_client_of_the_runs_api_completes_a_gated_run(client: Client) -> None:
    started = client.begin("interrupting", "check A-17", public_id=f"check-{uuid.uuid4().hex[:8]}")
    assert started.status_code == 202 and started.json()["accepted"] is True
    run_id = started.json()["run"]["run_id"]
    heard = client.stream(run_id)
    seen = [next(heard) for _ in range(4)]
    assert [event["type"] for _, event in seen] == [
        "RUN_STARTED", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"
    ]  # fmt: skip
    heard.close()  # type: ignore[attr-defined]
    waiting = until(client, run_id, "waiting_for_tool")
    assert (waiting["waiting_tool_call_id"], waiting["waiting_tool_name"]) == (f"{run_id}-c", "send")
    canonical = client.run(run_id)
    assert (canonical["status"], canonical["waiting_reason"]) == ("waiting", "tool")
    assert canonical["input"] == {"text": "check A-17"}
    answer = client.answer(run_id, APPROVED)
    assert (answer.status_code, answer.json()) == (200, {"accepted": True})
    rest = list(client.stream(run_id, seen[-1][0]))
    types = [event["type"] for _, event in rest]
    assert types[0] == "TOOL_CALL_RESULT" and types[-1] == "RUN_FINISHED" and "RUN_STARTED" not in types
    assert rest[0][1]["toolCallId"] == f"{run_id}-c"
    done = until(client, run_id, "completed")
    assert done["waiting_tool_call_id"] is None and done["waiting_tool_name"] is None
    page = client.events(run_id, limit=100)
    assert [one["payload"] for one in page["data"]] == [event for _, event in [*seen, *rest]]
    assert client.run(run_id)["status"] == "completed" and client.run(run_id)["output"]["text"]
    again = client.cancel(run_id)
    assert again.status_code == 200 and again.json()["cancelled"] is False


@pytest.mark.requirement("VF-015")
def test_a_cancel_ends_a_waiting_run_and_says_whether_it_did(client: Client) -> None:
    run_id, _ = asked(client)
    first, second = client.cancel(run_id), client.cancel(run_id)
    assert [answer.json()["cancelled"] for answer in (first, second)] == [True, False]
    assert {answer.json()["run"]["status"] for answer in (first, second)} == {"cancelled"}
    last = list(client.stream(run_id))[-1][1]
    assert (last["type"], last["code"]) == ("RUN_ERROR", "cancelled")


@pytest.mark.requirement("VF-003", "VF-008", "VF-009")
def test_the_conversation_and_the_tool_tell_the_same_object_at_every_status(client: Client) -> None:
    for agent, status in (("endless", "running"), ("reviewing", "waiting_for_tool"), ("plain", "completed"),
                          ("raising", "failed")):  # fmt: skip
        run_id = client.start(agent, "x")
        check(client, until(client, run_id, status), status)
        if status in ("running", "waiting_for_tool"):
            assert client.cancel(run_id).json()["cancelled"] is True
            check(client, until(client, run_id, "cancelled"), "cancelled")


def check(client: Client, run: s.Json, status: str) -> None:
    tool = client.tool(run["run_id"])
    jsonschema.validate(tool, GIVES)
    assert len(tool) == 31
    if status != "running":  # which goes on meanwhile
        assert run == tool | {"latest_external_event_sequence": tool["latest_event_id"]}
    for names, when in (("waiting_tool_call_id", "waiting_tool_name"), "waiting_for_tool"), (
        ("terminal_error_code", "terminal_error_message"), "failed"
    ):  # fmt: skip
        assert [isinstance(tool[name], str) for name in names] == [status == when] * 2


@pytest.mark.requirement("VF-003")
def test_a_run_that_no_worker_has_taken_is_pending(fresh: Fresh) -> None:
    with fresh(HOCKET_CONCURRENCY="1") as url:
        client = Client(url)
        busy = client.start("endless", "x")
        until(client, busy, "running")
        queued = client.start("plain", "x")
        run = client.owned(queued)
        check(client, run, "pending")
        assert (run["status"], run["started_at"]) == ("pending", None)
        assert client.run(queued)["status"] == "pending"
        client.cancel(busy)
        assert until(client, queued, "completed")["started_at"] is not None


@pytest.mark.requirement("VF-007")
def test_the_latest_event_is_the_streams_last_and_a_cursor_on_it(client: Client) -> None:
    run_id, call_id = asked(client)
    waiting = client.owned(run_id)["latest_event_id"]
    assert waiting == client.snapshot(run_id)[-1]["event_id"]
    client.resume(run_id, call_id, APPROVED)
    between = client.tool(run_id)["latest_event_id"]
    later = list(client.stream(run_id, waiting))
    done = until(client, run_id, "completed")["latest_event_id"]
    assert waiting < between <= done == later[-1][0]
    assert all(seq > waiting for seq, _ in later if seq is not None)
    assert list(client.stream(run_id))[-1][0] == done
    assert list(client.stream(run_id, done)) == []


@pytest.mark.requirement("VF-008", "VF-010")
def test_the_same_result_is_a_duplicate_and_another_a_conflict(client: Client) -> None:
    run_id, call_id = asked(client)
    first, second = [client.resume(run_id, call_id, APPROVED | {"note": "ok"}) for _ in range(2)]
    assert (first.status_code, first.json()) == (200, {"accepted": True})
    assert (second.status_code, second.json()) == (200, {"accepted": True, "duplicate": True})
    assert code(client.resume(run_id, call_id, {"approved": False})) == (409, "TOOL_RESULT_CONFLICT")
    assert code(client.resume(run_id, call_id, APPROVED | {"note": "ok"}, is_error=True)) == (
        409, "TOOL_RESULT_CONFLICT"
    )  # fmt: skip
    until(client, run_id, "completed")
    said = json.loads(client.run(run_id)["output"]["text"].removeprefix("Checked."))
    assert said["payload"] == APPROVED | {"note": "ok"}
    results = [one for one in client.snapshot(run_id) if one["event"]["type"] == "TOOL_CALL_RESULT"]
    assert len(results) == 1
    assert client.resume(run_id, call_id, {"note": "ok", "approved": True}).json()["duplicate"] is True


@pytest.mark.requirement("VF-011")
def test_what_has_ended_takes_no_result_and_what_never_asked_says_so(client: Client) -> None:
    plain = client.start("plain", "x")
    until(client, plain, "completed")
    cancelled, call_id = asked(client)
    client.cancel(cancelled)
    expired = client.begin("hurried", "x", input={"context": {"on_expiry": "answer"}}).json()["run"]["run_id"]
    calls = [event["toolCallId"] for _, event in client.stream(expired) if event["type"] == "TOOL_CALL_START"]
    for run_id, call in ((plain, "call_7"), (cancelled, call_id), (cancelled, "call_7"), (expired, calls[0])):
        assert code(client.resume(run_id, call, APPROVED)) == (410, "RUN_NOT_ACTIVE")
    waiting, _ = asked(client)
    running = client.start("endless", "x")
    for run_id in (waiting, running):
        assert code(client.resume(run_id, "call_7", APPROVED)) == (409, "TOOL_RESULT_NOT_WAITING")
        client.cancel(run_id)


@pytest.mark.requirement("VF-012")
def test_a_stream_cut_anywhere_goes_on_exactly_and_ends_with_the_run(client: Client) -> None:
    run_id = client.start("everything", "x")
    until(client, run_id, "completed")
    whole = list(client.stream(run_id))
    assert whole[-1][1]["type"] == "RUN_FINISHED" and all(seq is not None for seq, _ in whole)
    for place, (seq, _) in enumerate(whole):
        assert list(client.stream(run_id, seq)) == whole[place + 1 :]
    allowed = ("RUN_", "TEXT_MESSAGE_", "REASONING_MESSAGE_", "TOOL_CALL_", "STATE_", "MESSAGES_SNAPSHOT", "CUSTOM")
    assert all(event["type"].startswith(allowed) for _, event in whole)
    told = [(one["event_id"], one["event"]) for one in client.snapshot(run_id)]
    assert told == whole
    assert [event for _, event in paged(client, run_id)] == [event for _, event in whole]


def paged(client: Client, run_id: str) -> Iterator[tuple[int, s.Json]]:
    after: Any = 0
    while after is not None:
        page = client.events(run_id, after=after, limit=7)
        yield from ((one["event_id"], one["payload"]) for one in page["data"])
        after = page["page_info"]["next"]


@pytest.mark.requirement("VF-013")
def test_one_public_id_is_one_run(client: Client, http: httpx.Client, name: str) -> None:
    body = {"kind": "agent", "owner": {"kind": "conversation", "id": str(uuid.uuid4())}, "public_id": name,
            "request": {"mode": "agent", "agent_id": "plain", "initial_status": "pending"}}  # fmt: skip
    first, second = [client.http.post("/runs", json=body) for _ in range(2)]
    assert first.status_code == second.status_code == 202
    assert "duplicate" not in first.json() and second.json()["duplicate"] is True
    assert first.json()["run"]["run_id"] == second.json()["run"]["run_id"] == name
    listed = http.get("/v1/runs", params={"thread_id": body["owner"]["id"]}).json()["runs"]  # type: ignore[index]
    assert [run["id"] for run in listed] == [name]
    other = body | {"request": body["request"] | {"agent_id": "counting"}}  # type: ignore[operator]
    assert code(client.http.post("/runs", json=other)) == (409, "RUN_ID_CONFLICT")


@pytest.fixture
def keyed(fresh: Fresh, tmp_path: Path) -> Iterator[Keyed]:
    with fresh() as url:
        yield Keyed(url, tmp_path / "data")


@pytest.mark.requirement("VF-006", "VF-014")
def test_the_requester_is_the_credentials_and_another_tenants_run_is_none(keyed: Keyed) -> None:
    alice, bob, eve = keyed.key("user:alice"), keyed.key("user:bob"), keyed.key("user:eve", tenant="other")
    for key in (alice, bob, eve):
        with keyed.of(key) as known:
            assert served(known).status_code == 200
    asking, answering, elsewhere = Client(keyed.url, alice), Client(keyed.url, bob), Client(keyed.url, eve)
    run_id = asking.begin("reviewing", "x", requested_by_user_id="user:mallory").json()["run"]["run_id"]
    call_id = until(asking, run_id, "waiting_for_tool")["waiting_tool_call_id"]
    path = asking.place(run_id)
    for hidden, unknown in ((elsewhere.http.get(path), asking.http.get(path.replace(run_id, "nope"))),
                            (elsewhere.resume(run_id, call_id, APPROVED), asking.resume("nope", call_id, APPROVED)),
                            (elsewhere.cancel(run_id), asking.cancel("nope"))):  # fmt: skip
        assert code(hidden) == (404, "NOT_FOUND") and hidden.text.replace(run_id, "nope") == unknown.text
    assert answering.resume(run_id, call_id, APPROVED).status_code == 200
    done = until(asking, run_id, "completed")
    assert done["requested_by_user_id"] == done["run_snapshot"]["requester"]["user_id"] == "user:alice"
    assert answering.run(run_id)["created_by"] == "user:alice"
