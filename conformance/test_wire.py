"""The bytes of an AG-UI stream, without a client that might forgive them."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest

from conformance import scenario as s
from conformance.driver import Driver

KEEP_ALIVE_SECONDS = 15.0


@pytest.mark.requirement("agui.frames", "agui.headers")
def test_a_stream_has_line_feeds_only_dense_ids_and_says_that_it_must_not_be_buffered(
    http: httpx.Client, name: str
) -> None:
    answer = http.post("/agui/everything", json=s.agui_input(name, name))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in answer.headers["cache-control"] and answer.headers["x-accel-buffering"] == "no"
    assert "\r" not in answer.text and not answer.text.startswith("\ufeff")
    ids = [int(line[4:]) for line in answer.text.split("\n") if line.startswith("id: ")]
    assert ids == list(range(1, len(ids) + 1))
    events = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]
    s.check_end([event["type"] for event in events])
    assert events[0]["protocolVersion"] == "1.0"
    for event in events:
        assert type(event["timestamp"]) is int


@pytest.mark.requirement("agui.refusals")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b"null", 422), (b"[]", 422), (b"{}", 422), (b'"text"', 422),
        (b'{"threadId":"t","runId":5,"messages":[]}', 422), (b'{"threadId":"t","runId":"r","messages":{}}', 422),
        (b'{"threadId":"t","runId":"","messages":[]}', 422), (b'{"threadId":"t","runId":"r","messages":[1]}', 422),
    ],
)  # fmt: skip
def test_what_is_no_run_input_is_refused_before_the_stream(http: httpx.Client, body: bytes, status: int) -> None:
    answer = http.post("/agui/plain", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert isinstance(told["error"], str) and isinstance(told["message"], str)


@pytest.mark.requirement("agui.refusals", "copilotkit.errors")
@pytest.mark.parametrize("path", ["/agui/plain", "/copilotkit/agent/plain/run", "/copilotkit/agent/plain/stop/t"])
def test_a_body_that_a_page_of_another_site_could_send_is_refused(http: httpx.Client, path: str) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert http.post(path, content=b"{}", headers={"content-type": media}).status_code == 415
    assert http.post(path).status_code == 415


@pytest.mark.requirement("agui.refusals")
@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30, "²"])
def test_a_cursor_that_is_no_number_is_refused(http: httpx.Client, name: str, cursor: str) -> None:
    answer = http.post("/agui/plain", json=s.agui_input(name, name), params={"after_seq": cursor})
    assert answer.status_code == 422, answer.text


@pytest.mark.requirement("agui.odd-ids")
@pytest.mark.parametrize(
    "odd", ["a.b", "a b", "*", ">", "a/b", "a?b#c%2F", "日本語🎶", ".", "$KV", "x" * 200, "ü" * 100, "a\tb", "--", "%"]
)
def test_ids_that_clients_choose_may_hold_anything(http: httpx.Client, name: str, odd: str) -> None:
    thread, run = f"{odd}{name}t", f"{odd}{name}"
    answer = http.post("/agui/plain", json=s.agui_input(thread, run))
    assert answer.status_code == 200, answer.text
    events = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]
    assert (events[0]["threadId"], events[0]["runId"]) == (thread, run)
    assert events[-1]["type"] == "RUN_FINISHED"


@pytest.mark.requirement("agui.odd-ids")
def test_an_id_that_is_much_too_long_is_refused_or_taken_but_harms_nobody(http: httpx.Client, name: str) -> None:
    answer = http.post("/agui/plain", json=s.agui_input(name, "長" * 10_000))
    assert answer.status_code in (200, 422), answer.text
    assert http.post("/agui/plain", json=s.agui_input(name + "n", name)).status_code == 200


@pytest.mark.requirement("agui.body-limit")
@pytest.mark.parametrize("path", ["/agui/plain", "/copilotkit/agent/plain/run", "/copilotkit", "/v1/runs"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_of_100_mb_is_refused_long_before_it_has_come(
    http: httpx.Client, base_url: str, path: str, declared: bool
) -> None:
    where = httpx.URL(base_url)
    length = "content-length: 104857600" if declared else "transfer-encoding: chunked"
    head = f"POST {path} HTTP/1.1\r\nhost: {where.host}\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    with socket.create_connection((where.host, where.port or 80), timeout=10) as connection:
        connection.sendall(head.encode())
        if not declared:
            part = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
            for _ in range(3):
                connection.sendall(part)
        assert connection.recv(4096).split(b"\r\n")[0].split(b" ")[1] == b"413"
    assert http.get("/healthz").status_code == 200


@pytest.mark.requirement("agui.attach")
def test_one_run_that_is_posted_many_times_at_once_runs_once(http: httpx.Client, name: str) -> None:
    with ThreadPoolExecutor(12) as pool:
        given = [s.agui_input(name, name)] * 12
        answers = list(pool.map(lambda one: http.post("/agui/counting", json=one), given))
    assert [answer.status_code for answer in answers] == [200] * 12
    for answer in answers:
        assert '"type":"RUN_FINISHED"' in answer.text
    told = s.polled(http, name)
    assert (told["attempt"], len(told["messages"])) == (1, 2)


@pytest.mark.requirement("agui.busy-thread")
def test_of_many_runs_started_at_once_on_one_thread_one_is_taken(http: httpx.Client, name: str) -> None:
    given = [s.agui_input(name, f"{name}-{number}", forwardedProps={"gate": name}) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(http.post, "/agui/held", json=one) for one in given]
        refused = [done.result() for _, done in zip(range(7), as_completed(asked, timeout=10), strict=False)]
        assert [answer.status_code for answer in refused] == [409] * 7
        http.post("/agui/release", json=s.agui_input(f"{name}-o", f"{name}-o", name))
        assert sorted(done.result().status_code for done in asked) == [200] + [409] * 7
    listed = http.get("/v1/runs", params={"thread_id": name}).json()["runs"]
    assert len(listed) == 1 and listed[0]["status"] == "completed"


@pytest.mark.requirement("agui.keep-alive")
def test_a_silent_run_keeps_its_stream_alive_by_comments_that_harm_no_client(
    agui: Driver, http: httpx.Client, name: str
) -> None:
    heard: list[str] = []
    given = s.agui_input(name, name, forwardedProps={"gate": name})
    opened = threading.Event()

    def listen() -> None:
        with http.stream("POST", "/agui/silent_at_first", json=given, timeout=40) as answer:
            for line in answer.iter_lines():
                heard.append(line)
                if "keep-alive" in line:
                    opened.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert opened.wait(KEEP_ALIVE_SECONDS * 1.5), heard
    finally:
        result = agui.play(
            s.agent("silent_at_first", name), s.run(name, text=None, background=True), s.seen("RUN_STARTED"),
            s.release(name), s.op("done"), client="agui-1",
        )  # fmt: skip
        listener.join(10)
    assert any(line.startswith(":") for line in heard)
    s.check_run(result["clients"]["a"]["runs"][0])
    assert result["warnings"] == []
