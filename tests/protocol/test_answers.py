"""Which answers may be recorded, and what of them."""

from typing import Any

import pytest

from protocol.answers import FAULTS_MAX, Answer, echoes, find, fit, relevant, repeated, requester, resolved
from protocol.entries import Principal
from protocol.errors import (
    AlreadyResolved,
    HocketError,
    InterruptExpired,
    InterruptsMissing,
    InvalidAnswer,
    NotWaiting,
    UnknownInterrupt,
)
from protocol.interrupts import gate_id
from protocol.state import Gate, RunState, Status

PAST = {"expiresAt": "1970-01-01T00:00:00Z"}
BY = Principal("default", "ann", "user", "Ann")


def gate(number: int, **more: Any) -> Gate:
    interrupt = {"id": f"i{number}", "reason": "r", **more.pop("interrupt", {})}
    return Gate(gate_id("r", number), interrupt, 3, 1, **more)


def waiting(*gates: Gate) -> RunState:
    status = Status.WAITING if any(one.status == "open" for one in gates) else Status.RUNNING
    return RunState(id="r", status=status, gates=list(gates), requester=BY, face="rest")


CLOSED = gate(
    0, status="resolved", by=BY, face="agui", at_ms=7, answered_seq=5, digest="d", answer={"decision": "approve"}
)


def test_a_gate_is_found_by_its_own_id_and_by_its_interrupts() -> None:
    state = waiting(CLOSED, gate(1))
    assert find(state, "i1") is find(state, "g-r-1") is state.gates[1]
    assert find(state, "i2") is None and find(state, "g-x-1") is None


def test_what_fits_is_recorded_with_its_gate_and_what_it_comes_to() -> None:
    state = waiting(CLOSED, gate(1), gate(2))
    told = fit(state, [Answer("g-r-1", payload={"approved": False}, text="no"), Answer("i2", "cancelled")], 0)
    assert told == [
        {"interruptId": "i1", "gate": "g-r-1", "status": "resolved", "payload": {"approved": False}, "text": "no",
         "decision": "reject"},
        {"interruptId": "i2", "gate": "g-r-2", "status": "cancelled", "decision": None},
    ]  # fmt: skip
    assert len(fit(state, [Answer("i2")], 0, partial=True)) == 1


@pytest.mark.parametrize(
    ("state", "answers", "refusal"),
    [
        (waiting(gate(0), gate(1)), [Answer("i0")], InterruptsMissing),
        (waiting(gate(0)), [], InterruptsMissing),
        (waiting(CLOSED), [], NotWaiting),
        (waiting(), [Answer("i0")], NotWaiting),
        (waiting(gate(0)), [Answer("i0"), Answer("i7")], UnknownInterrupt),
        (waiting(CLOSED), [Answer("i7")], UnknownInterrupt),
        (waiting(CLOSED, gate(1)), [Answer("i0"), Answer("i1")], AlreadyResolved),
        (waiting(gate(0)), [Answer("i0"), Answer("g-r-0")], InvalidAnswer),
        (waiting(gate(0, status="expired", interrupt=PAST)), [Answer("i0")], InterruptExpired),
        (waiting(gate(0, interrupt=PAST)), [Answer("i0")], InterruptExpired),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_for_what_it_is(
    state: RunState, answers: list[Answer], refusal: type[HocketError]
) -> None:
    with pytest.raises(refusal):
        fit(state, answers, 1)


def test_a_schema_is_held_against_what_is_supplied_and_nothing_else() -> None:
    schema = {"type": "object", "properties": {"a/b": {"type": "integer"}, "l": {"items": {"maximum": 1}}}}
    state = waiting(gate(0, interrupt={"responseSchema": schema}))
    with pytest.raises(InvalidAnswer) as refused:
        fit(state, [Answer("i0", payload={"a/b": "x", "l": [0, 2]})], 0)
    assert [one["path"] for one in refused.value.faults] == ["/a~1b", "/l/1"]
    with pytest.raises(InvalidAnswer) as many:
        fit(state, [Answer("i0", payload={"l": [2] * 100})], 0)
    assert len(many.value.faults) == FAULTS_MAX
    assert fit(state, [Answer("i0", "cancelled", payload=7)], 0)
    assert fit(state, [Answer("i0", payload="as hocket words it", supplied=False)], 0)


def test_the_same_answers_are_known_again_by_their_giver_and_digest() -> None:
    state = waiting(CLOSED)
    assert repeated(state, [Answer("i0")], BY, "d") == 5
    assert repeated(state, [Answer("i0")], BY, "other") is None
    assert repeated(state, [Answer("i0")], Principal("default", "bob", "user"), "d") is None
    assert repeated(state, [Answer("i0")], BY, "") is None
    assert repeated(state, [], BY, "d") is None
    assert repeated(state, [Answer("i7")], BY, "d") is None


def test_a_lenient_caller_answers_what_is_open_and_is_refused_where_nothing_is() -> None:
    state = waiting(CLOSED, gate(1))
    old, new, never = Answer("i0"), Answer("i1"), Answer("i7")
    assert relevant(state, [old, new, never]) == ([new], ["i0", "i7"])
    assert relevant(state, [old, never]) == ([old], ["i7"])
    assert relevant(state, [never]) == ([never], [])


def test_who_asked_and_who_decided_are_told_in_plain_values() -> None:
    assert requester(waiting(CLOSED)) == {"id": "ann", "kind": "user", "name": "Ann", "face": "rest"}
    assert resolved(CLOSED) == {
        "status": "resolved", "decision": "approve", "by": {"id": "ann", "kind": "user", "name": "Ann"}, "face": "agui",
        "at_ms": 7}  # fmt: skip
    assert resolved(gate(1, status="closed"))["by"] is None


def test_an_answer_that_is_an_error_is_recorded_so_and_approves_nothing() -> None:
    given = Answer("i0", payload={"approved": True}, is_error=True)
    (recorded,) = fit(waiting(gate(0)), [given], 0)
    assert recorded["isError"] is True and recorded["decision"] == "answer"
    (other,) = fit(waiting(gate(0)), [Answer("i0", payload={"approved": True})], 0)
    assert "isError" not in other and other["decision"] == "approve"


@pytest.mark.parametrize(
    ("held", "given", "same"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]}, True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": 1}, {"a": 1, "b": None}, False),
        (True, 1, False),
        (0, False, False),
        ("1", 1, False),
        (None, None, True),
        ({}, [], False),
    ],
)
def test_a_gate_is_echoed_by_what_is_equal_as_json_and_no_other(held: Any, given: Any, same: bool) -> None:
    closed = gate(0, status="resolved", answer={"payload": held} if held is not None else {})
    assert echoes(closed, Answer("i0", payload=given)) is same
    assert not echoes(closed, Answer("i0", payload=held, is_error=True))
    assert not echoes(closed, Answer("i0", status="cancelled", payload=held))
    assert not echoes(gate(1), Answer("i1", payload=held))
