"""Cinatra's resume over HTTP: what is recorded, and every refusal in its order."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from conformance.cinatra import (
    APPROVED,
    BAD_BODY,
    EXPIRED,
    GONE,
    JSON,
    OK,
    RESUME,
    channel,
    ended,
    frames,
    gate,
    hurry,
    resume,
    start,
)

Fresh = Callable[..., "contextlib.AbstractContextManager[str]"]


def said(http: httpx.Client, name: str) -> Any:
    """What the agent says it was told."""
    deltas = [one.event["delta"] for one in frames(channel(http, name)) if one.event["type"] == "TEXT_MESSAGE_CONTENT"]
    return orjson.loads(deltas[-1])


NOTE = "[Approved by operator]"
GIVEN: list[tuple[dict[str, Any], Any, str]] = [
    ({}, {"approved": True, "note": NOTE}, NOTE),
    ({"values": {"approved": True, "userResponse": "this", "approvalNote": "not this"}}, ..., "this"),
    ({"values": {"approved": True, "approvalNote": "fine"}}, ..., "fine"),
    ({"values": {"approved": False}}, ..., '{"approved":false}'),
]


@pytest.mark.requirement("cinatra.resume-recorded")
@pytest.mark.parametrize(("body", "payload", "text"), GIVEN)
def test_the_agent_gets_what_was_answered(
    body: dict[str, Any], payload: Any, text: str, http: httpx.Client, name: str
) -> None:
    start(http, "reviewing", name)
    assert resume(http, gate(name), **body) == OK
    wanted = body["values"] if payload is ... else payload
    assert said(http, name) == {"status": "resolved", "payload": wanted, "text": text}


@pytest.mark.requirement("cinatra.resume-schema")
def test_values_that_break_the_schema_leave_the_task_open(http: httpx.Client, name: str) -> None:
    start(http, "reviewing", name)
    answer = http.post(RESUME, json={"reviewTaskId": gate(name), "values": {"approved": "yes"}})
    assert answer.status_code == 400 and answer.json()["error"] == "Invalid values"
    assert [one["path"] for one in answer.json()["details"]] == ["/approved"]
    assert all(set(one) == {"path", "message"} and one["message"] for one in answer.json()["details"])
    assert resume(http, gate(name), values=APPROVED) == OK


@pytest.mark.requirement("cinatra.resume-gone")
def test_a_task_that_is_unknown_resolved_or_closed_is_gone(http: httpx.Client, name: str) -> None:
    assert resume(http, gate(name)) == resume(http, name) == GONE
    start(http, "reviewing", name)
    assert resume(http, gate(name, 1)) == GONE
    assert resume(http, gate(name)) == OK
    assert resume(http, gate(name)) == GONE
    ended(http, name)
    start(http, "reviewing", f"{name}-c")
    assert http.post(f"/v1/runs/{name}-c/cancel", json={}).status_code == 200
    assert resume(http, gate(f"{name}-c")) == GONE


@pytest.mark.requirement("CIN-008", "cinatra.resume-expired")
def test_a_task_that_has_expired_is_so_for_good_and_its_agent_was_never_told(http: httpx.Client, name: str) -> None:
    hurry(http, name, "cancel")
    assert resume(http, gate(name), values=APPROVED) == resume(http, gate(name)) == EXPIRED
    assert b"I was told" not in channel(http, name) and b'"RESUME"' not in channel(http, name)
    assert http.get(f"/v1/runs/{name}").json()["status"] == "cancelled"


@pytest.mark.requirement("CIN-007")
def test_of_twenty_resumes_at_once_one_counts(http: httpx.Client, name: str) -> None:
    start(http, "reviewing", name)

    def call(number: int) -> tuple[int, bytes]:
        return resume(http, gate(name), values=APPROVED | {"n": number})

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(call, range(20)))
    assert sorted(answers) == [OK, *[GONE] * 19]
    assert said(http, name)["payload"]["n"] == answers.index(OK)


@pytest.mark.requirement("CIN-009", "cinatra.resume-body")
def test_a_body_of_another_shape_is_refused(http: httpx.Client, name: str) -> None:
    start(http, "reviewing", name)
    for body in (b"", b"{", b"[]", b"null", b"7", b"{}", b'{"reviewTaskId":""}', b'{"reviewTaskId":["a"]}', b"\xff\x00",
                 b'{"values":{}}', orjson.dumps({"reviewTaskId": gate(name), "values": "x" * 65_536})):  # fmt: skip
        answer = http.post(RESUME, content=body, headers=JSON)
        assert (answer.status_code, answer.content) == BAD_BODY, body[:40]
    right = orjson.dumps({"reviewTaskId": gate(name), "values": APPROVED})
    for declared in ({}, {"content-type": "text/plain"}, {"content-type": "multipart/form-data; boundary=x"}):
        answer = http.post(RESUME, content=right, headers=declared)
        assert (answer.status_code, answer.content) == BAD_BODY
    large = http.post(RESUME, content=right + b" " * (4 << 20), headers=JSON)
    assert large.status_code == 413 and list(large.json()) == ["error"]
    assert resume(http, gate(name), values=APPROVED) == OK


@pytest.mark.requirement("CIN-013")
def test_a_body_that_claims_to_be_from_somebody_changes_nothing(http: httpx.Client, name: str) -> None:
    start(http, "reviewing", name, metadata={"runBy": "user:mallory"})
    claims = {"userId": "user:mallory", "by": {"id": "user:mallory"}, "runBy": "user:mallory"}
    assert resume(http, gate(name), values=APPROVED | claims, **claims) == OK
    run = ended(http, name)
    (resumed,) = (one.event["resumedBy"] for one in frames(channel(http, name)) if one.event["type"] == "RESUME")
    (decision,) = run["decisions"]
    assert resumed == decision["by"] and decision["face"] == "cinatra" and "mallory" not in str(resumed)
    events = http.get(f"/v1/runs/{name}/events", headers={"accept": "application/json"}).json()["events"]
    (asked,) = (one["event"] for one in events if one["event"]["type"] == "ask.resume")
    assert "mallory" not in str(asked) and asked["requester"]["id"] == asked["by"]["id"] == resumed["id"]


@pytest.mark.requirement("cinatra.resume-unauthorized")
def test_a_bearer_that_is_no_good_is_refused_before_anything_else(http: httpx.Client) -> None:
    answer = http.post(RESUME, content=b"{", headers={"authorization": "Bearer wrong"})
    assert (answer.status_code, answer.content) == (401, b'{"error":"unauthorized"}')
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.requirement("CIN-006", "cinatra.resume-off", "cinatra.stream-refusals")
@pytest.mark.parametrize("settings", [{}, {"CINATRA_AGUI_EXTERNAL_ENABLED": "1"},
                                      {"HOCKET_AGUI_EXTERNAL_ENABLED": "false",
                                       "CINATRA_AGUI_EXTERNAL_ENABLED": "true"}])  # fmt: skip
def test_a_resume_that_is_off_answers_as_a_path_that_is_not_there(
    settings: dict[str, str], fresh: Fresh, name: str
) -> None:
    with fresh(**settings) as url, httpx.Client(base_url=url, timeout=20) as http:
        start(http, "reviewing", name)
        for method in ("POST", "GET", "OPTIONS", "DELETE"):
            for prefix in ("", "/cinatra"):
                for headers in ({}, {"authorization": "Bearer wrong"}, JSON):
                    body = orjson.dumps({"reviewTaskId": gate(name)})
                    off, missing = (
                        http.request(method, prefix + path, content=body, headers=headers)
                        for path in (RESUME, "/api/a2a/nothing")
                    )
                    assert (off.status_code, off.content) == (404, b"Not Found")
                    assert off.headers["content-type"].startswith("text/plain")
                    assert (missing.status_code, missing.content) == (off.status_code, off.content)
        assert http.get(f"/api/agents/runs/{name}").json()["status"] == "pending_approval"
        assert http.post(f"/v1/runs/{name}/cancel", json={}).status_code == 200
        assert frames(channel(http, name))[-1].event["status"] == "stopped"


@pytest.mark.requirement("CIN-006", "cinatra.resume-options")
def test_either_name_switches_the_resume_on_and_an_allowed_page_may_ask(fresh: Fresh, name: str) -> None:
    settings = {"CINATRA_AGUI_EXTERNAL_ENABLED": "true", "HOCKET_CORS_ORIGINS": "https://app.example"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    with fresh(**settings) as url, httpx.Client(base_url=url, timeout=20) as http:
        start(http, "reviewing", name)
        allowed = http.options(RESUME, headers={"origin": "https://app.example", **asked})
        foreign = http.options(RESUME, headers={"origin": "https://evil.example", **asked})
        assert (allowed.status_code, allowed.content) == (foreign.status_code, foreign.content) == (204, b"")
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-origin" not in foreign.headers
        assert resume(http, gate(name), values=APPROVED) == OK


@pytest.mark.requirement("CIN-006", "cinatra.resume-options")
def test_a_resume_that_is_on_answers_options(http: httpx.Client, name: str) -> None:
    for prefix in ("", "/cinatra"):
        answer = http.options(prefix + RESUME)
        assert (answer.status_code, answer.content) == (204, b"") and "POST" in answer.headers["allow"]
    start(http, "reviewing", name)
    assert http.post(f"/cinatra{RESUME}", json={"reviewTaskId": gate(name)}).json() == {"ok": True}
