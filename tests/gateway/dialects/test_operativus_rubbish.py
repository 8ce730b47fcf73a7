"""Whatever is sent to Operativus' paths is answered in its own form, and never an error of the gateway."""

import asyncio
from typing import Any
from urllib.parse import quote

import hypothesis
import orjson
import pytest
from hypothesis import strategies as st

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.cinatra_client import Reviewing
from tests.house import open_house

pytestmark = pytest.mark.anyio

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("message", "sessionId", "userId", "orgId", "generateFollowups", "media", "options", "action", "approvalId",
          "decision", "payload", "session_id")  # fmt: skip
WORDS = st.sampled_from(["hi", "APPROVE", "REJECTED", "approve", "reject", "g-r1-0", "r1", "run_r1", "default",
                         "550e8400-e29b-41d4-a716-446655440000"])  # fmt: skip
BODIES = st.binary(max_size=30) | st.dictionaries(st.sampled_from(FIELDS), JSONS | WORDS, max_size=5).map(orjson.dumps)
IDS = st.sampled_from(["r1", "run_r1", "g-r1-0", "g-r1-1", "bare", "keep", "status", "pending", "run_", "."]) | TEXTS
DOORS = st.sampled_from(
    [("GET", "/api/agents"), ("POST", "/api/agents/{}/runs"), ("POST", "/api/agents/{}/runs/background"),
     ("POST", "/api/agents/{}/runs/stream"), ("GET", "/api/agents/{}/runs/status"),
     ("DELETE", "/api/agents/{}/runs/{}"), ("GET", "/api/agents/{}/runs/{}/status"),
     ("POST", "/api/agents/{}/runs/{}/continue"), ("GET", "/api/v1/runs"), ("GET", "/api/v1/runs/{}"),
     ("POST", "/api/v1/runs/{}/cancel"), ("HEAD", "/api/v1/runs/{}/events"), ("GET", "/api/v1/approvals/pending"),
     ("GET", "/api/v1/approvals/{}"), ("POST", "/api/v1/approvals/{}/resolve"),
     ("POST", "/api/v1/approvals/{}/decide"), ("GET", "/{}/{}")]
)  # fmt: skip
"""Everything that is there, and more. A stream of a run that goes on would not end: its head must do."""
QUERIES = st.dictionaries(
    st.sampled_from(["runIds", "sinceId", "page", "size", "status", "sessionId", "agentId", "x"]),
    WORDS | TEXTS | st.integers(-2, 2**70).map(str), max_size=3,
)  # fmt: skip
METHODS = st.sampled_from([*[None] * 8, "GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"])
"""Mostly the right one."""
HEADERS = st.fixed_dictionaries(
    {"content-type": st.sampled_from(["application/json", "application/json", "text/plain"])},
    optional={"last-event-id": st.sampled_from(["3", "x", "-1"]), "idempotency-key": st.sampled_from(["k", "k k"])},
)
Texts = dict[str, str]
Request = tuple[str, str, Texts, Texts, bytes]


def requests(count: int) -> list[Request]:
    """So many requests of which most make no sense."""
    found: list[Request] = []

    @hypothesis.settings(max_examples=count, database=None, deadline=None)
    @hypothesis.given(METHODS, DOORS, st.tuples(IDS, IDS), QUERIES, HEADERS, BODIES)
    def gather(
        method: str | None, door: tuple[str, str], ids: tuple[str, str], query: Texts, headers: Texts, body: bytes
    ) -> None:
        path = door[1].format(*(quote(one, safe="") or "x" for one in ids))
        if method == "GET" and path.endswith("/events"):
            method = "HEAD"
        found.append((method or door[0], f"/operativus{path}", query, headers, body))

    gather()
    return found


async def test_rubbish_is_refused_as_a_problem_and_never_an_error_of_the_gateway(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def keep(run: Any) -> Any:
        yield "Kept."

    async with open_house(nats, settings, keep=keep, bare=Reviewing().bare) as house:
        begun = {"agent": "bare", "input": "hi", "run_id": "r1", "thread_id": "t1"}
        await house.client.post("/v1/runs", json=begun, headers={"prefer": "wait=5"})
        asked = await asyncio.get_running_loop().run_in_executor(None, requests, 400)
        counts: dict[int, int] = {}
        for method, path, query, headers, body in asked:
            what = {"params": query, "headers": headers, "content": body}
            answer = await house.client.request(method, path, **what)  # type: ignore[arg-type]
            counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
            shown = (method, path, query, headers, body, answer.text)
            assert answer.status_code < 500, shown
            if answer.status_code >= 400 and method != "HEAD":
                assert answer.headers["content-type"] == "application/problem+json", shown
                told = answer.json()
                assert told["type"].startswith("urn:problem-type:") and told["status"] == answer.status_code, shown
    assert {200, 400, 404} <= counts.keys(), counts
