"""Veryfront's stream, read by the real AG-UI client: one legal run, whatever legs and attempts hocket has recorded."""

import contextlib
import uuid
from collections.abc import Callable

import pytest

from conformance import scenario as s
from conformance.dialects.veryfront import Client
from conformance.driver import Driver, open_driver
from conformance.test_veryfront_rest import APPROVED, asked, until

Fresh = Callable[..., contextlib.AbstractContextManager[str]]


def read(agui: Driver, client: Client, run_id: str) -> tuple[s.Json, list[str]]:
    """What the client holds of a run at the end of its stream, and its warnings."""
    thread = client.run(run_id)["owner"]["id"]
    one = s.agent("any", thread, path=f"/veryfront{client.place(run_id)}/stream", get=True)
    result = agui.play(one, s.run(run_id, text=None), client="agui-1")
    told: s.Json = result["clients"]["a"]
    assert told["runs"][0]["types"].count("RUN_STARTED") == 1
    s.check_end(told["runs"][0]["types"])
    assert told["runs"][0]["error"] is None and told["runs"][0]["failed"] is None, told
    return told, result["warnings"]


@pytest.mark.requirement("veryfront.legal-stream")
def test_text_calls_reasoning_and_state_reach_the_client(agui: Driver, base_url: str) -> None:
    client = Client(base_url)
    run_id = client.start("everything", "x")
    told, warnings = read(agui, client, run_id)
    s.check_run(told["runs"][0])
    assert s.text_of(told, f"{run_id}-text") == "Looking." and told["state"]["count"] == 2
    assert s.text_of(told, f"{run_id}-result") == "found" and s.text_of(told, f"{run_id}-why") == "Because of that."
    assert warnings == []


@pytest.mark.requirement("veryfront.legal-stream")
def test_a_question_and_its_answer_are_a_call_and_its_result_of_one_run(agui: Driver, base_url: str) -> None:
    client = Client(base_url)
    for agent, tool in (("interrupting", "send"), ("reviewing", "request_input"), ("twofold", "request_input")):
        run_id, call_id = asked(client, agent)
        while until(client, run_id, "waiting_for_tool", "running", "completed")["status"] == "waiting_for_tool":
            assert client.answer(run_id, APPROVED).status_code == 200
        told, warnings = read(agui, client, run_id)
        s.check_run(told["runs"][0])
        calls = [call for message in told["messages"] for call in message.get("toolCalls", ())]
        assert calls[0]["id"] == call_id and {call["function"]["name"] for call in calls} == {tool}
        answers = [message for message in told["messages"] if message["role"] == "tool"]
        assert {message["toolCallId"] for message in answers} == {call["id"] for call in calls}
        assert answers[0]["content"] == '{"approved":true}' and told["pending"] == []
        assert warnings == []


@pytest.mark.requirement("veryfront.legal-stream")
def test_a_client_that_is_there_while_the_run_waits_sees_the_answer_come(agui: Driver, base_url: str) -> None:
    client = Client(base_url)
    run_id, call_id = asked(client, "interrupting")
    path = client.place(run_id)
    one = s.agent("any", path.split("/")[2], path=f"/veryfront{path}/stream", get=True)
    body = {"type": "tool_result", "tool_call_id": call_id, "result": APPROVED}
    result = agui.play(
        one, s.run(run_id, text=None, background=True), s.seen("TOOL_CALL_END"),
        s.post(f"/veryfront/runs/{run_id}/resume", body), s.op("done"), client="agui-1",
    )  # fmt: skip
    assert [answer["status"] for answer in result["answers"]] == [200]
    s.check_run(result["clients"]["a"]["runs"][0])
    assert result["warnings"] == []


@pytest.mark.requirement("veryfront.legal-stream")
def test_a_failure_and_a_cancel_end_as_errors(agui: Driver, base_url: str) -> None:
    client = Client(base_url)
    failed, running, (waiting, _) = client.start("raising", "x"), client.start("endless", "x"), asked(client)
    until(client, running, "running")
    for run_id in (running, waiting):
        assert client.cancel(run_id).json()["cancelled"] is True
    for run_id, code in ((failed, "agent_error"), (running, "cancelled"), (waiting, "cancelled")):
        told, warnings = read(agui, client, run_id)
        assert [error["code"] for error in told["runs"][0]["runErrors"]] == [code]
        assert warnings == []


@pytest.mark.requirement("veryfront.legal-stream")
def test_an_attempt_that_was_given_up_is_marked_and_the_stream_stays_one_run(fresh: Fresh) -> None:
    gate = uuid.uuid4().hex
    with fresh() as url:
        client = Client(url)
        run_id = client.begin("halved", "x", input={"context": {"count": 3, "gate": gate}}).json()["run"]["run_id"]
        for _, event in client.stream(run_id):
            if event["type"] == "CUSTOM":
                break
    with fresh() as url, open_driver("agui.mjs", url) as driver:  # the same log, and another worker
        client = Client(url)
        client.start("release", gate)
        told, warnings = read(driver, client, run_id)
        s.check_run(told["runs"][0])
        texts = [(message["content"], "hocket" in message.get("metadata", {})) for message in told["messages"]]
        assert texts == [("0 1 2 ", True), ("0 1 2 3 4 5 ", False)]
        assert warnings == []
