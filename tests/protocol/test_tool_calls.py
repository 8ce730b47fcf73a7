"""A run's calls with what became of them."""

from typing import Any

import pytest

from protocol.tool_calls import arguments


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}), ('{"a":1}', {"a": 1}), ("[1]", {"input": "[1]"}), ("all", {"input": "all"}),
        ('{"a":1}{"a":2}', {"a": 2}), (' {"a":1}\n {"b":2} ', {"b": 2}), ('{"a":1}{"a":', {"input": '{"a":1}{"a":'}),
        ('{"a":1}[2]', {"input": '{"a":1}[2]'}), ('{"a":1} and', {"input": '{"a":1} and'}),
        ("{" * 100_000, {"input": "{" * 100_000}), ('{"a":' * 100_000, {"input": '{"a":' * 100_000}),
    ],
)  # fmt: skip
def test_arguments_are_an_object_whatever_was_written_and_the_last_where_a_call_was_made_again(
    text: str, told: dict[str, Any]
) -> None:
    assert arguments(text) == told
