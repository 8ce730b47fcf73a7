"""Joining late, leaving and coming back, seen by both generations of the AG-UI client."""

import httpx
import pytest

from conformance import scenario as s
from conformance.driver import AGUI, Driver

clients = pytest.mark.parametrize("client", AGUI)

PARTS = [
    ["text"], ["tool"], ["reasoning"], ["step"], ["state"], ["activity"], ["subagent"],
    ["state", "step", "reasoning", "text", "tool", "activity", "subagent"],
]  # fmt: skip


@clients
@pytest.mark.parametrize("parts", PARTS, ids="+".join)
@pytest.mark.requirement("agui.join", "agui.no-warnings")
def test_who_joins_in_the_middle_ends_as_who_was_there_all_along(
    agui: Driver, http: httpx.Client, name: str, client: str, parts: list[str]
) -> None:
    given = {"gate": name, "open": parts}
    result = agui.play(
        s.agent("held", name), s.run(name, forwardedProps=given, background=True), s.at_the_gate(),
        s.agent("held", name, "b"), s.run(name, "b", text=None, background=True),
        s.seen("MESSAGES_SNAPSHOT", "b"), s.release(name), s.op("done"), s.op("done", "b"), client=client,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    s.check_run(a["runs"][0])
    s.check_run(b["runs"][0])
    s.check_same(b, a)
    s.check_same(a, s.polled(http, name))
    assert result["warnings"] == []


@clients
@pytest.mark.parametrize("parts", PARTS, ids="+".join)
@pytest.mark.requirement("agui.rejoin", "agui.leave", "agui.no-warnings")
def test_who_drops_in_mid_message_and_comes_back_has_no_text_twice(
    agui: Driver, http: httpx.Client, name: str, client: str, parts: list[str]
) -> None:
    given = {"gate": name, "open": parts}
    result = agui.play(
        s.agent("held", name), s.run(name, forwardedProps=given, background=True), s.at_the_gate(), s.op("leave"),
        s.run(name, text=None, background=True), s.seen("MESSAGES_SNAPSHOT"), s.release(name), s.op("done"),
        client=client,
    )  # fmt: skip
    a = result["clients"]["a"]
    s.check_run(a["runs"][1])
    told = s.polled(http, name)
    s.check_same(a, told)
    assert a["messages"][0] == {"id": f"{name}-u", "role": "user", "content": "hi"}
    if "text" in parts:
        assert s.text_of(a, f"{name}-t") == "Hello"
    assert told["status"] == "completed"
    assert result["warnings"] == []


@clients
@pytest.mark.requirement("agui.leave")
def test_a_run_goes_on_when_its_only_client_leaves(agui: Driver, http: httpx.Client, name: str, client: str) -> None:
    result = agui.play(
        s.agent("held", name), s.run(name, forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        s.op("leave"), s.release(name), s.agent("held", name, "b"), s.run(name, "b", text=None), client=client,
    )  # fmt: skip
    b = result["clients"]["b"]
    s.check_run(b["runs"][0])
    assert s.text_of(b, f"{name}-t") == "Hello"
    s.check_same(b, s.polled(http, name))


@clients
@pytest.mark.requirement("agui.join")
def test_who_joins_before_the_agent_has_said_a_word_sees_the_whole_run(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("silent_at_first", name), s.run(name, forwardedProps={"gate": name}, background=True),
        s.seen("RUN_STARTED"), s.agent("silent_at_first", name, "b"), s.run(name, "b", text=None, background=True),
        s.seen("RUN_STARTED", "b"), s.release(name), s.op("done"), s.op("done", "b"), client=client,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    s.check_run(b["runs"][0])
    s.check_same(b, a)
    s.check_same(b, s.polled(http, name))


@clients
@pytest.mark.requirement("agui.join")
def test_a_late_client_keeps_the_history_of_its_thread(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    given = {"gate": name, "open": ["text", "state"]}
    result = agui.play(
        s.agent("plain", name), s.run(f"{name}-1"),
        s.agent("held", name, "b"), s.run(name, "b", forwardedProps=given, background=True), s.at_the_gate("b"),
        s.agent("held", name, "c"), s.run(name, "c", text=None, background=True), s.seen("MESSAGES_SNAPSHOT", "c"),
        s.release(name), s.op("done", "b"), s.op("done", "c"), client=client,
    )  # fmt: skip
    c = result["clients"]["c"]
    s.check_run(c["runs"][0])
    assert [message["role"] for message in c["messages"]] == ["user", "assistant", "user", "assistant", "assistant"]
    s.check_same(c, s.polled(http, name))


@clients
@pytest.mark.requirement("agui.rejoin")
def test_an_earlier_runs_activities_survive_a_drop_in_a_later_one(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    given = {"gate": name, "open": ["text", "activity"]}
    result = agui.play(
        s.agent("everything", name, "x"), s.run(f"{name}-1", "x"),
        s.agent("held", name), s.run(f"{name}-0", text=None, forwardedProps={"gate": f"{name}-0"}, background=True),
        s.at_the_gate(), s.release(f"{name}-0"), s.op("done"),
        s.run(name, text="more", forwardedProps=given, background=True),
        s.seen("CUSTOM", count=2), s.op("leave"),
        s.run(name, text=None, background=True), s.seen("MESSAGES_SNAPSHOT"), s.release(name), s.op("done"),
        client=client,
    )  # fmt: skip
    a = result["clients"]["a"]
    s.check_run(a["runs"][-1])
    s.check_same(a, s.polled(http, name))


@clients
@pytest.mark.requirement("agui.attach", "agui.poll-equals-stream")
def test_a_run_that_was_started_over_rest_is_followed_by_its_id(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    given = {"agent": "everything", "input": "hi", "run_id": name, "thread_id": name}
    assert http.post("/v1/runs", json=given).status_code == 201
    result = agui.play(s.agent("everything", name), s.run(name, text=None), client=client)
    a = result["clients"]["a"]
    s.check_run(a["runs"][0])
    s.check_same(a, s.polled(http, name))
    assert [message["role"] for message in a["messages"]][:2] == ["user", "reasoning"]
    assert result["warnings"] == []


@clients
@pytest.mark.requirement("agui.cursor")
def test_a_cursor_resumes_exactly_after_it_and_without_a_prelude(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    agui.play(s.agent("counting", name), s.run(name, forwardedProps={"count": 20}), client=client)
    whole = _frames(http, name, 0)
    assert [seq for seq, _ in whole] == list(range(1, len(whole) + 1))
    for after in (1, 7, len(whole) - 1):
        assert _frames(http, name, after) == whole[after:]
        assert _frames(http, name, 0, last_event_id=after) == whole[after:]
    assert _frames(http, name, len(whole)) == []
    assert _frames(http, name, 3, last_event_id=9) == _frames(http, name, 9, last_event_id=3) == whole[9:]


def _frames(http: httpx.Client, name: str, after_seq: int, last_event_id: int | None = None) -> list[tuple[int, str]]:
    headers = {} if last_event_id is None else {"last-event-id": str(last_event_id)}
    params = {"after_seq": after_seq}
    answer = http.post("/agui/counting", json=s.agui_input(name, name), params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    found = []
    for frame in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if line.startswith(("id: ", "data: ")))
        if "id" in lines:
            found.append((int(lines["id"]), lines.get("data", "")))
    return found
