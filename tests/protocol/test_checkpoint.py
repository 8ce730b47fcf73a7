"""A state as bytes and back: equal for every prefix of every run, and None for anything else."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from protocol.checkpoint import FORM, dump, load
from protocol.run import fold_all
from protocol.state import RunState
from tests.strategies import entries, folded, runs


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(runs(size_max=15))
def test_a_state_comes_back_equal_and_folds_on_to_the_same_end(events: list[dict[str, Any]]) -> None:
    whole = folded(events)
    for cut in range(len(events) + 1):
        state = load(dump(folded(events[:cut])))
        assert state is not None and state == folded(events[:cut])
        assert fold_all(state, entries(events[cut:], cut + 1)) == whole


def changed(**fields: Any) -> bytes:
    return orjson.dumps(orjson.loads(dump(RunState())) | fields)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"rubbish",
        b"[]",
        b"null",
        b"{}",
        changed(form=FORM + 1),
        changed(status="sleeping"),
        changed(messages=["x"]),
        changed(messages=None),
        changed(open=[{"kind": "text"}]),
        changed(legs=[{}]),
        changed(requester={"name": "x"}),
        changed(steps=5),
    ],
)
def test_what_is_no_checkpoint_of_this_form_reads_as_none(raw: bytes) -> None:
    assert load(raw) is None


def test_an_unchanged_checkpoint_reads_as_a_state() -> None:
    assert load(changed()) == RunState()
