"""CopilotKit's core against the runtime routes, with no Node runtime in between."""

import json

import httpx
import pytest

from conformance import scenario as s
from conformance.driver import Driver

transports = pytest.mark.parametrize("transport", ["rest", "single", "auto"])
BASE = "/copilotkit"


def _ended(client: s.Json, *codes: str) -> None:
    """Nothing was swallowed: each stream reached its end, and no error but those came up."""
    assert [error["code"] for error in client["errors"]] == list(codes), client["errors"]
    assert client["types"][-1] in s.TERMINAL and client["running"] is False


def _same_as_thread(http: httpx.Client, client: s.Json, thread: str) -> None:
    assert client["messages"] == http.get(f"/v1/threads/{thread}/messages").json()["messages"]


@transports
@pytest.mark.requirement("copilotkit.info", "copilotkit.run")
def test_the_core_finds_the_agents_and_runs_one(
    copilotkit: Driver, http: httpx.Client, name: str, transport: str
) -> None:
    result = copilotkit.play(s.core("everything", name), s.ask(), transport=transport)
    a = result["clients"]["a"]
    _ended(a)
    assert a["info"]["status"] == "connected" and {"everything", "plain"} <= set(a["info"]["agents"])
    run_id = a["ends"][-1]["runId"]
    s.check_same(a, s.polled(http, run_id))
    _same_as_thread(http, a, name)
    assert a["state"] == {"count": 2, "list": ["a", "b"], "none": None}
    assert result["warnings"] == []


@transports
@pytest.mark.requirement("copilotkit.connect")
def test_connecting_to_a_thread_without_runs_is_no_error_and_shows_nothing(
    copilotkit: Driver, name: str, transport: str
) -> None:
    result = copilotkit.play(s.core("plain", name), s.op("connect"), transport=transport)
    a = result["clients"]["a"]
    _ended(a)
    assert a["messages"] == [] and a["state"] == {} and a["types"] == ["RUN_STARTED", "RUN_FINISHED"]
    assert result["warnings"] == []


@transports
@pytest.mark.requirement("copilotkit.connect")
def test_connecting_to_a_thread_brings_back_its_messages_and_state(
    copilotkit: Driver, http: httpx.Client, name: str, transport: str
) -> None:
    result = copilotkit.play(
        s.core("everything", name), s.ask(), s.ask(text="again"),
        s.core("everything", name, "b"), s.op("connect", "b"), transport=transport,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    _ended(b)
    s.check_same(b, a)
    _same_as_thread(http, b, name)
    assert result["warnings"] == []


@transports
@pytest.mark.requirement("copilotkit.connect")
def test_connecting_to_a_running_run_follows_it_to_its_end(
    copilotkit: Driver, http: httpx.Client, name: str, transport: str
) -> None:
    parts = ["state", "step", "reasoning", "text", "tool", "activity", "subagent"]
    given = {"gate": name, "open": parts}
    result = copilotkit.play(
        s.core("held", name), s.ask(forwardedProps=given, background=True), s.at_the_gate(),
        s.core("held", name, "b"), s.op("connect", "b", background=True), s.seen("MESSAGES_SNAPSHOT", "b"),
        s.release(name), s.op("done"), s.op("done", "b"), transport=transport,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    _ended(a)
    _ended(b)
    s.check_same(b, a)
    _same_as_thread(http, b, name)
    assert result["warnings"] == []


@pytest.mark.requirement("copilotkit.connect")
def test_who_drops_and_connects_again_has_no_text_twice(copilotkit: Driver, http: httpx.Client, name: str) -> None:
    given = {"gate": name, "open": ["text", "tool", "reasoning", "state"]}
    result = copilotkit.play(
        s.core("held", name), s.ask(forwardedProps=given, background=True), s.at_the_gate(), s.op("leave"),
        s.op("connect", background=True), s.seen("MESSAGES_SNAPSHOT"), s.release(name), s.op("done"),
    )  # fmt: skip
    a = result["clients"]["a"]
    _ended(a)
    _same_as_thread(http, a, name)
    assert [message["content"] for message in a["messages"] if message["id"].endswith("-t")] == ["Hello"]
    assert result["warnings"] == []


@pytest.mark.requirement("copilotkit.connect")
def test_connecting_before_the_agent_says_anything_shows_the_history_at_once(
    copilotkit: Driver, http: httpx.Client, name: str
) -> None:
    result = copilotkit.play(
        s.core("plain", name, "x"), s.ask("x"),
        s.core("silent_at_first", name), s.ask(text="now", forwardedProps={"gate": name}, background=True),
        s.seen("RUN_STARTED"), s.core("silent_at_first", name, "b"), s.op("connect", "b", background=True),
        s.seen("MESSAGES_SNAPSHOT", "b"), s.release(name), s.op("done"), s.op("done", "b"),
    )  # fmt: skip
    b = result["clients"]["b"]
    _ended(b)
    assert b["types"].count("RUN_STARTED") == 1
    assert [message["content"] for message in b["messages"]][-2:] == ["now", "At last."]
    _same_as_thread(http, b, name)


@pytest.mark.requirement("copilotkit.connect")
def test_connecting_to_a_waiting_thread_brings_its_interrupt_back(copilotkit: Driver, name: str) -> None:
    result = copilotkit.play(
        s.core("interrupting", name), s.ask(), s.core("interrupting", name, "b"), s.op("connect", "b")
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    _ended(b)
    assert len(a["pending"]) == 1 and b["pending"] == a["pending"]
    s.check_same(b, a)


@transports
@pytest.mark.requirement("copilotkit.stop")
def test_stop_really_stops_the_run_for_everybody(
    copilotkit: Driver, http: httpx.Client, name: str, transport: str
) -> None:
    result = copilotkit.play(
        s.core("endless", name), s.ask(background=True), s.at_the_gate(),
        s.core("endless", name, "b"), s.op("connect", "b", background=True), s.seen("MESSAGES_SNAPSHOT", "b"),
        s.op("stop"), s.op("done"), s.op("done", "b"), transport=transport,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    _ended(a)
    _ended(b)
    assert [end["code"] for end in a["ends"] + b["ends"]] == ["abort", "abort"]
    runs = http.get("/v1/runs", params={"thread_id": name}).json()["runs"]
    assert [run["status"] for run in runs] == ["cancelled"]
    _same_as_thread(http, a, name)
    s.check_same(b, a)
    assert result["warnings"] == []


@transports
@pytest.mark.requirement("copilotkit.stop")
def test_who_only_connected_can_stop_the_run_too(copilotkit: Driver, name: str, transport: str) -> None:
    result = copilotkit.play(
        s.core("endless", name), s.ask(background=True), s.at_the_gate(),
        s.core("endless", name, "b"), s.op("connect", "b", background=True), s.seen("MESSAGES_SNAPSHOT", "b"),
        s.op("stop", "b"), s.op("done"), s.op("done", "b"), transport=transport,
    )  # fmt: skip
    for one in "ab":
        _ended(result["clients"][one])


@pytest.mark.requirement("copilotkit.stop")
def test_a_stop_that_matches_no_run_stops_nothing(copilotkit: Driver, http: httpx.Client, name: str) -> None:
    path = f"{BASE}/agent/held/stop/{name}"
    result = copilotkit.play(
        s.post(path, {}),
        s.core("held", name), s.ask(forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        s.post(path, {"runId": "another"}), s.post(path, {"runid": "x"}), s.post(path, {"runId": " "}),
        s.post(path, []), s.release(name), s.op("done"), s.post(path, {}), s.post(path),
    )  # fmt: skip
    _ended(result["clients"]["a"])
    told = [(answer["status"], json.loads(answer["text"])) for answer in result["answers"]]
    assert [status for status, _ in told] == [200, 200, 400, 400, 400, 200, 200]
    assert [body["stopped"] for status, body in told if status == 200] == [False] * 4
    assert http.get("/v1/runs", params={"thread_id": name}).json()["runs"][0]["status"] == "completed"


@pytest.mark.requirement("copilotkit.stop")
def test_a_stop_is_answered_in_the_runtimes_words(copilotkit: Driver, name: str) -> None:
    path = f"{BASE}/agent/endless/stop/{name}"
    result = copilotkit.play(
        s.core("endless", name), s.ask(background=True), s.at_the_gate(), s.post(path, {}), s.op("done"),
        s.post(path, {}),
    )  # fmt: skip
    first, second = (json.loads(answer["text"]) for answer in result["answers"])
    interrupt = {"type": "RUN_ERROR", "message": "Run stopped by user", "code": "STOPPED"}
    assert first == {"stopped": True, "interrupt": interrupt}
    assert second["stopped"] is False and second["message"]


@transports
@pytest.mark.requirement("copilotkit.errors")
def test_an_agent_that_raises_is_shown_as_an_error(copilotkit: Driver, name: str, transport: str) -> None:
    result = copilotkit.play(s.core("raising", name), s.ask(), transport=transport)
    a = result["clients"]["a"]
    _ended(a, "agent_run_error_event")
    assert a["ends"][0]["code"] == "AGENT_ERROR" and "hunter2" not in json.dumps(result)


@transports
@pytest.mark.requirement("copilotkit.errors")
def test_a_busy_thread_is_shown_as_an_error_and_not_as_an_empty_run(
    copilotkit: Driver, name: str, transport: str
) -> None:
    result = copilotkit.play(
        s.core("held", name), s.ask(forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        s.core("held", name, "b"), s.ask("b"), s.release(name), s.op("done"), transport=transport,
    )  # fmt: skip
    b = result["clients"]["b"]
    assert [error["code"] for error in b["errors"]] == ["agent_run_failed_event", "agent_run_failed"]
    assert "409" in b["errors"][0]["message"] and b["types"] == []


@pytest.mark.requirement("copilotkit.run")
def test_events_its_client_cannot_parse_are_not_swallowed_with_the_rest_of_the_run(
    copilotkit: Driver, name: str
) -> None:
    result = copilotkit.play(
        s.core("private", name), s.ask(), s.core("private", name, "b"), s.op("connect", "b")
    )  # fmt: skip
    for one in "ab":
        client = result["clients"][one]
        _ended(client)
        assert client["types"][-1] == "RUN_FINISHED" and client["messages"][-1]["content"] == "after it"


@pytest.mark.requirement("copilotkit.info")
def test_the_info_names_every_agent_and_what_there_is(http: httpx.Client) -> None:
    by_path = http.get(f"{BASE}/info").json()
    assert by_path["mode"] == "sse" and by_path["audioFileTranscriptionEnabled"] is False and by_path["version"]
    plain = by_path["agents"]["plain"]
    assert plain["name"] == "plain" and plain["description"].startswith("Says") and plain["className"]
    for path in (BASE, f"{BASE}/"):
        assert http.post(path, json={"method": "info"}).json() == by_path


@pytest.mark.requirement("copilotkit.errors")
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/agent/nobody/run", s.agui_input("t", "r"), 404, "Agent not found"),
        ("POST", "/agent/nobody/connect", s.agui_input("t", "r"), 404, "Agent not found"),
        ("POST", "/agent/nobody/stop/t", {}, 404, "Agent not found"),
        ("POST", "/agent/plain/run", {"threadId": 5}, 400, "Invalid request body"),
        ("POST", "/agent/plain/connect", [], 400, "Invalid request body"),
        ("POST", "/agent/plain/fly", {}, 404, "Not found"),
        ("POST", "/agent/plain", {}, 404, "Not found"),
        ("GET", "/nothing", None, 404, "Not found"),
        ("GET", "/agent/plain/run", None, 405, "Method not allowed"),
        ("POST", "/info", {}, 405, "Method not allowed"),
        ("GET", "", None, 405, "Method not allowed"),
        ("POST", "", {"method": "fly"}, 400, "invalid_request"),
        ("POST", "", {"method": 5}, 400, "invalid_request"),
        ("POST", "", [], 400, "invalid_request"),
        ("POST", "", {"method": "agent/run", "params": {}}, 400, "invalid_request"),
        ("POST", "", {"method": "agent/stop", "params": {"agentId": "plain"}}, 400, "invalid_request"),
        ("POST", "", {"method": "agent/run", "params": {"agentId": "plain"}, "body": {}}, 400, "Invalid request body"),
        ("POST", "", {"method": "agent/run", "params": {"agentId": "x"}, "body": s.agui_input("t", "r")}, 404,
         "Agent not found"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_in_the_runtimes_words(
    http: httpx.Client, method: str, path: str, body: object, status: int, error: str
) -> None:
    answer = http.request(method, BASE + path, json=body) if body is not None else http.request(method, BASE + path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert status != 405 or answer.headers["allow"]


@pytest.mark.requirement("copilotkit.errors")
def test_a_single_route_that_is_sent_no_json_says_so(http: httpx.Client) -> None:
    answer = http.post(BASE, content=b"method=info", headers={"content-type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, answer.json()["error"]) == (415, "invalid_request")
    answer = http.post(BASE, content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.requirement("copilotkit.odd-ids")
@pytest.mark.parametrize("odd", ["a/b", "a/stop/b", "日本語", "a b?c#d%2F"])
def test_a_threads_id_may_hold_anything(copilotkit: Driver, name: str, odd: str) -> None:
    thread = odd + name
    result = copilotkit.play(
        s.core("endless", thread), s.ask(background=True), s.at_the_gate(), s.op("stop"), s.op("done"),
        s.core("endless", thread, "b"), s.op("connect", "b"),
    )  # fmt: skip
    _ended(result["clients"]["a"])
    _ended(result["clients"]["b"])
    s.check_same(result["clients"]["b"], result["clients"]["a"])


@pytest.mark.requirement("copilotkit.resume")
def test_the_answer_to_an_interrupt_resumes_the_run(copilotkit: Driver, http: httpx.Client, name: str) -> None:
    result = copilotkit.play(
        s.core("interrupting", name), s.ask(runId=name),
        s.ask(text=None, runId=name, resume=[{"interruptId": f"{name}-i", "status": "resolved", "payload": {}}]),
    )  # fmt: skip
    _ended(result["clients"]["a"])
    assert result["clients"]["a"]["pending"] == [] and result["warnings"] == []
    _same_as_thread(http, result["clients"]["a"], name)


@transports
@pytest.mark.requirement("copilotkit.resume", "copilotkit.connect")
def test_after_a_reload_the_interrupt_is_pending_and_its_answer_resumes_the_run(
    copilotkit: Driver, http: httpx.Client, name: str, transport: str
) -> None:
    answer = {"interruptId": f"{name}-i", "status": "resolved", "payload": {"approved": True}}
    result = copilotkit.play(
        s.core("interrupting", name), s.ask(runId=name), s.core("interrupting", name, "b"), s.op("connect", "b"),
        s.ask("b", text=None, runId="whatever", resume=[answer]), transport=transport,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    assert len(a["pending"]) == 1 and b["pending"] == []
    _ended(b)
    assert 'resolved: {"approved":true}' in [message.get("content") for message in b["messages"]]
    _same_as_thread(http, b, name)
    assert s.polled(http, name)["decisions"][0]["face"] == "copilotkit"


@pytest.mark.requirement("copilotkit.resume", "copilotkit.errors")
def test_a_stale_answer_is_shown_as_an_error(copilotkit: Driver, http: httpx.Client, name: str) -> None:
    answer = {"interruptId": f"{name}-i", "status": "resolved", "payload": {"approved": True}}
    result = copilotkit.play(
        s.core("interrupting", name), s.ask(runId=name), s.core("interrupting", name, "b"), s.op("connect", "b"),
        s.ask("b", text=None, runId="b", resume=[answer]), s.ask("a", text=None, runId="a", resume=[answer]),
    )  # fmt: skip
    assert "already_resolved" in str(result["clients"]["a"]["errors"])
    assert len(s.polled(http, name)["decisions"]) == 1
