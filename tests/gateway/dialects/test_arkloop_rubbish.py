"""Arkloop's run API and what no client of it would send: always an answer in its envelope, never a fault of ours."""

import orjson
import pytest
from hypothesis import strategies as st

from gateway.resource import segment
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.drawn import drawn
from tests.gateway.dialects.arkloop_client import APPROVED, Agents, refused, started
from tests.house import open_house

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
THIS_RUN, THIS_THREAD = "(this run)", "(this thread)"
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("content", "request_id", "title", "is_private", "persona_id", "route_id", "model", "last_seen_seq",
          "client_cancelled_at")  # fmt: skip
NAMES = ("after_seq", "follow", "limit", "before", "status", "since", "until", "offset", "persona_id", "thread_id",
         "parent_run_id")  # fmt: skip
VALUES = st.sampled_from(["0", "-1", "1", "50", "running", "false", "2026-01-01T00:00:00Z", "9" * 15, "", "x"]) | WORDS
PATHS = ("threads", "threads/{}", "threads/{}/messages", "threads/{}/runs", "runs", "runs/{}:cancel", "runs/{}",
         "runs/{}/cancel", "runs/{}/input", "runs/{}/events", "runs/{}%3Acancel", "{}")  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), JSONS | st.just(APPROVED), max_size=4)
REQUESTS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]),
        "path": st.sampled_from(PATHS),
        "name": st.sampled_from([THIS_RUN, THIS_THREAD]) | WORDS.filter(bool),
        "params": st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
        "content": st.binary(max_size=30) | (JSONS | OBJECTS).map(orjson.dumps),
        "accept": st.sampled_from(["*/*", "text/event-stream", ""]),
    }
)


async def test_rubbish_is_refused_in_the_envelope_and_never_an_error_of_the_gateway(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents, requests = Agents(), await drawn(REQUESTS, 400)
    async with open_house(nats, settings, ask=agents.ask, hear=agents.hear) as house:
        run_id = await started(house, "ask")
        thread_id = (await house.client.get(f"/arkloop/v1/runs/{run_id}")).json()["thread_id"]
        named = {THIS_RUN: run_id, THIS_THREAD: thread_id}
        for one in requests:
            path = one["path"].format(segment(named.get(one["name"], one["name"])))
            # a stream that follows would last as long as the run
            params = {**one["params"], "follow": one["params"].get("follow", "0").replace("1", "0")}
            answer = await house.client.request(
                one["method"], f"/arkloop/v1/{path}", params=params, content=one["content"],
                headers=JSON | {"accept": one["accept"]},
            )  # fmt: skip
            assert answer.status_code < 500, one
            if answer.status_code >= 400 and one["method"] != "HEAD":
                refused(answer)
