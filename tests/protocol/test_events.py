"""The fields of AG-UI's events: what every client can read, and what would be fatal to one."""

from typing import Any

import pytest

from protocol.errors import IllegalEvent
from protocol.events import FIELDS, KNOWN, check_message, check_patch, check_shape

Event = dict[str, Any]
VALUES: dict[Any, Any] = {str: "x", list: [], dict: {}, object: None, (str, list): "x"}
CHOSEN = {"REASONING_MESSAGE_START": {"role": "reasoning"}, "REASONING_ENCRYPTED_VALUE": {"subtype": "message"}}


def least(kind: str) -> Event:
    """An event of that type with what it needs and nothing else."""
    return {"type": kind, **{name: VALUES[wanted] for name, wanted in FIELDS[kind].items()}, **CHOSEN.get(kind, {})}


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_an_event_with_what_its_type_needs_is_taken(kind: str) -> None:
    check_shape(least(kind))
    check_shape(least(kind) | {"timestamp": 5, "metadata": {}, "rawEvent": 1, "unknown": None})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in sorted(KNOWN) for name in FIELDS[kind]])
def test_an_event_without_a_field_that_it_needs_is_refused(kind: str, name: str) -> None:
    event = least(kind)
    del event[name]
    with pytest.raises(IllegalEvent, match=f"{kind} needs '{name}' as .*, and has nothing"):
        check_shape(event)


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": None},
        {"timestamp": 1.5},
        {"timestamp": "1"},
        {"timestamp": True},
        {"timestamp": 2**53},
        {"metadata": None},
        {"metadata": []},
        {"subagentRunId": None},
        {"rawEvent": None},
        {"messageId": 5},
        {"messageId": None},
        {"role": "tool"},
        {"role": None},
        {"name": None},
    ],
)
def test_a_field_of_another_json_type_is_refused(change: Event) -> None:
    with pytest.raises(IllegalEvent, match="event-fields"):
        check_shape({"type": "TEXT_MESSAGE_START", "messageId": "m", **change})


@pytest.mark.parametrize(
    "event",
    [
        {"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c", "content": {"a": 1}},
        {"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c", "content": "x", "role": "user"},
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "n", "parentMessageId": None},
        {"type": "REASONING_MESSAGE_START", "messageId": "m", "role": "assistant"},
        {"type": "REASONING_ENCRYPTED_VALUE", "subtype": "other", "entityId": "e", "encryptedValue": "v"},
        {"type": "SUBAGENT_FINISHED", "subagentRunId": "s", "outcome": {"type": "other"}},
        {"type": "SUBAGENT_FINISHED", "subagentRunId": "s", "outcome": None},
        {"type": "SUBAGENT_STARTED", "subagentRunId": "s", "name": "n", "parentSubagentRunId": None},
        {"type": "ACTIVITY_SNAPSHOT", "messageId": "m", "activityType": "t", "content": [], "replace": True},
        {"type": "ACTIVITY_SNAPSHOT", "messageId": "m", "activityType": "t", "content": {}, "replace": None},
    ],
)
def test_what_the_client_of_1_0_cannot_parse_is_refused(event: Event) -> None:
    with pytest.raises(IllegalEvent, match="event-fields"):
        check_shape(event)


@pytest.mark.parametrize(
    "event", [{}, {"type": ""}, {"type": None}, {"type": 5}, {"type": ["x"]}, {"type": "ask.start"}]
)
def test_an_event_without_a_name_of_its_own_is_refused(event: Event) -> None:
    with pytest.raises(IllegalEvent, match="event-type"):
        check_shape(event)


def test_a_type_that_ag_ui_does_not_define_may_hold_anything() -> None:
    check_shape({"type": "OF_TOMORROW", "timestamp": None, "messageId": 5})


@pytest.mark.parametrize(
    "step",
    [
        5,
        "add",
        {},
        {"op": "none", "path": "/a"},
        {"op": ["add"], "path": "/a"},
        {"op": "add", "path": "/a"},
        {"op": "remove"},
        {"op": "remove", "path": "a"},
        {"op": "remove", "path": 5},
        {"op": "move", "path": "/a"},
        {"op": "copy", "path": "/a", "from": "b"},
    ],
)
def test_what_is_no_json_patch_is_refused(step: Any) -> None:
    with pytest.raises(IllegalEvent, match="event-fields"):
        check_patch("STATE_DELTA", [step])


CALL = {"id": "c", "type": "function", "function": {"name": "n", "arguments": ""}}


@pytest.mark.parametrize(
    "message",
    [
        {"id": "m", "role": "user", "content": [{"type": "text", "text": "x"}]},
        {"id": "m", "role": "assistant"},
        {"id": "m", "role": "assistant", "content": "", "toolCalls": [CALL], "name": "n", "metadata": {}},
        {"id": "m", "role": "tool", "content": "x", "toolCallId": "c", "error": "e"},
        {"id": "m", "role": "activity", "content": {}, "activityType": "t"},
    ],
)
def test_a_message_that_a_client_can_hold_is_taken(message: Event) -> None:
    check_message(message)


@pytest.mark.parametrize(
    "message",
    [
        None,
        {"role": "user", "content": ""},
        {"id": 5, "role": "user", "content": ""},
        {"id": "m"},
        {"id": "m", "role": ["user"]},
        {"id": "m", "role": "robot"},
        {"id": "m", "role": "user"},
        {"id": "m", "role": "assistant", "content": None},
        {"id": "m", "role": "assistant", "name": None},
        {"id": "m", "role": "assistant", "toolCalls": None},
        {"id": "m", "role": "assistant", "toolCalls": ["c"]},
        {"id": "m", "role": "assistant", "toolCalls": [{**CALL, "type": "other"}]},
        {"id": "m", "role": "assistant", "toolCalls": [{**CALL, "function": {"name": "n", "arguments": {}}}]},
        {"id": "m", "role": "tool", "content": ""},
        {"id": "m", "role": "activity", "content": "", "activityType": "t"},
    ],
)
def test_a_message_that_would_be_fatal_to_a_client_is_refused(message: Any) -> None:
    with pytest.raises(IllegalEvent, match="event-fields"):
        check_message(message)
