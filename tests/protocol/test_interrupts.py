"""What an agent may ask, how a gate is named, and when its time is over."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import IllegalEvent
from protocol.interrupts import asked, decision, expired, expiry_ms, gate_id, has_expired, next_expiry_ms, run_of
from protocol.state import Gate, RunState, Status

NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def gate(number: int = 0, at: str | None = None, **noted: Any) -> Gate:
    interrupt: dict[str, Any] = {"id": f"i{number}", "reason": "r", "metadata": {"hocket": noted}}
    return Gate(gate_id("r", number), interrupt | ({"expiresAt": at} if at else {}), 3, 1)


def waiting(*gates: Gate) -> RunState:
    return RunState(id="r", status=Status.WAITING, gates=list(gates))


@given(st.text(min_size=1), st.integers(0, 10**6))
def test_a_gates_id_names_its_run_whatever_that_is_called(run_id: str, number: int) -> None:
    assert run_of(gate_id(run_id, number)) == run_id


@pytest.mark.parametrize("name", ["", "g-", "g-1", "g--1", "r-1", "g-r", "g-r-", "g-r-x", "g-r-²", "G-r-1"])
def test_what_is_no_gates_id_names_no_run(name: str) -> None:
    assert run_of(name) is None


@pytest.mark.parametrize(
    ("given_", "at_ms"),
    [
        ("2026-01-01T12:00:00Z", NOON_MS),
        ("2026-01-01t12:00:00.250z", NOON_MS + 250),
        ("2026-01-01 13:30+01:30", NOON_MS),
        ("2026-01-01T07:00:00-0500", NOON_MS),
        ("2026-01-01T12:00:00", NOON_MS),
        ("2026-13-01T12:00:00Z", None),
        ("soon", None),
        ("", None),
        (7, None),
        (None, None),
        ("1900-01-01T00:00:00Z", 0),
    ],
)
def test_an_instant_is_read_as_iso_8601_and_what_cannot_be_read_is_never(given_: Any, at_ms: int | None) -> None:
    assert expiry_ms({"id": "i", "expiresAt": given_}) == at_ms


def test_a_gate_has_expired_from_its_instant_on_and_the_next_one_is_the_first() -> None:
    early, late = gate(0, "2026-01-01T12:00:00Z"), gate(1, "2026-01-01T13:00:00Z")
    assert not has_expired(early, NOON_MS - 1) and has_expired(early, NOON_MS) and not has_expired(gate(2), 1 << 60)
    assert next_expiry_ms(waiting(late, early, gate(2))) == NOON_MS
    assert next_expiry_ms(waiting(gate(0))) is None


@pytest.mark.parametrize(
    ("ways", "outcome"),
    [
        (["answer", "answer"], "answer"),
        (["answer", "cancel"], "cancel"),
        (["cancel", "fail"], "fail"),
        ([None, "answer"], "cancel"),
    ],
)
def test_of_questions_that_are_due_together_the_sternest_decides(ways: list[str | None], outcome: str) -> None:
    at = "2026-01-01T12:00:00Z"
    gates = [
        gate(number, at, default={"approved": False}, **({"on_expiry": way} if way else {}))
        for number, way in enumerate(ways)
    ]
    told = expired(waiting(*gates, gate(9, "2030-01-01T00:00:00Z")), NOON_MS)
    assert told is not None and told[0] == outcome
    assert [answer["interruptId"] for answer in told[1]] == ["i0", "i1"]
    assert [answer.get("payload") for answer in told[1]] == [{"approved": False} if outcome == "answer" else None] * 2
    assert expired(waiting(*gates), NOON_MS - 1) is None


def test_what_is_asked_is_recorded_with_its_gate_its_name_and_what_time_makes_of_it() -> None:
    questions = [
        {"id": "a", "reason": "r", "metadata": {"name": "send", "renderer": "x"}},
        {"id": "b", "reason": "r", "expiresAt": "2026-01-01T12:00:00Z", "metadata": {"on_expiry": "fail"}},
    ]
    first, second = asked(waiting(gate(0)), questions, "2027-01-01T00:00:00Z", "answer", 5)
    assert first["metadata"] == {
        "name": "send", "renderer": "x",
        "hocket": {"gate": "g-r-1", "name": "send", "on_expiry": "answer", "default": 5}}  # fmt: skip
    assert first["expiresAt"] == "2027-01-01T00:00:00Z" and second["expiresAt"] == "2026-01-01T12:00:00Z"
    assert second["metadata"]["hocket"] == {"gate": "g-r-2", "name": "b", "on_expiry": "fail"}
    (unending,) = asked(waiting(), [{"id": "a", "reason": "r"}], None, "cancel", None)
    assert unending == {"id": "a", "reason": "r", "metadata": {"hocket": {"gate": "g-r-0", "name": "a"}}}


def test_an_id_that_the_run_has_used_is_renamed_and_keeps_its_name() -> None:
    (again,) = asked(waiting(gate(0)), [{"id": "i0", "reason": "r"}], None, "cancel", None)
    assert again["id"] == "i0~1" and again["metadata"]["hocket"]["name"] == "i0"
    with pytest.raises(IllegalEvent):
        asked(waiting(gate(0)), [{"id": "i0~2", "reason": "r"}, {"id": "i0", "reason": "r"}], None, "cancel", None)


def test_a_field_that_is_null_is_a_field_that_is_not_there() -> None:
    (one,) = asked(waiting(), [{"id": "a", "reason": "r", "responseSchema": None, "message": None}], None, "fail", None)
    assert set(one) == {"id", "reason", "metadata"}


@pytest.mark.parametrize(
    ("questions", "rule"),
    [
        (None, "outcome"),
        ([], "outcome"),
        ({"id": "a"}, "outcome"),
        ([7], "event-fields"),
        ([{"reason": "r"}], "event-fields"),
        ([{"id": "a" * 257}], "event-fields"),
        ([{"id": "a", "metadata": []}], "event-fields"),
        ([{"id": "a"}, {"id": "a"}], "interrupt"),
        ([{"id": "g-r-0"}], "interrupt"),
        ([{"id": str(number)} for number in range(101)], "interrupt"),
        ([{"id": "a", "responseSchema": {"type": "none of these"}}], "interrupt-schema"),
        ([{"id": "a", "responseSchema": []}], "interrupt-schema"),
    ],
)
def test_what_could_not_be_answered_may_not_be_asked(questions: Any, rule: str) -> None:
    with pytest.raises(IllegalEvent) as refused:
        asked(waiting(), questions, None, "cancel", None)
    assert refused.value.rule == rule


@pytest.mark.parametrize(
    ("status", "payload", "told"),
    [
        ("resolved", {"approved": True}, "approve"),
        ("resolved", {"approved": False}, "reject"),
        ("resolved", {"approved": "yes"}, "answer"),
        ("resolved", "yes", "answer"),
        ("resolved", None, "answer"),
        ("cancelled", {"approved": True}, None),
    ],
)
def test_an_answer_comes_to_a_decision(status: str, payload: Any, told: str | None) -> None:
    assert decision(status, payload) == told
