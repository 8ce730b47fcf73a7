"""Arkloop's threads, runs and lists, as its clients use them."""

import contextlib
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conformance.arkloop import (
    APPROVED,
    DETAIL,
    MESSAGE,
    ROW,
    THREAD,
    WAIT_SECONDS,
    asking,
    busy,
    events,
    reaches,
    refused,
    types,
)
from conformance.dialects.arkloop import Client, heard
from conformance.keyed import Keyed, served

Fresh = Callable[..., "contextlib.AbstractContextManager[str]"]


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
