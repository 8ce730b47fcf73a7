"""How long a client would have an answer held."""

import pytest
from starlette.requests import Request

from gateway.prefer import preferred_wait


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ([], None), (["respond-async"], None), (["wait=10"], 10), (["respond-async, wait = 10"], 10),
        (["respond-async", 'Wait="7"'], 7), (["wait=99"], 30), (["wait=0"], 0), (["wait=-1"], None), (["wait=x"], None),
        (["await=5"], None), (["wait=9999999999"], None),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_passed_over_and_no_more_is_waited_than_is_offered(
    given: list[str], seconds: int | None
) -> None:
    headers = [(b"prefer", one.encode()) for one in given]
    assert preferred_wait(Request({"type": "http", "headers": headers}), 30) == seconds
