"""Middesk's run API: the run object, starting, resuming and listing, with a client that knows that API alone."""

import itertools
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from conformance import scenario as s
from conformance.dialects.middesk import Client

KEYS = ["object", "id", "created_at", "updated_at", "status", "thread_id", "agent", "requester", "started_at",
        "ended_at", "output", "interrupts"]  # fmt: skip
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
YES = {"approved": True}


@pytest.fixture
def middesk(base_url: str) -> Client:
    return Client(base_url)


def refused(answer: httpx.Response, status: int) -> list[str]:
    """The messages of a refusal in the dialect's envelope."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert list(told) == ["errors"] and told["errors"]
    assert all(list(one) == ["message"] and one["message"] for one in told["errors"])
    return [one["message"] for one in told["errors"]]


def entries(http: httpx.Client, run_id: str) -> list[str]:
    """The types of what is recorded of a run."""
    told = http.get(f"/v1/runs/{run_id}/events", headers={"accept": "application/json"}).json()["events"]
    return [one["event"]["type"] for one in told]


def waiting(middesk: Client, agent: str = "reviewing", text: str = "hi") -> s.Json:
    """A run once it is interrupted."""
    return middesk.until(middesk.start(agent, text), "interrupted")


@pytest.mark.requirement("middesk.job")
def test_a_client_that_knows_the_api_alone_does_the_whole_job(middesk: Client) -> None:
    run_id = middesk.start("reviewing", "Please look")
    seen = dict(itertools.islice(middesk.stream(run_id), 1))  # and leaves
    for seq, told in middesk.stream(run_id, max(seen)):
        seen[seq] = told
        if told["snapshot"]["status"] == "interrupted":
            break
    assert middesk.status(run_id) == "interrupted"
    answered = middesk.answer(run_id, YES)
    assert answered.status_code == 200 and answered.json()["interrupts"] == []
    seen |= dict(middesk.stream(run_id, max(seen)))
    assert seen == dict(middesk.stream(run_id))
    run = middesk.run(run_id)
    assert run["status"] == "completed" == middesk.status(run_id) and middesk.gate(run_id) is None
    assert '"approved": true' in run["output"]["artifacts"][0]["summary"]
    assert run_id in middesk.listed()


@pytest.mark.requirement("MD-001", "MD-003", "MD-004")
def test_a_run_has_these_keys_and_no_others_at_every_status(middesk: Client) -> None:
    began = middesk.begin(type="reviewing", input="hi")
    assert (list(began), began["status"], began["started_at"]) == (KEYS, "running", None)
    run_id = began["id"]
    runs = [middesk.until(run_id, "interrupted")]
    runs += [middesk.run(run_id)]
    assert runs[0] == runs[1] | {"steps": runs[0]["steps"]}
    failed, endless = middesk.start("raising", "hi"), middesk.start("endless", "hi")
    middesk.until(failed, "error")
    middesk.answer(run_id, YES)
    middesk.until(run_id, "completed")
    next(middesk.stream(endless))
    runs += [middesk.run(one) for one in (run_id, failed, endless)]
    assert [run["status"] for run in runs[1:]] == ["interrupted", "completed", "error", "running"]
    for run in runs[1:]:
        assert list(run) == KEYS and run["object"] == "run"
        assert (run["output"] is not None) is (run["status"] == "completed")
        assert bool(run["interrupts"]) is (run["status"] == "interrupted")
        assert all(INSTANT.fullmatch(run[name]) for name in ("created_at", "updated_at", "started_at"))
        assert (run["ended_at"] is not None) is (run["status"] in ("completed", "error"))
        assert run["created_at"] <= run["started_at"] <= run["updated_at"]
        assert list(middesk.run(run["id"], steps=True)) == [*KEYS, "steps"]
    (gate,) = runs[1]["interrupts"]
    assert set(gate) == {"id", "value", "agent"} and gate["agent"] == "reviewing"
    assert gate["value"]["message"] == "OK?" and gate["value"]["values"] == {"amount": 120}
    assert gate["value"]["schema"]["required"] == ["approved"] and "expires_at" not in gate["value"]


@pytest.mark.requirement("MD-002")
def test_ids_are_uuids_whoever_started_the_run_and_both_forms_are_read(
    middesk: Client, http: httpx.Client, name: str
) -> None:
    assert http.post("/agui/plain", json=s.agui_input(f"t-{name}", name)).status_code == 200
    run, same = middesk.run(name), middesk.run(middesk.run(name)["id"])
    assert UUID.fullmatch(run["id"]) and UUID.fullmatch(run["thread_id"]) and run["id"] != run["thread_id"]
    assert run == same and run["status"] == "completed"
    thread = middesk.http.get(f"/v1/threads/{run['thread_id']}").json()
    assert thread == middesk.http.get(f"/v1/threads/t-{name}").json()
    assert thread["id"] == run["thread_id"]
    own = middesk.begin(type="plain", input="hi")
    assert UUID.fullmatch(own["id"]) and UUID.fullmatch(own["thread_id"])
    assert http.get(f"/v1/runs/{own['id']}").json()["thread_id"] == own["thread_id"]


@pytest.mark.requirement("MD-005")
def test_a_resume_continues_the_run_and_tells_steps_only_where_they_are_asked_for(middesk: Client) -> None:
    for steps in (True, False):
        run = waiting(middesk)
        answer = middesk.resume(run["id"], steps, interrupt_id=run["interrupts"][0]["id"], input=YES)
        assert answer.status_code == 200 and list(answer.json()) == [*KEYS, *["steps"] * steps]
        assert answer.json()["status"] != "interrupted" and answer.json()["interrupts"] == []
        assert middesk.until(run["id"], "completed")["output"]["artifacts"]


@pytest.mark.requirement("MD-006")
def test_an_interrupt_may_be_named_by_either_name_but_not_by_two_values(middesk: Client) -> None:
    run = waiting(middesk)
    gate = run["interrupts"][0]["id"]
    refused(middesk.resume(run["id"], id="other", interrupt_id=gate, input=YES), 422)
    assert middesk.status(run["id"]) == "interrupted"
    assert middesk.resume(run["id"], id=gate, input=YES).status_code == 200
    run = waiting(middesk)
    gate = run["interrupts"][0]["id"]
    assert middesk.resume(run["id"], id=gate, interrupt_id=gate, input=YES).status_code == 200


@pytest.mark.requirement("MD-007")
def test_of_ten_resumes_at_once_one_counts(middesk: Client, http: httpx.Client) -> None:
    run = waiting(middesk)
    gate = run["interrupts"][0]["id"]

    def call(number: int) -> httpx.Response:
        return middesk.resume(run["id"], interrupt_id=gate, input=YES | {"n": number})

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(call, range(10)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 9]
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, 409)
    again = middesk.resume(run["id"], interrupt_id=gate, input=YES)
    refused(again, 409)
    middesk.until(run["id"], "completed")
    assert entries(http, run["id"]).count("ask.resume") == 1


@pytest.mark.requirement("MD-008")
def test_a_resume_that_cannot_be_is_refused_and_nothing_is_recorded(middesk: Client, http: httpx.Client) -> None:
    running, completed, failed = (middesk.start(agent, "hi") for agent in ("endless", "plain", "raising"))
    middesk.until(completed, "completed")
    middesk.until(failed, "error")
    for run_id in (running, completed, failed):
        refused(middesk.resume(run_id, interrupt_id=f"g-{run_id}-0", input=YES), 409)
    run = waiting(middesk)
    gate = run["interrupts"][0]["id"]
    before = entries(http, run["id"])
    refused(middesk.resume(run["id"], interrupt_id=f"g-{run['id']}-7", input=YES), 422)
    refused(middesk.resume(run["id"], interrupt_id=gate), 422)
    refused(middesk.resume(run["id"], input=YES), 422)
    refused(middesk.resume(run["id"], interrupt_id=7, input=YES), 422)
    (place,) = refused(middesk.resume(run["id"], interrupt_id=gate, input={"approved": "yes"}), 422)
    assert "/approved" in place
    refused(middesk.resume(run["id"], interrupt_id=gate, input=YES | {"note": "x" * 65_536}), 413)
    assert entries(http, run["id"]) == before
    assert "ask.resume" not in entries(http, completed) + entries(http, failed) + entries(http, running)


@pytest.mark.requirement("MD-009")
def test_what_is_no_run_is_not_found_on_reading_and_on_resuming(middesk: Client) -> None:
    for name in (str(uuid.uuid4()), "nobody", "x" * 300, "%FF", "%00", "..%2F"):
        for answer in (
            middesk.http.get(f"/v1/runs/{name}"),
            middesk.http.get(f"/v1/runs/{name}/stream"),
            middesk.http.post(f"/v1/runs/{name}/resume", json={"interrupt_id": "g", "input": 1}),
            middesk.http.post(f"/v1/runs/{name}/resume", content=b"{"),
        ):
            refused(answer, 404)
        refused(middesk.http.get(f"/v1/threads/{name}"), 404)


@pytest.mark.requirement("MD-011")
def test_a_run_that_was_cancelled_elsewhere_is_an_error_with_a_step(middesk: Client, http: httpx.Client) -> None:
    for agent in ("endless", "reviewing"):
        run_id = middesk.start(agent, "hi")
        next(middesk.stream(run_id))
        refused(middesk.http.post(f"/v1/runs/{run_id}/cancel", json={}), 404)
        assert http.post(f"/v1/runs/{run_id}/cancel", json={}).status_code == 200
        run = middesk.run(run_id, steps=True)
        assert (run["status"], run["output"], run["interrupts"]) == ("error", None, [])
        assert (run["steps"][-1]["type"], run["steps"][-1]["label"]) == ("error", "cancelled")
        *_, (_, last) = middesk.stream(run_id)
        assert last["event"] == "RUN_FINISHED" and last["snapshot"] == run


@pytest.mark.requirement("MD-014")
def test_a_start_needs_an_agent_and_something_to_be_about(middesk: Client, http: httpx.Client) -> None:
    thread = middesk.thread()
    assert set(thread) == {"object", "id", "created_at", "updated_at"} and thread["object"] == "thread"
    answer = middesk.http.post("/v1/runs", json={"type": "plain", "thread_id": thread["id"], "input": "Hello"})
    assert answer.status_code == 201 and answer.json()["thread_id"] == thread["id"]
    (artifact,) = middesk.until(answer.json()["id"], "completed")["output"]["artifacts"]
    assert artifact["summary"].startswith("You said: Hello") and artifact["sources"] == []
    for about in ({"business_id": "b1"}, {"context_type": "order", "context_id": "7"}, {"input": None}):
        run_id = middesk.begin(type="plain", **about)["id"]
        middesk.until(run_id, "completed")
    assert middesk.begin(type="plain", thread_id=thread["id"])["thread_id"] == thread["id"]
    for wrong, status in (
        ({"type": "plain"}, 400),
        ({"type": "plain", "context_type": "order"}, 400),
        ({"type": "plain", "thread_id": None}, 400),
        ({"type": "plain", "thread_id": str(uuid.uuid4())}, 404),
        ({"type": "plain", "thread_id": "x" * 300}, 404),
        ({"type": "nobody", "input": 1}, 422),
        ({"type": "x" * 300, "input": 1}, 422),
        ({"input": 1}, 422),
        ({"type": 7, "business_id": 8}, 422),
    ):
        messages = refused(middesk.http.post("/v1/runs", json=wrong), status)
        assert len(messages) == (2 if wrong.get("business_id") == 8 else 1)


@pytest.mark.requirement("MD-015")
def test_of_two_questions_both_are_answered_before_the_run_goes_on(middesk: Client, http: httpx.Client) -> None:
    run = waiting(middesk, "twofold")
    first, second = (one["id"] for one in run["interrupts"])
    answer = middesk.resume(run["id"], True, interrupt_id=second, input={"b": 1})
    assert (answer.json()["status"], [one["id"] for one in answer.json()["interrupts"]]) == ("interrupted", [first])
    questions = [one for one in answer.json()["steps"] if one["type"] == "interrupt"]
    assert [one["status"] for one in questions] == ["running", "completed"]
    refused(middesk.resume(run["id"], interrupt_id=second, input={"b": 1}), 409)
    assert middesk.resume(run["id"], interrupt_id=first, input={"a": 1}).status_code == 200
    run = middesk.until(run["id"], "completed")
    assert run["output"]["artifacts"][0]["summary"] == '[{"a": 1}, {"b": 1}]'
    assert entries(http, run["id"]).count("RUN_STARTED") == 2


@pytest.mark.requirement("middesk.list")
def test_lists_are_pages_newest_first(middesk: Client) -> None:
    ids = [middesk.start("plain", "hi") for _ in range(3)]
    for run_id in ids:
        middesk.until(run_id, "completed")
    first, second = middesk.page(per_page=2), middesk.page(per_page=2, page=2)
    assert list(first) == ["object", "has_more", "data", "total_count"] and first["object"] == "list"
    assert [run["id"] for run in [*first["data"], *second["data"]]][:3] == ids[::-1]
    assert first["data"][0] == middesk.run(ids[2]) and first["has_more"] is True
    total = first["total_count"]
    assert len(middesk.listed()) == total == len(set(middesk.listed()))
    beyond = middesk.page(page=total + 1)
    assert (beyond["data"], beyond["has_more"], beyond["total_count"]) == ([], False, total)
    run = waiting(middesk)
    assert middesk.page()["data"][0]["interrupts"] == run["interrupts"]
    thread = middesk.thread()
    threads = middesk.page("threads", per_page=1)
    assert threads["data"] == [thread] and threads["has_more"] is True
    for query in ({"page": 0}, {"per_page": 0}, {"per_page": 101}, {"page": "x"}, {"page": -1}, {"page": "1.0"}):
        for of in ("runs", "threads"):
            refused(middesk.http.get(f"/v1/{of}", params=query), 422)


@pytest.mark.requirement("middesk.errors")
def test_every_refusal_has_the_envelope(middesk: Client) -> None:
    run = waiting(middesk)
    resume = f"/v1/runs/{run['id']}/resume"
    json = {"content-type": "application/json"}
    for path in ("/v1/runs", resume):
        for body in (b"", b"{", b"[]", b"null", b"7", b"\xff"):
            refused(middesk.http.post(path, content=body, headers=json), 422)
        refused(middesk.http.post(path, content=b'{"input":1}', headers={"content-type": "text/plain"}), 422)
        refused(middesk.http.post(path, content=b" " * (2 << 20), headers=json), 413)
    refused(middesk.http.get("/v1/nothing"), 404)
    refused(middesk.http.get("/"), 404)
    refused(middesk.http.delete("/v1/runs"), 405)
    refused(middesk.http.get("/v1/runs", headers={"authorization": "Bearer wrong"}), 401)
    refused(middesk.http.get(f"/v1/runs/{run['id']}/stream", headers={"last-event-id": "x"}), 422)
    assert middesk.status(run["id"]) == "interrupted"


@pytest.mark.requirement("middesk.expired")
def test_an_interrupt_that_has_expired_cannot_be_answered(middesk: Client) -> None:
    run_id = middesk.start("hurried", "hi")
    gate = middesk.until(run_id, "interrupted")["interrupts"][0]
    assert INSTANT.fullmatch(gate["value"]["expires_at"])
    ended: dict[str, Any] = middesk.until(run_id, "error")
    assert [one["type"] for one in ended["steps"]] == ["interrupt", "error"]
    refused(middesk.resume(run_id, interrupt_id=gate["id"], input=YES), 409)


@pytest.mark.requirement("middesk.repeat")
def test_a_start_that_is_repeated_gets_the_first_answer(middesk: Client, name: str) -> None:
    body, key = {"type": "plain", "input": {"message": "hi"}}, {"idempotency-key": name}
    first = middesk.http.post("/v1/runs", json=body, headers=key)
    assert first.status_code == 201
    middesk.until(first.json()["id"], "completed")
    again = middesk.http.post("/v1/runs", json=body, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    refused(middesk.http.post("/v1/runs", json=body | {"input": 2}, headers=key), 409)
    refused(middesk.http.post("/v1/runs", json=body, headers={"idempotency-key": "x" * 200}), 422)
