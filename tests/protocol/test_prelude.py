"""A poll, a stream and a late join agree: a model of the real client, sent one or the other, ends with the same."""

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.entries import Entry
from protocol.events import KNOWN
from protocol.prelude import ending, prelude
from protocol.run import fold
from protocol.state import RunState, Status
from tests.protocol.agui_client import Client
from tests.strategies import Growing, folded, runs

Event = dict[str, Any]

SLOW = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def wires(state: RunState) -> list[Event]:
    return [message.wire() for message in state.messages]


@SLOW
@given(runs())
def test_the_fold_of_every_prefix_is_what_a_client_holds_after_it(events: list[Event]) -> None:
    given_input = events[0]["input"]
    client, state = Client(given_input["messages"], given_input["state"]), RunState()
    for seq, event in enumerate(events, 1):
        state = fold(state, Entry(seq, copy.deepcopy(event)))
        if event["type"] in KNOWN:
            client.take(event)
        assert (wires(state), state.state) == (client.messages, client.state)
        assert state.interrupts == (client.pending_interrupts if state.status is Status.WAITING else [])


@SLOW
@given(runs(), st.floats(0, 1))
def test_a_client_that_joins_late_is_sent_nothing_illegal_and_ends_like_one_that_saw_it_all(
    events: list[Event], part: float
) -> None:
    asked = [seq for seq, event in enumerate(events, 1) if event["type"].startswith("ask.") and seq > 1]
    cut = max(int(part * len(events)), 2) if part < 0.8 or not asked else asked[int(part * 100) % len(asked)]
    at_cut, whole = folded(events[:cut]), folded(events)
    if not at_cut.legs[0].attempts:
        return
    late = Client()
    for event in prelude(at_cut, wires(at_cut)):
        late.take(event)
    if ending(at_cut) is not None:  # the leg is over, and with it what this client is told
        whole = at_cut
    else:
        begun = bool(at_cut.leg.attempts)  # else the prelude has said RUN_STARTED for the leg
        for event in events[cut:]:
            if event["type"] == "RUN_STARTED" and not begun:
                begun = True
            elif event["type"] in KNOWN:
                late.take(event)
    assert (late.messages, late.state) == (wires(whole), whole.state)
    assert whole.interrupts == (late.pending_interrupts if whole.status is Status.WAITING else [])


@SLOW
@given(runs())
def test_a_client_that_joins_again_with_what_it_has_got_holds_nothing_twice(events: list[Event]) -> None:
    given_input = events[0]["input"]
    for cut in {2, len(events) // 2, len(events)} - {0, 1}:
        state = folded(events[:cut])
        ids = [message.id for message in state.messages]
        if not state.legs[0].attempts or len(set(ids)) < len(ids):
            continue  # a client cannot tell two results of one id apart; it is the agent that gave it twice
        client = Client(given_input["messages"], given_input["state"])
        for event in events[:cut]:
            if event["type"] in KNOWN:
                client.take(event)
        client = Client(client.messages, client.state)
        for event in prelude(state, wires(state)):
            client.take(event)
        coming = [] if state.leg.attempts else state.leg.messages  # they come with the leg that an answer has opened
        assert (client.messages, client.state) == ([*wires(state), *coming], state.state)


def grown(*said: Event) -> RunState:
    growing = Growing("r", {"messages": [{"id": "u1", "role": "user", "content": "hi"}]})
    growing.add({"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2})
    for event in said:
        assert growing.say(event), event
    return growing.state


def test_the_prelude_opens_again_what_is_open_without_its_content() -> None:
    state = grown(
        {"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "n"},
        {"type": "STEP_STARTED", "stepName": "plan"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "metadata": {"k": 1}},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Hel", "metadata": {"k": 2}},
        {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look", "parentMessageId": "m1"},
    )
    assert prelude(state, wires(state)) == [
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r", "protocolVersion": "1.0"},
        {"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "n"},
        {"type": "MESSAGES_SNAPSHOT", "messages": wires(state)},
        {"type": "STATE_SNAPSHOT", "snapshot": {}},
        {"type": "STEP_STARTED", "stepName": "plan"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m1"},
        {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look", "parentMessageId": "m1"},
    ]


def test_a_subagent_whose_parent_has_ended_is_told_without_it() -> None:
    state = grown(
        {"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "n"},
        {"type": "SUBAGENT_STARTED", "subagentRunId": "s2", "name": "n", "parentSubagentRunId": "s1"},
    )
    assert prelude(state, [])[2] == {
        "type": "SUBAGENT_STARTED", "subagentRunId": "s2", "name": "n", "parentSubagentRunId": "s1"
    }  # fmt: skip
    state = fold(state, Entry(state.seq + 1, {"type": "SUBAGENT_FINISHED", "subagentRunId": "s1"}))
    assert prelude(state, [])[1] == {"type": "SUBAGENT_STARTED", "subagentRunId": "s2", "name": "n"}


def test_the_prelude_of_a_run_that_has_ended_ends_as_the_run_did() -> None:
    finished: Event = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "timestamp": 9}
    waits = {"type": "interrupt", "interrupts": [{"id": "i1", "reason": "confirmation"}]}
    for end, last in [
        (finished, {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}),
        ({**finished, "result": [1]}, {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "result": [1]}),
        ({**finished, "outcome": waits}, {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "outcome": waits}),
        (
            {"type": "RUN_ERROR", "message": "no", "timestamp": 9},
            {"type": "RUN_ERROR", "message": "no", "code": "AGENT_ERROR"},
        ),
    ]:
        state = grown()
        state = fold(state, Entry(state.seq + 1, end))
        assert prelude(state, [])[-1] == last
