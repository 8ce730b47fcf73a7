"""What a client of AG-UI 0.0.x is told instead of what is fatal to it."""

from typing import Any

import pytest

from protocol.legacy import legacy

ENDS = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}


def test_what_every_client_knows_is_told_as_it_is() -> None:
    for event in ({"type": "TEXT_MESSAGE_END", "messageId": "m"}, ENDS):
        assert legacy(event) is event


def test_a_type_that_ag_ui_does_not_define_is_left_out() -> None:
    assert legacy({"type": "X_PRIVATE"}) is None


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ({"type": "success", "pendingToolCallIds": ["c"]}, ENDS),
        (
            {"type": "interrupt", "interrupts": [{"id": "i", "reason": "confirmation"}], "more": 1},
            {**ENDS, "outcome": {"type": "interrupt", "interrupts": [{"id": "i", "reason": "confirmation"}]}},
        ),
        ({"type": "cancelled"}, {"type": "RUN_ERROR", "message": "The run was stopped.", "code": "abort"}),
    ],
)
def test_an_outcome_holds_only_what_is_known(outcome: dict[str, Any], told: dict[str, Any]) -> None:
    assert legacy({**ENDS, "outcome": outcome}) == told


def test_a_cancel_keeps_its_time() -> None:
    told = legacy({**ENDS, "outcome": {"type": "cancelled"}, "timestamp": 5})
    assert told is not None and told["timestamp"] == 5


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("as it is", "as it is"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "image", "source": {"type": "url", "value": "u"}}],
         '[{"type":"image","source":{"type":"url","value":"u"}}]'),
        ([], "[]"),
        ({"a": 1}, '{"a":1}'),
        (["x"], '["x"]'),
    ],
)  # fmt: skip
def test_a_tools_result_is_text(content: Any, text: str) -> None:
    result = {"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c", "content": content}
    assert legacy(result) == {**result, "content": text}
    message = {"id": "m", "role": "tool", "toolCallId": "c", "content": content}
    told = legacy({"type": "MESSAGES_SNAPSHOT", "messages": [message]})
    assert told is not None and told["messages"] == [{**message, "content": text}]


def test_a_file_by_reference_is_told_as_text_and_every_other_part_as_it_is() -> None:
    kept = [{"type": "text", "text": "look"}, {"type": "image", "source": {"type": "url", "value": "u"}}, "odd"]
    file = {"type": "document", "source": {"type": "file", "value": "file-1"}}
    messages = [{"id": "u", "role": "user", "content": [*kept, file]}, {"id": "a", "role": "assistant"}]
    told = legacy({"type": "MESSAGES_SNAPSHOT", "messages": messages})
    assert told is not None
    assert told["messages"][0]["content"] == [*kept, {"type": "text", "text": "[document: file-1]"}]
    assert told["messages"][1] is messages[1]
