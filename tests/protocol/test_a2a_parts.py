"""Parts of a peer's message: what they become, and what they answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import a2a_parts
from protocol.answers import Answer
from protocol.errors import Invalid, InvalidAnswer
from protocol.state import Gate

Wire = dict[str, Any]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(), lambda inner: st.lists(inner, max_size=2)
)
MEDIA = st.sampled_from(["text/plain", "image/png", "audio/ogg", "video/mp4", "application/pdf"])
PARTS = st.one_of(
    st.fixed_dictionaries({"text": st.text()}, optional={"mediaType": MEDIA, "metadata": st.just({"k": [1]})}),
    st.fixed_dictionaries({"raw": st.just("aGk="), "mediaType": MEDIA}, optional={"filename": st.just("x.bin")}),
    st.fixed_dictionaries({"url": st.just("https://x/y")}, optional={"mediaType": MEDIA, "filename": st.just("y")}),
    st.fixed_dictionaries({"data": JSON}, optional={"metadata": st.just({"k": 1}), "mediaType": MEDIA}),
)


def gate(number: int = 0, schema: Wire | None = None) -> Gate:
    interrupt = {"id": f"q{number}"} | ({"responseSchema": schema} if schema is not None else {})
    return Gate(f"g-r-{number}", interrupt, 1, 1)


@given(st.lists(PARTS, min_size=1, max_size=5))
def test_parts_come_back_as_they_were_sent(parts: list[Wire]) -> None:
    message = a2a_parts.user_message({"messageId": "m", "parts": parts}, "own")
    assert message["id"] == "own" and message["role"] == "user"
    assert a2a_parts.from_content(message["content"]) == parts


NOTES = st.dictionaries(
    st.sampled_from(["messageId", "metadata", "extensions", "referenceTaskIds", "filename", "mediaType", "data"]),
    st.one_of(JSON, st.just(["a"]), st.just({"k": 1}), st.just(True)),
)


@given(st.one_of(JSON, NOTES), st.sampled_from(["hi", "[1]", "[" * 200 + "]" * 200]))
def test_a_note_that_any_client_may_have_forged_makes_a_part_all_the_same(note: Any, text: str) -> None:
    for metadata in (note, {"a2a": note}):
        parts = a2a_parts.from_content([{"type": "text", "text": text, "metadata": metadata}])
        assert a2a_parts.are_parts(parts)
        source = {"type": "data", "value": text}
        assert a2a_parts.are_parts(a2a_parts.from_content([{"type": "image", "source": source, "metadata": metadata}]))


def test_what_other_faces_have_sent_is_told_as_it_can_be() -> None:
    image = {"type": "image", "source": {"type": "file", "value": "f1"}}
    assert a2a_parts.from_content("text") == [{"text": "text"}] and a2a_parts.from_content(None) == [{"text": ""}]
    assert a2a_parts.from_content([{"type": "text", "text": "a"}, image, 5, {"type": "binary"}]) == [
        {"text": "a"}, {"data": image}, {"data": 5}, {"data": {"type": "binary"}},
    ]  # fmt: skip
    assert a2a_parts.from_content([]) == [{"text": ""}]


def test_a_message_has_a_bounded_number_of_parts_and_each_holds_something() -> None:
    for parts, told in (([{"text": "x"}] * 1_001, "at most 1000"), ([{"text": "x"}, {"filename": "y"}], r"parts\[1\]")):
        with pytest.raises(Invalid, match=told):
            a2a_parts.user_message({"messageId": "m", "parts": parts}, "own")


@pytest.mark.parametrize(
    ("schema", "parts", "payload", "text"),
    [
        (None, [{"text": "yes"}], "yes", "yes"),
        (None, [{"text": "a"}, {"text": "b"}], "a\nb", "a\nb"),
        (None, [{"data": {"approved": True}}], {"approved": True}, None),
        (None, [{"text": "note"}, {"data": [1]}], [1], "note"),
        ({"type": "string"}, [{"text": "5"}], "5", "5"),
        ({"type": "integer"}, [{"text": "5"}], 5, "5"),
        ({"type": "object"}, [{"text": '{"a": 1}'}], {"a": 1}, '{"a": 1}'),
    ],
)
def test_the_one_open_question_is_answered_by_data_or_by_text(
    schema: Wire | None, parts: list[Wire], payload: Any, text: str | None
) -> None:
    assert a2a_parts.answers([gate(schema=schema)], parts) == [Answer("g-r-0", payload=payload, text=text)]


def test_answers_by_name_go_before_everything_else_in_the_message() -> None:
    named = {"answers": [{"interruptId": "q0", "payload": 1}, {"interruptId": "q1", "status": "cancelled"}]}
    told = a2a_parts.answers([gate(0), gate(1)], [{"text": "here"}, {"data": named}])
    assert told == [Answer("q0", payload=1), Answer("q1", "cancelled")]


def test_what_answers_nothing_is_refused_with_what_is_expected() -> None:
    two = [gate(0), gate(1)]
    with pytest.raises(Invalid, match="'q0', 'q1'"):
        a2a_parts.answers(two, [{"text": "yes"}])
    with pytest.raises(Invalid, match="a text part or a data part"):
        a2a_parts.answers([gate()], [{"url": "https://x"}])
    with pytest.raises(Invalid, match="one data part"):
        a2a_parts.answers([gate()], [{"data": 1}, {"data": 2}])
    with pytest.raises(InvalidAnswer, match="q0"):
        a2a_parts.answers([gate(schema={"type": "integer"})], [{"text": "five"}])
    for bad in (5, [], [5], [{"interruptId": 5}], [{"interruptId": "q0", "status": "later"}]):
        with pytest.raises(Invalid, match="answers: "):
            a2a_parts.answers(two, [{"data": {"answers": bad}}])
