"""SendMessage, GetTask and the shapes of tasks, in both bindings."""

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from conformance.a2a.peer import TERMINAL, Json, Peer, message, text_of

AT_WORK = ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")


def doing(peer: Peer, do: str, **more: Any) -> Json:
    """The task of an agent that does one thing."""
    return peer.to("doing").send(request_metadata={"do": do}, **more)


def state(task: Json) -> str:
    return str(task["status"]["state"])


@pytest.mark.requirement("A2A-020", "A2A-021")
def test_a_message_is_a_task_that_is_told_once_it_is_done(peer: Peer) -> None:
    task = peer.send("Grüße")
    assert task["id"] and task["contextId"] and state(task) == "TASK_STATE_COMPLETED"
    assert task["status"]["timestamp"].endswith("Z") and datetime.fromisoformat(task["status"]["timestamp"])
    assert text_of(task) == "You said: Grüße. Übung, 日本語, 🎶"
    (said,) = task["history"]
    assert (said["role"], said["parts"], said["messageId"]) == ("ROLE_USER", [{"text": "Grüße"}], "m1")
    assert (said["taskId"], said["contextId"]) == (task["id"], task["contextId"])
    assert peer.get(task["id"]) == task


@pytest.mark.requirement("A2A-022")
def test_a_peer_that_does_not_wait_is_told_of_the_task_at_once(http: httpx.Client, peer: Peer, name: str) -> None:
    task = peer.to("halved").send(
        configuration={"returnImmediately": True}, request_metadata={"gate": name, "count": 3}
    )
    assert state(task) in AT_WORK
    peer.to("release").send(name)
    with peer.to("halved").stream("SubscribeToTask", {"id": task["id"]}, last_event_id="1") as stream:
        *_, last = stream
    assert last["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert text_of(peer.to("halved").get(task["id"])) == "0 1 2 3 4 5 "


@pytest.mark.requirement("A2A-023")
@pytest.mark.parametrize(
    ("do", "ended"), [("reject", "REJECTED"), ("fail", "FAILED"), ("sign-in", "AUTH_REQUIRED"), ("make", "COMPLETED")]
)
def test_each_end_of_a_leg_is_a_state_of_the_task(peer: Peer, do: str, ended: str) -> None:
    task = doing(peer, do)
    assert state(task) == f"TASK_STATE_{ended}"
    said = {"reject": "Not this one.", "fail": "It went wrong.", "sign-in": "Sign in first."}.get(do)
    if said is not None:
        told = task["status"]["message"]
        assert told["role"] == "ROLE_AGENT" and told["parts"][0] == {"text": said} and told["messageId"]


@pytest.mark.requirement("A2A-024")
def test_an_agent_may_answer_with_a_bare_message(peer: Peer) -> None:
    told = doing(peer, "reply")
    assert (told["role"], told["parts"]) == ("ROLE_AGENT", [{"text": "Just this."}])
    assert told["messageId"] and "status" not in told


@pytest.mark.requirement("A2A-025")
def test_artifacts_hold_every_kind_of_part(peer: Peer) -> None:
    artifacts = {one["artifactId"].rpartition("-")[2]: one for one in doing(peer, "make")["artifacts"]}
    assert set(artifacts) == {"notes", "raw", "url", "data"}
    notes = artifacts["notes"]
    assert (notes["name"], notes["description"]) == ("notes", "What was noted")
    assert notes["parts"] == [{"text": "first"}, {"text": "second"}]
    assert artifacts["raw"]["parts"] == [{"raw": "aGk=", "filename": "hi.txt", "mediaType": "text/plain"}]
    assert artifacts["url"]["parts"] == [{"url": "https://example.com/a.png", "mediaType": "image/png"}]
    assert artifacts["data"]["parts"] == [{"data": {"key": "value", "count": 42}}]


@pytest.mark.requirement("A2A-025")
def test_tool_calls_state_activities_and_results_are_artifacts_too(peer: Peer) -> None:
    task = peer.to("everything").send()
    names = {one.get("name") for one in task["artifacts"]}
    assert {"find", "state", "PLAN"} <= names
    call = next(one for one in task["artifacts"] if one.get("name") == "find")
    assert call["parts"][0]["data"]["arguments"] == {"q": "x"} and call["parts"][1]["data"]["content"] == "found"
    result = next(one for one in doing(peer, "result")["artifacts"] if one.get("name") == "result")
    assert result["parts"] == [{"data": {"sum": 3}}]


@pytest.mark.requirement("A2A-026")
def test_what_a_peer_sends_reaches_the_agent_and_comes_back_as_it_was(peer: Peer) -> None:
    parts = [
        {"text": "look"},
        {"raw": "aGk=", "filename": "hi.txt", "mediaType": "text/plain"},
        {"url": "https://example.com/a.png", "mediaType": "image/png"},
        {"data": {"n": 1, "list": [None, True, 1.5]}, "metadata": {"k": "v"}},
    ]
    sent = message(None, parts, metadata={"about": "it"}, request_metadata={"do": "hear", "n": 2})
    task = peer.to("doing").call("SendMessage", sent)["task"]
    heard = json.loads(text_of(task))
    assert heard["forwarded"] == {"do": "hear", "n": 2}
    assert [item["type"] for item in heard["content"]] == ["text", "document", "image", "text"]
    assert heard["content"][1]["source"]["value"] == "aGk="
    (said,) = task["history"]
    assert said["parts"] == parts and said["metadata"] == {"about": "it"}
    assert task["metadata"] == {"do": "hear", "n": 2}


@pytest.mark.requirement("A2A-027")
def test_history_is_as_long_as_it_is_asked_for(peer: Peer) -> None:
    reviewing = peer.to("twofold")
    task = reviewing.send("first")
    answers = {"answers": [{"interruptId": one["id"], "payload": 1} for one in asked(task)]}
    done = reviewing.send(None, parts=[{"data": answers}], taskId=task["id"])
    assert state(done) == "TASK_STATE_COMPLETED"
    whole = reviewing.get(task["id"])["history"]
    assert [one["role"] for one in whole] == ["ROLE_USER", "ROLE_AGENT", "ROLE_USER"]
    assert whole[0]["parts"] == [{"text": "first"}] and whole[2]["parts"] == [{"data": answers}]
    for length, told in ((0, []), (1, whole[-1:]), (2, whole[-2:]), (3, whole), (100, whole)):
        assert reviewing.get(task["id"], historyLength=length).get("history", []) == told
        sent = reviewing.send(configuration={"historyLength": length})
        assert len(sent.get("history", [])) == min(length, 1)
    for asking in (
        lambda: reviewing.refused("GetTask", {"id": task["id"], "historyLength": -1}),
        lambda: reviewing.refused("SendMessage", message("hi", configuration={"historyLength": -1})),
    ):
        refusal = asking()
        assert refusal.reason == "INVALID_PARAMS" or refusal.code == -32602
        assert "history" in refusal.message.lower()


def asked(task: Json) -> list[Json]:
    """What a waiting task asks."""
    return [one for part in task["status"]["message"]["parts"] for one in part.get("data", {}).get("interrupts", ())]


@pytest.mark.requirement("A2A-028")
def test_a_question_is_answered_by_a_message_to_its_task(peer: Peer) -> None:
    reviewing = peer.to("reviewing")
    task = reviewing.send("check it")
    assert state(task) == "TASK_STATE_INPUT_REQUIRED"
    (question,) = asked(task)
    assert question["message"] == "OK?" and question["responseSchema"]["required"] == ["approved"]
    wrong = reviewing.refused("SendMessage", message(None, [{"data": {"approved": "yes"}}], taskId=task["id"]))
    assert wrong.code in (-32602, None) and "approved" in str(wrong.details)
    done = reviewing.send(None, parts=[{"data": {"approved": True}}], taskId=task["id"])
    assert (done["id"], done["contextId"], state(done)) == (task["id"], task["contextId"], "TASK_STATE_COMPLETED")
    assert '"approved": true' in text_of(done)
    signing = doing(peer, "sign-in")
    assert text_of(peer.to("doing").send("I did", taskId=signing["id"])) == "In."


@pytest.mark.requirement("A2A-029")
def test_a_context_is_the_peers_or_a_fresh_one_and_a_task_keeps_its_own(peer: Peer, name: str) -> None:
    first, second = peer.send("a", contextId=name), peer.send("b", contextId=name)
    assert first["contextId"] == second["contextId"] == name and first["id"] != second["id"]
    fresh = peer.send("c")
    assert fresh["contextId"] not in ("", name)
    waiting = peer.to("twofold").send("x", contextId=f"{name}-w")
    mixed = message("y", taskId=waiting["id"], contextId=name)
    assert peer.to("twofold").refused("SendMessage", mixed).code in (-32602, None)
    for context in ({}, {"contextId": f"{name}-w"}):
        refusal = peer.to("twofold").refused("SendMessage", message("y", taskId=waiting["id"], **context))
        assert "several questions" in refusal.message


@pytest.mark.requirement("A2A-030")
def test_a_context_whose_task_goes_on_takes_no_second_one(peer: Peer, name: str) -> None:
    task = peer.to("endless").send(configuration={"returnImmediately": True}, contextId=name)
    refusal = peer.refused("SendMessage", message("hi", contextId=name))
    assert refusal.reason == "UNSUPPORTED_OPERATION" and refusal.info["metadata"]["taskId"] == task["id"]
    peer.to("endless").call("CancelTask", {"id": task["id"]})
    assert state(peer.send("hi", contextId=name)) in TERMINAL


@pytest.mark.requirement("A2A-031")
def test_a_task_that_has_ended_takes_no_more_messages_and_one_there_is_not_takes_none(peer: Peer) -> None:
    task = peer.send("hi")
    for operation in ("SendMessage", "SendStreamingMessage"):
        ended = peer.refused(operation, message("more", taskId=task["id"]))
        assert (ended.code or -32004, ended.reason) == (-32004, "UNSUPPORTED_OPERATION")
        unknown = peer.refused(operation, message("more", taskId="no-such-task"))
        assert (unknown.code or -32001, unknown.reason) == (-32001, "TASK_NOT_FOUND")
    for operation in ("GetTask", "CancelTask", "SubscribeToTask"):
        assert peer.refused(operation, {"id": "no-such-task"}).reason == "TASK_NOT_FOUND"
        assert peer.to("telling").refused(operation, {"id": task["id"]}).reason == "TASK_NOT_FOUND"


@pytest.mark.requirement("A2A-032")
def test_a_part_that_the_agent_does_not_take_is_refused(peer: Peer) -> None:
    picky = peer.to("picky")
    assert text_of(picky.send("hi")) == "hi"
    picture = message(None, [{"raw": "aGk=", "mediaType": "image/png"}])
    refusal = picky.refused("SendMessage", picture)
    assert (refusal.code or -32005, refusal.reason) == (-32005, "CONTENT_TYPE_NOT_SUPPORTED")


@pytest.mark.requirement("A2A-033")
def test_a_task_is_cancelled_once(peer: Peer) -> None:
    endless = peer.to("endless")
    task = endless.send(configuration={"returnImmediately": True})
    cancelled = endless.call("CancelTask", {"id": task["id"]})
    assert (cancelled["id"], state(cancelled)) == (task["id"], "TASK_STATE_CANCELED")
    assert endless.get(task["id"]) == cancelled
    again = endless.refused("CancelTask", {"id": task["id"]})
    assert (again.code or -32002, again.reason) == (-32002, "TASK_NOT_CANCELABLE")
    done = peer.send("hi")
    assert peer.refused("CancelTask", {"id": done["id"]}).reason == "TASK_NOT_CANCELABLE"
    waiting = peer.to("twofold").send("hi")
    assert state(peer.to("twofold").call("CancelTask", {"id": waiting["id"]})) == "TASK_STATE_CANCELED"
    late = peer.to("twofold").refused("SendMessage", message("late", taskId=waiting["id"]))
    assert late.reason == "UNSUPPORTED_OPERATION"


@pytest.mark.requirement("A2A-034")
def test_a_tenant_that_a_request_names_is_the_credentials_or_none(http: httpx.Client, peer: Peer) -> None:
    task = peer.send("hi", tenant="default")
    assert peer.call("GetTask", {"id": task["id"], "tenant": "default"}) == peer.get(task["id"])
    for operation, params in (
        ("SendMessage", message("hi", tenant="other")), ("GetTask", {"id": task["id"], "tenant": "other"}),
        ("ListTasks", {"tenant": "other"}), ("CancelTask", {"id": task["id"], "tenant": "other"}),
        ("SubscribeToTask", {"id": task["id"], "tenant": "other"}),
        ("GetExtendedAgentCard", {"tenant": "other"}),
    ):  # fmt: skip
        refusal = peer.refused(operation, params)
        assert "tenant" in refusal.message and refusal.code in (-32602, None), operation


@pytest.mark.requirement("A2A-114")
@pytest.mark.parametrize("prefix", ["", "/cinatra"])
def test_a_client_of_cinatra_speaks_a2a_at_its_own_path(http: httpx.Client, prefix: str) -> None:
    def ask(method: str, params: Json, **headers: str) -> Json:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        told: Json = http.post(f"{prefix}/api/a2a", json=body, headers=headers).json()
        return told

    modern = {"A2A-Version": "1.0"}
    task = ask("SendMessage", message("hi"), **modern)["result"]["task"]
    assert task["metadata"] == {"cinatraRunId": task["id"]}
    assert ask("GetTask", {"id": task["id"]}, **modern)["result"]["metadata"] == task["metadata"]
    old = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
    legacy = ask("message/send", {"message": old})["result"]
    assert legacy["kind"] == "task" and legacy["metadata"] == {"cinatraRunId": legacy["id"]}
    assert ask("GetTask", {"id": "nothing"}, **modern)["error"]["code"] == -32001
