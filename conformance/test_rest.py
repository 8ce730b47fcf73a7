"""The REST face /v1: starting, polling, paging and cancelling runs."""

import time
from urllib.parse import quote

import httpx
import pytest

from conformance import scenario as s
from conformance.driver import Driver

ENDED = ("completed", "failed", "cancelled")


def start(http: httpx.Client, agent: str, name: str, wait: int | None = 10, **given: object) -> httpx.Response:
    headers = {} if wait is None else {"prefer": f"wait={wait}"}
    return http.post("/v1/runs", json={"agent": agent, "input": "hi", "run_id": name, **given}, headers=headers)


def problem(answer: httpx.Response, status: int) -> s.Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    told: s.Json = answer.json()
    assert told["status"] == status and told["type"] and told["title"] and told["code"] and told["detail"]
    return told


@pytest.mark.requirement("rest.create", "rest.wait", "rest.statuses")
def test_a_run_is_started_waited_for_and_read(http: httpx.Client, name: str) -> None:
    answer = start(http, "plain", name, thread_id=name, metadata={"a": [1]})
    assert answer.status_code == 201 and answer.headers["location"] == f"/v1/runs/{name}"
    run = answer.json()
    assert (run["id"], run["agent"], run["thread_id"], run["status"]) == (name, "plain", name, "completed")
    assert run["metadata"] == {"a": [1]} and run["attempt"] == 1 and run["error"] is None and run["interrupts"] == []
    assert run["created_at"] <= run["started_at"] <= run["ended_at"] and run["ended_at"].endswith("Z")
    told = http.get(answer.headers["location"], params={"include": "messages,state,steps"}).json()
    assert [message["role"] for message in told["messages"]] == ["user", "assistant"]
    assert {key: value for key, value in told.items() if key in run} == run


@pytest.mark.requirement("rest.create")
def test_a_run_is_started_from_messages_and_gets_ids_of_its_own(http: httpx.Client) -> None:
    messages = [{"id": "m1", "role": "user", "content": "first"}, {"id": "m2", "role": "user", "content": "second"}]
    answer = http.post("/v1/runs", json={"agent": "telling", "input": messages}, headers={"prefer": "wait=10"})
    run = answer.json()
    assert answer.status_code == 201 and run["id"] and run["thread_id"]
    told = http.get(f"/v1/runs/{run['id']}", params={"include": "messages"}).json()
    assert told["messages"][:2] == messages
    assert told["messages"][2]["content"] == '[["user", "m1"], ["user", "m2"]]'


@pytest.mark.requirement("rest.statuses")
def test_each_status_is_told_with_its_reason(agui: Driver, http: httpx.Client, name: str) -> None:
    failed = start(http, "raising", f"{name}-f").json()
    assert failed["status"] == "failed" and failed["error"]["code"] == "AGENT_ERROR"
    assert "hunter2" not in str(failed)
    waiting = start(http, "interrupting", f"{name}-w").json()
    assert waiting["status"] == "waiting" and waiting["ended_at"] is None
    assert [one["id"] for one in waiting["interrupts"]] == [f"{name}-w-i"]
    agui.play(
        s.agent("held", name), s.run(name, forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        client="agui-1",
    )  # fmt: skip
    assert http.get(f"/v1/runs/{name}").json()["status"] == "running"
    agui.play(s.release(name), client="agui-1")


@pytest.mark.requirement("rest.idempotency")
def test_a_start_that_is_repeated_finds_its_own_run(http: httpx.Client, name: str) -> None:
    body = {"agent": "plain", "input": "once"}
    headers = {"idempotency-key": name, "prefer": "wait=10"}
    first = http.post("/v1/runs", json=body, headers=headers)
    second = http.post("/v1/runs", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    problem(http.post("/v1/runs", json={**body, "input": "twice"}, headers=headers), 409)
    assert (start(http, "plain", name).status_code, start(http, "plain", name).status_code) == (201, 200)
    problem(start(http, "telling", name), 409)


@pytest.mark.requirement("rest.wait", "rest.cancel")
def test_waiting_ends_after_its_seconds_and_a_cancel_ends_what_never_would(http: httpx.Client, name: str) -> None:
    begun = time.monotonic()
    answer = start(http, "endless", name, wait=1)
    assert answer.status_code == 201 and answer.json()["status"] in ("queued", "running")
    assert 0.5 < time.monotonic() - begun < 5
    cancelled = http.post(f"/v1/runs/{name}/cancel", json={"reason": "enough"})
    assert cancelled.status_code == 200 and cancelled.json()["status"] == "cancelled"
    again = http.post(f"/v1/runs/{name}/cancel")
    assert again.status_code == 200 and again.json() == cancelled.json()


@pytest.mark.requirement("rest.cancel")
def test_a_cancel_leaves_a_run_that_has_ended_as_it_is(http: httpx.Client, name: str) -> None:
    ended = start(http, "plain", name).json()
    assert http.post(f"/v1/runs/{name}/cancel").json() == ended


@pytest.mark.requirement("rest.etag")
def test_the_etag_is_the_seq_and_saves_the_answer(http: httpx.Client, name: str) -> None:
    start(http, "plain", name)
    answer = http.get(f"/v1/runs/{name}")
    etag = answer.headers["etag"]
    assert etag == f'"{answer.json()["seq"]}"'
    same = http.get(f"/v1/runs/{name}", headers={"if-none-match": etag})
    assert same.status_code == 304 and same.content == b"" and same.headers["etag"] == etag
    assert http.get(f"/v1/runs/{name}", headers={"if-none-match": '"1"'}).status_code == 200


@pytest.mark.requirement("rest.long-poll")
def test_a_long_poll_waits_for_news_and_no_longer(agui: Driver, http: httpx.Client, name: str) -> None:
    agui.play(
        s.agent("held", name), s.run(name, forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        client="agui-1",
    )  # fmt: skip
    seq = http.get(f"/v1/runs/{name}").json()["seq"]
    begun = time.monotonic()
    quiet = http.get(f"/v1/runs/{name}", params={"after_seq": seq, "wait": 1}).json()
    assert quiet["seq"] == seq and 0.5 < time.monotonic() - begun < 5
    assert http.get(f"/v1/runs/{name}", params={"after_seq": seq - 1, "wait": 10}).json()["seq"] == seq
    agui.play(s.release(name), client="agui-1")
    seen = [seq]
    while (run := http.get(f"/v1/runs/{name}", params={"after_seq": seen[-1], "wait": 10}).json())[
        "status"
    ] not in ENDED:
        assert run["seq"] > seen[-1]
        seen.append(run["seq"])
    assert run["status"] == "completed" and run["seq"] > seq


@pytest.mark.requirement("rest.events")
def test_events_come_as_pages_and_as_a_stream_each_entry_once(http: httpx.Client, name: str) -> None:
    start(http, "counting", name)
    path, page = f"/v1/runs/{name}/events", {"accept": "application/json"}
    told: list[s.Json] = []
    after, more = 0, True
    while more:
        answer = http.get(path, params={"after_seq": after, "limit": 3}, headers=page).json()
        assert 0 < len(answer["events"]) <= 3
        told += answer["events"]
        after, more = answer["next_after_seq"], answer["has_more"]
    last = http.get(f"/v1/runs/{name}").json()["seq"]
    assert [one["seq"] for one in told] == list(range(1, last + 1))
    assert told[-1]["event"]["type"] == "RUN_FINISHED"
    for headers, params in (({}, {"after_seq": 2}), ({"last-event-id": "2"}, {})):
        stream = http.get(path, params=params, headers=headers)
        assert stream.headers["content-type"].startswith("text/event-stream")
        ids = [int(line[4:]) for line in stream.text.split("\n") if line.startswith("id: ")]
        assert ids == list(range(3, last + 1))


@pytest.mark.requirement("rest.list")
def test_runs_are_listed_newest_first_and_page_by_page(http: httpx.Client, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    for one in names:
        assert start(http, "plain", one, thread_id=name).status_code == 201
    assert start(http, "raising", f"{name}-raised", thread_id=name).status_code == 201
    whole = http.get("/v1/runs", params={"thread_id": name}).json()
    assert [run["id"] for run in whole["runs"]] == [f"{name}-raised", *reversed(names)]
    assert whole["next_cursor"] is None
    paged: list[str] = []
    params: dict[str, str | int] = {"thread_id": name, "agent": "plain", "limit": 2}
    while True:
        page = http.get("/v1/runs", params=params).json()
        paged += [run["id"] for run in page["runs"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert paged == list(reversed(names))
    failed = http.get("/v1/runs", params={"thread_id": name, "status": "failed"}).json()
    assert [run["id"] for run in failed["runs"]] == [f"{name}-raised"]
    middle = whole["runs"][3]["created_at"]
    later = http.get("/v1/runs", params={"thread_id": name, "created_after": middle}).json()["runs"]
    assert [run["id"] for run in later] == [run["id"] for run in whole["runs"] if run["created_at"] > middle]


@pytest.mark.requirement("rest.threads")
def test_a_threads_messages_are_those_of_its_runs(http: httpx.Client, name: str) -> None:
    start(http, "plain", f"{name}-1", thread_id=name)
    start(http, "telling", f"{name}-2", thread_id=name, input="again")
    messages = http.get(f"/v1/threads/{name}/messages").json()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    second = http.get(f"/v1/runs/{name}-2", params={"include": "messages"}).json()
    assert second["messages"] == messages


@pytest.mark.requirement("rest.problems")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/runs/no-such-run", 404), ("GET", "/v1/runs/no-such-run/events", 404),
        ("POST", "/v1/runs/no-such-run/cancel", 404), ("GET", "/v1/threads/no-such-thread/messages", 404),
        ("GET", "/v1/nothing", 404), ("DELETE", "/v1/runs", 405), ("PATCH", "/v1/runs/no-such-run", 405),
        ("GET", "/v1/runs?limit=0", 422), ("GET", "/v1/runs?limit=x", 422), ("GET", "/v1/runs?cursor=x", 422),
        ("GET", "/v1/runs?status=odd", 422), ("GET", "/v1/runs?created_after=now", 422),
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_problem(http: httpx.Client, method: str, path: str, status: int) -> None:
    problem(http.request(method, path), status)


@pytest.mark.requirement("rest.problems")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"\xff", 400), (b"null", 422), (b"[]", 422), (b"{}", 422),
        (b'{"agent":5,"input":"x"}', 422), (b'{"agent":"plain"}', 422), (b'{"agent":"plain","input":7}', 422),
        (b'{"agent":"plain","input":"x","odd":1}', 422), (b'{"agent":"plain","input":"x","run_id":""}', 422),
        (b'{"agent":"plain","input":[{"role":"king"}]}', 422), (b'{"agent":"nobody","input":"x"}', 404),
        (b'{"agent":"plain","input":"\\ud800"}', 400), (b"[" * 100_000, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_started_is_a_problem(http: httpx.Client, body: bytes, status: int) -> None:
    problem(http.post("/v1/runs", content=body, headers={"content-type": "application/json"}), status)


@pytest.mark.requirement("rest.problems")
def test_a_busy_thread_is_a_problem_that_names_its_run(http: httpx.Client, name: str) -> None:
    assert start(http, "endless", name, wait=None, thread_id=name).status_code == 201
    assert problem(start(http, "plain", f"{name}-2", thread_id=name), 409)["run_id"] == name
    assert http.post(f"/v1/runs/{name}/cancel").status_code == 200


@pytest.mark.requirement("rest.odd-ids")
@pytest.mark.parametrize("odd", ["a.b", "a b", "*", ">", "a/b", "a?b#c%2F", "日本語🎶", "x" * 200, "%", ".."])
def test_ids_that_clients_choose_may_hold_anything(http: httpx.Client, name: str, odd: str) -> None:
    run_id = odd + name
    answer = start(http, "plain", run_id, thread_id=f"{run_id}t")
    assert answer.status_code == 201 and answer.json()["id"] == run_id
    assert http.get(answer.headers["location"]).json()["id"] == run_id
    assert http.get(f"/v1/runs/{quote(run_id, safe='')}/events", headers={"accept": "application/json"}).is_success
    assert len(http.get(f"/v1/threads/{quote(run_id + 't', safe='')}/messages").json()["messages"]) == 2


@pytest.mark.requirement("rest.agents")
def test_the_agents_are_listed(http: httpx.Client) -> None:
    agents = {agent["name"]: agent for agent in http.get("/v1/agents").json()["agents"]}
    assert {"plain", "everything", "held"} <= set(agents)
    assert agents["plain"]["description"].startswith("Says its user's words back")


@pytest.mark.requirement("rest.openapi")
def test_the_document_names_what_there_is(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    wanted = {"/v1/runs": {"get", "post"}, "/v1/runs/{run_id}": {"get"}, "/v1/runs/{run_id}/events": {"get"},
              "/v1/runs/{run_id}/cancel": {"post"}, "/v1/threads/{thread_id}/messages": {"get"},
              "/v1/agents": {"get"}}  # fmt: skip
    for path, methods in wanted.items():
        assert methods <= set(document["paths"][path])


@pytest.mark.requirement("rest.health")
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_answered(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 200
