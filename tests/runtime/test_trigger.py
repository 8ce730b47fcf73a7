"""What a trigger may be, when it is due and what it starts, over a clock that the test holds."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from protocol.entries import Principal
from protocol.errors import Invalid, TooLarge
from runtime.trigger import (
    CATCH_UP_MAX,
    LATE_MS,
    Fired,
    Occasion,
    Source,
    Trigger,
    Wanted,
    check,
    due,
    dump,
    first_tick,
    load,
    matches,
    start_of,
)

INPUT: dict[str, Any] = {"messages": [{"id": "m1", "role": "user", "content": "hi"}], "forwardedProps": {"a": 1}}
MINUTE = 60_000
NOON = round(datetime.fromisoformat("2026-06-01T12:00+00:00").timestamp() * 1000)


def cron(told: str = "* * * * *", **more: Any) -> Wanted:
    return Wanted("agent", INPUT, "cron", cron=told, **more)


def trigger(want: Wanted, next_at_ms: int | None = NOON) -> Trigger:
    return Trigger("t1", "g1", want, Principal("acme", "ada", "user", "Ada"), "key_1", NOON, NOON, next_at_ms)


def test_a_tick_that_is_taken_in_time_is_the_only_one_whatever_the_policy() -> None:
    for policy in ("none", "last", "all"):
        told = due(trigger(cron(catch_up=policy)), NOON + 200)
        assert (told.ticks, told.missed_at_ms, told.next_at_ms) == ([NOON], None, NOON + MINUTE)


def test_of_what_was_missed_the_policy_takes_none_the_last_or_all() -> None:
    hourly, now = "0 * * * *", NOON + 5 * 60 * MINUTE + 10 * MINUTE
    ticks = [NOON + hour * 60 * MINUTE for hour in range(6)]
    following = ticks[-1] + 60 * MINUTE
    none = due(trigger(cron(hourly, catch_up="none")), now)
    assert (none.ticks, none.missed_at_ms, none.next_at_ms) == ([], ticks[-1], following)
    last = due(trigger(cron(hourly, catch_up="last")), now)
    assert (last.ticks, last.missed_at_ms, last.next_at_ms) == (ticks[-1:], None, following)
    every = due(trigger(cron(hourly, catch_up="all")), now)
    assert (every.ticks, every.missed_at_ms, every.next_at_ms) == (ticks, None, following)


def test_without_catching_up_a_tick_counts_for_a_minute() -> None:
    want = cron("0 * * * *", catch_up="none")
    assert due(trigger(want), NOON + LATE_MS).ticks == [NOON]
    assert due(trigger(want), NOON + LATE_MS + 1).ticks == []
    assert due(trigger(cron(catch_up="none")), NOON + 10 * MINUTE + 500).ticks == [NOON + 10 * MINUTE]


def test_all_of_what_was_missed_has_a_bound_and_the_latest_count() -> None:
    told = due(trigger(cron(catch_up="all")), NOON + 100_000 * MINUTE)
    assert len(told.ticks) == CATCH_UP_MAX and told.ticks[-1] == NOON + 100_000 * MINUTE
    edge = due(trigger(cron(catch_up="all")), NOON + (CATCH_UP_MAX - 1) * MINUTE)
    assert edge.ticks[0] == NOON and len(edge.ticks) == CATCH_UP_MAX


def test_what_is_due_once_has_no_next_tick() -> None:
    once = Wanted("agent", INPUT, "at", at_ms=NOON)
    assert due(trigger(once), NOON + 1_000_000).ticks == [NOON]
    late = due(trigger(replace(once, catch_up="none")), NOON + 1_000_000)
    assert (late.ticks, late.missed_at_ms, late.next_at_ms) == ([], NOON, None)
    assert due(trigger(Wanted("agent", INPUT, "now", catch_up="none")), NOON + 1_000_000).ticks == [NOON]


def test_the_first_tick() -> None:
    assert first_tick(cron("30 * * * *"), NOON) == NOON + 30 * MINUTE
    assert first_tick(Wanted("agent", INPUT, "now"), NOON) == NOON
    assert first_tick(Wanted("agent", INPUT, "at", at_ms=NOON + 5), NOON) == NOON + 5
    assert first_tick(Wanted("agent", INPUT, "event", event=Source(subject="a")), NOON) is None
    assert first_tick(cron(enabled=False), NOON) is None


def test_one_occasion_is_one_run_and_another_is_another() -> None:
    mine = trigger(cron())
    one, same = start_of(mine, Occasion("tick\ng1\n1", NOON)), start_of(mine, Occasion("tick\ng1\n1", NOON))
    assert one == same and one.thread_id == one.run_id
    other = start_of(mine, Occasion("tick\ng1\n2", NOON))
    theirs = start_of(replace(mine, by=Principal("other", "ada", "user")), Occasion("tick\ng1\n1", NOON))
    assert len({one.run_id, other.run_id, theirs.run_id}) == 3
    assert one.input["messages"][0]["id"] != other.input["messages"][0]["id"]


def test_a_run_is_told_of_its_trigger_and_of_its_event() -> None:
    mine = trigger(cron(thread_id="daily", metadata={"a": "b"}, on_busy="cancel_previous"))
    told = start_of(mine, Occasion("k", NOON, 3, {"subject": "x"}))
    assert (told.thread_id, told.on_busy, told.agent) == ("daily", "cancel_previous", "agent")
    noted = {"id": "t1", "kind": "cron", "at": "2026-06-01T12:00:00.000Z", "depth": 3}
    assert told.metadata == {"a": "b", "trigger": noted}
    assert told.input["forwardedProps"] == {"a": 1, "event": {"subject": "x"}}
    assert start_of(mine, Occasion("k", NOON)).input["forwardedProps"] == {"a": 1}
    by = mine.principal
    assert (by.tenant, by.id, by.kind, by.name) == ("acme", "ada", "trigger", "trigger t1 of Ada")


def test_a_record_is_read_as_it_was_written() -> None:
    source = Source("a", ("failed", "completed"), {"x": [1]})
    mine = replace(
        trigger(Wanted("agent", INPUT, "event", event=source)), last=Fired(1, 2, None, {"code": "c", "message": "m"})
    )
    assert load(dump(mine)) == mine and load(dump(trigger(cron()))) == trigger(cron())
    for damaged in (b"", b"{}", b"null", b"x", dump(mine)[:-5], b'{"want": {}}'):
        assert load(damaged) is None


@pytest.mark.parametrize(
    ("want", "told"),
    [
        (Wanted("agent", INPUT, "cron"), "cron: needed with kind cron"),
        (Wanted("agent", INPUT, "now", cron="* * * * *"), "cron: needed with kind cron, and given with that one alone"),
        (Wanted("agent", INPUT, "at", at_ms=NOON - 1), "at: must be later than now, 2026-06-01T12:00:00.000Z"),
        (Wanted("agent", INPUT, "at", at_ms=10**15), "at: must be later than now"),
        (Wanted("agent", INPUT, "at"), "at: needed with kind at"),
        (Wanted("agent", INPUT, "soon"), "kind: expected one of now, at, cron, event"),  # type: ignore[arg-type]
        (cron(catch_up="some"), "catch_up: expected one of none, last, all"),
        (cron("61 * * * *"), "cron: '61 * * * *' cannot be read: bad minute"),
        (cron(timezone="Mars/Base"), "timezone: 'Mars/Base' is no IANA time zone"),
        (Wanted("agent", INPUT, "now", timezone="Mars/Base"), "timezone: 'Mars/Base'"),
        (cron(thread_id="t", catch_up="all"), "catch_up: `all` needs a thread for each run"),
        (cron(thread_id=""), "The thread id must be 1 to 256 bytes"),
        (cron(metadata={"trigger": 1}), "metadata: `trigger` is what hocket itself notes"),
        (Wanted("agent", INPUT, "event"), "event: needed with kind event"),
        (Wanted("agent", INPUT, "event", event=Source()), "event: expected either an agent or a subject"),
        (Wanted("agent", INPUT, "event", event=Source("a", ("completed",), {}, "s")), "either an agent or a subject"),
        (Wanted("agent", INPUT, "event", event=Source("a")), "event.statuses: expected one or more of completed"),
        (Wanted("agent", INPUT, "event", event=Source("a", ("running",))), "event.statuses"),
        (Wanted("agent", INPUT, "event", event=Source(subject="a", statuses=("failed",))), "go with an agent"),
    ],
)
def test_what_cannot_be_is_told_with_its_field(want: Wanted, told: str) -> None:
    with pytest.raises(Invalid) as bad:
        check(want, NOON)
    assert told in bad.value.message


@pytest.mark.parametrize("subject", ["", ">", "a..b", ".a", "a.", "a b", "a.>.b", "a*", "a.b>", "ä", "a\n", "x" * 201])
def test_a_subject_that_is_none_is_refused(subject: str) -> None:
    with pytest.raises(Invalid):
        check(Wanted("agent", INPUT, "event", event=Source(subject=subject)), NOON)


def test_a_trigger_has_a_bound() -> None:
    with pytest.raises(TooLarge):
        check(Wanted("agent", {"messages": [{"id": "m", "role": "user", "content": "x" * 300_000}]}, "now"), NOON)


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.>", "a.b", True),
        ("a", "a.b", False),
        ("a.*.c", "a.b.c", True),
    ],
)
def test_a_pattern_fits_as_in_nats(pattern: str, subject: str, fits: bool) -> None:
    check(Wanted("agent", INPUT, "event", event=Source(subject=pattern)), NOON)
    assert matches(pattern, subject) is fits
