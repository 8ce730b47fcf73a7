"""The cursor of a stream: everything after this entry, once each, in order.

`Last-Event-ID` is what a browser sends when it reconnects by itself, to the URL it had; so where `after_seq` is
there as well, the greater one counts (reference: WHATWG HTML, server-sent events).
"""

from starlette.requests import Request

from .errors import InvalidFields

SEQ_MAX = 2**53 - 1
_DIGITS_MAX = 16


def cursor_of(request: Request, name: str = "after_seq") -> int | None:
    """The entry after which to go on, None if the client names none. `name` is that of the query's. Raises
    InvalidFields."""
    last = request.headers.get("last-event-id")
    given = [_number("Last-Event-ID", last) if last else None, seq_of(request, name)]
    return max((seq for seq in given if seq is not None), default=None)


def seq_of(request: Request, name: str) -> int | None:
    """The number that the query has under a name, None if there is none. Raises InvalidFields."""
    value = request.query_params.get(name)
    return _number(name, value) if value else None


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX) or int(value) > SEQ_MAX:
        told = f"{name} must be a whole number from 0 to {SEQ_MAX}; it is {value[:40]!r}."
        raise InvalidFields(told, [{"field": name, "message": told}])
    return int(value)
