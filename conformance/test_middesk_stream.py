"""Middesk's stream: whole runs under three names, from any cursor; and the steps that they show."""

import httpx
import pytest

from conformance import scenario as s
from conformance.dialects.middesk import Client
from conformance.test_middesk import YES, waiting


@pytest.fixture
def middesk(base_url: str) -> Client:
    return Client(base_url)


def reviewed(middesk: Client) -> str:
    """A run that has asked and has ended."""
    run_id = str(waiting(middesk)["id"])
    assert middesk.answer(run_id, YES).status_code == 200
    middesk.until(run_id, "completed")
    return run_id


@pytest.mark.requirement("MD-012")
def test_a_finished_run_is_replayed_whole_and_the_stream_closes(middesk: Client) -> None:
    run_id = reviewed(middesk)
    answer = middesk.http.get(f"/v1/runs/{run_id}/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform" and b"\r" not in answer.content
    told = list(middesk.stream(run_id))
    names = [one["event"] for _, one in told]
    assert names[0] == "RUN_STARTED" and names[-1] == "RUN_FINISHED" and set(names[1:-1]) == {"STATE_SNAPSHOT"}
    assert [seq for seq, _ in told] == sorted({seq for seq, _ in told})
    assert all(set(one) == {"event", "run_id", "snapshot"} and one["run_id"] == run_id for _, one in told)
    statuses = [one["snapshot"]["status"] for _, one in told]
    assert list(dict.fromkeys(statuses)) == ["running", "interrupted", "completed"] and statuses[-2] == "running"
    assert told[0][1]["snapshot"]["steps"] == []
    assert told[-1][1]["snapshot"] == middesk.run(run_id, steps=True)
    for _, one in told:
        assert set(one["snapshot"]) == {*middesk.run(run_id), "steps"}
        assert bool(one["snapshot"]["interrupts"]) is (one["snapshot"]["status"] == "interrupted")


@pytest.mark.requirement("MD-012")
def test_a_failed_run_ends_with_run_finished_as_well(middesk: Client) -> None:
    *_, (_, last) = middesk.stream(middesk.start("raising", "hi"))
    assert (last["event"], last["snapshot"]["status"]) == ("RUN_FINISHED", "error")
    assert [step["type"] for step in last["snapshot"]["steps"]] == ["error"]
    assert "hunter2" not in str(last)


@pytest.mark.requirement("MD-013")
def test_a_stream_that_is_opened_again_goes_on_after_its_cursor(middesk: Client) -> None:
    run_id = reviewed(middesk)
    whole = list(middesk.stream(run_id))
    for number, (seq, _) in enumerate(whole):
        assert list(middesk.stream(run_id, seq)) == whole[number + 1 :]
    after = middesk.http.get(f"/v1/runs/{run_id}/stream", headers={"last-event-id": str(whole[-1][0])})
    assert after.status_code == 200 and b"data:" not in after.content and b"retry: 30000" in after.content


@pytest.mark.requirement("middesk.steps")
def test_steps_are_told_in_order_within_the_named_ones(middesk: Client, http: httpx.Client, name: str) -> None:
    assert http.post("/agui/everything", json=s.agui_input(f"t-{name}", name)).status_code == 200
    run = middesk.run(name, steps=True)
    think, output = run["steps"]
    assert (think["type"], think["name"], think["status"]) == ("activity", "think", "completed")
    (call,) = think["steps"]
    assert (call["type"], call["name"], call["label"], call["status"]) == ("activity", "find", "find", "completed")
    assert call["parent_step_id"] == think["id"] and "parent_step_id" not in think
    assert (output["type"], output["status"]) == ("output", "completed") and "steps" not in output
    for step in (think, call, output):
        assert step["run_id"] == run["id"] and step["started_at"] <= step["completed_at"]
    assert int(think["id"]) < int(call["id"]) < int(output["id"])


@pytest.mark.requirement("middesk.steps")
def test_a_question_about_a_tool_call_is_a_step_beside_the_call(middesk: Client) -> None:
    run = waiting(middesk, "interrupting")
    (gate,) = run["interrupts"]
    assert (gate["value"]["tool_name"], gate["value"]["arguments"]) == ("send", {"to": "you"})
    call, question = run["steps"]
    assert (call["type"], call["name"], call["status"]) == ("activity", "send", "running")
    assert (question["type"], question["name"], question["label"]) == ("interrupt", "send", "Send it?")
    assert question["status"] == "running" and "completed_at" not in question and "result" not in question
    assert middesk.answer(run["id"], YES).status_code == 200
    steps = middesk.until(run["id"], "completed")["steps"]
    assert [one["status"] for one in steps] == ["completed"] * 3 and steps[1]["completed_at"]
    assert [one["id"] for one in steps[:2]] == [call["id"], question["id"]]
