"""What a webhook is told of a run, entry by entry."""

from typing import Any

from protocol import webhooks
from protocol.entries import ASK_START, Entry, Principal, ask
from protocol.run import fold
from protocol.state import RunState

BY = Principal("default", "ada", "user", "Ada")
INPUT = {"messages": [{"id": "m1", "role": "user", "content": "hi"}]}
START = ask(ASK_START, BY, "test", 1_000, agent="echo", runId="r1", threadId="t1", input=INPUT, metadata={"a": 1})
BEGUN = {"type": "RUN_STARTED", "runId": "r1", "threadId": "t1", "timestamp": 2_000}
ENDED = {"type": "RUN_FINISHED", "runId": "r1", "threadId": "t1", "timestamp": 3_000, "result": "x" * 10}
ATTEMPT = {"type": "CUSTOM", "name": "hocket.attempt", "timestamp": 2_500, "value": {"attempt": 2, "worker": "w2"}}


def told(*events: dict[str, Any]) -> list[dict[str, Any] | None]:
    """Of each event, by the run as it is right after it."""
    state, found = RunState(), []
    for seq, event in enumerate(events, 1):
        state = fold(state, Entry(seq, event))
        found.append(webhooks.told(state, event))
    return found


def test_the_start_and_the_end_are_told_and_another_attempt_is_not() -> None:
    asked, began, again, ended = told(START, BEGUN, ATTEMPT, ENDED)
    assert asked is None and again is None and began is not None and ended is not None
    assert (began["type"], began["timestamp"]) == ("run.started", "1970-01-01T00:00:02.000Z")
    assert (ended["type"], ended["data"]["seq"], ended["data"]["result"]) == ("run.completed", 4, "x" * 10)
    assert {began["type"], ended["type"]} <= set(webhooks.EVENTS)


def test_a_run_that_was_cancelled_before_it_began_has_not_started() -> None:
    cancel = ask("ask.cancel", BY, "test", 1_500, runId="r1", reason="no")
    end = ENDED | {"outcome": {"type": "cancelled"}}
    found = [one and one["type"] for one in told(START, cancel, BEGUN, end)]
    assert found == [None, None, None, "run.cancelled"]


def test_what_is_cut_says_so_and_keeps_what_is_short() -> None:
    *_, ended = told(START, BEGUN, ENDED)
    assert ended is not None
    cut = webhooks.cut(ended)["data"]
    assert cut["truncated"] and (cut["result"], cut["metadata"]) == (None, {})
    assert (cut["id"], cut["status"], cut["seq"]) == ("r1", "completed", 3)
    assert "truncated" not in ended["data"]


def test_what_an_entry_may_be_told_as_is_known_without_its_run() -> None:
    assert [webhooks.possible(event) for event in (START, BEGUN, ATTEMPT, ENDED)] == [
        None, "run.started", None, "run.completed",
    ]  # fmt: skip
