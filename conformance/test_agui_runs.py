"""Whole runs, seen by both generations of the AG-UI client."""

import json

import httpx
import pytest

from conformance import scenario as s
from conformance.driver import AGUI, Driver

clients = pytest.mark.parametrize("client", AGUI)


@clients
@pytest.mark.requirement("agui.every-event", "agui.poll-equals-stream", "agui.no-warnings")
def test_every_kind_of_event_reaches_the_client_and_equals_the_poll(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(s.agent("everything", name), s.run(name), client=client)
    a = result["clients"]["a"]
    s.check_run(a["runs"][0])
    s.check_same(a, s.polled(http, name))
    assert a["state"] == {"count": 2, "list": ["a", "b"], "none": None}
    assert s.text_of(a, f"{name}-text") == "Looking." and s.text_of(a, f"{name}-why") == "Because of that."
    call = next(message for message in a["messages"] if message["id"] == f"{name}-text")["toolCalls"][0]
    assert call["function"] == {"name": "find", "arguments": '{"q":"x"}'}
    assert a["runs"][0]["custom"] == ["note"]
    assert result["warnings"] == []


@clients
@pytest.mark.requirement("agui.poll-equals-stream", "agui.text-from-strings")
def test_text_that_an_agent_yields_is_one_message(agui: Driver, http: httpx.Client, name: str, client: str) -> None:
    result = agui.play(s.agent("plain", name), s.run(name, text="grüß 🎶"), client=client)
    a = result["clients"]["a"]
    s.check_run(a["runs"][0])
    assert [message["role"] for message in a["messages"]] == ["user", "assistant"]
    assert a["messages"][1]["content"] == "You said: grüß 🎶. Übung, 日本語, 🎶"
    s.check_same(a, s.polled(http, name))


@clients
@pytest.mark.requirement("agui.agent-raises")
def test_an_agent_that_raises_ends_as_an_error_without_its_secret(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(s.agent("raising", name), s.run(name), client=client)
    record = result["clients"]["a"]["runs"][0]
    s.check_end(record["types"])
    assert [error["code"] for error in record["runErrors"]] == ["AGENT_ERROR"]
    assert "hunter2" not in json.dumps(result)
    told = s.polled(http, name)
    assert told["status"] == "failed" and told["error"]["code"] == "AGENT_ERROR"
    s.check_same(result["clients"]["a"], told)


@clients
@pytest.mark.requirement("agui.threads")
def test_two_runs_in_one_thread_share_its_history_once(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("everything", name), s.run(f"{name}-1"), s.run(f"{name}-2", text="again"), client=client
    )  # fmt: skip
    a = result["clients"]["a"]
    for record in a["runs"]:
        s.check_run(record)
    ids = [message["id"] for message in a["messages"]]
    assert len(ids) == len(set(ids)) == 14
    thread = http.get(f"/v1/threads/{name}/messages").json()
    assert sorted(message["id"] for message in thread["messages"]) == sorted(ids)
    assert result["warnings"] == []


@clients
@pytest.mark.requirement("agui.threads")
def test_an_agent_is_given_the_history_when_the_client_sends_only_what_is_new(
    agui: Driver, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("plain", name), s.run(f"{name}-1"),
        s.agent("telling", name, "b"), s.run(f"{name}-2", "b", text="and now?"), client=client,
    )  # fmt: skip
    s.check_run(result["clients"]["b"]["runs"][0])
    said = json.loads(result["clients"]["b"]["messages"][-1]["content"])
    assert [role for role, _ in said] == ["user", "assistant", "user"]


@clients
@pytest.mark.requirement("agui.busy-thread")
def test_a_second_run_on_a_busy_thread_is_refused_with_409(agui: Driver, name: str, client: str) -> None:
    result = agui.play(
        s.agent("held", name), s.run(f"{name}-1", forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        s.agent("plain", name, "b"), s.run(f"{name}-2", "b"),
        s.release(name), s.op("done"), client=client,
    )  # fmt: skip
    refused = result["clients"]["b"]["runs"][0]
    assert refused["error"]["message"].startswith("HTTP 409") and refused["types"] == []
    s.check_run(result["clients"]["a"]["runs"][0])


@clients
@pytest.mark.requirement("agui.busy-thread")
def test_a_run_may_cancel_the_one_before_it_on_its_thread(agui: Driver, name: str, client: str) -> None:
    result = agui.play(
        s.agent("endless", name), s.run(f"{name}-1", background=True), s.at_the_gate(),
        s.agent("plain", name, "b"), s.run(f"{name}-2", "b", forwardedProps={"on_busy": "cancel_previous"}),
        s.op("done"), client=client,
    )  # fmt: skip
    s.check_run(result["clients"]["b"]["runs"][0])
    s.check_end(result["clients"]["a"]["runs"][0]["types"])


@clients
@pytest.mark.requirement("agui.attach")
def test_the_run_id_of_a_finished_run_attaches_instead_of_running_it_again(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("counting", name), s.run(name, forwardedProps={"count": 3}),
        s.agent("counting", name, "b"), s.run(name, "b", text=None), client=client,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    s.check_run(b["runs"][0])
    s.check_same(b, a)
    assert b["runs"][0]["types"] == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert s.polled(http, name)["attempt"] == 1


@clients
@pytest.mark.requirement("agui.large")
def test_megabytes_that_are_no_ascii_arrive_whole(agui: Driver, http: httpx.Client, name: str, client: str) -> None:
    result = agui.play(
        s.agent("large", name), s.run(name), s.agent("large", name, "b"), s.run(name, "b", text=None), client=client
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    s.check_run(a["runs"][0])
    assert a["messages"][1]["content"] == "Ünïcödé 日本語 🎶 " * 40_000
    assert a["state"] == {"number": 7, "blob": "日本語🎶" * 30_000}
    s.check_run(b["runs"][0])
    s.check_same(b, a)
    s.check_same(a, s.polled(http, name))


@clients
@pytest.mark.requirement("agui.generations")
def test_what_a_client_before_1_cannot_parse_is_told_in_a_form_it_can(
    agui: Driver, http: httpx.Client, name: str, client: str
) -> None:
    result = agui.play(
        s.agent("private", name), s.run(name), s.agent("private", name, "b"), s.run(name, "b", text=None),
        client=client,
    )  # fmt: skip
    a, b = result["clients"]["a"], result["clients"]["b"]
    for one in (a, b):
        s.check_run(one["runs"][0])
        assert one["messages"][-1]["content"] == "after it"
    s.check_same(b, a)
    seen = next(message for message in a["messages"] if message["role"] == "tool")["content"]
    assert seen == ("seen" if client == "agui-0" else [{"type": "text", "text": "seen"}])
    if client == "agui-1":
        s.check_same(a, s.polled(http, name))


@clients
@pytest.mark.requirement("agui.refusals")
def test_an_agent_that_is_not_there_is_refused_before_the_stream(agui: Driver, name: str, client: str) -> None:
    record = agui.play(s.agent("nobody", name), s.run(name), client=client)["clients"]["a"]["runs"][0]
    assert record["error"]["message"].startswith("HTTP 404") and record["error"]["status"] == 404
    assert record["failed"] is not None and record["types"] == []


@clients
@pytest.mark.requirement("agui.refusals")
def test_the_run_id_of_another_agents_run_is_refused(agui: Driver, name: str, client: str) -> None:
    result = agui.play(
        s.agent("plain", name), s.run(name), s.agent("telling", name, "b"), s.run(name, "b"), client=client
    )  # fmt: skip
    record = result["clients"]["b"]["runs"][0]
    assert record["error"]["message"].startswith("HTTP 409") and record["types"] == []


RUBBISH = [
    *[[1, 2], 7, None, {}, {"type": ""}, {"type": 5}, {"type": "ask.cancel"}],
    *[{"type": "TEXT_MESSAGE_CONTENT", "messageId": "never", "delta": "x"}, {"type": "STATE_SNAPSHOT"}],
    *[{"type": "TEXT_MESSAGE_START"}, {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "wizard"}],
    *[{"type": "TEXT_MESSAGE_START", "messageId": "m", "name": 5}, {"type": "STEP_FINISHED", "stepName": "never"}],
    *[{"type": "CUSTOM", "name": "n"}, {"type": "CUSTOM", "name": "n", "value": 1, "metadata": "text"}],
    *[{"type": "CUSTOM", "name": "n", "value": 1, "timestamp": "now"}, {"type": "RUN_ERROR"}],
    *[{"type": "CUSTOM", "name": "n", "value": 1, "timestamp": 1.5}, {"type": "RUN_ERROR", "message": "m", "code": 5}],
    *[{"type": "CUSTOM", "name": "n", "value": 1, "timestamp": 2**60}, {"type": "RAW"}],
    *[{"type": "CUSTOM", "name": "n", "value": 1, "subagentRunId": 3}, {"type": "TOOL_CALL_START", "toolCallId": "c"}],
    *[{"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "n", "parentMessageId": 3}],
    *[{"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c", "content": 5}],
    *[{"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c", "content": "x", "role": "user"}],
    *[{"type": "STATE_DELTA", "delta": [{"op": "boil", "path": "/a"}]}, {"type": "STATE_DELTA", "delta": "x"}],
    *[{"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/not/there", "value": 1}]}],
    *[{"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "x", "role": "king"}]}],
    *[{"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "x", "role": "user", "content": None}]}],
    *[{"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "x", "role": "tool", "content": "no call"}]}],
    *[{"type": "MESSAGES_SNAPSHOT", "messages": ["x"]}, {"type": "MESSAGES_SNAPSHOT", "messages": {}}],
    *[{"type": "ACTIVITY_SNAPSHOT", "messageId": "m", "activityType": "P", "content": "text"}],
    *[{"type": "ACTIVITY_SNAPSHOT", "messageId": "m", "activityType": "P", "content": {}, "replace": "yes"}],
    *[{"type": "ACTIVITY_DELTA", "messageId": "m", "activityType": "P", "patch": [{"op": "add"}]}],
    *[{"type": "REASONING_MESSAGE_START", "messageId": "m"}, {"type": "SUBAGENT_FINISHED", "subagentRunId": "never"}],
    *[{"type": "REASONING_ENCRYPTED_VALUE", "subtype": "odd", "entityId": "m", "encryptedValue": "x"}],
    *[{"type": "SUBAGENT_STARTED", "subagentRunId": "s", "name": "n", "parentSubagentRunId": "never"}],
    *[{"type": "RUN_FINISHED", "outcome": "interrupt"}, {"type": "RUN_FINISHED", "outcome": {"type": "odd"}}],
    *[{"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": []}}],
    *[{"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": ["x"]}}],
    *[{"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [{"id": "i"}]}}],
    *[{"type": "RUN_FINISHED", "outcome": {"type": "success", "pendingToolCallIds": 5}}],
    *[{"type": "RUN_FINISHED", "usage": "much"}, {"type": "RUN_FINISHED", "usage": [{"inputTokens": "many"}]}],
    *[{"type": "RUN_FINISHED", "usage": [7]}, {"type": "RUN_ERROR", "message": "m", "usage": 5}],
]


@clients
@pytest.mark.requirement("agui.rubbish")
def test_whatever_an_agent_yields_no_client_is_sent_what_it_cannot_parse(agui: Driver, name: str, client: str) -> None:
    ops = []
    for number, item in enumerate(RUBBISH):
        mine = f"{name}-{number}"
        ops += [s.agent("rubbish", mine, mine), s.run(mine, mine, text=json.dumps(item))]
        ops += [s.agent("rubbish", mine, f"{mine}-late"), s.run(mine, f"{mine}-late", text=None)]
    result = agui.play(*ops, client=client)
    broken = []
    for number, item in enumerate(RUBBISH):
        for who in (f"{name}-{number}", f"{name}-{number}-late"):
            record = result["clients"][who]["runs"][0]
            ends = [type_ for type_ in record["types"] if type_ in s.TERMINAL]
            if record["error"] or record["failed"] or len(ends) != 1 or record["types"][-1] != ends[0]:
                broken.append((item, who[13:], record["error"], record["types"]))
    assert broken == []
