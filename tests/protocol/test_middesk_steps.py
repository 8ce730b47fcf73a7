"""Steps of a run: what is one, what became of it, and within which other it lies."""

from collections.abc import Iterator
from typing import Any

import orjson
from hypothesis import given

from protocol.checkpoint import dump, load
from protocol.entries import NOTE_ATTEMPT, ask
from protocol.middesk_steps import steps
from protocol.run import ABANDONED
from protocol.state import RunState
from tests.protocol.test_middesk import ALICE, BEGUN, SAID, ended, of, start
from tests.strategies import Event, folded, runs

Json = dict[str, Any]


def shown(state: RunState) -> list[Json]:
    told: list[Json] = orjson.loads(orjson.dumps(steps(state)))
    return told


def call(name: str, result: str | None = "ok", **more: Any) -> list[Event]:
    said: list[Event] = [
        {"type": "TOOL_CALL_START", "toolCallId": name, "toolCallName": f"do_{name}", "timestamp": 2_500, **more},
        {"type": "TOOL_CALL_END", "toolCallId": name, "timestamp": 2_500},
    ]
    if result is not None:
        told = {"messageId": f"{name}-r", "toolCallId": name, "content": result, "timestamp": 2_600, **more}
        said.append({"type": "TOOL_CALL_RESULT", **told})
    return said


def step(name: str, kind: str = "STARTED", **more: Any) -> Event:
    return {"type": f"STEP_{kind}", "stepName": name, "timestamp": 2_500, **more}


def asked(*names: str, **more: Any) -> Event:
    gates = [
        {"id": name, "metadata": {"hocket": {"gate": f"g-r1-{at}", "name": name}}, **more}
        for at, name in enumerate(names)
    ]
    return ended(outcome={"type": "interrupt", "interrupts": gates})


def kinds(told: list[Json]) -> list[tuple[str, str, str]]:
    return [(one["id"], one["type"], one["status"]) for one in told]


def within(told: list[Json]) -> Any:
    return [(one["name"], within(one["steps"])) if "steps" in one else one["name"] for one in told]


def test_a_call_runs_until_it_has_its_result() -> None:
    assert kinds(shown(of(start(), BEGUN, *call("a", None)))) == [("3", "activity", "running")]
    (done,) = shown(of(start(), BEGUN, *call("a")))
    assert done == {
        "id": "3", "run_id": done["run_id"], "type": "activity", "name": "do_a", "label": "do_a",
        "status": "completed", "started_at": "1970-01-01T00:00:02.500Z", "completed_at": "1970-01-01T00:00:02.600Z",
    }  # fmt: skip


def test_a_run_ends_with_a_step_that_says_what_it_came_to() -> None:
    assert kinds(shown(of(start(), BEGUN, *SAID, ended()))) == [("6", "output", "completed")]
    failed = {"type": "RUN_ERROR", "message": "It broke.", "timestamp": 3_000}
    call_, error = shown(of(start(), BEGUN, *call("a", None), failed))
    assert call_["status"] == "error" and (error["label"], error["completed_at"][-5:]) == ("It broke.", ".000Z")


def test_a_cancelled_run_has_an_error_step_at_the_cancel_and_what_it_cut_off_is_an_error() -> None:
    cancel = ask("ask.cancel", ALICE, "test", 2_700, runId="r1", reason="no")
    answered = {"messageId": "b-r", "toolCallId": "b", "content": "stopped", "timestamp": 2_800}
    told = of(
        start(), BEGUN, *call("a"), *call("b", None), cancel, {"type": "TOOL_CALL_RESULT", **answered},
        ended(outcome={"type": "cancelled"}),
    )  # fmt: skip
    assert kinds(shown(told)) == [
        ("3", "activity", "completed"),
        ("6", "activity", "error"),
        ("8", "error", "error"),
    ]
    assert shown(told)[-1]["label"] == "cancelled"


def test_the_cancel_of_a_run_in_the_middle_of_a_named_step_stands_beside_that() -> None:
    cancel = ask("ask.cancel", ALICE, "test", 2_700, runId="r1", reason="no")
    run = of(start(), BEGUN, step("plan"), cancel, step("plan", "FINISHED"), ended(outcome={"type": "cancelled"}))
    assert kinds(shown(run)) == [("3", "activity", "error"), ("4", "error", "error")]


def test_questions_of_one_entry_have_ids_of_their_own_and_are_done_once_they_are_answered() -> None:
    names = [f"q{number}" for number in range(12)]
    answers = [{"interruptId": "q1", "gate": "g-r1-1", "status": "resolved", "payload": 1, "decision": "answer"}]
    told = shown(of(start(), BEGUN, asked(*names)))
    assert [one["id"] for one in told] == ["3", *(f"3-{number}" for number in range(1, 12))]
    assert {one["status"] for one in told} == {"running"} and [one["name"] for one in told] == names
    resume = ask("ask.resume", ALICE, "test", 4_000, runId="r1", legId="l", answers=answers, digest="")
    told = shown(of(start(), BEGUN, asked(*names, message="Sure?"), resume))
    assert [one["status"] for one in told[:3]] == ["running", "completed", "running"]
    assert told[1]["completed_at"] == "1970-01-01T00:00:04.000Z" and told[1]["label"] == "Sure?"


def test_what_is_begun_while_a_named_step_is_open_is_within_the_innermost_of_its_owner() -> None:
    run = of(
        start(), BEGUN, step("plan"), *call("a"), step("look"), *call("b"), step("look", "FINISHED"), *call("c"),
        step("plan", "FINISHED"), *call("d"), step("idle"), step("idle", "FINISHED"),
    )  # fmt: skip
    assert within(shown(run)) == [("plan", ["do_a", ("look", ["do_b"]), "do_c"]), "do_d", "idle"]
    plan = shown(run)[0]
    look = plan["steps"][1]
    assert look["parent_step_id"] == plan["id"] and look["steps"][0]["parent_step_id"] == look["id"]


def test_steps_that_subagents_take_side_by_side_hold_their_own_calls() -> None:
    x, y = {"subagentRunId": "x"}, {"subagentRunId": "y"}
    run = of(
        start(), BEGUN, step("all"), step("one", **x), step("two", **y), *call("a", **x), *call("b", **y), *call("c"),
        step("two", "FINISHED", **y), *call("d", **y),
    )  # fmt: skip
    assert within(shown(run)) == [("all", [("one", ["do_a"]), ("two", ["do_b"]), "do_c", "do_d"])]


def test_what_is_nested_deeper_than_is_told_stands_beside() -> None:
    run = of(start(), BEGUN, *(step(f"s{number}") for number in range(300)))
    depth, told = 0, shown(run)
    while told:
        depth, told = depth + 1, told[0].get("steps", [])
    assert depth == 50


def test_what_another_attempt_has_replaced_is_no_step() -> None:
    marked = {"metadata": ABANDONED, "timestamp": 2_700}
    note = {"type": "CUSTOM", "name": NOTE_ATTEMPT, "value": {"attempt": 2, "worker": "w"}, "timestamp": 2_800}
    run = of(
        start(), BEGUN, step("plan"), *call("a"), step("plan", "FINISHED"),
        {"type": "TEXT_MESSAGE_START", "messageId": "a", "role": "assistant", **marked},
        {"type": "TEXT_MESSAGE_END", "messageId": "a", "timestamp": 2_700}, note, step("plan"), *call("b"),
    )  # fmt: skip
    assert within(shown(run)) == [("plan", ["do_b"])]
    again = load(dump(run))
    assert again is not None and shown(again) == shown(run)


def every(told: list[Json]) -> Iterator[Json]:
    for one in told:
        yield one
        yield from every(one.get("steps", []))


@given(runs())
def test_steps_have_ids_that_stay_and_come_in_order(events: list[Event]) -> None:
    before: dict[str, tuple[str, str]] = {}
    for number in range(1, len(events) + 1):
        state = folded(events[:number])
        told = shown(state)
        all_ = list(every(told))
        ids = [one["id"] for one in all_]
        assert len(ids) == len(set(ids))
        for siblings in (told, *(one["steps"] for one in all_ if "steps" in one)):
            places = [int(one["id"].partition("-")[0]) for one in siblings]
            assert places == sorted(places)
        for one in all_:
            assert set(one) <= {"id", "run_id", "type", "name", "label", "status", "started_at", "completed_at",
                                "parent_step_id", "steps"}  # fmt: skip
            assert before.setdefault(one["id"], (one["type"], one["started_at"])) == (one["type"], one["started_at"])
        if state.ended_at_ms is not None:
            assert "running" not in [one["status"] for one in all_]
            assert [one["type"] for one in told if one["type"] in ("output", "error")]
        again = load(dump(state))
        assert again is not None and shown(again) == told
