"""Operativus' run API: runs that are waited for, human decisions, cancels."""

import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from conformance.dialects.operativus import Client, Json
from conformance.operativus import problem, response, until

Fresh = Callable[..., "contextlib.AbstractContextManager[str]"]

POLLS = 400


@pytest.fixture
def client(base_url: str) -> Iterator[Client]:
    client = Client(f"{base_url}/operativus")
    with client.http:
        yield client


def tools(told: Json) -> list[tuple[str, Any, str]]:
    return [(one["name"], one["arguments"], one["result"]) for one in told["tools"]]


@pytest.mark.requirement("OPV-001", "OPV-002")
def test_a_run_is_waited_for_and_its_session_remembered(client: Client) -> None:
    first = response(client.run("telling", "one"), "COMPLETED")
    assert str(uuid.UUID(first["sessionId"])) == first["sessionId"]
    assert [role for role, _ in json.loads(first["content"])] == ["user"]
    second = response(client.run("telling", "two", session_id=first["sessionId"]), "COMPLETED")
    assert second["sessionId"] == first["sessionId"] and second["runId"] != first["runId"]
    assert [role for role, _ in json.loads(second["content"])] == ["user", "assistant", "user"]
    chosen = str(uuid.uuid4())
    assert response(client.run("telling", "three", sessionId=chosen), "COMPLETED")["sessionId"] == chosen
    assert client.listed(sessionId=first["sessionId"]) == [second["runId"], first["runId"]]


@pytest.mark.requirement("OPV-003", "OPV-004")
def test_each_question_pauses_and_each_approval_runs_its_tool(client: Client) -> None:
    first = response(client.run("clerk", "send file"), "PAUSED")
    assert (first["content"], first["tools"], first["metadata"]) == ("", [], {})
    second = response(client.answer(first["runId"], {"approved": True}), "PAUSED")
    assert second["runId"] == first["runId"] and second["content"] == ""
    assert tools(second) == [("send", {"all": True}, "send: done")]
    last = response(client.answer(f"run_{first['runId']}", {"approved": True}), "COMPLETED")
    assert (last["runId"], last["sessionId"]) == (first["runId"], first["sessionId"])
    assert last["content"] == "Did: send file" and [name for name, _, _ in tools(last)] == ["send", "file"]
    assert last["metadata"] == {
        "model": "acme-large", "promptTokens": 800, "completionTokens": 64, "totalTokens": 864
    }  # fmt: skip
    assert last["reasoningSteps"] == ["I was asked to send file."]


@pytest.mark.requirement("OPV-005")
def test_a_rejection_keeps_the_tool_from_running_and_the_agent_goes_on(client: Client) -> None:
    paused = response(client.run("clerk", "delete"), "PAUSED")
    answer = client.resume("clerk", paused["runId"], action="REJECT", approvalId=client.gate(paused["runId"]))
    told = response(answer, "COMPLETED")
    assert told["content"] == "Did: " and told["tools"] == []


@pytest.mark.requirement("OPV-003")
def test_a_failing_agent_is_an_answer_like_any_other(client: Client) -> None:
    told = response(client.run("raising", "hi"), "FAILED")
    assert told["content"] == "" and set(told["metadata"]) == {"errorCode", "errorMessage"}
    record = client.record(told["runId"])
    assert (record["status"], record["errorType"], record["output"]) == ("FAILED", "AGENT_ERROR", None)


@pytest.mark.requirement("OPV-006")
def test_of_two_decisions_at_once_one_counts_and_the_other_is_told_at_once(client: Client, name: str) -> None:
    for turn in range(5):
        paused = response(client.run("clerk", f"send{turn}"), "PAUSED")
        gate = threading.Barrier(2)

        def call(paused: Json = paused, gate: threading.Barrier = gate) -> httpx.Response:
            gate.wait(10)
            return client.resume("clerk", paused["runId"], action="APPROVE")

        with ThreadPoolExecutor(2) as pool:
            answers = sorted((one.result() for one in [pool.submit(call), pool.submit(call)]), key=_status)
        told = response(answers[0], "COMPLETED")
        assert [name for name, _, _ in tools(told)] == [f"send{turn}"]
        assert problem(answers[1], 400, "business-validation-error")["errors"] == []
        kinds = [event["eventType"] for _, event in client.stream(paused["runId"])]
        assert kinds.count("RUN_RESUMED") == kinds.count("TOOL_COMPLETED") == 1


def _status(answer: httpx.Response) -> int:
    return answer.status_code


@pytest.mark.requirement("OPV-007")
def test_an_action_of_another_word_leaves_the_run_paused(client: Client) -> None:
    run_id = response(client.run("clerk", "send"), "PAUSED")["runId"]
    bodies: list[Json] = [{}, {"action": "approve"}, {"action": "MAYBE"}, {"action": None}, {"action": True}]
    for body in bodies:
        told = problem(client.resume("clerk", run_id, **body), 400, "invalid-request")
        assert [one["field"] for one in told["invalidParams"]] == ["action"] and told["invalidParams"][0]["message"]
    assert client.status(run_id) == "PAUSED"
    for approval in ("g-1-0", client.gate(run_id) + "1"):  # type: ignore[operator]
        problem(client.resume("clerk", run_id, action="APPROVE", approvalId=approval), 400, "business-validation-error")
    response(client.resume("clerk", run_id, action="APPROVED"), "COMPLETED")
    told = problem(client.resume("clerk", run_id, action="APPROVE"), 400, "business-validation-error")
    assert "COMPLETED" in told["detail"] and told["errors"] == []


@pytest.mark.requirement("OPV-008")
def test_a_cancel_ends_a_paused_and_a_running_run_and_returns_who_waits(client: Client, name: str) -> None:
    paused = response(client.run("clerk", "send"), "PAUSED")["runId"]
    running = client.start("endless", "go")
    for run_id, agent in ((paused, "clerk"), (running, "endless"), (running, "endless")):
        answer = client.http.delete(f"/api/agents/{agent}/runs/{run_id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert client.status(run_id) == "CANCELLED"
    problem(client.resume("clerk", paused, action="APPROVE"), 400, "business-validation-error")

    session = str(uuid.uuid4())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.run, "silent_at_first", name, sessionId=session)
        for _ in range(POLLS):
            if listed := client.listed(sessionId=session):
                break
        assert client.cancel(listed[0]).status_code == 204
        told = response(waiting.result(20), "CANCELLED")
    assert told["runId"] == listed[0] and told["content"] == ""


@pytest.mark.requirement("OPV-011")
def test_a_field_that_is_out_of_range_is_named_and_no_run_is_recorded(client: Client) -> None:
    session = str(uuid.uuid4())
    for field, body in {
        "options.temperature": {"options": {"temperature": 2.1}},
        "message": {"message": " \n"},
        "media.0.data": {"media": [{"type": "image/png"}]},
        "options.maxTokens": {"options": {"maxTokens": 0}},
        "media": {"media": [{"type": "image/png", "data": "aGk="}] * 17},
    }.items():
        answer = client.http.post("/api/agents/plain/runs", json={"message": "hi", "sessionId": session, **body})
        told = problem(answer, 400, "invalid-request")
        assert [one["field"] for one in told["invalidParams"]] == [field] and told["invalidParams"][0]["message"]
    told = problem(client.run("plain", "hi", sessionId="not-a-uuid"), 400, "invalid-request")
    assert told["invalidParams"][0]["field"] == "sessionId"
    assert client.listed(sessionId=session) == []


@pytest.mark.requirement("OPV-012")
def test_a_run_that_takes_longer_than_its_caller_waits_goes_on(client: Client, name: str) -> None:
    session = str(uuid.uuid4())
    answer = client.run("silent_at_first", name, {"prefer": "wait=1"}, sessionId=session)
    told = problem(answer, 504, "run-still-active")
    assert told["sessionId"] == session
    client.start("release", name)
    assert until(client, told["runId"], "COMPLETED")["output"] == "At last."
    assert client.listed(sessionId=session) == [told["runId"]]


@pytest.mark.requirement("OPV-012")
def test_how_long_a_call_waits_is_a_setting_and_a_second_try_with_its_key_is_the_same_run(
    fresh: Fresh, name: str
) -> None:
    with fresh(HOCKET_SYNC_WAIT_SECONDS="1") as url:
        client, key = Client(f"{url}/operativus"), {"idempotency-key": name}
        with client.http:
            late = problem(client.run("silent_at_first", name, key), 504, "run-still-active")
            client.start("release", name)
            until(client, late["runId"], "COMPLETED")
            assert response(client.run("silent_at_first", name, key), "COMPLETED")["runId"] == late["runId"]
            problem(client.run("silent_at_first", "another", key), 409, "idempotency-conflict")
            assert len(client.listed(agentId="silent_at_first")) == 1


@pytest.mark.requirement("OPV-013")
def test_a_background_run_is_queued_at_once_and_polled_to_its_end(client: Client, name: str) -> None:
    answer = client.http.post("/api/agents/silent_at_first/runs/background", json={"message": name})
    assert answer.status_code == 200 and set(answer.json()) == {"runId", "status"}
    assert answer.json()["status"] == "QUEUED"
    run_id = answer.json()["runId"]
    polled = client.http.get(f"/api/agents/silent_at_first/runs/{run_id}/status").json()
    assert polled["status"] in ("QUEUED", "RUNNING") and polled["output"] is None and polled["input"] == name
    client.start("release", name)
    assert until(client, run_id, "COMPLETED")["output"] == "At last."
    batch = client.http.get("/api/agents/silent_at_first/runs/status", params={"runIds": f"{uuid.uuid4()},{run_id}"})
    assert batch.json() == [client.record(run_id)]
    many = ",".join(str(uuid.uuid4()) for _ in range(101))
    refused = client.http.get("/api/agents/silent_at_first/runs/status", params={"runIds": many})
    assert problem(refused, 400, "invalid-request")["invalidParams"][0]["field"] == "runIds"


@pytest.mark.requirement("OPV-016")
def test_a_paused_run_takes_no_slot(fresh: Fresh) -> None:
    with fresh(HOCKET_CONCURRENCY="1") as url:
        client = Client(f"{url}/operativus")
        with client.http:
            paused = response(client.run("clerk", "send"), "PAUSED")
            assert response(client.run("plain", "hi"), "COMPLETED")["content"].startswith("You said: hi")
            response(client.answer(paused["runId"], {"approved": True}), "COMPLETED")


@pytest.mark.requirement("OPV-017")
def test_agents_are_found_by_their_list(client: Client) -> None:
    agents = client.http.get("/api/agents").json()
    (plain,) = (one for one in agents if one["id"] == "plain")
    assert set(plain) == {"id", "name", "description", "active"} and plain["active"] is True
    assert plain["id"] in client.agents()
    response(client.run(plain["id"], "hi"), "COMPLETED")
    told = problem(client.run("nobody", "hi"), 404, "resource-not-found")
    assert (told["resourceName"], told["identifier"]) == ("Agent", "nobody")
