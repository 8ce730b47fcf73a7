"""Schemas of strangers against answers of strangers: bounded, offline, and told in words."""

from typing import Any

import pytest

from protocol.schema import MESSAGE_CHARS_MAX, fault_of, faults


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "bogus"},
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
        {"pattern": "("},
        {"minimum": "x"},
        [],
        "text",
        None,
    ],
)
def test_what_is_no_schema_or_points_outside_itself_is_said_so(schema: Any) -> None:
    told = fault_of(schema)
    assert told and len(told) <= MESSAGE_CHARS_MAX


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"},
        {"prefixItems": [{"type": "string"}], "unevaluatedItems": False},
        {"format": "not one that anybody knows"},
    ],
)
def test_what_is_a_schema_is_one(schema: dict[str, Any]) -> None:
    assert fault_of(schema) is None


def test_a_schema_may_refer_to_itself() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    assert list(faults(tree, {"next": {"next": {}}})) == []
    assert [fault.path for fault in faults(tree, {"next": {"other": 1}})] == ["/next"]


def test_formats_are_asserted() -> None:
    assert [fault.path for fault in faults({"properties": {"to": {"format": "email"}}}, {"to": "nobody"})] == ["/to"]


def test_an_expression_that_would_backtrack_for_ever_comes_back() -> None:
    (fault,) = faults({"pattern": "^(a|a)*$(?!x)"}, "a" * 5_000 + "!")
    assert "a" in fault.message and len(fault.message) <= MESSAGE_CHARS_MAX
