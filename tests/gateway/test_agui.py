"""The AG-UI face over HTTP."""

import asyncio
import json
from typing import Any

import pytest

from gateway.auth import DEVELOPMENT as BY
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import House, agui_input, open_house

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 5.0


async def greeter(run: Any) -> Any:
    yield "Hello, "
    yield "you"


async def asking(run: Any) -> Any:
    """An interrupt, its keys in an order of the agent's own."""
    yield {"type": "RUN_FINISHED", "outcome": {"interrupts": [{"id": "i", "reason": "confirmation"}],
                                               "type": "interrupt"}}  # fmt: skip


async def misleading(run: Any) -> Any:
    """A success whose result looks like an interrupt."""
    yield {"type": "RUN_FINISHED", "result": {"outcome": {"type": "interrupt"}}}


async def listing(run: Any) -> Any:
    yield json.dumps([message.role for message in run.input.messages])


async def silent(run: Any) -> Any:
    await asyncio.Event().wait()
    yield "never"


async def planning(run: Any) -> Any:
    yield {"type": "ACTIVITY_SNAPSHOT", "messageId": f"{run.input.run_id}-plan", "activityType": "PLAN", "content": {}}
    yield "Planned."


def data_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def types_of(text: str) -> list[str]:
    return [event["type"] for event in data_of(text)]


async def test_a_run_streams_its_events_and_ends(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, greeter=greeter) as house:
        answer = await house.client.post("/agui/greeter", json=agui_input())
    assert answer.status_code == 200
    assert types_of(answer.text) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]


async def test_who_joins_again_and_again_while_the_agent_speaks_hears_each_word_once(
    nats: EmbeddedServer, settings: Settings
) -> None:
    words = [f"{number} " for number in range(4000)]

    async def speaking(run: Any) -> Any:
        for number, word in enumerate(words):
            yield word
            if number % 20 == 0:
                await asyncio.sleep(0)

    async with open_house(nats, settings, speaking=speaking) as house:
        first = asyncio.create_task(house.client.post("/agui/speaking", json=agui_input()))
        joins = []
        async with asyncio.timeout(WAIT_SECONDS * 2):
            while not first.done():
                joins.append(asyncio.create_task(house.client.post("/agui/speaking", json=agui_input())))
                await asyncio.wait([first], timeout=0.005)
            await asyncio.gather(first, *joins)
    assert _said(first.result().text) == "".join(words)
    assert joins
    for join in joins:
        assert _said(join.result().text) == "".join(words)


def _said(text: str) -> str:
    """The assistant's text as a client holds it in the end."""
    said = ""
    for event in data_of(text):
        if event["type"] == "MESSAGES_SNAPSHOT":
            said = "".join(message["content"] for message in event["messages"] if message["role"] == "assistant")
        elif event["type"] == "TEXT_MESSAGE_CONTENT":
            said += event["delta"]
    return said


@pytest.mark.parametrize("params", [{}, {"after_seq": "0"}, {"after_seq": "3"}, {"after_seq": "999"}], ids=str)
async def test_a_stream_ends_where_its_run_waits(
    nats: EmbeddedServer, settings: Settings, params: dict[str, str]
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        first = await house.client.post("/agui/asking", json=agui_input())
        assert data_of(first.text)[-1]["outcome"]["type"] == "interrupt"
        again = await house.client.post("/agui/asking", json=agui_input(), params=params)
        known = await house.engine.state("r1", BY)
    assert (known.status, known.seq) == ("waiting", 3)
    last = {"": "RUN_FINISHED", "0": "RUN_FINISHED"}.get(params.get("after_seq", ""))
    assert types_of(again.text)[-1:] == ([last] if last else [])


async def test_a_result_that_looks_like_an_interrupt_ends_the_run(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, misleading=misleading) as house:
        answer = await house.client.post("/agui/misleading", json=agui_input())
        assert types_of(answer.text) == ["RUN_STARTED", "RUN_FINISHED"]
        follow = await house.engine.follow("r1", BY)
        async with asyncio.timeout(WAIT_SECONDS):
            assert [piece.last async for batch in follow for piece in batch][-1] == 3
        follow.close()


class Listener:
    """A client that keeps what it hears as it comes."""

    def __init__(self, house: House, agent: str, given: dict[str, Any]) -> None:
        self.heard = ""
        self._more = asyncio.Event()
        self.done = asyncio.create_task(self._listen(house, agent, given))

    async def _listen(self, house: House, agent: str, given: dict[str, Any]) -> None:
        async with house.client.stream("POST", f"/agui/{agent}", json=given) as answer:
            async for text in answer.aiter_text():
                self.heard += text
                self._more.set()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while text not in self.heard:
                self._more.clear()
                await self._more.wait()


async def test_a_run_that_no_worker_has_taken_yet_is_joined_with_its_messages_and_starts_once(
    nats: EmbeddedServer, settings: Settings
) -> None:
    one_at_a_time = settings.model_copy(update={"concurrency": 1})
    async with open_house(nats, one_at_a_time, greeter=greeter, silent=silent) as house:
        before = Listener(house, "silent", agui_input("t0", "r0"))
        await before.until("RUN_STARTED")
        first = Listener(house, "greeter", agui_input())
        await first.until("id: 1\n")
        late = Listener(house, "greeter", agui_input())
        await late.until("MESSAGES_SNAPSHOT")
        for run_id in ("r1", "r0"):
            await house.engine.cancel(run_id, BY, "test")
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(before.done, first.done, late.done)
    assert types_of(late.heard) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert types_of(first.heard) == ["RUN_STARTED", "RUN_FINISHED"]


async def test_an_input_in_pythons_own_names_and_with_nulls_is_recorded_in_wire_form(
    nats: EmbeddedServer, settings: Settings
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        {"id": "u", "role": "user", "content": "hi", "name": None},
        {"id": "a", "role": "assistant", "content": None, "tool_calls": [call]},
        {"id": "t", "role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    given = {"thread_id": "t1", "run_id": "r1", "messages": messages, "state": {"kept": None}, "tools": [],
             "context": [], "forwarded_props": {"a": None}}  # fmt: skip
    async with open_house(nats, settings, greeter=greeter) as house:
        await house.client.post("/agui/greeter", json=given)
        state, told = await house.engine.snapshot("r1", BY)
    assert told[:3] == [
        {"id": "u", "role": "user", "content": "hi"},
        {"id": "a", "role": "assistant", "toolCalls": [call]},
        {"id": "t", "role": "tool", "toolCallId": "c", "content": "ok"},
    ]
    assert state.state == {"kept": None} and state.input["forwardedProps"] == {"a": None}


async def test_a_threads_activities_stay_where_they_stood_and_reach_no_agent(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, planning=planning, listing=listing) as house:
        await house.client.post("/agui/planning", json=agui_input())
        held = [one for one in (await house.engine.snapshot("r1", BY))[1] if one["role"] != "activity"]
        more = [*held, {"id": "user-2", "role": "user", "content": "again"}]
        await house.client.post("/agui/listing", json=agui_input(run_id="r2", messages=more))
        told = await house.engine.transcript("r2", BY)
        cut = [{"id": "user-3", "role": "user", "content": "anew"}, held[-1]]
        await house.client.post("/agui/listing", json=agui_input(run_id="r3", messages=cut))
        shorter = await house.engine.transcript("r3", BY)
    assert [message["role"] for message in told] == ["user", "activity", "assistant", "user", "assistant"]
    assert told[-1]["content"] == '["user", "assistant", "user"]'
    assert "activity" not in [message["role"] for message in shorter]


async def test_a_body_that_is_not_declared_as_json_is_refused(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, greeter=greeter) as house:
        for headers in ({}, {"content-type": "text/plain"}):
            answer = await house.client.post("/agui/greeter", content=json.dumps(agui_input()), headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")
        typed = {"content-type": "application/vnd.x+json; charset=utf-8"}
        answer = await house.client.post("/agui/greeter", content=json.dumps(agui_input()), headers=typed)
        assert answer.status_code == 200


async def test_a_gateway_that_stops_lets_no_client_believe_that_the_run_has_succeeded(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, silent=silent) as house:
        listener = Listener(house, "silent", agui_input())
        await listener.until("RUN_STARTED")
        house.gateway.streams.drain()
        async with asyncio.timeout(WAIT_SECONDS):
            await listener.done
        late = await house.client.post("/agui/silent", json=agui_input())
        assert (await house.engine.state("r1", BY)).status == "running"
        await house.engine.cancel("r1", BY, "test")
    end = data_of(listener.heard)[-1]
    assert (end["type"], end["code"]) == ("RUN_ERROR", "GATEWAY_STOPPING")
    assert types_of(late.text)[-1] == "RUN_ERROR"
    assert "id: 2\n" in listener.heard and "id: 3" not in listener.heard


async def test_a_browser_of_a_named_origin_may_read_a_stream_and_no_other(
    nats: EmbeddedServer, settings: Settings
) -> None:
    opened = settings.model_copy(update={"cors_origins": "https://app.example, https://b.example"})
    async with open_house(nats, opened, greeter=greeter) as house:
        told = await house.client.post("/agui/greeter", json=agui_input(), headers={"origin": "https://app.example"})
        foreign = await house.client.post(
            "/agui/greeter", json=agui_input("t2", "r2"), headers={"origin": "https://evil.example"}
        )
    assert told.headers["access-control-allow-origin"] == "https://app.example"
    assert data_of(told.text)[-1]["type"] == "RUN_FINISHED"
    assert "access-control-allow-origin" not in foreign.headers


async def test_who_was_streamed_an_end_finds_it_in_the_next_list(nats: EmbeddedServer, settings: Settings) -> None:
    async def slow(run: Any) -> Any:
        yield "x"
        await asyncio.sleep(0.12)  # the index has written the start by then, and gathers again

    async with open_house(nats, settings, slow=slow) as house:
        for number in range(5):
            await house.client.post("/agui/slow", json=agui_input(f"t{number}", f"r{number}"))
            listed = (await house.client.get("/v1/runs", params={"thread_id": f"t{number}"})).json()["runs"]
            assert [run["status"] for run in listed] == ["completed"]
