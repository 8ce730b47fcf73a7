"""Answering through AG-UI: found by thread and interrupt, streamed under the client's runId, refused in its words."""

import asyncio
from typing import Any

import pytest

from gateway.auth import DEVELOPMENT as BY
from protocol.state import Status
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.test_agui import data_of, types_of
from tests.house import House, agui_input, open_house

pytestmark = pytest.mark.anyio


async def asking(run: Any) -> Any:
    if not run.answers:
        yield "May I? "
        yield run.interrupt("Send it?", id="i1", expires_at="2099-01-01T00:00:00Z")
    else:
        yield f"{run.answers['i1'].payload} {run.input.resume[0].interrupt_id} {len(run.input.messages)}"


async def gated(run: Any) -> Any:
    if not run.answers:
        yield run.interrupt("Go on?", id="i1")
        return
    yield "on "
    await GATE.wait()
    yield "and on"


GATE = asyncio.Event()


def resume(run_id: str = "r2", payload: Any = None, interrupt_id: str = "i1", **more: Any) -> dict[str, Any]:
    entry = {
        "interruptId": interrupt_id,
        "status": "resolved",
        "payload": {"approved": True} if payload is None else payload,
    }
    return agui_input(run_id=run_id, **more) | {"resume": [entry]}


async def asked(house: House, agent: str = "asking") -> None:
    answer = await house.client.post(f"/agui/{agent}", json=agui_input())
    assert data_of(answer.text)[-1]["outcome"]["type"] == "interrupt"


@pytest.mark.parametrize("run_id", ["r1", "r2", "any/thing"])
async def test_the_answer_streams_the_next_leg_under_the_clients_run_id(
    nats: EmbeddedServer, settings: Settings, run_id: str
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await asked(house)
        answer = await house.client.post("/agui/asking", json=resume(run_id))
        told = data_of(answer.text)
        state = await house.engine.state("r1", BY)
    assert (told[0]["type"], told[0]["runId"], told[-1]["type"]) == ("RUN_STARTED", run_id, "RUN_FINISHED")
    assert "outcome" not in told[-1] or told[-1]["outcome"]["type"] == "success"
    assert state.status is Status.COMPLETED and state.gates[0].face == "agui"
    said = next(event["delta"] for event in told if event["type"] == "TEXT_MESSAGE_CONTENT")
    assert said == f"{{'approved': True}} i1 {2 if run_id == 'r1' else 3}"


async def test_the_same_request_again_attaches_and_another_is_told_who_was_first(
    nats: EmbeddedServer, settings: Settings
) -> None:
    GATE.clear()
    async with open_house(nats, settings, gated=gated) as house:
        await asked(house, "gated")
        first = asyncio.create_task(house.client.post("/agui/gated", json=resume()))
        await house.engine.changed("r1", BY, lambda state: state.seq > 6, 5)
        again = asyncio.create_task(house.client.post("/agui/gated", json=resume()))
        by_leg = asyncio.create_task(house.client.post("/agui/gated", json=agui_input(run_id="r2")))
        other = await house.client.post("/agui/gated", json=resume("r3"))
        changed = await house.client.post("/agui/gated", json=resume(payload={"approved": False}))
        GATE.set()
        streams = [(await one).text for one in (first, again, by_leg)]
    for text in streams:
        assert types_of(text)[0] == "RUN_STARTED" and types_of(text)[-1] == "RUN_FINISHED"
    for refused in (other, changed):
        assert refused.status_code == 409
        told = refused.json()
        assert told["error"] == "already_resolved" and told["resolved"]["by"]["id"] == BY.id and told["resolved"]["at"]


async def test_a_dropped_stream_of_the_next_leg_is_taken_up_at_its_cursor(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await asked(house)
        whole = (await house.client.post("/agui/asking", json=resume())).text
        ids = [int(line[4:]) for line in whole.splitlines() if line.startswith("id: ")]
        headers = {"last-event-id": str(ids[1])}
        rest = (await house.client.post("/agui/asking", json=resume(), headers=headers)).text
    assert [int(line[4:]) for line in rest.splitlines() if line.startswith("id: ")] == ids[2:]


async def test_unknown_entries_are_passed_over_where_the_open_ones_are_answered(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await asked(house)
        body = resume()
        body["resume"].insert(0, {"interruptId": "nothing", "status": "resolved"})
        answer = await house.client.post("/agui/asking", json=body)
    assert answer.text.startswith(': passed over: "nothing"\n\n') and types_of(answer.text)[-1] == "RUN_FINISHED"


async def test_what_answers_nothing_open_is_refused_and_the_gate_stays_open(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await asked(house)
        unknown = await house.client.post("/agui/asking", json=resume(interrupt_id="nothing"))
        elsewhere = await house.client.post("/agui/asking", json=resume(thread_id="t2"))
        huge = await house.client.post("/agui/asking", json=resume(payload="x" * (10 << 20)))
        status = await house.client.post(
            "/agui/asking", json=agui_input() | {"resume": [{"interruptId": "i1", "status": "maybe"}]}
        )
        state = await house.engine.state("r1", BY)
    assert (unknown.status_code, unknown.json()["error"]) == (422, "unknown_interrupt")
    assert (elsewhere.status_code, elsewhere.json()["error"]) == (422, "unknown_interrupt")
    assert (huge.status_code, status.status_code) == (413, 422)
    assert state.status is Status.WAITING


async def test_a_new_run_on_a_waiting_thread_is_shown_what_is_open_and_its_message_is_not_lost(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        await asked(house)
        answer = await house.client.post("/agui/asking", json=agui_input(run_id="r5", text="and this?"))
        told = data_of(answer.text)
        assert (await house.engine.state("r1", BY)).status is Status.WAITING
        messages = [*agui_input()["messages"], *agui_input(run_id="r5", text="and this?")["messages"]]
        await house.client.post("/agui/asking", json=resume("r5") | {"messages": messages})
        thread = (await house.client.get("/v1/threads/t1/messages")).json()["messages"]
    assert [event["type"] for event in told] == ["RUN_STARTED", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert told[0]["runId"] == "r5" and told[-1]["outcome"]["interrupts"][0]["id"] == "i1"
    assert [one["content"] for one in thread if one["role"] == "user"] == ["hi", "and this?"]


async def test_a_client_before_1_0_is_not_told_when_a_question_expires(
    nats: EmbeddedServer, settings: Settings
) -> None:
    old = {name: value for name, value in agui_input().items() if name != "protocolVersion"}
    async with open_house(nats, settings, asking=asking) as house:
        first = data_of((await house.client.post("/agui/asking", json=old)).text)[-1]
        later = data_of((await house.client.post("/agui/asking", json=old | {"runId": "r9"})).text)[-1]
        modern = data_of((await house.client.post("/agui/asking", json=agui_input(run_id="r8"))).text)[-1]
    for told in (first, later):
        assert "expiresAt" not in told["outcome"]["interrupts"][0]
    assert modern["outcome"]["interrupts"][0]["expiresAt"] == "2099-01-01T00:00:00Z"
