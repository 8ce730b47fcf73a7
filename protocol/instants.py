"""Instants as every face writes them: RFC 3339, UTC, to the millisecond."""

from datetime import UTC, datetime
from functools import lru_cache

_LAST_MS = 253_402_300_799_999


def rfc3339(at_ms: int) -> str:
    """An agent may put any number on its events; the calendar ends with the year 9999."""
    seconds, ms = divmod(min(max(at_ms, 0), _LAST_MS), 1000)
    return f"{_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Events of a stream come many to a second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
