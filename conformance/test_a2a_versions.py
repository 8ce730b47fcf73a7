"""Versions of A2A, extensions, and idempotency: what stands in headers."""

import json
from typing import Any

import httpx
import pytest

from conformance.a2a.peer import CURSOR, IDEMPOTENCY, Json, Peer, message, text_of


@pytest.mark.requirement("A2A-070")
def test_a_version_is_named_by_header_or_query(http: httpx.Client, peer: Peer) -> None:
    for version in ("1.0", "1.1"):
        assert peer.with_headers(a2a_version=version).send()["status"]["state"] == "TASK_STATE_COMPLETED"
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message("hi")}
    told = http.post("/a2a/plain?A2A-Version=1.0", json=body).json()
    assert told["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    sent = http.post("/a2a/plain/message:send?A2A-Version=1.0", json=message("hi"))
    assert sent.json()["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert http.get("/a2a/plain/tasks?A2A-Version=1.0&pageSize=1").json()["pageSize"] == 1


@pytest.mark.requirement("A2A-071")
@pytest.mark.parametrize("version", ["99.0", "0.1", "x", "2.0"])
@pytest.mark.parametrize("operation", ["SendMessage", "ListTasks", "SendStreamingMessage"])
def test_a_version_that_is_not_spoken_is_refused(peer: Peer, version: str, operation: str) -> None:
    params: Json = {} if operation == "ListTasks" else message("hi")
    refusal = peer.with_headers(a2a_version=version).refused(operation, params)
    assert (refusal.code or -32009, refusal.reason) == (-32009, "VERSION_NOT_SUPPORTED")
    assert refusal.status == (200 if refusal.code else 400)


@pytest.mark.requirement("A2A-071")
@pytest.mark.parametrize("headers", [{}, {"a2a-version": ""}])
def test_no_version_is_0_3(http: httpx.Client, headers: dict[str, str]) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message("hi")}
    told = http.post("/a2a/plain", json=body, headers=headers).json()
    assert told["error"]["code"] == -32009
    refused = http.get("/a2a/plain/tasks", headers=headers)
    assert refused.status_code == 400 and refused.json()["error"]["details"][0]["reason"] == "VERSION_NOT_SUPPORTED"


# ── 0.3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def legacy(http: httpx.Client, agent: str, method: str, params: Json) -> Json:
    body = {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}
    answer = http.post(f"/a2a/{agent}", json=body)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    assert told["id"] == 3
    return told


def legacy_message(text: str = "hi", **more: Any) -> Json:
    said = {"kind": "message", "role": "user", "messageId": "m1", "parts": [{"kind": "text", "text": text}]}
    return {"message": said | more}


def legacy_stream(http: httpx.Client, agent: str, method: str, params: Json) -> list[Json]:
    body = {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}
    with http.stream("POST", f"/a2a/{agent}", json=body, headers={"accept": "text/event-stream"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        return [json.loads(line[6:])["result"] for line in answer.iter_lines() if line.startswith("data: ")]


@pytest.mark.requirement("A2A-072")
def test_a_client_of_0_3_sends_gets_and_cancels(http: httpx.Client) -> None:
    task = legacy(http, "plain", "message/send", legacy_message())["result"]
    assert (task["kind"], task["status"]["state"]) == ("task", "completed")
    assert task["artifacts"][0]["parts"][0]["kind"] == "text"
    assert legacy(http, "plain", "tasks/get", {"id": task["id"]})["result"] == task
    assert legacy(http, "plain", "tasks/get", {"id": "no-such-task"})["error"]["code"] == -32001
    waiting = legacy(http, "reviewing", "message/send", legacy_message())["result"]
    assert waiting["status"]["state"] == "input-required"
    cancelled = legacy(http, "reviewing", "tasks/cancel", {"id": waiting["id"]})["result"]
    assert cancelled["status"]["state"] == "canceled"
    assert legacy(http, "reviewing", "tasks/cancel", {"id": waiting["id"]})["error"]["code"] == -32002
    asked = legacy(http, "doing", "message/send", legacy_message() | {"metadata": {"do": "sign-in"}})["result"]
    assert asked["status"]["state"] == "auth-required"
    done = legacy(http, "doing", "message/send", legacy_message("I did", taskId=asked["id"]))["result"]
    assert done["status"]["state"] == "completed"


@pytest.mark.requirement("A2A-072")
def test_a_client_of_0_3_streams_and_subscribes_again(http: httpx.Client, peer: Peer, name: str) -> None:
    updates = legacy_stream(http, "hurried", "message/stream", legacy_message() | {"metadata": {"on_expiry": "answer"}})
    assert updates[0]["kind"] == "task"
    ends = [one for one in updates if one["kind"] == "status-update" and one["final"]]
    if ends:  # else the task was there already when the stream began
        assert ends == updates[-1:] and ends[0]["status"]["state"] == "input-required"
    going = peer.to("halved").send(
        configuration={"returnImmediately": True}, request_metadata={"gate": name, "count": 3}
    )
    body = {"jsonrpc": "2.0", "id": 3, "method": "tasks/resubscribe", "params": {"id": going["id"]}}
    with http.stream("POST", "/a2a/halved", json=body, headers={"accept": "text/event-stream"}) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        assert json.loads(next(lines)[6:])["result"]["kind"] == "task"
        peer.to("release").send(name)
        last = [json.loads(line[6:])["result"] for line in lines][-1]
    assert last["status"]["state"] == "completed" and last["final"] is True


@pytest.mark.requirement("A2A-072")
@pytest.mark.parametrize(
    "params",
    [{}, {"message": 1}, {"message": {"role": "king"}}, {"message": {"kind": "message", "parts": "x"}}, {"id": 5}],
    ids=str,
)
def test_what_is_no_request_of_0_3_is_refused(http: httpx.Client, params: Json) -> None:
    for method in ("message/send", "message/stream", "tasks/get"):
        told = legacy(http, "plain", method, params)
        assert told["error"]["code"] == -32602 and "Traceback" not in str(told), method


# ── extensions ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("A2A-073")
def test_what_is_activated_is_echoed_and_what_is_unknown_is_passed_over(peer: Peer) -> None:
    asking = peer.with_headers(a2a_extensions=f"urn:none:1, {CURSOR}")
    with asking.stream("SendStreamingMessage", message("hi")) as stream:
        assert stream.answer.headers["a2a-extensions"] == CURSOR
        updates = list(stream)
    assert all(CURSOR in next(iter(update.values()))["metadata"] for update in updates)
    answer = asking._send("SendMessage", message("hi"))
    assert CURSOR in answer.headers["a2a-extensions"] and "urn:none" not in answer.headers["a2a-extensions"]
    assert CURSOR in asking.send()["metadata"]
    with peer.stream("SendStreamingMessage", message("hi")) as stream:
        assert "a2a-extensions" not in stream.answer.headers
        assert not any("metadata" in next(iter(update.values())) for update in stream)


# ── idempotency ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("A2A-074")
def test_the_same_message_id_is_another_task(peer: Peer) -> None:
    assert peer.send("hi", messageId="same")["id"] != peer.send("hi", messageId="same")["id"]


@pytest.mark.requirement("A2A-075")
def test_the_same_key_is_the_same_task(peer: Peer, name: str) -> None:
    keyed = peer.with_headers(idempotency_key=name, a2a_extensions=IDEMPOTENCY)
    first = keyed.send("once")
    assert keyed.send("once") == first
    updates = keyed.updates("SendStreamingMessage", message("once"))
    assert updates[0]["task"]["id"] == first["id"] and updates[0]["task"]["status"] == first["status"]
    other = keyed.refused("SendMessage", message("twice"))
    assert other.reason in ("UNSUPPORTED_OPERATION", "INVALID_PARAMS") or other.code == -32602
    assert len(peer.call("ListTasks", {"contextId": first["contextId"]})["tasks"]) == 1


@pytest.mark.requirement("A2A-076")
def test_an_answer_that_is_repeated_under_its_key_is_the_same_success(peer: Peer, name: str) -> None:
    asking = peer.to("reviewing")
    task = asking.send("check")
    answer = message(None, [{"data": {"approved": True}}], taskId=task["id"])
    keyed = asking.with_headers(idempotency_key=name)
    first = keyed.call("SendMessage", answer)["task"]
    assert keyed.call("SendMessage", answer)["task"] == first
    assert first["status"]["state"] == "TASK_STATE_COMPLETED" and '"approved": true' in text_of(first)
    assert asking.refused("SendMessage", answer).reason == "UNSUPPORTED_OPERATION"
    assert len(first["history"]) == 3


@pytest.mark.requirement("A2A-075")
@pytest.mark.parametrize("key", ["", "x" * 200, "a b"])
def test_a_key_that_is_none_is_refused(peer: Peer, key: str) -> None:
    refusal = peer.with_headers(idempotency_key=key).refused("SendMessage", message("hi"))
    assert "Idempotency-Key" in refusal.message
