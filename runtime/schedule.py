"""When a cron expression is due: instants in milliseconds since the epoch, UTC, the same ones wherever counting begins.

`cronsim` reads the expression and does as Debian's cron does where clocks change. A job at given times (neither minute
nor hour begins with `*`) whose local time is skipped runs at the first instant after the gap, and one whose time comes
twice runs the first time alone. Any other job runs whenever the clock on the wall says so.
"""

import functools
import zoneinfo
from collections.abc import Iterator
from datetime import datetime

from cronsim import CronSim, CronSimError

from protocol.errors import Invalid

CRON_CHARS_MAX = 256
_FIELDS = "minute hour day-of-month month day-of-week"
_WINDOW_MS = 3_600_000
_SHOWN = 80


def check_cron(cron: str, timezone: str, now_ms: int) -> None:
    """Raises Invalid with the field that cannot be read, for a zone that is not known, and for what is never due."""
    if timezone not in _zones():
        raise Invalid(f"timezone: {timezone[:_SHOWN]!r} is no IANA time zone; expected one such as 'Europe/Berlin'.")
    if len(cron) > CRON_CHARS_MAX or len(cron.split()) != 5:
        raise Invalid(f"cron: {cron[:_SHOWN]!r} must be five fields ({_FIELDS}), {CRON_CHARS_MAX} characters at most.")
    try:
        due = next_tick(cron, timezone, now_ms)
    except CronSimError as bad:
        raise Invalid(f"cron: {cron!r} cannot be read: {str(bad).lower()} (fields: {_FIELDS}).") from None
    if due is None:
        raise Invalid(f"cron: {cron!r} is not due once in fifty years.")


def next_tick(cron: str, timezone: str, after_ms: int) -> int | None:
    """The first instant after `after_ms`, None if there is none within fifty years."""
    return next(_ticks(cron, timezone, after_ms), None)


def latest_ticks(cron: str, timezone: str, after_ms: int, up_to_ms: int, count: int) -> list[int]:
    """The last `count` instants after `after_ms` and not after `up_to_ms`, in order. What it costs follows from `count`
    and not from how long ago `after_ms` was."""
    window = _WINDOW_MS
    while True:
        begin = max(after_ms, up_to_ms - window)
        found = []
        for tick in _ticks(cron, timezone, begin):
            if tick > up_to_ms:
                break
            found.append(tick)
        if begin == after_ms or len(found) >= count:
            return found[-count:]
        window *= 2


def _ticks(cron: str, timezone: str, after_ms: int) -> Iterator[int]:
    """Growing, all of them after `after_ms`: the library tells one instant twice after a gap, and one before its own
    beginning where that lies in the second of two like hours."""
    for due in CronSim(cron, datetime.fromtimestamp(after_ms / 1000, zoneinfo.ZoneInfo(timezone))):
        tick = round(due.timestamp() * 1000)
        if tick > after_ms:
            yield tick
            after_ms = tick


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
