"""Veryfront's tool get_agent_run, as its page posts it."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from conformance import scenario as s
from conformance.cinatra import start
from conformance.mcp_clients import begin, polled, post, told

PATH = "/veryfront/mcp"
HERE = Path(__file__).parent / "veryfront"
TAKES, GIVES = (json.loads((HERE / f"get_agent_run.{kind}.schema.json").read_text()) for kind in ("input", "output"))


def call(http: httpx.Client, **arguments: Any) -> s.Json:
    """As the seed's page sends it: no initialize, no session."""
    headers = {"accept": "application/json, text/event-stream", "x-veryfront-origin": "docs-mcp-tool-page"}
    answer = post(http, "tools/call", {"name": "get_agent_run", "arguments": arguments}, PATH, **headers)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    told: s.Json = answer.json()["result"]
    return told


def run_of(http: httpx.Client, run_id: str, conversation: str | None = None) -> s.Json:
    """The object, which is whole at any status."""
    thread = conversation or http.get(f"/v1/runs/{run_id}").json()["thread_id"]
    answer = call(http, conversation_id=thread, run_id=run_id)
    assert not answer.get("isError"), answer
    one: s.Json = answer["structuredContent"]
    assert json.loads(answer["content"][0]["text"]) == one and len(one) == 31
    jsonschema.validate(one, GIVES)
    return one


def error_of(answer: s.Json) -> s.Json:
    assert answer["isError"] is True and "structuredContent" not in answer
    told: s.Json = json.loads(answer["content"][0]["text"])["error"]
    return told


@pytest.mark.requirement("VF-001")
def test_both_schemas_are_the_contracts_own(http: httpx.Client) -> None:
    (tool,) = post(http, "tools/list", {}, PATH).json()["result"]["tools"]
    assert tool["inputSchema"] == TAKES and tool["outputSchema"] == GIVES


@pytest.mark.requirement("VF-002", "VF-003", "VF-008", "VF-009")
def test_the_object_is_whole_at_every_status(http: httpx.Client) -> None:
    wanted = {"endless": ("running", "running"), "reviewing": ("pending_approval", "waiting_for_tool"),
              "plain": ("completed", "completed"), "raising": ("failed", "failed")}  # fmt: skip
    for agent, (reached, status) in wanted.items():
        run_id = begin(http, agent, message="x")
        polled(http, run_id, reached)
        check(run_of(http, run_id), status)
        if status in ("running", "waiting_for_tool"):
            told(http, "agent_run_stop", runId=run_id)
            check(run_of(http, run_id), "cancelled")


def check(one: s.Json, status: str) -> None:
    assert one["status"] == status
    for names, when in (("waiting_tool_call_id waiting_tool_name", "waiting_for_tool"),
                        ("terminal_error_code terminal_error_message", "failed")):  # fmt: skip
        assert [isinstance(one[name], str) for name in names.split()] == [status == when] * 2


@pytest.mark.requirement("VF-003")
def test_a_run_of_another_face_is_told_too(http: httpx.Client, name: str) -> None:
    thread = str(uuid.uuid4())
    start(http, "reviewing", name, thread_id=thread)
    assert run_of(http, name, thread)["agent_id"] == "reviewing"
    given = s.agui_input(str(uuid.uuid4()), f"{name}-2")
    assert http.post("/agui/plain", json=given).status_code == 200
    assert run_of(http, f"{name}-2")["message_id"] == f"{name}-2-u"


@pytest.mark.requirement("VF-004")
def test_a_key_too_many_or_too_few_does_not_pass(http: httpx.Client) -> None:
    run_id = begin(http, "plain", message="x")
    whole = run_of(http, run_id)
    for spoilt in (whole | {"more": 1}, {name: value for name, value in whole.items() if name != "worker_key"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, GIVES)


@pytest.mark.requirement("VF-005")
def test_a_bad_argument_is_named(http: httpx.Client, name: str) -> None:
    thread = str(uuid.uuid4())
    for arguments, named in (({"run_id": "x"}, "conversation_id"), ({"conversation_id": thread}, "run_id"),
                             ({"conversation_id": thread, "run_id": ""}, "run_id"),
                             ({"conversation_id": name, "run_id": "x"}, "conversation_id"),
                             ({"conversation_id": thread, "run_id": "x", "more": 1}, "more")):  # fmt: skip
        error = error_of(call(http, **arguments))
        assert error["code"] == "INVALID_ARGUMENTS" and named in error["message"]


@pytest.mark.requirement("VF-006")
def test_what_is_not_there_and_what_is_elsewhere_give_one_error(http: httpx.Client) -> None:
    run_id, thread = begin(http, "plain", message="x"), str(uuid.uuid4())
    unknown = call(http, conversation_id=thread, run_id="nope")
    assert call(http, conversation_id=thread, run_id=run_id) == unknown
    assert error_of(unknown)["code"] == "RUN_NOT_FOUND"


@pytest.mark.requirement("VF-007", "VF-014")
def test_the_latest_event_grows_to_the_last_of_the_stream_and_the_requester_stays(http: httpx.Client) -> None:
    run_id = begin(http, "reviewing", message="x", userId="mallory")
    polled(http, run_id, "pending_approval")
    waiting = run_of(http, run_id)
    assert waiting["waiting_tool_call_id"] == f"g-{run_id}-0"
    told(http, "agent_run_resume", runId=run_id, reviewTaskId=waiting["waiting_tool_call_id"])
    between = run_of(http, run_id)["latest_event_id"]
    polled(http, run_id, "completed")
    done = run_of(http, run_id)
    assert waiting["latest_event_id"] < between <= done["latest_event_id"]
    stream = http.get(f"/v1/runs/{run_id}/events").text
    assert f"\nid: {done['latest_event_id']}\n" in stream and f"\nid: {done['latest_event_id'] + 1}\n" not in stream
    later = http.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": str(waiting["latest_event_id"])}).text
    assert f"\nid: {waiting['latest_event_id']}\n" not in later and "ask.resume" in later
    requesters = {done["requested_by_user_id"], done["run_snapshot"]["requester"]["user_id"]}
    assert requesters == {waiting["requested_by_user_id"]} and "mallory" not in str(requesters)
