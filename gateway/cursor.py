"""The cursor of a stream: everything after this entry, once each, in order; and that of a list of runs.

`Last-Event-ID` is what a browser sends when it reconnects by itself, to the URL it had; so where `after_seq` is
there as well, the greater one counts (reference: WHATWG HTML, server-sent events).
"""

import base64
import binascii

import orjson
from starlette.requests import Request

from protocol.errors import Invalid, InvalidId
from protocol.state import RunState
from protocol.subjects import check_id

SEQ_MAX = 2**53 - 1
_DIGITS_MAX = 16


def cursor_of(request: Request) -> int | None:
    """The entry after which to go on, None if the client names none. Raises Invalid."""
    named = {"Last-Event-ID": request.headers.get("last-event-id"), "after_seq": request.query_params.get("after_seq")}
    given = [_number(name, value) for name, value in named.items() if value]
    return max(given) if given else None


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX) or int(value) > SEQ_MAX:
        raise Invalid(f"{name} must be a whole number from 0 to {SEQ_MAX}; it is {value[:40]!r}.")
    return int(value)


def place_after(last: RunState) -> str:
    """The place after a row of a list of runs."""
    return base64.urlsafe_b64encode(orjson.dumps([last.created_at_ms, last.id])).rstrip(b"=").decode()


def place_of(cursor: str) -> tuple[int, str]:
    """What `place_after` has made into a text. Raises Invalid for anything else."""
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        at_ms, run_id = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        if type(at_ms) is int and 0 <= at_ms <= SEQ_MAX:
            return at_ms, check_id(run_id, "The run id")
    except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError, TypeError, ValueError, InvalidId):
        pass
    raise Invalid("cursor: this is no next_cursor of a list of runs.")
