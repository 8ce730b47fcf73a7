"""Cron over a clock that the test holds: the changes of summer time, the ends of months, and what was missed."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import Invalid
from runtime.schedule import check_cron, latest_ticks, next_tick

BERLIN = "Europe/Berlin"
YEAR_MS = 366 * 86_400_000


def ms(told: str) -> int:
    return round(datetime.fromisoformat(told).timestamp() * 1000)


def local(tick: int | None, timezone: str) -> str:
    assert tick is not None
    return datetime.fromtimestamp(tick / 1000, ZoneInfo(timezone)).isoformat(timespec="minutes")


def ticks(cron: str, timezone: str, after: str, until: str) -> list[str]:
    return [local(tick, timezone) for tick in latest_ticks(cron, timezone, ms(after), ms(until), 1000)]


def test_a_time_that_is_skipped_is_due_at_the_first_instant_after_the_gap() -> None:
    begin, end = "2026-03-28T12:00+01:00", "2026-03-30T12:00+02:00"
    assert ticks("30 2 * * *", BERLIN, begin, end) == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]


def test_of_several_times_that_fall_into_the_gap_one_is_due() -> None:
    begin, end = "2026-03-29T01:00+01:00", "2026-03-29T04:00+02:00"
    assert ticks("0,20,40 2,3 * * *", BERLIN, begin, end) == [
        "2026-03-29T03:00+02:00", "2026-03-29T03:20+02:00", "2026-03-29T03:40+02:00"]  # fmt: skip


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    begin, end = "2026-10-24T12:00+02:00", "2026-10-26T12:00+01:00"
    assert ticks("30 2 * * *", BERLIN, begin, end) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]


def test_counting_that_begins_in_the_second_of_two_like_hours_does_not_go_back() -> None:
    assert local(next_tick("30 2 * * *", BERLIN, ms("2026-10-25T02:10+01:00")), BERLIN) == "2026-10-26T02:30+01:00"


def test_what_is_due_at_intervals_follows_the_time_that_passes() -> None:
    autumn = ticks("*/30 * * * *", BERLIN, "2026-10-25T01:30+02:00", "2026-10-25T03:00+01:00")
    assert autumn == ["2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00",
                      "2026-10-25T02:30+01:00", "2026-10-25T03:00+01:00"]  # fmt: skip
    spring = ticks("*/30 * * * *", BERLIN, "2026-03-29T01:00+01:00", "2026-03-29T03:30+02:00")
    assert spring == ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]


def test_a_zone_with_half_an_hour_of_summer_time_and_one_that_skips_midnight() -> None:
    howe = "Australia/Lord_Howe"
    assert ticks("15 2 * * *", howe, "2026-10-03T00:00+10:30", "2026-10-05T00:00+11:00") == [
        "2026-10-03T02:15+10:30", "2026-10-04T02:30+11:00"]  # fmt: skip
    assert ticks("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00-03:00", "2018-11-05T12:00-02:00") == [
        "2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"]  # fmt: skip


def test_the_ends_of_months_and_leap_days() -> None:
    assert ticks("0 9 31 * *", "UTC", "2026-01-31T10:00+00:00", "2026-08-01T00:00+00:00") == [
        "2026-03-31T09:00+00:00", "2026-05-31T09:00+00:00", "2026-07-31T09:00+00:00"]  # fmt: skip
    assert ticks("0 9 L * *", "UTC", "2028-01-31T10:00+00:00", "2028-04-01T00:00+00:00") == [
        "2028-02-29T09:00+00:00", "2028-03-31T09:00+00:00"]  # fmt: skip
    assert local(next_tick("0 0 29 2 *", "UTC", ms("2026-01-01T00:00+00:00")), "UTC") == "2028-02-29T00:00+00:00"


def test_a_date_or_a_weekday_is_either_of_them_where_both_are_given() -> None:
    assert ticks("0 0 13 * FRI", "UTC", "2026-02-01T00:00+00:00", "2026-02-14T00:00+00:00") == [
        "2026-02-06T00:00+00:00", "2026-02-13T00:00+00:00"]  # fmt: skip


@pytest.mark.parametrize(
    ("cron", "timezone", "told"),
    [
        ("61 * * * *", "UTC", "bad minute"),
        ("* 24 * * *", "UTC", "bad hour"),
        ("* * 0 * *", "UTC", "bad day-of-month"),
        ("* * * 13 *", "UTC", "bad month"),
        ("* * * * 8", "UTC", "bad day-of-week"),
        ("0 0 30 2 *", "UTC", "bad day-of-month"),
        ("* * * *", "UTC", "five fields"),
        ("0 * * * * *", "UTC", "five fields"),
        ("@daily", "UTC", "five fields"),
        ("", "UTC", "five fields"),
        ("* * * * " + "1," * 200, "UTC", "256 characters"),
        ("* * */20 * 1L", "UTC", "fifty years"),
        ("* * * * *", "Europe/Bern", "'Europe/Bern' is no IANA time zone"),
        ("* * * * *", "../../etc/passwd", "is no IANA time zone"),
        ("* * * * *", "Europe", "is no IANA time zone"),
        ("* * * * *", "", "is no IANA time zone"),
    ],
)
def test_what_is_no_schedule_is_told_with_the_field(cron: str, timezone: str, told: str) -> None:
    with pytest.raises(Invalid) as bad:
        check_cron(cron, timezone, ms("2026-01-01T00:00+00:00"))
    assert told in bad.value.message


@given(st.text(alphabet="0123456789*/,-#LW MONFRIé²", max_size=30))
def test_any_text_is_a_schedule_or_is_refused(cron: str) -> None:
    try:
        check_cron(cron, "UTC", 0)
    except Invalid:
        return
    assert next_tick(cron, "UTC", 0) is not None


minutes = st.sampled_from(["*", "*/7", "*/15", "0", "5,35", "20-25", "59"])
hours = st.sampled_from(["*", "*/3", "2", "1-3", "0,2,3", "23"])
days = st.sampled_from(["*", "*", "1", "31", "L", "*/2"])
weekdays = st.sampled_from(["*", "*", "0", "MON-FRI", "7#1"])
crons = st.builds(" ".join, st.tuples(minutes, hours, days, st.just("*"), weekdays))
zones = st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"])
beginnings = st.one_of(
    st.integers(ms("2026-03-01T00:00+00:00"), ms("2026-04-30T00:00+00:00")),
    st.integers(ms("2026-10-01T00:00+00:00"), ms("2026-11-05T00:00+00:00")),
)


@settings(max_examples=150, deadline=None)
@given(crons, zones, beginnings, st.integers(0, 3 * 86_400_000), st.integers(1, 50))
def test_wherever_counting_begins_the_instants_are_the_same(
    cron: str, timezone: str, begin: int, length: int, count: int
) -> None:
    whole = latest_ticks(cron, timezone, begin, begin + length, 10_000)
    assert whole == sorted(set(whole)) and all(begin < tick <= begin + length for tick in whole)
    assert latest_ticks(cron, timezone, begin, begin + length, count) == whole[-count:]
    after = begin
    for tick in whole[:20]:
        assert next_tick(cron, timezone, after) == tick and next_tick(cron, timezone, tick - 1) == tick
        after = tick
    for tick in whole:
        at = datetime.fromtimestamp(tick / 1000, UTC)
        assert at.second == at.microsecond == 0


def test_what_was_missed_for_years_costs_no_more_than_what_is_asked_for() -> None:
    now = ms("2026-06-01T00:00:30+00:00")
    found = latest_ticks("* * * * *", "UTC", now - 20 * YEAR_MS, now, 3)
    assert [local(tick, "UTC") for tick in found] == [
        "2026-05-31T23:58+00:00", "2026-05-31T23:59+00:00", "2026-06-01T00:00+00:00"]  # fmt: skip
    (leap,) = latest_ticks("0 0 29 2 *", "UTC", now - 20 * YEAR_MS, now, 1)
    assert local(leap, "UTC") == "2024-02-29T00:00+00:00"
