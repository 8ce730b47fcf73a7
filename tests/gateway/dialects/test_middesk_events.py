"""Which entries Middesk's stream tells, and how much of a long run."""

from typing import Any

import orjson
from hypothesis import given

from gateway.dialects import middesk_events
from gateway.dialects.middesk_events import STEPS_TOLD_EACH, word
from protocol import sse
from protocol.entries import NOTE_ATTEMPT, ask
from protocol.middesk import run_object
from protocol.middesk_steps import size, steps
from protocol.run import ABANDONED, fold
from protocol.state import RunState
from tests.protocol.test_middesk import ALICE, BEGUN, SAID, ended, start
from tests.protocol.test_middesk_steps import asked, call, step
from tests.strategies import Event, entries, runs


def told(*events: Event) -> list[tuple[int, str, dict[str, Any]]]:
    """The frames of a run: number, name, snapshot."""
    state, found = RunState(), []
    for entry in entries(list(events)):
        state = fold(state, entry)
        body = word(state, entry)
        if body:
            (frame,) = sse.split(body)
            data = orjson.loads(frame.data)
            assert (frame.seq, data["run_id"]) == (entry.seq, data["snapshot"]["id"])
            assert data["snapshot"] == orjson.loads(orjson.dumps(run_object(state) | {"steps": steps(state)}))
            found.append((entry.seq, str(frame.name), data["snapshot"]))
    return found


def names(*events: Event) -> list[tuple[int, str]]:
    return [(seq, name) for seq, name, _ in told(*events)]


def answer(kind: str = "resume", **more: Any) -> Event:
    answers = [{"interruptId": "q", "gate": "g-r1-0", "status": "resolved", "decision": "answer", "payload": 1}]
    return ask(f"ask.{kind}", ALICE, "test", 4_000, runId="r1", legId="l", answers=answers, digest="", **more)


def test_a_run_is_told_from_its_first_start_to_its_end_over_its_questions() -> None:
    run = [start(), BEGUN, *SAID, *call("a"), step("s"), step("s", "FINISHED"), asked("q"), answer(), BEGUN, ended()]
    assert names(*run) == [
        (2, "RUN_STARTED"), (5, "STATE_SNAPSHOT"), (7, "STATE_SNAPSHOT"), (8, "STATE_SNAPSHOT"), (9, "STATE_SNAPSHOT"),
        (10, "STATE_SNAPSHOT"), (11, "STATE_SNAPSHOT"), (12, "STATE_SNAPSHOT"), (14, "RUN_FINISHED"),
    ]  # fmt: skip
    assert [one["status"] for *_, one in told(*run)][-3:] == ["interrupted", "running", "completed"]


def test_a_cancel_is_told_by_the_end_and_a_default_answer_as_an_answer() -> None:
    cancel = ask("ask.cancel", ALICE, "test", 2_700, runId="r1", reason="no")
    assert names(start(), cancel, BEGUN, ended(outcome={"type": "cancelled"})) == [
        (3, "RUN_STARTED"),
        (4, "RUN_FINISHED"),
    ]
    assert names(start(), BEGUN, asked("q"), answer("expire", outcome="answer"), BEGUN)[2:] == [(4, "STATE_SNAPSHOT")]
    error = {"type": "RUN_ERROR", "message": "Nobody answered in time.", "timestamp": 5_000}
    assert names(start(), BEGUN, asked("q"), answer("expire", outcome="fail"), BEGUN, error)[2:] == [
        (6, "RUN_FINISHED")
    ]


def test_what_another_attempt_has_replaced_is_told_once_it_is_gone() -> None:
    marks: list[Event] = [
        {"type": "STEP_FINISHED", "stepName": "s", "metadata": ABANDONED, "timestamp": 2_700},
        {"type": "TEXT_MESSAGE_START", "messageId": "a", "role": "assistant", "metadata": ABANDONED, "timestamp": 2},
        {"type": "CUSTOM", "name": NOTE_ATTEMPT, "value": {"attempt": 2, "worker": "w"}, "timestamp": 2_800},
    ]  # fmt: skip
    *_, before, after = told(start(), BEGUN, step("s"), *call("a"), *marks)
    assert (before[0], len(before[2]["steps"])) == (6, 1)
    assert (after[0], after[2]["steps"]) == (9, [])


@given(runs())
def test_every_run_is_told_from_run_started_to_run_finished(events: list[Event]) -> None:
    found = told(*events)
    kinds = [name for _, name, _ in found]
    assert kinds[:1] in ([], ["RUN_STARTED"]) and set(kinds[1:-1]) <= {"STATE_SNAPSHOT"}
    if any(event["type"] in ("RUN_FINISHED", "RUN_ERROR") for event in events) and found:
        ended_ = found[-1][2]["ended_at"] is not None
        assert (kinds[-1] == "RUN_FINISHED") is ended_


def test_every_change_is_told_while_steps_are_few_and_as_many_steps_with_each_on_average_when_they_are_many() -> None:
    state, sent, changes = RunState(), 0, 0
    many = [one for number in range(10 * STEPS_TOLD_EACH) for one in call(f"c{number}")]
    longest = gap = 0
    for entry in entries([start(), BEGUN, *many, ended()]):
        state = fold(state, entry)
        if entry.event["type"] in ("TOOL_CALL_END", "TOOL_CALL_RESULT"):
            name = middesk_events._name(state, entry)
            assert name == "STATE_SNAPSHOT" or size(state) > STEPS_TOLD_EACH
            changes, sent = changes + 1, sent + size(state) * (name is not None)
            gap = 0 if name is not None else gap + 1
            longest = max(longest, gap)
    assert sent / changes < 1.1 * STEPS_TOLD_EACH
    assert longest < 40  # of a run of 2,000 steps at most every twentieth is left out in a row
