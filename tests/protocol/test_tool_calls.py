"""A call's arguments as an object, whatever its agent wrote."""

import orjson
import pytest

from protocol.tool_calls import arguments


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}),
        ('{"to":"you"}', {"to": "you"}),
        ("[1]", {"input": "[1]"}),
        ("null", {"input": "null"}),
        ('{"to":', {"input": '{"to":'}),
    ],
)
def test_arguments_are_an_object(text: str, told: object) -> None:
    assert arguments(text) == told


@pytest.mark.parametrize("levels", [1, 100, 200, 254, 255, 1_000, 5_000])
def test_arguments_of_any_depth_can_be_written_within_another_object(levels: int) -> None:
    text = '{"a":' * levels + "1" + "}" * levels
    told = arguments(text)
    assert (told == {"input": text}) == (levels > 200)
    orjson.dumps({"data": [{"arguments": told}]})
    wide = orjson.dumps({"list": [{}] * levels}).decode()
    assert arguments(wide) == {"list": [{}] * levels}
