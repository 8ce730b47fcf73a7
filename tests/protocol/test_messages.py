"""Messages in their wire form, and a run's own messages on top of its thread's."""

from typing import Any

import pytest

from protocol.messages import REF, Message, ToolCall, Transcript, from_wire, patched, resolve

Wire = dict[str, Any]
CALL: Wire = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    "wire",
    [
        {"id": "m", "role": "user", "content": "hi", "name": "Ada", "metadata": {"k": 1}},
        {"id": "m", "role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"id": "m", "role": "assistant"},
        {"id": "m", "role": "assistant", "content": "", "toolCalls": [CALL | {"encryptedValue": "v"}], "custom": 1},
        {"id": "m", "role": "assistant", "toolCalls": []},
        {"id": "m", "role": "tool", "content": "x", "toolCallId": "c1", "error": "e"},
    ],
)
def test_a_message_comes_back_as_it_was_sent(wire: Wire) -> None:
    assert from_wire(wire).wire() == wire


def test_null_is_the_same_as_absent() -> None:
    wire = {"id": "m", "role": "assistant", "content": None, "name": None, "toolCalls": None}
    assert from_wire(wire).wire() == {"id": "m", "role": "assistant"}


@pytest.mark.parametrize(("given", "text"), [({"q": 1}, '{"q":1}'), (None, ""), ("{", "{"), ([], "[]")])
def test_arguments_that_are_no_text_are_written_as_json(given: Any, text: str) -> None:
    wire = {"id": "m", "role": "assistant", "toolCalls": [{"id": "c", "function": {"name": "n", "arguments": given}}]}
    assert from_wire(wire).wire()["toolCalls"][0]["function"]["arguments"] == text


def test_a_call_without_a_function_has_no_name() -> None:
    [call] = from_wire({"id": "m", "role": "assistant", "toolCalls": [{"id": "c"}]}).calls
    assert call == ToolCall("c", "", [""])


def test_transcripts_are_equal_if_their_wire_forms_are() -> None:
    one, other = Message("m", "user", ["a", "b"]), Message("m", "user", ["ab"])
    assert Transcript([one]) == Transcript([other]) != Transcript([])
    assert Transcript([]) != []


KNOWN: Wire = {"id": "m", "role": "assistant", "content": "old", "toolCalls": [CALL], "metadata": {"a": 1, "k": 1}}


def ref(**more: Any) -> Message:
    return Message("m", "assistant", rest={REF: True}, **more)


def test_a_reference_stands_for_the_threads_own_message() -> None:
    own = [ref(), Message("n", "user", ["new"])]
    assert resolve(own, [KNOWN]) == [KNOWN, {"id": "n", "role": "user", "content": "new"}]


def test_a_reference_to_nothing_is_left_out() -> None:
    assert resolve([ref()], []) == []


def test_what_a_run_has_said_on_a_message_of_its_thread_stands_on_top_of_it() -> None:
    own = ref(text=[" and", " new"], calls=[ToolCall("c2", "send")])
    own.rest |= {"metadata": {"k": 2}, "encryptedValue": "v"}
    assert resolve([own], [KNOWN]) == [
        {
            **KNOWN,
            "content": "old and new",
            "toolCalls": [CALL, {"id": "c2", "type": "function", "function": {"name": "send", "arguments": ""}}],
            "metadata": {"a": 1, "k": 2},
            "encryptedValue": "v",
        }
    ]
    assert KNOWN["content"] == "old" and len(KNOWN["toolCalls"]) == 1


def test_text_on_a_message_of_parts_takes_their_place_as_it_does_in_the_client() -> None:
    parts = {"id": "m", "role": "user", "content": [{"type": "text", "text": "x"}]}
    assert resolve([ref(text=["new"])], [parts]) == [{"id": "m", "role": "user", "content": "new"}]


@pytest.mark.parametrize(
    "patch", [[{"op": "remove", "path": "/x"}], [5], ["op"], [{"op": "add", "path": 5, "value": 1}], [{}], 5]
)
def test_a_patch_that_does_not_apply_is_a_value_error_that_says_why(patch: Any) -> None:
    with pytest.raises(ValueError, match="the patch does not apply"):
        patched({"a": "text"}, patch)


def test_a_patch_makes_a_new_document() -> None:
    before = {"a": [1]}
    assert patched(before, [{"op": "add", "path": "/a/-", "value": 2}]) == {"a": [1, 2]}
    assert before == {"a": [1]}
