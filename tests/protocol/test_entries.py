"""Entries as bytes and back, their lanes, and what of an ask anybody may see."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from protocol import sse
from protocol.entries import (
    ASK_CANCEL,
    ASK_START,
    NOTE_ATTEMPT,
    NOTE_HANDED_BACK,
    Entry,
    Principal,
    ask,
    decode,
    encode,
    lane_of,
    note,
    public,
)
from protocol.events import KNOWN
from tests.strategies import runs

BY = Principal("acme", "u1", "user", "Ada")


@given(runs())
def test_entries_come_back_from_their_frames(events: list[dict[str, Any]]) -> None:
    body = b"".join(encode(seq, event) for seq, event in enumerate(events, 1))
    assert decode(body) == [Entry(seq, event) for seq, event in enumerate(events, 1)]


@pytest.mark.parametrize(
    ("event", "lane", "name"),
    [
        ({"type": ASK_START}, "ask", "ask"),
        ({"type": ASK_CANCEL}, "ask", "ask"),
        ({"type": "RUN_STARTED"}, "life", None),
        ({"type": "RUN_FINISHED"}, "life", None),
        ({"type": "RUN_ERROR"}, "life", None),
        ({"type": "CUSTOM", "name": NOTE_ATTEMPT}, "life", None),
        ({"type": "CUSTOM", "name": NOTE_HANDED_BACK}, "life", None),
        ({"type": "CUSTOM", "name": "mine"}, "flow", None),
        ({"type": "TEXT_MESSAGE_CONTENT"}, "flow", None),
        ({"type": "NEVER_HEARD_OF"}, "flow", "unknown"),
    ],
)
def test_lane_and_frame_name_follow_from_the_type(event: dict[str, Any], lane: str, name: str | None) -> None:
    assert lane_of(event) == lane
    [frame] = sse.split(encode(3, event))
    assert (frame.seq, frame.name, orjson.loads(frame.data)) == (3, name, event)


def test_every_type_of_ag_ui_but_the_three_of_a_runs_life_is_flow() -> None:
    assert {kind for kind in KNOWN if lane_of({"type": kind}) == "life"} == {"RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"}


def test_an_ask_says_who_through_which_face_and_when() -> None:
    asked = ask(ASK_CANCEL, BY, "rest", 5, runId="r", reason="enough")
    assert asked == {
        "type": "ask.cancel",
        "timestamp": 5,
        "by": {"tenant": "acme", "id": "u1", "kind": "user", "name": "Ada"},
        "face": "rest",
        "runId": "r",
        "reason": "enough",
    }


def test_what_was_sent_with_an_ask_is_not_shown() -> None:
    asked = ask(ASK_START, BY, "rest", 5, agent="a", runId="r", threadId="t", input={"secret": 1}, digest="d")
    assert public(asked) == {
        "type": "ask.start",
        "timestamp": 5,
        "face": "rest",
        "by": {"id": "u1", "kind": "user", "name": "Ada"},
        "agent": "a",
        "runId": "r",
        "threadId": "t",
    }


def test_a_note_is_a_custom_event() -> None:
    assert note(NOTE_ATTEMPT, 5, {"a": 1}) == {
        "type": "CUSTOM",
        "name": "hocket.attempt",
        "value": {"a": 1},
        "timestamp": 5,
    }
