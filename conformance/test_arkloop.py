"""Arkloop's run API, as its clients use it."""

import contextlib
import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.dialects.arkloop import Client, Json, heard
from conformance.keyed import Keyed, served

Fresh = Callable[..., "contextlib.AbstractContextManager[str]"]

DETAIL = {"run_id", "org_id", "thread_id", "created_by_user_id", "status", "created_at", "trace_id"}
ROW = {"run_id", "org_id", "thread_id", "status", "model", "persona_id", "total_input_tokens", "total_output_tokens",
       "total_cost_usd", "duration_ms", "cache_hit_rate", "credits_used", "created_at", "completed_at", "failed_at",
       "created_by_user_id", "created_by_user_name", "created_by_email"}  # fmt: skip
THREAD = {"id", "org_id", "created_by_user_id", "title", "project_id", "created_at", "active_run_id", "is_private"}
MESSAGE = {"id", "org_id", "thread_id", "created_by_user_id", "role", "content", "created_at"}
ERROR = {"error", "code", "message", "trace_id", "details"}
APPROVED = {"approved": True}
WAIT_SECONDS = 20.0


@pytest.fixture
def ark(base_url: str) -> Client:
    return Client(base_url)


def reaches(client: Client, run_id: str, *words: str) -> str:
    """The status, once it is one of these."""
    end = time.monotonic() + WAIT_SECONDS
    while (status := client.status(run_id)) not in words and time.monotonic() < end:
        time.sleep(0.02)
    assert status in words
    return status


def events(client: Client, run_id: str, after: int | None = None) -> list[Json]:
    """What the run tells until its end."""
    return [event for _, event in client.stream(run_id, after)]


def types(told: list[Json]) -> list[str]:
    return [event["type"] for event in told]


def asking(client: Client, agent: str = "reviewing") -> str:
    run_id = client.start(agent, "hi")
    reaches(client, run_id, "waiting_for_input")
    return run_id


def busy(client: Client) -> str:
    """A run that goes on until it is cancelled, once its agent is at work."""
    run_id = client.start("endless", "hi")
    with contextlib.closing(client.stream(run_id)) as told:
        assert next(event for _, event in told if event["type"] == "message.delta")
    return run_id


def refused(answer: httpx.Response, status: int, code: str) -> Json:
    told: Json = answer.json()
    assert (answer.status_code, told["code"]) == (status, code), answer.text
    assert set(told) == ERROR and told["error"] == told["code"] and told["message"]
    assert answer.headers["x-trace-id"] == told["trace_id"] and len(told["trace_id"]) == 32
    return told


@pytest.mark.requirement("ARK-001")
def test_a_thread_a_message_and_a_run_are_shown_with_exactly_their_keys(ark: Client) -> None:
    thread = ark.thread(title="Invoices", is_private=True)
    assert set(thread) == THREAD and thread["is_private"] is True and thread["active_run_id"] is None
    message = ark.say(thread["id"], "check A-17")
    assert set(message) == MESSAGE and (message["role"], message["content"]) == ("user", "check A-17")
    made = ark.http.post(f"/v1/threads/{thread['id']}/runs", json={"persona_id": "plain", "route_id": "default"})
    assert made.status_code == 201 and set(made.json()) == {"run_id", "trace_id"}
    assert made.headers["x-trace-id"] == made.json()["trace_id"]
    run_id = made.json()["run_id"]
    told = events(ark, run_id)
    assert types(told)[-1] == "run.completed"
    said = "".join(event["data"]["content"] for event in told if event["type"] == "message.delta")
    assert said == "You said: check A-17. Übung, 日本語, 🎶"
    detail = ark.detail(run_id)
    assert set(detail) == DETAIL and detail["trace_id"] == made.json()["trace_id"]
    assert (detail["status"], detail["thread_id"]) == ("completed", thread["id"])
    assert ark.runs_of(thread["id"]) == [{key: detail[key] for key in ("run_id", "status", "created_at")}]
    row = next(one for one in ark.runs() if one["run_id"] == run_id)
    assert set(row) == ROW and row["persona_id"] == "plain" and row["credits_used"] is None
    assert row["completed_at"] and row["failed_at"] is None and row["duration_ms"] >= 0
    whole = ark.messages(thread["id"])
    assert [(one["role"], one["content"]) for one in whole] == [("user", "check A-17"), ("assistant", said)]
    assert whole[1]["created_by_user_id"] is None and set(whole[1]) == MESSAGE


@pytest.mark.requirement("ARK-001", "ARK-002", "ARK-004")
def test_the_whole_job_by_a_client_that_leaves_and_comes_back(ark: Client) -> None:
    run_id = ark.start("interrupting", "send it")
    with contextlib.closing(ark.stream(run_id)) as stream:
        last, event = next((seq, event) for seq, event in stream if event["type"] == "run.waiting_for_input")
    assert event["data"]["tool_name"] == "send" and event["data"]["message"] == "Send it?"
    assert ark.gate(run_id) == event["data"]["request_id"]
    assert ark.answer(run_id, APPROVED).json() == {"ok": True}
    rest = events(ark, run_id, last)
    assert [event["seq"] for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    provided = rest[0]
    assert provided["type"] == "run.input_provided" and json.loads(provided["data"]["content"]) == APPROVED
    assert set(provided["data"]) == {"request_id", "content", "provided_by"}
    assert [one["data"]["result"] for one in rest if one["type"] == "tool.result"] == ['{"sent":true}']
    assert types(rest)[-1] == "run.completed" and run_id in ark.listed() and ark.gate(run_id) is None


@pytest.mark.requirement("ARK-002")
@pytest.mark.parametrize("agent", ["everything", "private", "interrupting", "raising"])
def test_every_entry_is_one_frame_for_a_reader_of_unnamed_messages(agent: str, ark: Client) -> None:
    run_id = ark.start(agent, "hi")
    if agent == "interrupting":
        reaches(ark, run_id, "waiting_for_input")
        assert ark.answer(run_id, APPROVED).status_code == 200
    answer = ark.http.get(f"/v1/runs/{run_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream") and "\nevent:" not in answer.text
    told = list(heard(iter(answer.text.split("\n"))))
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert all(set(event) == {"seq", "type", "data", "created_at"} and event["created_at"] for event in told)
    assert types(told)[0] == "run.started" and types(told)[-1] in ("run.completed", "run.failed")
    assert answer.text.count("\nid: ") == len(told) and answer.text.startswith(": ping\n\n")
    if agent == "everything":
        call = next(event["data"] for event in told if event["type"] == "tool.call")
        assert (call["tool_name"], call["arguments"]) == ("find", {"q": "x"})
        thought = [one["data"]["content"] for one in told if one["data"].get("channel") == "thinking"]
        assert "".join(thought) == "Because of that."


@pytest.mark.requirement("ARK-003")
def test_whoever_comes_back_after_a_number_is_told_exactly_what_follows(ark: Client) -> None:
    run_id = asking(ark)
    assert ark.answer(run_id, APPROVED).status_code == 200
    whole = events(ark, run_id)
    for after in range(len(whole) + 1):
        assert events(ark, run_id, after) == whole[after:]
        for path in (f"/v1/runs/{run_id}/events", f"/v1/runs/{run_id}"):
            headers = {"last-event-id": str(after), "accept": "text/event-stream"}
            answer = ark.http.get(path, headers=headers)
            assert list(heard(iter(answer.text.split("\n")))) == whole[after:]


@pytest.mark.requirement("ARK-004")
def test_input_reaches_the_agent_and_breaks_no_schema(ark: Client) -> None:
    run_id = asking(ark)
    (waiting,) = (event["data"] for event in [one for _, one in ark.stream(run_id, follow=False)]
                  if event["type"] == "run.waiting_for_input")  # fmt: skip
    assert waiting["message"] == "OK?" and waiting["requestedSchema"]["required"] == ["approved"]
    wrong = ark.input(run_id, "perhaps")
    assert refused(wrong, 422, "validation.error")["details"]["errors"]
    for content in (None, 7, "", "  \n"):
        body = {} if content is None else {"content": content}
        refused(ark.http.post(f"/v1/runs/{run_id}/input", json=body), 422, "validation.error")
    refused(ark.input(run_id, "{}", request_id="g-other-0"), 409, "runs.not_waiting_for_input")
    content = json.dumps(APPROVED | {"note": "Grüße"})
    assert ark.input(run_id, content, request_id=waiting["request_id"]).json() == {"ok": True}
    said = "".join(one["data"]["content"] for one in events(ark, run_id) if one["type"] == "message.delta")
    heard_of = json.loads(said.removeprefix("Checked."))
    assert heard_of == {"status": "resolved", "payload": json.loads(content), "text": content}


@pytest.mark.requirement("ARK-004")
def test_of_several_questions_one_must_be_named(ark: Client) -> None:
    run_id = asking(ark, "twofold")
    named = refused(ark.input(run_id, "yes"), 409, "runs.input_ambiguous")["details"]["request_ids"]
    waiting = next(one["data"] for _, one in ark.stream(run_id) if one["type"] == "run.waiting_for_input")
    assert [one["request_id"] for one in waiting["requests"]] == named and len(named) == 2
    assert waiting["request_id"] == named[0]
    assert ark.input(run_id, "no", request_id=named[1]).status_code == 200
    assert ark.status(run_id) == "waiting_for_input" and ark.gate(run_id) == named[0]
    refused(ark.input(run_id, "no", request_id=named[1]), 409, "runs.not_waiting_for_input")
    assert ark.input(run_id, "yes").status_code == 200  # one is left
    told = events(ark, run_id)
    assert next(one["data"]["content"] for one in told if one["type"] == "message.delta") == '["yes", "no"]'


@pytest.mark.requirement("ARK-005")
@pytest.mark.parametrize("letter", ["x", "é", "🎶"])
def test_content_is_counted_in_bytes(letter: str, ark: Client) -> None:
    run_id = asking(ark, "twofold")
    named = ark.input(run_id, "yes").json()["details"]["request_ids"]
    right = letter * (32_768 // len(letter.encode()))
    refused(ark.input(run_id, right + "x", request_id=named[0]), 422, "validation.error")
    assert ark.input(run_id, right, request_id=named[0]).status_code == 200
    assert ark.status(run_id) == "waiting_for_input"
    ark.cancel(run_id)


@pytest.mark.requirement("ARK-006")
def test_of_ten_inputs_at_once_one_counts(ark: Client) -> None:
    run_id = asking(ark)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: ark.answer(run_id, APPROVED | {"n": n}), range(10)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 9]
    told = [event for event in events(ark, run_id) if event["type"] == "run.input_provided"]
    assert [json.loads(one["data"]["content"])["n"] for one in told] == [
        n for n, answer in enumerate(answers) if answer.status_code == 200
    ]


@pytest.mark.requirement("ARK-007")
def test_input_to_a_run_that_does_not_wait_is_refused(ark: Client) -> None:
    ended = ark.start("plain", "hi")
    reaches(ark, ended, "completed")
    refused(ark.answer(ended, APPROVED), 409, "runs.not_active")
    running = busy(ark)
    refused(ark.answer(running, APPROVED), 409, "runs.not_waiting_for_input")
    ark.cancel(running)
    refused(ark.answer(running, APPROVED), 409, "runs.not_active")
    expired = ark.start("hurried", "hi")
    reaches(ark, expired, "cancelled")
    refused(ark.answer(expired, APPROVED), 409, "runs.not_active")
    assert events(ark, expired)[-1]["data"] == {"reason": "gate_expired"}
    refused(ark.answer(str(uuid.uuid4()), APPROVED), 404, "runs.not_found")


@pytest.mark.requirement("ARK-008")
@pytest.mark.parametrize("prepare", [busy, asking])
def test_a_cancel_without_a_body_ends_the_run_and_its_stream(prepare: Callable[[Client], str], ark: Client) -> None:
    run_id = prepare(ark)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(lambda: list(heard(iter(ark.http.get(f"/v1/runs/{run_id}/events").text.split("\n")))))
        assert ark.cancel(run_id).json() == {"ok": True}
        assert ark.status(run_id) == "cancelled"
        told = following.result(WAIT_SECONDS)
    assert types(told)[-1] == "run.cancelled" and told[-1]["data"] == {}
    assert types(told).count("run.cancel_requested") == 1
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))


@pytest.mark.requirement("ARK-009")
def test_a_cancel_may_be_repeated_and_written_in_each_way(ark: Client) -> None:
    run_id = asking(ark)
    body = {"last_seen_seq": 3, "client_cancelled_at": "2026-11-22T10:00:00Z"}
    for path in (":cancel", ":cancel", "%3Acancel", "/cancel"):
        for sent in ({"json": body}, {}, {"json": {}}):
            answer = ark.http.post(f"/v1/runs/{run_id}{path}", **sent)
            assert (answer.status_code, answer.json()) == (200, {"ok": True})
    told = events(ark, run_id)
    assert types(told).count("run.cancelled") == types(told).count("run.cancel_requested") == 1
    asked = next(event["data"] for event in told if event["type"] == "run.cancel_requested")
    assert set(asked) == {"requested_by", "last_seen_seq"} and asked["last_seen_seq"] == 3
    for wrong in ({"last_seen_seq": -1}, {"last_seen_seq": "3"}, {"client_cancelled_at": "yesterday"}, []):
        refused(ark.http.post(f"/v1/runs/{run_id}:cancel", json=wrong), 422, "validation.error")
    refused(ark.http.get(f"/v1/runs/{run_id}:cancel"), 405, "http.method_not_allowed")
    refused(ark.http.post(f"/v1/runs/{uuid.uuid4()}:cancel"), 404, "runs.not_found")


@pytest.mark.requirement("ARK-010")
def test_before_pages_through_all_runs_while_new_ones_are_made(ark: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda n: ark.start("plain", f"run {n}"), range(120)))
        seen: list[str] = []
        for page in ark.pages(limit=11):
            seen += [row["run_id"] for row in page]
            pool.submit(ark.start, "plain", "one more")
            if made <= set(seen):
                break
    assert len(seen) == len(set(seen)) and made <= set(seen)
    refused(ark.http.get("/v1/runs", params={"before": str(uuid.uuid4())}), 422, "validation.error")
    for limit in ("0", "201", "x", ""):
        refused(ark.http.get("/v1/runs", params={"limit": limit}), 422, "validation.error")


@pytest.mark.requirement("ARK-011")
def test_a_status_filters_exactly_what_the_rows_show(ark: Client) -> None:
    wanted = {"completed": ark.start("plain", "hi"), "failed": ark.start("raising", "hi"),
              "cancelled": asking(ark), "waiting_for_input": asking(ark), "running": busy(ark)}  # fmt: skip
    ark.cancel(wanted["cancelled"])
    for word, run_id in wanted.items():
        reaches(ark, run_id, word)
    for word, run_id in wanted.items():
        rows = [row for page in ark.pages(status=word) for row in page]
        assert {row["status"] for row in rows} == {word} and run_id in {row["run_id"] for row in rows}
        times = next((row["completed_at"], row["failed_at"]) for row in rows if row["run_id"] == run_id)
        assert [one is not None for one in times] == [word == "completed", word == "failed"]
    for word in ("queued", "waiting", "", "completed,failed"):
        refused(ark.http.get("/v1/runs", params={"status": word}), 422, "validation.error")
    ark.cancel(wanted["running"])


@pytest.mark.requirement("ARK-011")
def test_the_later_filters_are_taken_and_an_offset_brings_a_total(ark: Client) -> None:
    thread = ark.thread()["id"]
    made = [ark.run(thread, persona_id="plain")["run_id"]]
    for _ in range(2):
        reaches(ark, made[0], "completed")
        made.insert(0, ark.run(thread, persona_id="plain")["run_id"])
    everything: Any = ark.runs(thread_id=thread, offset=0)
    assert ([row["run_id"] for row in everything["data"]], everything["total"]) == (made, 3)
    later: Any = ark.runs(thread_id=thread, offset=1, limit=1)
    assert ([row["run_id"] for row in later["data"]], later["total"]) == (made[1:2], 3)
    middle = ark.detail(made[1])["created_at"]
    assert made[1] in [row["run_id"] for row in ark.runs(thread_id=thread, since=middle, until=middle)]
    counted: Any = ark.runs(thread_id=thread, persona_id="plain", offset=0)
    assert counted["total"] == 3 and not ark.runs(thread_id=thread, persona_id="plain@9")
    assert not ark.runs(thread_id=thread, parent_run_id=made[0])
    refused(ark.http.get("/v1/runs", params={"since": "yesterday"}), 422, "validation.error")


@pytest.mark.requirement("ARK-012")
@pytest.mark.parametrize("prepare", [busy, asking])
def test_a_second_run_on_a_busy_thread_is_refused(prepare: Callable[[Client], str], ark: Client) -> None:
    run_id = prepare(ark)
    thread_id = ark.detail(run_id)["thread_id"]
    assert ark.http.get(f"/v1/threads/{thread_id}").json()["active_run_id"] == run_id
    again = {"url": f"/v1/threads/{thread_id}/runs", "json": {"persona_id": "plain"}}
    refused(ark.http.post(**again), 409, "runs.thread_busy")
    ark.cancel(run_id)
    assert ark.http.post(**again).status_code == 201
    refused(ark.http.post(f"/v1/threads/{uuid.uuid4()}/runs", json={}), 404, "threads.not_found")


@pytest.mark.requirement("ARK-012")
@pytest.mark.parametrize(
    "body",
    [{"persona_id": "nobody"}, {"persona_id": "plain@9"}, {}, {"persona_id": "plain", "route_id": "-x"},
     {"persona_id": 7}, [], {"persona_id": "plain", "model": {}}],
)  # fmt: skip
def test_a_run_that_cannot_be_understood_is_refused(body: Any, ark: Client) -> None:
    thread_id = ark.thread()["id"]
    refused(ark.http.post(f"/v1/threads/{thread_id}/runs", json=body), 422, "validation.error")


@pytest.mark.requirement("ARK-013")
def test_a_stream_that_does_not_follow_ends_with_what_is_recorded(ark: Client) -> None:
    run_id = asking(ark)
    for follow in ("false", "0"):
        answer = ark.http.get(f"/v1/runs/{run_id}/events", params={"follow": follow})
        told = list(heard(iter(answer.text.split("\n"))))
        assert types(told)[-1] == "run.waiting_for_input"
    for wrong in ({"after_seq": "x"}, {"after_seq": "-1"}, {"after_seq": "1.5"}, {"after_seq": ""}, {"follow": "yes"}):
        refused(ark.http.get(f"/v1/runs/{run_id}/events", params=wrong), 422, "validation.error")
    ark.cancel(run_id)


@pytest.mark.requirement("ARK-014")
def test_every_error_has_one_form_and_a_trace(ark: Client) -> None:
    nobody = uuid.uuid4()
    refused(ark.http.get(f"/v1/runs/{nobody}"), 404, "runs.not_found")
    refused(ark.http.get(f"/v1/runs/{nobody}/events"), 404, "runs.not_found")
    refused(ark.http.get(f"/v1/threads/{nobody}"), 404, "threads.not_found")
    refused(ark.http.get("/v1/nothing"), 404, "http.not_found")
    refused(ark.http.delete("/v1/runs"), 405, "http.method_not_allowed")
    thread_id = ark.thread()["id"]
    bad = {"content": b"{", "headers": {"content-type": "application/json"}}
    refused(ark.http.post(f"/v1/threads/{thread_id}/messages", **bad), 422, "validation.error")  # type: ignore[arg-type]
    large = {"content": "x" * (2 << 20)}
    refused(ark.http.post(f"/v1/threads/{thread_id}/messages", json=large), 413, "validation.error")
    refused(ark.http.post(f"/v1/threads/{thread_id}/messages", json={"content": " "}), 422, "validation.error")
    assert len(ark.http.get("/v1/runs").headers["x-trace-id"]) == 32


@pytest.mark.requirement("ARK-015")
def test_a_silent_stream_is_pinged_and_stays_open_while_the_run_waits(fresh: Fresh) -> None:
    with fresh(HOCKET_KEEP_ALIVE_S="0.3") as url:
        ark = Client(url)
        run_id = asking(ark)
        last = [seq for seq, _ in ark.stream(run_id, follow=False)][-1]
        with ark.http.stream("GET", f"/v1/runs/{run_id}/events", params={"after_seq": last}) as answer:
            lines = answer.iter_lines()
            assert [next(line for line in lines if line) for _ in range(4)] == [": ping"] * 4
            assert ark.status(run_id) == "waiting_for_input"
            assert ark.answer(run_id, APPROVED).status_code == 200
            assert types(list(heard(lines)))[-1] == "run.completed"


@pytest.mark.requirement("ARK-016")
def test_keys_and_tokens_are_bearers_and_another_organisations_run_is_not_there(fresh: Fresh, tmp_path: Path) -> None:
    with fresh() as url:
        keyed = Keyed(url, tmp_path / "data")
        user, reader = keyed.key("alice"), keyed.key("carl", "runs:read")
        machine = keyed.hocket("create", "--tenant", "acme", "--kind", "api_key")
        stranger = keyed.key("mallory", tenant="other")
        for key in (user, machine, stranger, reader):
            with keyed.of(key) as waiting:
                assert served(waiting).status_code == 200
        alice, bot, mallory, carl, nobody = (Client(url, key) for key in (user, machine, stranger, reader, None))
        run_id = asking(alice)
        assert bot.status(run_id) == "waiting_for_input" and bot.answer(run_id, APPROVED).status_code == 200
        told = events(alice, run_id)
        provided = next(one["data"]["provided_by"] for one in told if one["type"] == "run.input_provided")
        assert provided["kind"] == "api_key" and provided["id"] != "alice"
        row = alice.runs()[0]
        assert (row["created_by_user_id"], row["created_by_user_name"]) == ("alice", "alice")
        assert row["org_id"] == "acme" and row["created_by_email"] is None
        own = bot.start("plain", "hi")
        assert next(one for one in bot.runs() if one["run_id"] == own)["created_by_user_name"] is None
        thread_id = alice.detail(run_id)["thread_id"]
        paths = (f"/v1/runs/{run_id}", f"/v1/runs/{run_id}/events", f"/v1/threads/{thread_id}")
        for path in paths:
            answer = nobody.http.get(path)
            refused(answer, 401, "auth.unauthorized")
            assert "Bearer" in answer.headers["www-authenticate"]
            hidden, unknown = mallory.http.get(path), mallory.http.get(path.replace(run_id, str(uuid.uuid4())))
            assert hidden.status_code == unknown.status_code == 404
            assert {**hidden.json(), "trace_id": ""} == {**unknown.json(), "trace_id": ""}
        waiting_id = asking(alice)
        for scoped in (carl.answer(waiting_id, APPROVED), carl.cancel(waiting_id)):
            refused(scoped, 403, "policy.denied")
        refused(mallory.answer(waiting_id, APPROVED), 404, "runs.not_found")
        refused(mallory.cancel(waiting_id), 404, "runs.not_found")
        assert run_id not in mallory.listed() and run_id in carl.listed()
        alice.cancel(waiting_id)
