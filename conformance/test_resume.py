"""Answers to interrupts, given by both generations of the AG-UI client and by polling ones."""

from typing import Any

import httpx
import pytest

from conformance import scenario as s
from conformance.driver import AGUI, Driver

clients = pytest.mark.parametrize("client", AGUI)


def entry(name: str, payload: Any = None, status: str = "resolved") -> s.Json:
    told = {"interruptId": f"{name}-i", "status": status}
    return told if status == "cancelled" else told | {"payload": {"approved": True} if payload is None else payload}


def ask(http: httpx.Client, name: str, **props: Any) -> str:
    """The text of a stream that ends with the agent's question."""
    body = s.agui_input(name, name, forwardedProps=props)
    return http.post("/agui/interrupting", json=body).text


def resume(http: httpx.Client, name: str, run_id: str, *entries: s.Json) -> httpx.Response:
    return http.post("/agui/interrupting", json=s.agui_input(name, run_id, resume=list(entries)))


@clients
@pytest.mark.parametrize("run_id", ["{}", "{}-2"], ids=["same-run-id", "new-run-id"])
@pytest.mark.requirement("agui.resume", "agui.no-warnings", "agui.poll-equals-stream")
def test_the_answer_to_an_interrupt_resumes_the_run(
    agui: Driver, http: httpx.Client, name: str, client: str, run_id: str
) -> None:
    result = agui.play(
        s.agent("interrupting", name), s.run(name), s.run("x", text="refused by the client itself"),
        s.run(run_id.format(name), text=None, resume=[entry(name)]), client=client,
    )  # fmt: skip
    a, told = result["clients"]["a"], s.polled(http, name)
    s.check_run(a["runs"][2])
    assert "pending interrupt" in a["runs"][1]["error"]["message"]
    assert a["pending"] == [] and result["warnings"] == []
    assert "TOOL_CALL_RESULT" in a["runs"][2]["types"] and "TOOL_CALL_START" not in a["runs"][2]["types"]
    assert told["status"] == "completed" and told["decisions"][0]["face"] == "agui"
    mine = [message for message in a["messages"] if message["id"] != "x-u"]
    assert mine == [message for message in told["messages"] if message["id"] != "x-u"]


@clients
@pytest.mark.requirement("agui.resume-cancelled")
def test_an_abandoned_question_is_an_answer(agui: Driver, http: httpx.Client, name: str, client: str) -> None:
    result = agui.play(
        s.agent("interrupting", name), s.run(name),
        s.run(f"{name}-2", text=None, resume=[entry(name, status="cancelled")]), client=client,
    )  # fmt: skip
    a = result["clients"]["a"]
    s.check_run(a["runs"][1])
    assert a["pending"] == [] and "cancelled: null" in [message.get("content") for message in a["messages"]]
    assert s.polled(http, name)["decisions"][0]["status"] == "cancelled"


@pytest.mark.requirement("agui.resume-once")
def test_a_repeated_resume_attaches_and_another_is_refused(http: httpx.Client, name: str) -> None:
    ask(http, name)
    first, again = resume(http, name, "leg", entry(name)), resume(http, name, "leg", entry(name))
    other = resume(http, name, "leg-2", entry(name))
    changed = resume(http, name, "leg", entry(name, {"approved": False}))
    assert first.status_code == again.status_code == 200
    assert '"type":"RUN_FINISHED"' in again.text and "RUN_ERROR" not in again.text
    for refused in (other, changed):
        assert (refused.status_code, refused.json()["error"]) == (409, "already_resolved")
        assert refused.json()["resolved"]["by"]["id"] and refused.json()["resolved"]["at"]
    record = http.get(f"/v1/runs/{name}/audit").json()["audit"]
    assert [one["what"] for one in record] == ["started", "waiting", "answered"]


@pytest.mark.requirement("agui.resume-coverage")
def test_what_is_open_must_be_covered_and_what_is_unknown_is_passed_over(http: httpx.Client, name: str) -> None:
    ask(http, name, also=["j"])
    partly = resume(http, name, "p", entry(name))
    unknown = resume(http, name, "u", {"interruptId": "never", "status": "resolved"})
    assert (partly.status_code, partly.json()["missing"]) == (422, [f"{name}-j"])
    assert (unknown.status_code, unknown.json()["error"]) == (422, "unknown_interrupt")
    assert s.polled(http, name)["status"] == "waiting"
    others = [{"interruptId": one, "status": "resolved", "payload": 1} for one in ("never", f"{name}-j")]
    whole = resume(http, name, "w", entry(name), *others)
    assert whole.status_code == 200 and '"type":"RUN_FINISHED"' in whole.text
    assert s.polled(http, name)["status"] == "completed"


@clients
@pytest.mark.requirement("agui.resume-failed")
def test_a_leg_that_fails_leaves_the_answer_on_record(agui: Driver, http: httpx.Client, name: str, client: str) -> None:
    result = agui.play(
        s.agent("interrupting", name), s.run(name, forwardedProps={"fails": True}),
        s.run(f"{name}-2", text=None, resume=[entry(name)]),
        s.run(f"{name}-3", text=None, resume=[entry(name)]), client=client,
    )  # fmt: skip
    runs = result["clients"]["a"]["runs"]
    assert [error["code"] for error in runs[1]["runErrors"]] == ["AGENT_ERROR"]
    assert runs[2]["error"]["status"] == 409
    told = s.polled(http, name)
    assert told["status"] == "failed" and [one["status"] for one in told["decisions"]] == ["resolved"]


@pytest.mark.requirement("agui.expired")
def test_an_answer_after_the_time_is_refused(http: httpx.Client, name: str) -> None:
    ask(http, name, ask={"expiresAt": "2020-01-01T00:00:00Z"})
    refused = resume(http, name, "late", entry(name))
    assert (refused.status_code, refused.json()["error"]) == (410, "interrupt_expired")
    ended = http.get(f"/v1/runs/{name}", params={"after_seq": 8, "wait": 10}).json()
    ended = http.get(f"/v1/runs/{name}", params={"after_seq": ended["seq"], "wait": 5}).json()
    assert ended["status"] == "cancelled" and ended["decisions"][0]["status"] == "expired"
    assert "sent" not in http.get(f"/v1/runs/{name}", params={"include": "messages"}).text


@clients
@pytest.mark.requirement("agui.waiting-thread")
def test_a_run_on_a_waiting_thread_is_finished_with_the_question(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    """As somebody does who has reloaded a page that keeps nothing."""
    result = agui.play(
        s.agent("interrupting", name), s.run(name),
        s.agent("interrupting", name, "b"), s.run(f"{name}-b", "b", text="hello?"),
        s.run(f"{name}-c", "b", text=None, resume=[entry(name)]), client=client,
    )  # fmt: skip
    b, told = result["clients"]["b"], s.polled(http, name)
    assert b["runs"][0]["ended"]["outcome"] == "interrupt" and b["pending"] == []
    s.check_run(b["runs"][1])
    assert [one["what"] for one in http.get(f"/v1/runs/{name}/audit").json()["audit"]].count("started") == 1
    assert "hello?" in [message["content"] for message in told["messages"] if message["role"] == "user"]
    assert result["warnings"] == []


@pytest.mark.requirement("rest.resume", "rest.audit", "rest.wait", "rest.long-poll")
def test_a_polling_client_sees_the_question_answers_it_and_sees_the_end(http: httpx.Client, name: str) -> None:
    want = {"agent": "interrupting", "input": "hi", "run_id": name}
    run = http.post("/v1/runs", json=want, headers={"prefer": "wait=10"}).json()
    assert run["status"] == "waiting" and [one["message"] for one in run["interrupts"]] == ["Send it?"]
    answers = [{"interrupt_id": f"{name}-i", "status": "resolved", "payload": {"approved": False}}]
    first = http.post(f"/v1/runs/{name}/resume", json={"answers": answers}, headers={"idempotency-key": name})
    again = http.post(f"/v1/runs/{name}/resume", json={"answers": answers}, headers={"idempotency-key": name})
    assert first.status_code == again.status_code == 200
    assert first.json()["decisions"][0]["decision"] == "reject" and first.json()["interrupts"] == []
    while run["status"] not in ("completed", "failed", "cancelled"):
        run = http.get(f"/v1/runs/{name}", params={"after_seq": run["seq"], "wait": 10}).json()
    assert run["status"] == "completed"
    record = http.get(f"/v1/runs/{name}/audit").json()
    assert [one["what"] for one in record["audit"]] == ["started", "waiting", "answered"]
    assert record["audit"][2]["by"]["id"] and record["audit"][2]["face"] == "rest"


@pytest.mark.requirement("rest.resume-refusals", "rest.problems")
def test_each_wrong_answer_is_refused_for_what_it_is(http: httpx.Client, name: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    ask(http, name, ask={"responseSchema": schema}, also=["j"])
    path, both = f"/v1/runs/{name}/resume", [{"interrupt_id": f"{name}-i"}, {"interrupt_id": f"{name}-j"}]
    tries: list[tuple[Any, int, str]] = [
        ({"answers": [both[0] | {"payload": {"n": "x"}}, both[1]]}, 422, "invalid_answer"),
        ({"answers": [both[0] | {"payload": {"n": 1}}]}, 422, "interrupts_missing"),
        ({"answers": [*both, {"interrupt_id": "never"}]}, 422, "unknown_interrupt"),
        ({"answers": "all"}, 422, "invalid_request"),
        ({"answers": [both[0] | {"payload": "x" * (2 << 20)}]}, 413, "too_large"),
    ]
    for sent, status, code in tries:
        refused = http.post(path, json=sent)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert s.polled(http, name)["status"] == "waiting"
    right = {"answers": [both[0] | {"payload": {"n": 1}}, both[1]]}
    assert http.post(path, json=right).status_code == 200
    second = http.post(path, json=right)
    assert (second.status_code, second.json()["code"]) == (409, "already_resolved") and second.json()["resolved"]["at"]
    assert http.post("/v1/runs/never/resume", json=right).status_code == 404
