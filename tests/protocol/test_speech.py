"""From what an agent yields to events: text, chunks, dicts, `ag_ui.core` events, and a second attempt's ids."""

import itertools
from typing import Any

import pytest
from ag_ui.core import CustomEvent, EventType, TextMessageStartEvent, ToolCallChunkEvent

from protocol.errors import IllegalEvent
from protocol.order import check
from protocol.speech import Speech
from tests.strategies import Growing

Event = dict[str, Any]


class Talk:
    """An agent's speech into a run, checked and folded as the execution does it."""

    def __init__(self) -> None:
        self.growing = Growing("r", {})
        self.growing.add({"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2})
        self.numbers = itertools.count(1)
        self.begin()

    def begin(self) -> None:
        self.speech = Speech(self.growing.state, lambda: f"n{next(self.numbers)}")

    def say(self, *items: Any) -> list[Event]:
        told: list[Event] = []
        for item in items:
            for event in self.speech.events(item):
                check(self.growing.state, event)
                self.growing.add(event)
                told.append(event)
        return told


def start(one: str = "n1") -> Event:
    return {"type": "TEXT_MESSAGE_START", "messageId": one, "role": "assistant"}


def says(delta: str, one: str = "n1") -> Event:
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": one, "delta": delta}


def end(one: str = "n1") -> Event:
    return {"type": "TEXT_MESSAGE_END", "messageId": one}


CALL = {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look"}


def test_text_is_one_message_whose_first_delta_opens_it() -> None:
    assert Talk().say("Hel", "lo") == [start(), says("Hel"), says("lo")]


def test_empty_text_opens_a_message_and_says_nothing() -> None:
    assert Talk().say("", "") == [start()]


@pytest.mark.parametrize(
    "between",
    [
        CALL,
        {"type": "TOOL_CALL_RESULT", "messageId": "t", "toolCallId": "c", "content": ""},
        {"type": "TEXT_MESSAGE_START", "messageId": "own"},
        {"type": "REASONING_START", "messageId": "r1"},
        {"type": "REASONING_MESSAGE_START", "messageId": "r1", "role": "reasoning"},
    ],
)
def test_a_call_a_result_or_another_message_ends_the_text(between: Event) -> None:
    assert Talk().say("a", between, "b") == [start(), says("a"), end(), between, start("n2"), says("b", "n2")]


@pytest.mark.parametrize(
    "between", [{"type": "STEP_STARTED", "stepName": "s"}, {"type": "CUSTOM", "name": "x", "value": 1}]
)
def test_anything_else_leaves_the_text_open(between: Event) -> None:
    assert Talk().say("a", between, "b") == [start(), says("a"), between, says("b")]


def test_text_that_somebody_else_has_ended_is_begun_anew() -> None:
    assert Talk().say("a", end(), "b") == [start(), says("a"), end(), start("n2"), says("b", "n2")]
    assert Talk().say("a", end(), CALL) == [start(), says("a"), end(), CALL]


def test_chunks_of_text_become_a_message() -> None:
    chunk = {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "role": "user", "delta": "a", "metadata": {"k": 1}}
    assert Talk().say(chunk, {"type": "TEXT_MESSAGE_CHUNK", "delta": "b"}, "c") == [
        {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "user", "metadata": {"k": 1}},
        says("a", "m"),
        says("b", "m"),
        end("m"),
        start(),
        says("c"),
    ]


def test_chunks_of_a_call_become_a_call_and_those_of_another_end_it() -> None:
    first = {"type": "TOOL_CALL_CHUNK", "toolCallId": "c1", "toolCallName": "look", "delta": "{", "subagentRunId": "s"}
    more = {"type": "TOOL_CALL_CHUNK", "delta": "}", "metadata": {"k": 1}}
    other = {"type": "TOOL_CALL_CHUNK", "toolCallId": "c2", "toolCallName": "look"}
    assert Talk().say(first, {"type": "CUSTOM", "name": "x", "value": 1}, more, other, {"type": "RAW", "event": 1}) == [
        {**CALL, "subagentRunId": "s"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "{", "subagentRunId": "s"},
        {"type": "CUSTOM", "name": "x", "value": 1},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "}", "metadata": {"k": 1}},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        {**CALL, "toolCallId": "c2"},
        {"type": "RAW", "event": 1},
    ]


def test_a_last_chunk_with_nothing_but_metadata_is_told() -> None:
    last = {"type": "REASONING_MESSAGE_CHUNK", "metadata": {"k": 1}}
    assert Talk().say({"type": "REASONING_MESSAGE_CHUNK", "messageId": "r", "delta": "x"}, last) == [
        {"type": "REASONING_MESSAGE_START", "messageId": "r", "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "x"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "", "metadata": {"k": 1}},
    ]


def test_an_event_ends_the_chunks_before_it_and_one_that_is_closed_already_is_not_ended_twice() -> None:
    step = {"type": "STEP_STARTED", "stepName": "s"}
    chunk = {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": "a"}
    assert Talk().say(chunk, step)[2:] == [end("m"), step]
    talk = Talk()
    talk.say(chunk)
    talk.growing.add(end("m"))
    assert talk.say(step) == [step]


@pytest.mark.parametrize("one", [None, 5, [1], {}])
def test_the_first_chunk_of_a_series_needs_an_id(one: Any) -> None:
    with pytest.raises(IllegalEvent, match="chunk-id"):
        Talk().say({"type": "TEXT_MESSAGE_CHUNK", "messageId": one, "delta": "a"})


def test_events_of_ag_ui_core_are_told_by_their_aliases_without_what_is_not_set() -> None:
    said = [
        TextMessageStartEvent(message_id="m"),
        ToolCallChunkEvent(tool_call_id="c1", tool_call_name="look"),
        CustomEvent(name="x", value=None),
    ]
    assert Talk().say(*said) == [
        {"type": "TEXT_MESSAGE_START", "messageId": "m"},
        CALL,
        {"type": "CUSTOM", "name": "x", "value": None},
    ]


def test_a_dict_may_name_its_type_by_the_enum() -> None:
    [event] = Talk().say({"type": EventType.STEP_STARTED, "stepName": "s"})
    assert event == {"type": "STEP_STARTED", "stepName": "s"} and type(event["type"]) is str


@pytest.mark.parametrize("item", [5, None, b"x", ["x"], object(), {"type": 5}, {}])
def test_anything_else_is_refused(item: Any) -> None:
    with pytest.raises(IllegalEvent, match="event-type"):
        Talk().say(item)


def test_a_second_attempt_that_uses_the_same_ids_tells_something_new() -> None:
    talk = Talk()
    said: list[Event] = [
        {"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "n"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "subagentRunId": "s1"},
        {**CALL, "parentMessageId": "m1"},
        {"type": "TOOL_CALL_RESULT", "messageId": "t1", "toolCallId": "c1", "content": "x"},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m2", "delta": "x"},
    ]
    talk.say(*said)
    for attempt in (2, 3):
        talk.growing.happen("takeover")
        talk.begin()
        told = talk.say(*said, {"type": "TEXT_MESSAGE_START", "messageId": "fresh"})
        mark = f"~{attempt}"
        assert told[0]["subagentRunId"] == f"s1{mark}"
        assert (told[1]["messageId"], told[1]["subagentRunId"]) == (f"m1{mark}", f"s1{mark}")
        assert (told[2]["toolCallId"], told[2]["parentMessageId"]) == (f"c1{mark}", f"m1{mark}")
        assert told[3]["messageId"] == f"t1{mark}"
        assert told[4]["messageId"] == f"m2{mark}"
        assert told[-1]["messageId"] == "fresh" + ("" if attempt == 2 else mark)
