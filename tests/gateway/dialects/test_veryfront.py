"""Veryfront's REST calls: starts, reads, cancels, and what is refused."""

import asyncio
import string
from collections.abc import AsyncIterator
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from gateway.dialects.veryfront_object import NAMES
from protocol.ids import as_uuid
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.veryfront_client import (
    CONVERSATION,
    Asking,
    owned,
    place,
    reached,
    refused,
    resume,
    start,
    start_body,
    streamed,
    told,
    waiting,
)
from tests.house import House, bearer, give_key, open_house

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(nats: EmbeddedServer, settings: Settings) -> AsyncIterator[House]:
    asking = Asking()
    async with open_house(nats, settings, bare=asking.bare, failing=asking.failing, plain=asking.plain) as opened:
        yield opened


# ── start ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_start_is_answered_with_the_whole_run(house: House) -> None:
    answer = await house.client.post("/veryfront/runs", json=start_body("plain", CONVERSATION, public_id="check-a17"))
    assert answer.status_code == 202 and answer.json()["accepted"] is True and "duplicate" not in answer.json()
    run = answer.json()["run"]
    assert run["run_id"] == run["root_run_id"] == "check-a17" and run["status"] in ("pending", "running")
    assert run["owner"] == {"kind": "conversation", "id": CONVERSATION} and run["input"] == {"text": "hi"}
    assert (run["trigger_kind"], run["created_by"], run["artifacts"]) == ("api", "development", [])
    await reached(house, "check-a17", "completed")
    done = (await house.client.get("/veryfront/runs/check-a17")).json()
    assert done.keys() == run.keys() and done["status"] == "completed" and "m1" in done["output"]["text"]
    assert done["metadata"] is None and done["completed_at"] >= done["started_at"] and done["duration_ms"] >= 0


async def test_one_public_id_makes_one_run_however_often_and_at_once(house: House) -> None:
    body = start_body("plain", CONVERSATION, public_id="once")
    answers = await asyncio.gather(*(house.client.post("/veryfront/runs", json=body) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert sorted("duplicate" in answer.json() for answer in answers) == [False, True, True, True, True]
    assert len((await house.client.get("/v1/runs")).json()["runs"]) == 1
    for other in (
        start_body("plain", CONVERSATION, text="other", public_id="once"),
        start_body("bare", CONVERSATION, public_id="once"),
        start_body("plain", public_id="once"),
        start_body("plain", CONVERSATION, public_id="once", source_target_kind="project"),
    ):
        assert refused(await house.client.post("/veryfront/runs", json=other)) == (409, "RUN_ID_CONFLICT")


async def test_an_idempotency_key_makes_one_run_too(house: House) -> None:
    body, key = start_body("plain", text=None, input={"messages": [{"role": "user", "parts": [_part("hi")]}]}), "k1"
    first, second = [
        await house.client.post("/veryfront/runs", json=body, headers={"idempotency-key": key}) for _ in range(2)
    ]
    assert first.json()["run"]["run_id"] == second.json()["run"]["run_id"] and second.json()["duplicate"] is True


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


async def test_the_agent_is_given_what_the_input_holds(house: House) -> None:
    messages = [
        {"id": "s", "role": "system", "parts": [_part("Be "), _part("brief.")]},
        {"id": "u", "role": "user", "parts": [_part("hi")]},
    ]
    for context, wanted in (
        ({"a": 1}, '"context":[],"forwarded":{"a":1}'),
        ([{"description": "d", "value": "v"}], '"context":[["d","v"]],"forwarded":{}'),
    ):
        run_id = (await start(house, "plain", input={"messages": messages, "context": context}))["run_id"]
        assert (await reached(house, run_id, "completed"))["message_id"] == "u"
        output = (await house.client.get(f"/veryfront/runs/{run_id}")).json()["output"]["text"]
        assert output == '{"messages":[["system","s","Be brief."],["user","u","hi"]],' + wanted + "}"


async def test_targets_are_shown_as_they_were_given_and_only_from_here(house: House) -> None:
    run_id = (
        await start(
            house, "plain", source_target_kind="preview_branch", source_target_branch_id="b1",
            runtime_target_kind="environment", runtime_target_environment_id="e1",
        )
    )["run_id"]  # fmt: skip
    shown = await reached(house, run_id, "completed")
    assert (shown["source_target_kind"], shown["source_target_branch_id"]) == ("preview_branch", "b1")
    assert (shown["runtime_target_kind"], shown["runtime_target_environment_id"]) == ("environment", "e1")
    target = shown["run_snapshot"]["runtime_target"]
    assert (target["kind"], target["environment_id"], target["branch_id"]) == ("environment", "e1", None)
    canonical = (await house.client.get(f"/veryfront/runs/{run_id}")).json()
    assert canonical["runtime_target_environment_id"] == "e1" and canonical["metadata"] is None
    body = {"agent": "plain", "input": "hi", "metadata": {"veryfront": {"source_target_kind": "project"}, "k": 1}}
    other = (await house.client.post("/v1/runs", json=body)).json()["id"]
    assert (await owned(house, other))["source_target_kind"] is None
    assert (await house.client.get(f"/veryfront/runs/{other}")).json()["metadata"] == {"k": 1}


async def test_a_child_names_its_parent_its_conversation_and_the_root(house: House) -> None:
    run_id, children = (await start(house, "plain", conversation=CONVERSATION))["run_id"], []
    await reached(house, run_id, "completed")
    for _ in range(2):
        parent = children[-1] if children else run_id
        children.append((await start(house, "plain", parent_run_id=parent))["run_id"])
    first, second = [await owned(house, child) for child in children]
    assert (first["parent_run_id"], first["parent_conversation_id"]) == (run_id, CONVERSATION)
    assert second["parent_run_id"] == children[0]
    canonical = (await house.client.get(f"/veryfront/runs/{children[1]}")).json()
    assert (canonical["parent_run_id"], canonical["root_run_id"]) == (children[0], run_id)
    unknown = await house.client.post("/veryfront/runs", json=start_body("plain", parent_run_id="nope"))
    assert refused(unknown) == (404, "NOT_FOUND")


async def test_a_start_that_is_none_is_refused_by_its_field(house: House) -> None:
    good = start_body("plain", CONVERSATION)
    for spoilt, named in (
        (good | {"kind": "task"}, "kind"),
        (good | {"owner": {"kind": "project", "id": CONVERSATION}}, "owner"),
        (good | {"owner": {"kind": "conversation", "id": "no-uuid"}}, "owner"),
        (good | {"request": good["request"] | {"mode": "workflow"}}, "mode"),
        (good | {"request": good["request"] | {"initial_status": "running"}}, "initial_status"),
        (good | {"request": good["request"] | {"runtime_target_kind": "project"}}, "runtime_target_kind"),
        (good | {"public_id": ""}, "public_id"),
        (good | {"public_id": "x" * 129}, "public_id"),
        ([], "body"),
    ):
        answer = await house.client.post("/veryfront/runs", json=spoilt)
        assert refused(answer) == (400, "INVALID_REQUEST") and named in answer.json()["detail"]
    headers = {"content-type": "application/json"}
    assert refused(await house.client.post("/veryfront/runs", content=b"{", headers=headers))[0] == 400
    assert refused(await house.client.post("/veryfront/runs", content=b"{}"))[0] == 415
    too_large = await house.client.post("/veryfront/runs", content=b" " * ((1 << 20) + 1), headers=headers)
    assert refused(too_large) == (413, "TOO_LARGE")
    unknown = await house.client.post("/veryfront/runs", json=start_body("nobody"))
    assert refused(unknown) == (404, "NOT_FOUND")


# ── reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_conversation_reads_the_tools_object_and_one_key_more(house: House) -> None:
    run_id = (await start(house, "failing"))["run_id"]
    shown = await reached(house, run_id, "failed")
    assert list(shown) == [*NAMES, "run_snapshot", "latest_external_event_sequence"]
    assert shown["latest_external_event_sequence"] == shown["latest_event_id"]
    assert shown["terminal_error_code"] == "agent_error"
    error = (await house.client.get(f"/veryfront/runs/{run_id}")).json()["error"]
    assert error == {"code": "agent_error", "message": shown["terminal_error_message"]}


async def test_a_conversation_that_is_no_uuid_is_found_by_both_its_forms(house: House) -> None:
    body = {"agent": "bare", "input": "hi", "run_id": "r1", "thread_id": "lunch"}
    assert (await house.client.post("/v1/runs", json=body)).status_code == 201
    shown = await reached(house, "r1", "waiting_for_tool")
    assert shown["conversation_id"] == as_uuid("default", "lunch")
    for conversation in ("lunch", shown["conversation_id"], shown["conversation_id"].upper()):
        assert (await house.client.get(f"/veryfront/conversations/{conversation}/runs/r1")).json() == shown
    assert (await resume(house, "r1", shown["waiting_tool_call_id"], {"approved": True})).status_code == 200
    assert [event["threadId"] for _, event in await streamed(house, "r1") if "threadId" in event] == (
        [shown["conversation_id"]] * 2
    )
    after = await start(house, "plain", conversation=shown["conversation_id"])
    assert (await house.client.get(f"/v1/runs/{after['run_id']}")).json()["thread_id"] == "lunch"


async def test_what_is_not_there_and_what_is_elsewhere_look_alike(house: House) -> None:
    run_id = (await start(house, "plain", conversation=CONVERSATION))["run_id"]
    elsewhere = "6f0c2f7e-6a41-4c1b-9d55-0a4b1f2f7c10"
    for tail in ("", "/stream", "/snapshot"):
        wrong = await house.client.get(f"/veryfront/conversations/{elsewhere}/runs/{run_id}{tail}")
        unknown = await house.client.get(f"/veryfront/conversations/{CONVERSATION}/runs/nope{tail}")
        assert refused(wrong) == refused(unknown) == (404, "NOT_FOUND")
        assert wrong.text.replace(run_id, "nope") == unknown.text
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
        assert refused(await house.client.request(method, f"/veryfront/runs/nope{path}")) == (404, "NOT_FOUND")
    assert refused(await resume(house, "nope", "c", 1)) == (404, "NOT_FOUND")


# ── cancel, credentials ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancel_is_done_once_and_its_body_is_not_read(house: House) -> None:
    run_id, _ = await waiting(house, "bare")
    path = f"/veryfront/runs/{run_id}/cancel"
    first, second = [await house.client.post(path, content=b"{not json") for _ in range(2)]
    assert first.status_code == second.status_code == 200
    assert [answer.json()["cancelled"] for answer in (first, second)] == [True, False]
    assert {answer.json()["run"]["status"] for answer in (first, second)} == {"cancelled"}
    assert first.json()["run"]["error"] is None


async def test_who_may_what_is_a_matter_of_the_credential(house: House) -> None:
    run_id, call_id = await waiting(house, "bare")
    body = {"type": "tool_result", "tool_call_id": call_id, "result": {"approved": True}}
    wanted: dict[str, Any] = {"tenant": "default", "principal": "user:bob", "kind": "user", "name": "Bob"}
    reader = await give_key(house, **wanted, scopes=("runs:read",))
    stranger = await give_key(house, **wanted | {"tenant": "other"}, scopes=("admin",))
    path = f"/veryfront/runs/{run_id}"
    none = await house.client.get(path)
    assert told(none) == (401, {"error": "unauthorized"}) and none.headers["www-authenticate"] == "Bearer"
    assert (await house.client.get(path, headers=bearer(reader))).status_code == 200
    for tail, sent in (("/resume", body), ("/cancel", {})):
        refusal = await house.client.post(path + tail, json=sent, headers=bearer(reader))
        assert refused(refusal) == (403, "FORBIDDEN")
        hidden = await house.client.post(path + tail, json=sent, headers=bearer(stranger))
        unknown = await house.client.post(f"/veryfront/runs/nope{tail}", json=sent, headers=bearer(reader))
        assert refused(hidden) == (404, "NOT_FOUND")
        assert hidden.text.replace(run_id, "nope") == unknown.text
    refusal = await house.client.post("/veryfront/runs", json=start_body("plain"), headers=bearer(reader))
    assert refused(refusal) == (403, "FORBIDDEN")


async def test_paths_that_are_not_there_are_refused_in_the_envelope(house: House) -> None:
    assert refused(await house.client.get("/veryfront/nothing")) == (404, "NOT_FOUND")
    answer = await house.client.delete("/veryfront/runs")
    assert refused(answer) == (405, "METHOD_NOT_ALLOWED") and answer.headers["allow"] == "POST, OPTIONS"


# ── fuzz ──────────────────────────────────────────────────────────────────────────────────────────────────────────

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
SEGMENTS = st.text(string.ascii_letters + string.digits + "%./-_~ éÿ", min_size=1, max_size=20)
NUMBERS = st.text("0123456789-+. x", max_size=20) | st.integers(-5, 200).map(str)


async def test_nothing_that_is_sent_is_answered_with_5xx(house: House) -> None:
    run_id, call_id = await waiting(house, "bare")
    at = (await place(house, run_id)).removesuffix(run_id)
    good = start_body("plain")
    fields = st.sampled_from(
        ["kind", "owner", "request", "public_id", "parent_run_id", "type", "tool_call_id", "result"]
    )
    bodies = JSON_VALUES | st.dictionaries(fields, JSON_VALUES, max_size=4).map(
        lambda spoilt: good | {"type": "tool_result", "tool_call_id": call_id, "result": 1} | spoilt
    )
    paths = st.one_of(
        st.just("/veryfront/runs"),
        st.tuples(
            st.sampled_from(["/veryfront/runs/", at]),
            st.just(run_id) | SEGMENTS,
            st.sampled_from(["", "/events", "/resume", "/snapshot", "/x"]),
        ).map("".join),
    )

    async def ask(path: str, method: str, body: Any, query: dict[str, str]) -> None:
        answer = await house.client.request(method, httpx.URL(house.url).join(path), json=body, params=query)
        assert answer.status_code < 500, (path, method, body, query)
        if answer.status_code >= 400 and method != "HEAD":
            refused(answer)

    @hypothesis.settings(max_examples=250, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(
        paths,
        st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"]),
        bodies,
        st.dictionaries(st.sampled_from(["after_event_id", "limit", "other"]), NUMBERS, max_size=3),
    )
    def fuzz(path: str, method: str, body: Any, query: dict[str, str]) -> None:
        asyncio.run_coroutine_threadsafe(ask(path, method, body, query), loop).result(10)

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(fuzz)
