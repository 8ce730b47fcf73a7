"""What is refused: each error in its binding's form, and garbage of every kind without a 500, a hang or a traceback."""

import base64
import json
from typing import Any

import httpx
import pytest

from conformance.a2a.peer import BINDINGS, INFO, Json, Peer, message

HEADERS = {"content-type": "application/json", "a2a-version": "1.0"}
DEEP = '{"a":' * 500 + "1" + "}" * 500


@pytest.mark.requirement("A2A-080")
def test_a_refusal_has_an_error_info_in_both_bindings(http: httpx.Client) -> None:
    rpc, rest = (Peer(http, "plain", binding).refused("GetTask", {"id": "none"}) for binding in BINDINGS)
    assert (rpc.code, rpc.status) == (-32001, 200)
    assert set(rpc.body) == {"jsonrpc", "id", "error"} and isinstance(rpc.body["error"]["data"], list)
    assert (rest.code, rest.status, rest.body["error"]["status"]) == (None, 404, "NOT_FOUND")
    for refusal in (rpc, rest):
        info = refusal.info
        assert (info["@type"], info["reason"], info["domain"]) == (INFO, "TASK_NOT_FOUND", "a2a-protocol.org")


@pytest.mark.requirement("A2A-080")
def test_a_field_that_is_missing_is_named(peer: Peer) -> None:
    for operation, params, field in (
        ("SendMessage", {}, "message"),
        ("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER"}}, "parts"),
        ("SendMessage", {"message": {"role": "ROLE_USER", "parts": [{"text": "x"}]}}, "message"),
        ("SendMessage", {"message": {"messageId": "m", "parts": [{"text": "x"}]}}, "role"),
        ("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": []}}, "parts"),
    ):
        for way in (operation, operation.replace("Send", "SendStreaming")):
            refusal = peer.refused(way, params)
            assert (refusal.code or -32602) == -32602 and refusal.status in (200, 400)
            assert field in str(refusal.body).lower(), refusal


def rpc_error(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    assert told["jsonrpc"] == "2.0" and "result" not in told and "Traceback" not in answer.text
    error: Json = told["error"]
    return error


@pytest.mark.requirement("A2A-081")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700), (b"{", -32700), (b"\xff\xfe", -32700), (b"nonsense", -32700), (b'{"a":NaN}', -32700),
        (b'"\\ud800"', -32700), (b"null", -32600), (b"7", -32600), (b"[]", -32600), (b"{}", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ListTasks"}]', -32600), (b'{"jsonrpc":"1.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600), (b'{"jsonrpc":"2.0","id":{},"method":"ListTasks"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"Nothing"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":[]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":5}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask"}', -32602), (b"[" * 50_000, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":%b}' % DEEP.encode(), -32600),
    ],
)  # fmt: skip
def test_what_is_no_json_rpc_is_told_so(http: httpx.Client, body: bytes, code: int) -> None:
    assert rpc_error(http.post("/a2a/plain", content=body, headers=HEADERS))["code"] == code


@pytest.mark.requirement("A2A-081")
def test_the_id_of_a_request_comes_back_as_it_was(http: httpx.Client) -> None:
    for id_ in (1, "x", None, -5, "日本語"):
        body = {"jsonrpc": "2.0", "id": id_, "method": "Nothing"}
        assert http.post("/a2a/plain", json=body, headers=HEADERS).json()["id"] == id_


@pytest.mark.requirement("A2A-081")
def test_other_methods_of_http_and_other_media_types_are_refused(http: httpx.Client) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = http.request(method, "/a2a/plain", headers={"a2a-version": "1.0"})
        assert answer.status_code == 405 and answer.headers["allow"] == "POST"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}).encode()
    for media in ("text/plain", "application/xml", "multipart/form-data"):
        error = rpc_error(http.post("/a2a/plain", content=body, headers={**HEADERS, "content-type": media}))
        assert error["code"] == -32005
    for path in ("/nothing", "/tasks/a/b/c", "/message:forget", "/tasks:all", "/%2F", "/tenant/nothing"):
        answer = http.post(f"/a2a/plain{path}", json={}, headers=HEADERS)
        assert answer.status_code in (400, 404, 405), (path, answer.text)


@pytest.mark.requirement("A2A-081")
@pytest.mark.parametrize("path", ["message:send", "message:stream"])
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"7", b"\xff", b'{"message":NaN}', DEEP.encode()])
def test_what_is_no_json_over_http_is_told_so(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(f"/a2a/plain/{path}", content=body, headers=HEADERS)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == 400, answer.text


def part(**told: Any) -> Json:
    return message(None, [told])


@pytest.mark.requirement("A2A-082")
@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
@pytest.mark.parametrize(
    "params",
    [
        message("hi", role="ROLE_KING"), message("hi", role="user"), message("hi", role=7), message(7),
        message("hi", parts="x"), message("hi", parts=[5]), message("hi", parts=[None]),
        part(raw="%%%"), part(raw="a"), part(raw=5),
        part(text="a", url="b"), part(data={"a": 1}, text="b"), part(), part(filename="x"), part(url=5),
        message("hi", parts=[{"text": "x"}] * 10_000), message("hi", metadata=[]), message("hi", metadata="x"),
        message("hi", messageId=5), message("hi", messageId=""), message("hi", taskId=5), message("hi", contextId=[]),
        message("hi", contextId="x" * 10_000), message("hi", taskId="x" * 10_000), message("hi", extensions=5),
        message("hi", configuration=5), message("hi", configuration={"historyLength": -5}),
        message("hi", configuration={"historyLength": "x"}), message("hi", configuration={"historyLength": 10**12}),
        message("hi", configuration={"returnImmediately": "perhaps"}), message("hi", request_metadata=5),
        message("hi", request_metadata={"x": "y" * 20_000}), {"message": []}, {"message": None}, {"message": "hi"},
    ],
    ids=lambda params: json.dumps(params)[:60],
)  # fmt: skip
def test_garbage_in_a_message_is_refused(peer: Peer, operation: str, params: Json) -> None:
    refusal = peer.refused(operation, params)
    assert refusal.code in (-32602, -32600, -32001, None) and refusal.status in (200, 400, 404)


@pytest.mark.requirement("A2A-082")
@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("GetTask", {"id": "x" * 10_000}), ("GetTask", {"id": "a b*>."}), ("GetTask", {"id": "日本語"}),
        ("GetTask", {"id": "x", "historyLength": "many"}), ("CancelTask", {"id": "x" * 300}),
        ("CancelTask", {"id": "%"}), ("SubscribeToTask", {"id": ".."}), ("SubscribeToTask", {"id": "*"}),
    ],
    ids=str,
)  # fmt: skip
def test_odd_ids_are_of_no_task(peer: Peer, operation: str, params: Json) -> None:
    refusal = peer.refused(operation, params)
    assert refusal.reason in ("TASK_NOT_FOUND", "INVALID_PARAMS") or refusal.code == -32602, refusal


@pytest.mark.requirement("A2A-083")
def test_a_part_of_fifty_megabytes_is_refused_without_being_read(http: httpx.Client, peer: Peer) -> None:
    raw = base64.b64encode(bytes(38 << 20)).decode()
    path, body = ("/a2a/plain", {"jsonrpc": "2.0", "id": 7, "method": "SendMessage", "params": part(raw=raw)})
    if peer.binding == "HTTP+JSON":
        path, body = "/a2a/plain/message:send", part(raw=raw)
    with httpx.Client(base_url=http.base_url, timeout=20) as own:
        try:
            answer = own.post(path, json=body, headers={"a2a-version": "1.0"})
        except httpx.WriteError:
            answer = None  # the connection was closed on who goes on sending
        if answer is not None:
            assert answer.status_code in (200, 400, 413) and "error" in answer.json() and len(answer.content) < 2_000
    assert peer.send("still here")["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.requirement("A2A-084")
def test_what_fails_in_the_agent_is_told_without_its_secrets(peer: Peer) -> None:
    task = peer.to("raising").send("hi")
    assert task["status"]["state"] == "TASK_STATE_FAILED" and "hunter2" not in json.dumps(task)
    for text in ('{"type":"NOT_A_THING"', '{"type":"TOOL_CALL_END","toolCallId":"x"}', '{"a":1}'):
        assert peer.to("rubbish").send(text)["status"]["state"] == "TASK_STATE_FAILED"


@pytest.mark.requirement("A2A-080")
def test_unknown_fields_are_passed_over(peer: Peer) -> None:
    sent = message("hi", newField={"a": 1})
    assert peer.call("SendMessage", sent | {"another": 5})["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.requirement("A2A-085")
def test_of_answers_through_several_faces_one_counts_and_the_others_learn_who_was_first(
    http: httpx.Client, peer: Peer
) -> None:
    asking = peer.to("reviewing")
    task = asking.send("check")
    (gate,) = http.get(f"/v1/runs/{task['id']}").json()["interrupts"]
    answers = {"answers": [{"interrupt_id": gate["id"], "payload": {"approved": True}}]}
    assert http.post(f"/v1/runs/{task['id']}/resume", json=answers).status_code == 200
    late = asking.refused("SendMessage", message(None, [{"data": {"approved": False}}], taskId=task["id"]))
    assert (late.code or -32004, late.reason) == (-32004, "UNSUPPORTED_OPERATION")
    first = late.info["metadata"]
    assert (first["code"], first["status"], first["face"]) == ("already_resolved", "resolved", "rest") and first["by"]
    other = asking.send("check")
    asking.send(None, parts=[{"data": {"approved": False}}], taskId=other["id"])
    (gate,) = http.get(f"/v1/runs/{other['id']}").json()["decisions"]
    assert gate["face"] == "a2a"
    told = http.post(f"/v1/runs/{other['id']}/resume", json={"answers": [{"interrupt_id": gate["interrupt_id"]}]})
    assert told.status_code == 409 and told.json()["resolved"]["face"] == "a2a"
