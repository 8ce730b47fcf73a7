"""Stops and interrupts, seen by both generations of the AG-UI client."""

import httpx
import pytest

from conformance import scenario as s
from conformance.driver import AGUI, Driver

clients = pytest.mark.parametrize("client", AGUI)


def _check_stopped(record: s.Json, client: str) -> None:
    s.check_end(record["types"])
    assert record["error"] is None and record["failed"] is None
    if client == "agui-1":
        assert record["ended"]["outcome"] == "cancelled" and record["runErrors"] == []
    else:
        assert [error["code"] for error in record["runErrors"]] == ["abort"]


@clients
@pytest.mark.requirement("agui.cancel", "agui.no-warnings")
def test_a_cancel_ends_every_attached_stream_as_its_client_can_parse(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("endless", name), s.run(name, background=True), s.at_the_gate(),
        s.agent("endless", name, "b"), s.run(name, "b", text=None, background=True), s.seen("MESSAGES_SNAPSHOT", "b"),
        s.post(f"/v1/runs/{name}/cancel"), s.op("done"), s.op("done", "b"),
        s.agent("endless", name, "c"), s.run(name, "c", text=None), client=client,
    )  # fmt: skip
    told = s.polled(http, name)
    assert told["status"] == "cancelled"
    for one in "abc":
        held = result["clients"][one]
        _check_stopped(held["runs"][0], client)
        s.check_same(held, told)
    assert result["warnings"] == []


@clients
@pytest.mark.requirement("agui.cancel")
def test_a_cancelled_runs_open_parts_are_closed_and_its_open_call_is_answered(
    agui: Driver, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("endless", name), s.run(name, background=True), s.at_the_gate(),
        s.post(f"/v1/runs/{name}/cancel"), s.op("done"), client=client,
    )  # fmt: skip
    a = result["clients"]["a"]
    assert {"TEXT_MESSAGE_END", "TOOL_CALL_END", "TOOL_CALL_RESULT"} <= set(a["runs"][0]["types"])
    answers = [message for message in a["messages"] if message["role"] == "tool"]
    assert [answer["toolCallId"] for answer in answers] == [f"{name}-c"]
    assert s.text_of(a, f"{name}-t") == "And on"


@clients
@pytest.mark.requirement("agui.cancel")
def test_a_cancel_that_is_repeated_changes_nothing(agui: Driver, http: httpx.Client, name: str, client: str) -> None:
    cancel = s.post(f"/v1/runs/{name}/cancel")
    result = agui.play(
        s.agent("endless", name), s.run(name, background=True), s.at_the_gate(), cancel, cancel, s.op("done"),
        client=client,
    )  # fmt: skip
    assert [answer["status"] for answer in result["answers"]] == [200, 200]
    _check_stopped(result["clients"]["a"]["runs"][0], client)


@clients
@pytest.mark.requirement("agui.interrupt", "agui.no-warnings")
def test_an_interrupt_ends_the_stream_and_stays_pending_for_who_comes_later(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("interrupting", name), s.run(name),
        s.agent("interrupting", name, "b"), s.run(name, "b", text=None),
        s.run(f"{name}-2", text="never mind"), client=client,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    told = s.polled(http, name)
    assert told["status"] == "waiting" and [one["id"] for one in told["interrupts"]] == [f"{name}-i"]
    for one in (a, b):
        s.check_run(one["runs"][0])
        assert one["runs"][0]["ended"]["outcome"] == "interrupt"
        assert [pending["id"] for pending in one["pending"]] == [f"{name}-i"]
    s.check_same(b, told)
    assert "pending interrupt" in a["runs"][1]["error"]["message"]
    assert result["warnings"] == []


@clients
@pytest.mark.requirement("agui.interrupt")
def test_a_cursor_at_the_interrupt_is_answered_with_an_end(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    agui.play(s.agent("interrupting", name), s.run(name), client=client)
    last = s.polled(http, name)["seq"]
    answer = http.post("/agui/interrupting", json=s.agui_input(name, name), params={"after_seq": last})
    assert answer.status_code == 200 and "data:" not in answer.text
