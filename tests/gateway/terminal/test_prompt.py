"""A question's schema as what is asked line by line, and what typed lines come to."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.terminal.prompt import NOTHING, Field, Unfit, form_of
from protocol import schema


def form(response_schema: Any = None, **interrupt: Any) -> Any:
    asked = {"id": "q", "reason": "input_required", **interrupt}
    return form_of(asked if response_schema is None else asked | {"responseSchema": response_schema})


def field(response_schema: Any, **interrupt: Any) -> Field:
    (only,) = form(response_schema, **interrupt).fields
    found: Field = only
    return found


def answer(response_schema: Any, *lines: str, **interrupt: Any) -> Any:
    asked = form(response_schema, **interrupt)
    assert len(asked.fields) == len(lines)
    return asked.payload({one.name: one.read(line) for one, line in zip(asked.fields, lines, strict=True)})


def an_object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


@pytest.mark.parametrize(
    ("response_schema", "line", "payload"),
    [
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "n", False),
        ({"type": "string"}, " some text ", "some text"),
        ({"type": "integer"}, "-3", -3),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "number"}, "2", 2),
        ({"enum": ["red", "blue"]}, "2", "blue"),
        ({"enum": ["red", "blue"]}, "red", "red"),
        ({"enum": [3, 1, None]}, "1", 3),
        ({"const": "go"}, "", "go"),
        ({"oneOf": [{"const": 1, "title": "one"}, {"const": 2, "title": "two"}]}, "2", 2),
        ({"anyOf": [{"const": "a"}, {"const": "b"}, {"type": "null"}]}, "2", "b"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "", None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "4", 4),
        ({"type": ["string", "null"]}, "x", "x"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, "4", 4),
        ({"type": "array", "items": {"type": "string"}}, "a, b,c", ["a", "b", "c"]),
        ({"type": "array", "items": {"type": "string"}}, '["a,b"]', ["a,b"]),
        ({"type": "array", "items": {"type": "integer"}}, "1,2", [1, 2]),
        ({"type": "array", "items": {"enum": ["x", "y"]}}, "2, x", ["y", "x"]),
        ({"type": "array", "items": {"type": "object"}}, '[{"a":1}]', [{"a": 1}]),
        ({"type": "object"}, '{"a":1}', {"a": 1}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, '"x"', "x"),
        ({}, "[1]", [1]),
        (None, "any words", "any words"),
    ],
)
def test_a_line_becomes_the_payload_that_the_schema_asks_for(response_schema: Any, line: str, payload: Any) -> None:
    assert answer(response_schema, line) == payload


@pytest.mark.parametrize(
    ("response_schema", "line", "told"),
    [
        ({"type": "boolean"}, "maybe", "Type y or n."),
        ({"type": "integer"}, "2.5", "Type a whole number."),
        ({"type": "integer"}, "true", "Type a whole number."),
        ({"type": "number"}, "many", "Type a number."),
        ({"enum": ["a", "b"]}, "3", "Type a number from 1 to 2."),
        ({"enum": ["a", "b"]}, "0", "Type a number from 1 to 2."),
        ({"type": "string"}, "", "It needs an answer: text."),
        ({"type": "string", "maxLength": 2}, "abc", '"abc" is longer than 2 characters'),
        ({"type": "string", "format": "email"}, "abc", '"abc" is not a "email"'),
        ({"type": "integer", "minimum": 5}, "4", "4 is less than the minimum of 5"),
        ({"type": "array", "items": {"type": "integer"}}, "1,x", "Type a whole number."),
        ({"type": "array", "items": {"enum": ["x"]}}, '["z"]', '0: "z" is not'),
    ],
)
def test_a_line_that_does_not_fit_is_told_why(response_schema: Any, line: str, told: str) -> None:
    with pytest.raises(Unfit) as unfit:
        field(response_schema).read(line)
    assert str(unfit.value).startswith(told)


def test_a_line_that_is_no_json_is_told_so() -> None:
    with pytest.raises(Unfit, match="^This is no JSON: "):
        field({"type": "object"}).read("{a")


def test_without_a_schema_it_is_approved_or_not() -> None:
    assert answer(None, "y", reason="confirmation") == {"approved": True}
    assert answer(None, "n", reason="tool_call") == {"approved": False}
    assert form(None, reason="confirmation").approval


def test_an_object_is_asked_property_by_property_with_the_approval_first() -> None:
    asked = an_object(("approved", "days"), note={"type": "string"}, approved={"type": "boolean"}, days={})
    assert [one.name for one in form(asked).fields] == ["approved", "note", "days"]
    assert answer(asked, "y", "", '"two"') == {"approved": True, "days": "two"}


def test_a_property_that_is_required_but_not_described_is_asked_for_as_json() -> None:
    assert answer(an_object(("b",), a={"type": "string"}), "", "[1]") == {"b": [1]}


def test_an_empty_line_takes_the_preset_and_the_form_s_own_values_go_before_the_schema_s() -> None:
    asked = an_object(("a",), a={"type": "integer", "default": 1}, b={"type": "integer", "default": 2})
    assert answer(asked, "", "") == {"a": 1, "b": 2}
    assert answer(asked, "", "", metadata={"values": {"b": 7}}) == {"a": 1, "b": 7}
    assert answer(asked, "", "", metadata={"values": {"a": "wrong", "b": None}}) == {"a": 1, "b": 2}
    assert answer(asked, "", "!skip") == {"a": 1}


def test_an_approval_has_no_preset() -> None:
    asked = an_object(approved={"type": "boolean", "default": True})
    with pytest.raises(Unfit):
        answer(asked, "", metadata={"values": {"approved": True}})


def test_a_prompt_says_what_may_be_typed() -> None:
    asked = an_object(
        ("approved", "city", "size"),
        approved={"type": "boolean"}, city={"type": "string", "title": "City"}, size={"enum": ["s", "m"]},
        days={"type": "integer", "default": 3}, tags={"type": "array", "items": {"type": "number"}},
    )  # fmt: skip
    fields = form(asked).fields
    assert [one.prompt for one in fields] == [
        "Approve? [y/n] ",
        "City: ",
        "size [1-2]: ",
        "days [a whole number; optional; empty for 3, !skip for none]: ",
        "tags [values by comma, each a number; optional]: ",
    ]
    assert [one.described for one in fields] == [
        "approved: y or n",
        "city: text",
        "size: one of s, m",
        "days: a whole number, optional",
        "tags: values by comma, each a number, optional",
    ]


def test_an_approval_is_asked_in_the_schemas_own_words() -> None:
    asked = an_object(approved={"type": "boolean", "title": "Shall I go on?"})
    assert field(asked).prompt == "Shall I go on? [y/n] "


def test_an_example_has_what_an_answer_needs() -> None:
    asked = an_object(
        ("city", "size", "many"),
        city={"type": "string"}, size={"enum": ["s", "m"]}, many={"type": "array", "items": {"enum": [1, 2]}}, x={},
    )  # fmt: skip
    assert form(asked).example() == {"city": "…", "size": "s", "many": [1]}
    assert form({"type": "boolean"}).example() is True


KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "object", "array", ["string", "null"], ["null"], "null"]),
        "enum": st.lists(st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=2), min_size=1),
        "const": st.none() | st.text(max_size=2),
        "title": st.text(max_size=3),
        "default": st.integers(0, 3) | st.text(max_size=2),
        "$ref": st.sampled_from(["#", "#/$defs/a", "#/properties/a"]),
        "required": st.lists(st.sampled_from(["a", "b", "approved"]), unique=True),
    },
)


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = {
        "properties": st.dictionaries(st.sampled_from(["a", "b", "approved"]), inner),
        "items": inner, "$defs": st.fixed_dictionaries({"a": inner}), "oneOf": st.lists(inner, min_size=1),
        "anyOf": st.lists(inner, min_size=1), "allOf": st.lists(inner, min_size=1),
    }  # fmt: skip
    with_parts = st.fixed_dictionaries({}, optional=parts)
    return st.tuples(KEYWORDS, with_parts).map(lambda both: both[0] | both[1])


SCHEMAS = st.recursive(KEYWORDS | st.booleans(), larger, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, st.sampled_from(["", "y", "1", "a", '"a"', "null", "[1]", "{}", "!skip"]))
def test_every_schema_can_be_asked_and_a_line_fits_or_does_not(response_schema: Any, line: str) -> None:
    if schema.fault_of(response_schema) is not None:
        return
    asked = form(response_schema)
    asked.example()
    for one in asked.fields:
        assert one.prompt.strip() and one.described
        try:
            value = one.read(line)
        except Unfit as unfit:
            assert str(unfit)
        else:
            assert value is not NOTHING or not one.required
