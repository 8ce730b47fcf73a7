"""Cinatra's tools over MCP, as a script that only posts uses them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from conformance import scenario as s
from conformance.cinatra import hurry
from conformance.mcp_clients import begin, polled, post, result, told

NOTE = "[Approved by operator]"
PATHS = ("/api/mcp", "/cinatra/api/mcp")


def messages(http: httpx.Client, run_id: str) -> list[tuple[str, str]]:
    listed = told(http, "agent_run_messages_list", runId=run_id)
    assert [one["sequence"] for one in listed["items"]] == list(range(1, listed["total"] + 1))
    return [(one["messageType"], one["body"]) for one in listed["items"]]


def resumes(http: httpx.Client, run_id: str) -> list[s.Json]:
    page = http.get(f"/v1/runs/{run_id}/events", headers={"accept": "application/json"}).json()
    return [one["event"] for one in page["events"] if one["event"]["type"] == "ask.resume"]


@pytest.mark.requirement("CIN-001", "CIN-020")
def test_the_five_steps_of_a_run(http: httpx.Client) -> None:
    agents = told(http, "agent_list", query="user's words")["items"]
    assert [one["id"] for one in agents] == ["plain"]
    read = told(http, "agent_source_read", packageName=agents[0]["packageName"])
    assert "message" in read["content"]["inputSchema"]["properties"]
    listed = told(http, "agent_source_list")
    assert read["path"] in [one["path"] for one in listed["items"]]
    run_id = begin(http, "plain", message="hello")
    run = polled(http, run_id, "completed", "failed", "pending_approval")
    assert run["status"] == "completed" and run["inputParams"] == {"message": "hello"}
    assert messages(http, run_id) == [("user", "hello"), ("final", "You said: hello. Übung, 日本語, 🎶")]


@pytest.mark.requirement("CIN-001")
def test_a_failing_run_ends_with_its_error_among_the_messages(http: httpx.Client) -> None:
    run_id = begin(http, "raising", message="x")
    run = polled(http, run_id, "failed")
    assert messages(http, run_id)[-1] == ("final", run["error"]) and "hunter2" not in str(run)


@pytest.mark.requirement("CIN-002")
def test_a_start_answers_while_the_agent_is_silent(http: httpx.Client, name: str) -> None:
    run_id = begin(http, "silent_at_first", gate=name, message="x")
    assert told(http, "agent_run_get", runId=run_id)["status"] in ("queued", "running")
    polled(http, begin(http, "release", message=name), "completed")
    assert polled(http, run_id, "completed")["streamedText"] == "At last."


GIVEN: list[tuple[s.Json, Any, str]] = [
    ({"userResponse": '{"approved": true}', "approvalNote": "no"}, {"approved": True}, '{"approved": true}'),
    ({"approvalNote": "fine"}, {"approved": True, "note": "fine"}, "fine"),
    ({}, {"approved": True, "note": NOTE}, NOTE),
]


@pytest.mark.requirement("CIN-003", "CIN-004")
@pytest.mark.parametrize(("given", "payload", "text"), GIVEN)
def test_a_question_is_shown_and_answered(given: s.Json, payload: Any, text: str, http: httpx.Client) -> None:
    run_id = begin(http, "reviewing", message="x")
    run = polled(http, run_id, "pending_approval")
    asked = run["hitlContext"]
    assert asked["xRenderer"] == "acme:review" and asked["inputSchema"]["required"] == ["approved"]
    assert asked["reviewTaskId"] == f"g-{run_id}-0" and asked["currentValues"] == {"amount": 120}
    answer = told(http, "agent_run_resume", runId=run_id, **given)
    assert (answer["runId"], answer["status"]) == (run_id, "running") and set(answer) == {"runId", "status", "message"}
    assert told(http, "agent_run_get", runId=run_id)["hitlContext"] is None
    polled(http, run_id, "completed")
    assert json.loads(messages(http, run_id)[-1][1]) == {"status": "resolved", "payload": payload, "text": text}


@pytest.mark.requirement("CIN-005")
def test_of_many_answers_one_is_recorded_and_the_others_are_ordinary_errors(http: httpx.Client) -> None:
    run_id = begin(http, "reviewing", message="x")
    polled(http, run_id, "pending_approval")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: told(http, "agent_run_resume", runId=run_id), range(10)))
    assert sum("error" not in one for one in answers) == 1
    assert all(list(one) == ["error"] for one in answers if "error" in one)
    polled(http, run_id, "completed")
    assert "completed" in told(http, "agent_run_resume", runId=run_id)["error"]
    assert len(resumes(http, run_id)) == 1


@pytest.mark.requirement("CIN-008")
def test_an_expired_question_is_an_ordinary_error_that_names_the_status(http: httpx.Client, name: str) -> None:
    hurry(http, name, "cancel")
    for given in ({}, {"reviewTaskId": f"g-{name}-0"}):
        late = told(http, "agent_run_resume", runId=name, **given)["error"]
        assert "stopped" in late and "expired" in late


@pytest.mark.requirement("CIN-006")
def test_the_tool_resumes_whether_or_not_the_http_resume_is_on(fresh: Any) -> None:
    with fresh() as url, httpx.Client(base_url=url, timeout=20) as http:
        run_id = begin(http, "reviewing", message="x")
        polled(http, run_id, "pending_approval")
        assert http.post("/api/a2a/resume", json={"reviewTaskId": f"g-{run_id}-0"}).status_code == 404
        assert told(http, "agent_run_resume", runId=run_id)["status"] == "running"


@pytest.mark.requirement("CIN-013")
def test_identities_in_arguments_change_nothing(http: httpx.Client) -> None:
    run_id = begin(http, "reviewing", message="x", userId="mallory", runBy="mallory")
    run = polled(http, run_id, "pending_approval")
    told(http, "agent_run_resume", runId=run_id, userResponse='{"approved":true,"by":"mallory"}')
    audit = told(http, "agent_run_get", runId=run_id)["audit"]
    assert "mallory" not in str(audit) and run["runBy"] == audit["startedBy"]["id"]
    (resumer,) = audit["resumedBy"]
    assert resumer["dialect"] == "mcp" and resumer["reviewTaskId"] == f"g-{run_id}-0"
    assert audit["summary"] == f"started by {run['runBy']}, resumed by {resumer['id']}"
    assert result(http, "agent_run_resume", runId=run_id, userId="mallory")["isError"]


@pytest.mark.requirement("CIN-014")
def test_a_run_is_stopped_at_once_and_says_nothing_more(http: httpx.Client) -> None:
    for agent, status in (("endless", "running"), ("reviewing", "pending_approval")):
        run_id = begin(http, agent, message="x")
        polled(http, run_id, status)
        assert told(http, "agent_run_stop", runId=run_id)["status"] == "stopped"
        before = http.get(f"/v1/runs/{run_id}").json()
        assert told(http, "agent_run_stop", runId=run_id)["status"] == "stopped"
        assert before["status"] == "cancelled" and http.get(f"/v1/runs/{run_id}").json() == before
    queued = begin(http, "endless", message="x")  # whether a worker has it yet or not
    assert told(http, "agent_run_stop", runId=queued)["status"] == "stopped"
    assert told(http, "agent_run_get", runId=queued)["status"] == "stopped"


@pytest.mark.requirement("CIN-015")
def test_all_runs_of_an_agent_are_stopped_and_none_of_another(fresh: Any) -> None:
    with fresh() as url, httpx.Client(base_url=url, timeout=20) as http:
        mine = [begin(http, "endless", message="x") for _ in range(3)]
        other = begin(http, "reviewing", message="x")
        polled(http, other, "pending_approval")
        assert told(http, "agent_runs_stop", templateId="endless") == {
            "stopped": 3, "alreadyTerminal": 0, "total": 3}  # fmt: skip
        assert {told(http, "agent_run_get", runId=run_id)["status"] for run_id in mine} == {"stopped"}
        assert told(http, "agent_run_get", runId=other)["status"] == "pending_approval"
        ids = [other, mine[0], "nobody's"]
        assert told(http, "agent_runs_stop", runIds=ids) == {"stopped": 1, "alreadyTerminal": 1, "total": 2}


@pytest.mark.requirement("CIN-016", "cinatra.mcp-lists")
def test_a_list_pages_through_120_runs(fresh: Any) -> None:
    with fresh() as url, httpx.Client(base_url=url, timeout=20) as http:
        ids = [begin(http, "plain" if n % 3 else "reviewing", message=str(n)) for n in range(120)]
        end = time.monotonic() + 20
        while told(http, "agent_run_list", status="completed")["total"] < 80:
            assert time.monotonic() < end
        seen: list[str] = []
        page: s.Json = {"nextCursor": "malformed"}
        while "nextCursor" in page:
            page = told(http, "agent_run_list", limit=50, cursor=page["nextCursor"])
            assert page["total"] == 120
            seen += [one["id"] for one in page["items"]]
        assert seen == ids[::-1]
        assert told(http, "agent_run_list", templateId="reviewing")["total"] == 40
        assert told(http, "agent_run_list", templateIds=["plain", "reviewing"])["total"] == 120
        middle = told(http, "agent_run_list", limit=200)["items"][60]["createdAt"]
        before = told(http, "agent_run_list", createdBefore=middle)["total"]
        after = told(http, "agent_run_list", createdAfter=middle)["total"]
        assert before + after == 120 and 0 < before < 120
        for bad in ({"limit": 0}, {"limit": 201}, {"createdAfter": "yesterday"}, {"status": "done"}, {"more": 1}):
            assert result(http, "agent_run_list", **bad)["isError"], bad


@pytest.mark.requirement("cinatra.mcp-paths", "CIN-020")
def test_both_paths_serve_the_tools_and_nothing_but_post(http: httpx.Client) -> None:
    one, other = (post(http, "tools/list", {}, path) for path in PATHS)
    assert one.json() == other.json() and len(one.json()["result"]["tools"]) == 13
    for path in PATHS:
        for accept in ("*/*", "application/json", "text/event-stream, application/json"):
            answer = post(http, "tools/list", {}, path, accept=accept)
            assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        assert post(http, "tools/list", {}, path, accept="text/html").status_code == 406
        assert post(http, "ping", {}, path).json()["result"] == {}
        for method in ("GET", "DELETE"):
            assert http.request(method, path).status_code == 405


@pytest.mark.requirement("cinatra.mcp-errors")
def test_each_failure_has_its_form(http: httpx.Client) -> None:
    assert told(http, "agent_run_get", runId="nope") == {"error": "Run not found: nope"}
    assert told(http, "agent_run", templateId="nobody")["code"] == "AGENT_UNAVAILABLE"
    assert list(told(http, "agent_run", templateId="plain", packageName="plain")) == ["error"]
    assert list(told(http, "agent_run", templateId="plain", inputParams="{")) == ["error"]
    for arguments, field in (({"templateId": "plain", "timeoutSeconds": 0}, "timeoutSeconds"), ({"more": 1}, "more")):
        answer = result(http, "agent_run", **arguments)
        assert answer["isError"] is True and field in answer["content"][0]["text"]
    assert post(http, "tools/call", {"name": "nope", "arguments": {}}).json()["error"]["code"] == -32602
    assert post(http, "nope", {}).json()["error"]["code"] == -32601
    answer = post(http, "tools/list", {}, authorization="Bearer wrong")
    assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})


@pytest.mark.requirement("cinatra.mcp-render")
def test_the_hints_say_how_to_draw_a_run(http: httpx.Client) -> None:
    started = result(http, "agent_run", templateId="reviewing", inputParams={"message": "x"})
    run_id = started["structuredContent"]["runId"]
    hint = started["_meta"]["io.cinatra.render"]
    assert hint == {"type": "agent-run", "runId": run_id, "protocols": ["ag-ui"]}
    polled(http, run_id, "pending_approval")
    waiting = {"runId": run_id, "status": "pending_approval", "approvalRequired": True}
    got, read = (result(http, tool, runId=run_id)["_meta"] for tool in ("agent_run_get", "agent_run_messages_list"))
    assert got["io.cinatra.render"] == {"type": "agent-run-status", **waiting}
    hint = {"type": "agent-run-messages", "runId": run_id, "runStatus": "pending_approval"}
    assert read["io.cinatra.render"] == hint


@pytest.mark.requirement("cinatra.mcp-gates")
def test_of_several_questions_the_named_one_is_answered(http: httpx.Client) -> None:
    run_id = begin(http, "twofold", message="x")
    asked = polled(http, run_id, "pending_approval")["hitlContexts"]
    assert list(told(http, "agent_run_resume", runId=run_id)) == ["error"]
    first = told(http, "agent_run_resume", runId=run_id, reviewTaskId=asked[0]["reviewTaskId"], userResponse="1")
    assert first["status"] == "pending_approval"
    told(http, "agent_run_resume", runId=run_id, reviewTaskId=asked[1]["reviewTaskId"], userResponse="2")
    polled(http, run_id, "completed")
    assert json.loads(messages(http, run_id)[-1][1]) == ["1", "2"]


@pytest.mark.requirement("cinatra.mcp-timeout")
def test_working_time_has_an_end_and_waiting_costs_none(http: httpx.Client) -> None:
    slow = told(http, "agent_run", templateId="endless", inputParams={"message": "x"}, timeoutSeconds=1)["runId"]
    waits = told(http, "agent_run", templateId="reviewing", inputParams={"message": "x"}, timeoutSeconds=1)["runId"]
    assert "1 s" in polled(http, slow, "failed")["error"]
    assert http.get(f"/v1/runs/{slow}").json()["error"]["code"] == "timeout"
    assert told(http, "agent_run_resume", runId=waits)["status"] == "running"
    polled(http, waits, "completed")
