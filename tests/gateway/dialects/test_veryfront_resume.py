"""Veryfront's resume, row by row."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.veryfront_client import (
    Asking,
    owned,
    reached,
    refused,
    resume,
    start,
    streamed,
    told,
    waiting,
)
from tests.house import House, open_house

pytestmark = pytest.mark.anyio

ACCEPTED = (200, {"accepted": True})
DUPLICATE = (200, {"accepted": True, "duplicate": True})


@pytest.fixture
def asking() -> Asking:
    return Asking()


@pytest.fixture
async def house(nats: EmbeddedServer, settings: Settings, asking: Asking) -> AsyncIterator[House]:
    names = ("sending", "again", "bare", "two", "hasty", "failing", "plain")
    async with open_house(nats, settings, **{name: getattr(asking, name) for name in names}) as opened:
        yield opened


async def test_a_result_is_taken_once_and_its_repetition_is_told_so(house: House, asking: Asking) -> None:
    run_id, call_id = await waiting(house, "sending")
    assert call_id == "call_7" and (await owned(house, run_id))["waiting_tool_name"] == "send_email"
    result = {"sent": True, "tries": 1}
    assert told(await resume(house, run_id, call_id, result)) == ACCEPTED
    assert told(await resume(house, run_id, call_id, {"tries": 1.0, "sent": True})) == DUPLICATE
    await reached(house, run_id, "completed")
    assert told(await resume(house, run_id, call_id, result)) == DUPLICATE
    for other, is_error in ((result | {"tries": True}, False), ({}, False), (None, False), (result, True)):
        answer = await resume(house, run_id, call_id, other, is_error=is_error)
        assert refused(answer) == (409, "TOOL_RESULT_CONFLICT")
    assert [one.payload for one in asking.told] == [result]
    events = (await house.client.get(f"/v1/runs/{run_id}/events")).text
    assert events.count("ask.resume") == 1


async def test_of_racing_results_one_is_taken(house: House, asking: Asking) -> None:
    run_id, call_id = await waiting(house, "sending")
    answers = await asyncio.gather(*(resume(house, run_id, call_id, number % 3) for number in range(9)))
    codes = sorted(str(answer.json().get("error", answer.json().get("duplicate", "taken"))) for answer in answers)
    assert codes == ["TOOL_RESULT_CONFLICT"] * 6 + ["True"] * 2 + ["taken"]
    await reached(house, run_id, "completed")
    assert len(asking.told) == 1


async def test_an_error_is_told_to_the_agent_and_approves_nothing(house: House, asking: Asking) -> None:
    run_id, call_id = await waiting(house, "bare")
    assert told(await resume(house, run_id, call_id, {"approved": True}, is_error=True)) == ACCEPTED
    assert refused(await resume(house, run_id, call_id, {"approved": True})) == (409, "TOOL_RESULT_CONFLICT")
    await reached(house, run_id, "completed")
    (decision,) = asking.told
    assert decision.is_error and not decision.approved and decision.payload == {"approved": True}
    (noted,) = (await house.client.get(f"/v1/runs/{run_id}")).json()["decisions"]
    assert (noted["decision"], noted["face"]) == ("answer", "veryfront")


async def test_each_question_is_answered_by_its_own_id(house: House, asking: Asking) -> None:
    run_id, first = await waiting(house, "two")
    assert told(await resume(house, run_id, first, "A")) == ACCEPTED
    shown = await owned(house, run_id)
    assert shown["status"] == "waiting_for_tool" and shown["waiting_tool_call_id"] != first
    assert told(await resume(house, run_id, first, "A")) == DUPLICATE
    assert told(await resume(house, run_id, shown["waiting_tool_call_id"], "B")) == ACCEPTED
    await reached(house, run_id, "completed")
    assert asking.told == [["A", "B"]]


async def test_a_repeated_result_never_answers_the_next_question_about_the_call(house: House, asking: Asking) -> None:
    run_id, call_id = await waiting(house, "again")
    assert call_id == "call_7"
    assert told(await resume(house, run_id, call_id, 1)) == ACCEPTED
    shown = await reached(house, run_id, "waiting_for_tool")
    assert shown["waiting_tool_call_id"] == f"g-{run_id}-1" and shown["waiting_tool_name"] == "request_input"
    assert told(await resume(house, run_id, call_id, 1)) == DUPLICATE
    assert told(await resume(house, run_id, shown["waiting_tool_call_id"], 2)) == ACCEPTED
    await reached(house, run_id, "completed")
    assert asking.told == [[1, 2]]


async def test_what_does_not_wait_for_the_call_says_so(house: House) -> None:
    run_id, _ = await waiting(house, "bare")
    assert refused(await resume(house, run_id, "call_7", 1)) == (409, "TOOL_RESULT_NOT_WAITING")
    await house.client.post(f"/veryfront/runs/{run_id}/cancel")
    for ended in (run_id, (await start(house, "plain"))["run_id"], (await start(house, "failing"))["run_id"]):
        await streamed(house, ended)
        assert refused(await resume(house, ended, "call_7", 1)) == (410, "RUN_NOT_ACTIVE")
    assert refused(await resume(house, run_id, f"g-{run_id}-0", {"approved": True})) == (410, "RUN_NOT_ACTIVE")


async def test_a_question_that_has_expired_takes_no_result(house: House) -> None:
    for outcome in ("cancel", "fail", "answer"):
        run_id = (await start(house, "hasty", text=outcome))["run_id"]
        frames = await streamed(house, run_id)
        (call_id,) = [event["toolCallId"] for _, event in frames if event["type"] == "TOOL_CALL_START"]
        assert refused(await resume(house, run_id, call_id, {"approved": False})) == (410, "RUN_NOT_ACTIVE")


async def test_a_resume_that_is_none_is_refused(house: House) -> None:
    run_id, call_id = await waiting(house, "bare")
    good = {"type": "tool_result", "tool_call_id": call_id, "result": {"approved": True}}
    path = f"/veryfront/runs/{run_id}/resume"
    without = {name: value for name, value in good.items() if name != "result"}
    for spoilt in (
        without, good | {"type": "x"}, good | {"tool_call_id": ""}, good | {"tool_call_id": 7}, good | {"is_error": 1},
        good | {"tool_call_id": "x" * 129}, good | {"result": {"approved": "yes"}}, [], "x",
    ):  # fmt: skip
        assert refused(await house.client.post(path, json=spoilt)) == (400, "INVALID_REQUEST")
    for result in ("x" * (64 << 10), "x" * (129 << 10)):
        assert refused(await house.client.post(path, json=good | {"result": result})) == (413, "TOO_LARGE")
    assert told(await house.client.post(path, json=good | {"user_id": "mallory"})) == ACCEPTED


async def test_a_question_of_a_run_with_a_long_id_can_be_answered(house: House) -> None:
    run_id, call_id = await waiting(house, "bare", public_id="x" * 128)
    assert len(call_id) > 128
    assert told(await resume(house, run_id, call_id, {"approved": True})) == ACCEPTED
