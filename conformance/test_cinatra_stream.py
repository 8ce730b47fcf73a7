"""Cinatra's AG-UI channel and snapshot: what a run tells there, from where, and until when."""

import re

import httpx
import pytest

from conformance import agents
from conformance import scenario as s
from conformance.cinatra import APPROVED, channel, ended, frames, gate, hurry, resume, start, types
from conformance.driver import Driver

KEYS = {"status", "error", "inputParams", "startedAt", "completedAt", "templateId", "agentPackageName", "agUiEnabled",
        "taskId", "traceId", "messages", "hitlContext"}  # fmt: skip
TEXT = ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]


def reviewed(http: httpx.Client, name: str) -> bytes:
    """The channel of a run of `reviewing`, from start to end."""
    start(http, "reviewing", name)
    assert resume(http, gate(name), values=APPROVED)[0] == 200
    return channel(http, name)


@pytest.mark.requirement("CIN-011", "cinatra.events", "cinatra.stream-ids")
def test_a_run_with_a_question_is_told_from_start_to_end(http: httpx.Client, name: str) -> None:
    told = frames(reviewed(http, name))
    assert types(told) == ["RUN_STARTED", *TEXT, "INTERRUPT", "RESUME", *TEXT, "RUN_FINISHED"]
    for frame in told:
        assert type(frame.event["timestamp"]) is int and frame.event["threadId"] == f"t-{name}"
        assert frame.id is not None and re.fullmatch(rf"{frame.event['timestamp']}-\d+", frame.id)
    shown = {frame.event["type"]: frame.event for frame in told}
    for kind in ("RUN_STARTED", "INTERRUPT", "RESUME", "RUN_FINISHED"):
        assert shown[kind]["runId"] == name
    asked = {key: shown["INTERRUPT"][key] for key in ("reviewTaskId", "schema", "xRenderer", "values")}
    assert asked == {"reviewTaskId": gate(name), "schema": agents.REVIEW, "xRenderer": "acme:review",
                     "values": {"amount": 120}}  # fmt: skip
    assert shown["RESUME"]["reviewTaskId"] == gate(name) and shown["RESUME"]["resumedBy"]["id"]
    assert shown["RUN_FINISHED"]["status"] == "completed"


@pytest.mark.requirement("CIN-011", "cinatra.stream-end")
def test_a_failing_run_ends_in_its_error(http: httpx.Client, name: str) -> None:
    start(http, "raising", name)
    body = channel(http, name)
    told = frames(body)
    assert types(told)[0] == "RUN_STARTED" and types(told)[-1] == "RUN_ERROR" and b"hunter2" not in body
    assert told[-1].event["message"] and told[-1].event["code"] == "AGENT_ERROR" and told[-1].event["runId"] == name


@pytest.mark.requirement("CIN-010")
def test_the_four_addresses_send_the_same_bytes(http: httpx.Client, name: str) -> None:
    told = {reviewed(http, name)}
    for prefix in ("", "/cinatra"):
        for path in (f"/api/a2a?taskId={name}", f"/api/agents/runs/{name}/stream"):
            answer = http.get(prefix + path)
            assert answer.headers["cache-control"] == "no-cache, no-transform"
            assert answer.headers["x-accel-buffering"] == "no"
            told.add(answer.content)
    assert len(told) == 1
    assert http.get(f"/api/agents/runs/{name}").content == http.get(f"/cinatra/api/agents/runs/{name}").content


@pytest.mark.requirement("CIN-012", "cinatra.stream-end")
def test_a_channel_goes_on_after_any_id_that_was_sent(http: httpx.Client, name: str) -> None:
    body = reviewed(http, name)
    whole = frames(body)
    for cut, frame in enumerate(whole, 1):
        rest = channel(http, name, frame.id)
        assert frames(rest) == whole[cut:]
    assert rest == b"retry: 30000\n\n"
    for malformed in ("7", "x-1", "1-x", "1-", "-1", "1-2-3", "last"):
        assert channel(http, name, malformed) == body


@pytest.mark.requirement("cinatra.stream-end", "CIN-011")
def test_a_question_does_not_end_the_channel(http: httpx.Client, name: str) -> None:
    start(http, "reviewing", name)
    heard = b""
    with http.stream("GET", f"/api/agents/runs/{name}/stream") as answer:
        for part in answer.iter_bytes():
            asked = b'"INTERRUPT"' in heard
            heard += part
            if not asked and b'"INTERRUPT"' in heard:
                assert resume(http, gate(name), values=APPROVED)[0] == 200
    assert frames(heard) == frames(channel(http, name))


@pytest.mark.requirement("cinatra.stream-ids", "cinatra.gates")
def test_several_questions_are_told_together_and_resumed_one_by_one(http: httpx.Client, name: str) -> None:
    start(http, "twofold", name)
    both = http.get(f"/api/agents/runs/{name}").json()
    assert [one["reviewTaskId"] for one in both["hitlContexts"]] == [gate(name), gate(name, 1)]
    assert both["hitlContext"] == both["hitlContexts"][0]
    assert resume(http, gate(name, 1), values="second")[0] == 200
    left = http.get(f"/api/agents/runs/{name}").json()
    assert (left["status"], left["hitlContext"]["reviewTaskId"]) == ("pending_approval", gate(name))
    assert resume(http, gate(name), values="first")[0] == 200
    told = frames(channel(http, name))
    assert types(told) == ["RUN_STARTED", "INTERRUPT", "INTERRUPT", "RESUME", "RESUME", *TEXT, "RUN_FINISHED"]
    assert [frame.id is not None for frame in told[:5]] == [True, False, True, True, True]
    assert told[6].event["delta"] == '["first", "second"]'


@pytest.mark.requirement("cinatra.stream-expiry")
@pytest.mark.parametrize(
    ("on_expiry", "end"), [("cancel", "RUN_FINISHED"), ("fail", "RUN_ERROR"), ("answer", "RESUME")]
)
def test_an_expiry_is_told_by_what_it_leads_to(on_expiry: str, end: str, http: httpx.Client, name: str) -> None:
    hurry(http, name, on_expiry)
    told = frames(channel(http, name))
    assert types(told)[:3] == ["RUN_STARTED", "INTERRUPT", end] and told[1].event["expiresAt"].endswith("Z")
    if end == "RESUME":
        assert told[2].event["resumedBy"]["kind"] == "system"
        assert types(told)[3:] == [*TEXT, "RUN_FINISHED"] and told[4].event["delta"] == "I was told: expired"
    else:
        assert len(told) == 3 and told[2].event.get("status") == ("stopped" if end == "RUN_FINISHED" else None)


@pytest.mark.requirement("CIN-014")
def test_a_stopped_run_says_so_at_once_and_nothing_more(agui: Driver, http: httpx.Client, name: str) -> None:
    start(http, "reviewing", f"{name}-w")
    agui.play(
        s.agent("held", name), s.run(name, forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        client="agui-1",
    )  # fmt: skip
    for run in (f"{name}-w", name):
        for _ in range(2):
            assert http.post(f"/v1/runs/{run}/cancel", json={}).status_code == 200
            assert http.get(f"/api/agents/runs/{run}").json()["status"] == "stopped"
        told = frames(channel(http, run))
        assert types(told).count("RUN_STARTED") == 1
        assert (types(told)[-1], told[-1].event["status"]) == ("RUN_FINISHED", "stopped")
        assert resume(http, gate(run))[0] == 404
    agui.play(s.release(name), client="agui-1")
    assert frames(channel(http, name)) == told


@pytest.mark.requirement("cinatra.stream-refusals")
def test_a_channel_that_is_not_there_is_refused_before_it_begins(http: httpx.Client, name: str) -> None:
    for prefix in ("", "/cinatra"):
        for path, status in (("/api/a2a", 400), (f"/api/a2a?taskId={name}", 404), (f"/api/agents/runs/{name}", 404),
                             (f"/api/agents/runs/{name}/stream", 404)):  # fmt: skip
            answer = http.get(prefix + path)
            assert answer.status_code == status and answer.headers["content-type"] == "application/json"
            assert list(answer.json()) == ["error"] and answer.json()["error"]


@pytest.mark.requirement("CIN-003", "cinatra.snapshot")
def test_the_snapshot_shows_the_question_while_it_is_open(http: httpx.Client, name: str) -> None:
    start(http, "reviewing", name)
    told = http.get(f"/api/agents/runs/{name}").json()
    assert set(told) == KEYS and told["status"] == "pending_approval" and told["completedAt"] is None
    assert told["hitlContext"] == {
        "xRenderer": "acme:review", "childRunId": None, "reviewTaskId": gate(name), "inputSchema": agents.REVIEW,
        "currentValues": {"amount": 120}, "expiresAt": None,
    }  # fmt: skip
    assert resume(http, gate(name), values=APPROVED)[0] == 200
    run = ended(http, name)
    done = http.get(f"/api/agents/runs/{name}").json()
    assert set(done) == KEYS and (done["status"], done["hitlContext"]) == ("completed", None)
    assert (done["startedAt"], done["completedAt"]) == (run["started_at"], run["ended_at"])
    assert [one["role"] for one in done["messages"]] == ["user", "assistant", "assistant"]
    start(http, "raising", f"{name}-f")
    failed = http.get(f"/api/agents/runs/{name}-f").json()
    assert (failed["status"], failed["hitlContext"]) == ("failed", None) and failed["error"]
