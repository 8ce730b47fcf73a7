"""Middesk's run API: what it does with input of any kind, whom it lets do what, and threads."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import strategies as st

from protocol.entries import Caller
from protocol.ids import as_uuid
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.drawn import drawn
from tests.house import WAIT_SECONDS, House, open_house

pytestmark = pytest.mark.anyio

RUNS = "/middesk/v1/runs"
THREADS = "/middesk/v1/threads"
JSON = {"content-type": "application/json"}
ME = Caller("default", "development", "development", scopes=frozenset({"admin"}))
SCHEMA = {
    "type": "object",
    "required": ["a", "b"],
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
}


class Listening:
    """Agents, and what they were given."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.told: list[Any] = []

    async def hears(self, run: Any) -> AsyncIterator[Any]:
        self.given.append((run.input.forwarded_props, [one.content for one in run.input.messages]))
        yield "Heard."

    async def asks(self, run: Any) -> AsyncIterator[Any]:
        if not run.answers:
            yield run.interrupt("Which?", name="which", response_schema=SCHEMA)
        self.told.append((run.answers["which"].payload, run.answers["which"].text))
        yield "Thanks."

    async def open(self, run: Any) -> AsyncIterator[Any]:
        if not run.answers:
            yield run.interrupt("Anything?", name="any")
        self.told.append((run.answers["any"].payload, run.answers["any"].text))
        yield "Thanks."


async def begin(house: House, agent: str, **body: Any) -> dict[str, Any]:
    answer = await house.client.post(RUNS, json={"type": agent, "input": "hi", **body})
    assert answer.status_code == 201, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def until(house: House, run: dict[str, Any], status: str) -> dict[str, Any]:
    """The run once it has that status."""
    await house.engine.changed(run["id"], ME, lambda state: bool(state.open_gates), WAIT_SECONDS)
    told: dict[str, Any] = (await house.client.get(f"{RUNS}/{run['id']}")).json()
    assert told["status"] == status, told
    return told


def messages(answer: httpx.Response, status: int) -> list[str]:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["errors"]
    return [one["message"] for one in answer.json()["errors"]]


GIVEN: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"input": "Hello"}, {"input": "Hello"}, ["Hello"]),
    ({"input": {"message": "Hello", "n": 1}}, {"input": {"message": "Hello", "n": 1}}, ["Hello"]),
    ({"input": {"id": "A-17"}}, {"input": {"id": "A-17"}}, ['{"id":"A-17"}']),
    ({"input": False}, {"input": False}, ["false"]),
    ({"input": None}, {"input": None}, ['{"input":null}']),
    ({"business_id": "b"}, {"business_id": "b"}, ['{"business_id":"b"}']),
    (
        {"context_type": "order", "context_id": "7", "input": "Look"},
        {"context_type": "order", "context_id": "7", "input": "Look"},
        ["Look"],
    ),
]


async def test_an_agent_is_given_the_context_and_the_input_and_in_words_what_is_asked(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Listening()
    async with open_house(nats, settings, hears=agents.hears) as house:
        for body, _, _ in GIVEN:
            answer = await house.client.post(RUNS, json={"type": "hears", **body, "user_id": "mallory"})
            await until(house, answer.json(), "completed")
            assert "mallory" not in answer.text
        thread = (await house.client.post(THREADS)).json()["id"]
        first = await begin(house, "hears", thread_id=thread)
        await until(house, first, "completed")
        bare = await house.client.post(RUNS, json={"type": "hears", "thread_id": thread})
        await until(house, bare.json(), "completed")
    assert agents.given[: len(GIVEN)] == [(props, words) for _, props, words in GIVEN]
    assert agents.given[-1] == ({}, ["hi", "Heard."])


async def test_what_was_posted_to_the_thread_elsewhere_is_given_to_the_run(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Listening()
    async with open_house(nats, settings, hears=agents.hears) as house:
        thread = (await house.client.post(THREADS, json={})).json()["id"]
        await house.engine.threads.post(thread, "Before.", ME)
        await until(house, await begin(house, "hears", thread_id=thread), "completed")
    assert agents.given == [({"input": "hi"}, ["Before.", "hi"])]


async def test_a_thread_takes_one_run_at_a_time(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, open=Listening().open) as house:
        run = await until(house, await begin(house, "open"), "interrupted")
        busy = await house.client.post(RUNS, json={"type": "open", "thread_id": run["thread_id"]})
        assert messages(busy, 409)


@pytest.mark.parametrize("value", [None, True, 0, "yes", "", [1], {"deep": [{"er": None}]}])
async def test_an_answer_may_be_any_json(value: Any, nats: EmbeddedServer, settings: Settings) -> None:
    agents = Listening()
    async with open_house(nats, settings, open=agents.open) as house:
        run = await until(house, await begin(house, "open"), "interrupted")
        body = {"id": run["interrupts"][0]["id"], "input": value}
        assert (await house.client.post(f"{RUNS}/{run['id']}/resume", json=body)).status_code == 200
        await until(house, run, "completed")
    assert agents.told == [(value, value if isinstance(value, str) else orjson.dumps(value).decode())]


async def test_each_place_where_an_answer_breaks_the_schema_is_an_entry(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asks=Listening().asks) as house:
        run = await until(house, await begin(house, "asks"), "interrupted")
        path, gate = f"{RUNS}/{run['id']}/resume", run["interrupts"][0]["id"]
        answer = await house.client.post(path, json={"id": gate, "input": {"a": "x", "b": "y"}})
        told = messages(answer, 422)
        assert len(told) == 2 and told[0].startswith("input/a: ") and told[1].startswith("input/b: ")
        assert len(messages(await house.client.post(path, json={"interrupt_id": 1, "id": 2}), 422)) == 3
        assert (await house.client.post(path, json={"id": gate, "input": {"a": 1, "b": 2}})).status_code == 200


async def test_a_run_of_another_faces_ids_is_found_by_both_and_its_gate_answers(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents = Listening()
    async with open_house(nats, settings, open=agents.open) as house:
        body: dict[str, Any] = {"agent": "open", "input": "hi", "run_id": "a/b ü", "thread_id": "t/1"}
        await house.client.post("/v1/runs", json=body, headers={"prefer": "wait=5"})
        shown = as_uuid("default", "a/b ü")
        run, same = [(await house.client.get(f"{RUNS}/{name}")).json() for name in (shown, "a%2Fb%20%C3%BC")]
        assert run == same and (run["id"], run["thread_id"]) == (shown, as_uuid("default", "t/1"))
        answer = await house.client.post(
            f"{RUNS}/{shown}/resume?include= steps ,x", json={"id": run["interrupts"][0]["id"], "input": "ok"}
        )
        assert answer.status_code == 200 and answer.json()["id"] == shown and answer.json()["steps"]
        told = await house.client.get(f"{RUNS}/{shown}/stream")
        assert told.text.count("event: RUN_FINISHED") == 1 and f'"run_id":"{shown}"' in told.text
        again = await begin(house, "open", thread_id=as_uuid("default", "t/1"))
        assert again["thread_id"] == as_uuid("default", "t/1")
        assert (await house.engine.state(again["id"], ME)).thread_id == "t/1"


async def test_options_and_head_are_answered(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, hears=Listening().hears) as house:
        run = await until(house, await begin(house, "hears"), "completed")
        for path in (RUNS, f"{RUNS}/{run['id']}", f"{RUNS}/{run['id']}/stream", THREADS):
            head = await house.client.head(path)
            assert (head.status_code, head.content) == (200, b"")
        assert "POST" in (await house.client.options(RUNS)).headers["allow"]


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(), one, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["type", "thread_id", "business_id", "context_type", "context_id", "input", "id",
                          "interrupt_id"])  # fmt: skip
VALUES = JSONS | st.sampled_from(["hears", "open", "g-none-0", "x" * 300])
BODIES = st.binary(max_size=40) | st.builds(orjson.dumps, st.dictionaries(FIELDS, VALUES) | JSONS)
NAMES = st.sampled_from(["RUN", "none", "%FF", "%00", "%2F", "..", "x" * 300, "g-RUN-0"]) | st.text(
    st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8
)
PATHS = st.one_of(
    st.sampled_from(["/v1/runs", "/v1/threads", "/v1", "", "/v1/runs/", "/v1/agents"]),
    st.builds("/v1/runs/{}{}".format, NAMES, st.sampled_from(["", "/resume", "/stream", "/cancel", "/resume/x"])),
    st.builds("/v1/threads/{}".format, NAMES),
)
PAIRS = st.tuples(
    st.sampled_from(["page", "per_page", "include", "after_seq", "x"]),
    st.text(max_size=5) | st.integers().map(str) | st.just("steps"),
)
HEADERS = st.dictionaries(
    st.sampled_from(["last-event-id", "idempotency-key", "content-type", "accept"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12) | st.just("application/json"),
)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    PATHS, st.lists(PAIRS, max_size=3), HEADERS, BODIES,
)  # fmt: skip


async def test_whatever_is_sent_is_answered_in_the_envelope_and_never_with_500(
    nats: EmbeddedServer, settings: Settings
) -> None:
    agents, requests = Listening(), await drawn(REQUESTS, 400)
    async with open_house(nats, settings, open=agents.open, hears=agents.hears) as house:
        run = await until(house, await begin(house, "hears"), "completed")
        for method, path, query, headers, body in requests:
            answer = await house.client.request(
                method, f"/middesk{path.replace('RUN', run['id'])}", params=query,
                headers={name: value.strip() for name, value in ({**JSON, **headers}).items()}, content=body,
            )  # fmt: skip
            assert answer.status_code < 500, (method, path, query, headers, body, answer.text)
            if answer.status_code >= 400 and method != "HEAD":
                assert answer.headers["content-type"] == "application/json"
                assert messages(answer, answer.status_code)
