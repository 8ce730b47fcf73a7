"""A run as an A2A task: what each thing in it becomes, and what a webhook is told of it."""

from typing import Any

import pytest

from protocol import a2a, a2a_legacy
from protocol.entries import ASK_CANCEL, ASK_RESUME, Entry, ask
from protocol.run import fold
from protocol.state import RunState
from tests.strategies import BY, Growing

Wire = dict[str, Any]


def grown(*said: Wire, messages: list[Wire] | None = None) -> Growing:
    given = [{"id": "u1", "role": "user", "content": "hi"}] if messages is None else messages
    growing = Growing("r", {"messages": given})
    growing.add({"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2})
    for event in said:
        assert growing.say(event), event
    return growing


def ended(growing: Growing, **end: Any) -> RunState:
    growing.add({"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "timestamp": 9} | end)
    return growing.state


def interrupt(number: int, **more: Any) -> Wire:
    return {"id": f"q{number}", "reason": "confirmation", "message": f"Question {number}?"} | more


def test_a_task_has_the_states_of_its_run_and_the_time_of_the_last_change() -> None:
    growing = grown()
    assert a2a.status(growing.state) == {"state": "TASK_STATE_WORKING", "timestamp": "1970-01-01T00:00:00.002Z"}
    assert a2a.asked(growing.state)["status"]["state"] == "TASK_STATE_SUBMITTED"
    done = ended(growing)
    assert a2a.status(done) == {"state": "TASK_STATE_COMPLETED", "timestamp": "1970-01-01T00:00:00.009Z"}
    cancelled = grown().state
    cancelled = fold(cancelled, Entry(3, ask(ASK_CANCEL, BY, "test", 5, runId="r")))
    assert a2a.status(cancelled) == {"state": "TASK_STATE_CANCELED", "timestamp": "1970-01-01T00:00:00.005Z"}


@pytest.mark.parametrize(("code", "state"), [("AGENT_ERROR", "FAILED"), ("REJECTED", "REJECTED")])
def test_an_error_is_the_message_of_the_status(code: str, state: str) -> None:
    growing = grown()
    growing.add({"type": "RUN_ERROR", "message": "No.", "code": code, "timestamp": 9})
    told = a2a.status(growing.state)
    assert told["state"] == f"TASK_STATE_{state}"
    assert (told["message"]["role"], told["message"]["parts"]) == ("ROLE_AGENT", [{"text": "No."}])


def test_what_is_asked_is_the_status_and_then_the_history_between_what_was_sent() -> None:
    growing = grown()
    waiting = ended(
        growing, outcome={"type": "interrupt", "interrupts": [interrupt(1, metadata={"hocket": {}, "a": 1})]}
    )
    question = a2a.status(waiting)["message"]
    assert a2a.status(waiting)["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert question["parts"][0] == {"text": "Question 1?"}
    assert question["parts"][1]["data"]["interrupts"] == [interrupt(1, metadata={"a": 1})]
    assert [one["role"] for one in a2a.history(waiting)] == ["ROLE_USER"]
    answer = {"interruptId": "q1", "gate": "g-r-0", "status": "resolved", "payload": "yes", "decision": "answer"}
    sent = {"id": "own", "role": "user", "content": "yes", "metadata": {"a2a": {"messageId": "theirs"}}}
    growing.add(ask(ASK_RESUME, BY, "a2a", 12, runId="r", legId="l2", answers=[answer], messages=[sent], digest=""))
    told = a2a.history(growing.state)
    assert [(one["messageId"], one["role"]) for one in told] == [
        ("u1", "ROLE_USER"), ("q1", "ROLE_AGENT"), ("theirs", "ROLE_USER"),
    ]  # fmt: skip
    assert told[1] == question
    assert [len(a2a.task(growing.state, length).get("history", ())) for length in (None, 0, 1, 9)] == [3, 0, 1, 3]


def test_questions_that_all_ask_for_a_credential_are_auth_required() -> None:
    def state(*reasons: str) -> str:
        asked = [interrupt(number, reason=reason) for number, reason in enumerate(reasons)]
        return a2a.state_name(ended(grown(), outcome={"type": "interrupt", "interrupts": asked}))

    assert state("auth_required", "auth_required") == "TASK_STATE_AUTH_REQUIRED"
    assert state("auth_required", "confirmation") == "TASK_STATE_INPUT_REQUIRED"


def test_what_the_agent_says_are_artifacts_and_what_it_was_given_are_none() -> None:
    before = [
        {"id": "u0", "role": "user", "content": "before", "hocket:ref": True},
        {"id": "a0", "role": "assistant", "content": "said before"},
        {"id": "u1", "role": "user", "content": "hi"},
    ]
    growing = grown(
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Hel"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "lo"},
        {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look", "parentMessageId": "m1"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '{"q":1}'},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        {"type": "TOOL_CALL_RESULT", "messageId": "t1", "toolCallId": "c1", "content": "found"},
        {"type": "TOOL_CALL_START", "toolCallId": "c2", "toolCallName": "look", "parentMessageId": "m1"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c2", "delta": "not JSON"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
        {"type": "STATE_SNAPSHOT", "snapshot": {"n": 1}},
        {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/n", "value": 2}]},
        {"type": "ACTIVITY_SNAPSHOT", "messageId": "a1", "activityType": "artifact",
         "content": {"name": "file", "parts": [{"url": "https://example.com/x", "mediaType": "text/plain"}]}},
        {"type": "ACTIVITY_SNAPSHOT", "messageId": "a2", "activityType": "plan", "content": {"steps": 3}},
        messages=before,
    )  # fmt: skip
    open_call = a2a.task(growing.state)["artifacts"]
    growing.say({"type": "TOOL_CALL_END", "toolCallId": "c2"})
    told = a2a.task(ended(growing, result={"answer": 42}))
    assert [one["artifactId"] for one in told["artifacts"]] == ["m1", "c1", "c2", "a1", "a2", "state", "result"]
    assert [one["artifactId"] for one in open_call] == ["m1", "c1", "a1", "a2", "state"]
    by_id = {one["artifactId"]: one for one in told["artifacts"]}
    assert by_id["m1"]["parts"] == [{"text": "Hello"}]
    assert by_id["c1"]["parts"] == [
        {"data": {"toolCallId": "c1", "toolCallName": "look", "arguments": {"q": 1}}},
        {"data": {"toolCallId": "c1", "content": "found"}},
    ]
    assert by_id["c2"]["parts"][0]["data"]["arguments"] == "not JSON"
    assert by_id["state"]["parts"] == [{"data": {"n": 2}}] and by_id["result"]["parts"] == [{"data": {"answer": 42}}]
    (file,) = by_id["a1"]["parts"]
    assert by_id["a1"]["name"] == "file" and file == {"url": "https://example.com/x", "mediaType": "text/plain"}
    assert by_id["a2"]["parts"] == [{"data": {"steps": 3}}]
    assert [one["messageId"] for one in told["history"]] == ["u1"]


@pytest.mark.parametrize(
    "content",
    [None, {}, {"parts": []}, {"parts": [{"text": 1}]}, {"parts": [{"text": "a", "url": "b"}]}, {"parts": ["x"]}],
)
def test_an_artifact_that_is_none_is_told_as_data(content: Any) -> None:
    (told,) = (a2a.activity_artifact("a1", "artifact", content),)
    assert told["parts"] == [{"data": content}]


def test_a_webhook_is_told_that_work_begins_and_then_the_whole_task() -> None:
    growing = grown()
    started, finished = {"type": "RUN_STARTED"}, {"type": "RUN_FINISHED"}
    told = a2a.pushed(growing.state, started)
    assert told is not None and told["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING"
    done = ended(growing)
    assert a2a.pushed(done, finished) == {"task": a2a.task(done)}
    brief = a2a.pushed(done, finished, whole=False)
    assert brief is not None and set(brief["statusUpdate"]) == {"taskId", "contextId", "status"}
    assert a2a.pushed(done, {"type": "CUSTOM"}) is None and a2a_legacy.pushed(done, {"type": "CUSTOM"}) is None


def test_a_webhook_of_0_3_is_told_the_task_in_the_words_of_0_3() -> None:
    from a2a.compat.v0_3 import types

    growing = grown(
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Hello"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
        {"type": "ACTIVITY_SNAPSHOT", "messageId": "a1", "activityType": "artifact",
         "content": {"parts": [{"raw": "aGk=", "mediaType": "text/plain", "filename": "x.txt"}, {"url": "https://x/y"},
                               {"data": [1]}, {"data": {"a": 1}, "metadata": {"k": 1}}]}},
    )  # fmt: skip
    waiting = ended(growing, outcome={"type": "interrupt", "interrupts": [interrupt(1)]})
    told = a2a_legacy.pushed(waiting, {"type": "RUN_FINISHED"})
    task = types.Task.model_validate(told)
    assert task.status.state is types.TaskState.input_required
    assert task.status.message is not None and task.status.message.role is types.Role.agent
    assert task.artifacts is not None and task.history is not None and len(task.artifacts) == 2
    kinds = [part.root.kind for part in task.artifacts[1].parts]
    assert kinds == ["file", "file", "data", "data"]
    begun = a2a_legacy.pushed(grown().state, {"type": "RUN_STARTED"})
    assert types.Task.model_validate(begun).status.state is types.TaskState.working
