"""A call's arguments as an object, whatever its agent wrote."""

from typing import Any

import orjson
import pytest

from protocol import depth
from protocol.tool_calls import arguments


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}), ('{"a":1}', {"a": 1}), ("[1]", {"input": "[1]"}), ("all", {"input": "all"}),
        ('{"a":1}{"a":2}', {"a": 2}), (' {"a":1}\n {"b":2} ', {"b": 2}), ('{"a":1}{"a":', {"input": '{"a":1}{"a":'}),
        ('{"a":1}[2]', {"input": '{"a":1}[2]'}), ('{"a":1} and', {"input": '{"a":1} and'}),
        ('{"a":1}{"a":%s}' % ("9" * 30), {"input": '{"a":1}{"a":%s}' % ("9" * 30)}),
        ('{"a":1}{"a":"\\ud800"}', {"input": '{"a":1}{"a":"\\ud800"}'}),
        ("{" * 100_000, {"input": "{" * 100_000}), ('{"a":' * 100_000, {"input": '{"a":' * 100_000}),
    ],
)  # fmt: skip
def test_arguments_are_an_object_whatever_was_written_and_the_last_where_a_call_was_made_again(
    text: str, told: dict[str, Any]
) -> None:
    assert arguments(text) == told


@pytest.mark.parametrize("levels", [1, depth.SAID, depth.SAID + 1, 254, 255, 1_000, 5_000])
def test_arguments_of_any_depth_can_be_written_within_another_object(levels: int) -> None:
    text = '{"a":' * levels + "1" + "}" * levels
    told = arguments(text)
    assert (told == {"input": text}) == (levels > depth.SAID)
    orjson.dumps({"data": [{"arguments": told}]})
    wide = orjson.dumps({"list": [{}] * levels}).decode()
    assert arguments(wide) == {"list": [{}] * levels}
