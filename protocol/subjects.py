"""Where a run lives in the log: `run.<tenant>.<run>.<lane>`, ids encoded reversibly and bounded.

A letter, a digit, `-` and `_` stand for themselves; any other byte of the UTF-8 form becomes `=XX`. So no id
can add a token, a wildcard or a space to a subject, and an encoded id is at most three times as long.
"""

import re
from typing import Literal

from .errors import InvalidId

Lane = Literal["ask", "life", "flow"]

ID_BYTES_MAX = 256
"""Longest run, thread, tenant or agent id, in bytes of UTF-8."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPED = re.compile(rb"[^A-Za-z0-9_-]")


def check_id(value: object, what: str) -> str:
    """The id itself. Raises InvalidId if it is not text of 1 to ID_BYTES_MAX bytes."""
    if not isinstance(value, str):
        raise InvalidId(f"{what} must be text, not {type(value).__name__}.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidId(f"{what} is not valid Unicode text.") from None
    if not 0 < size <= ID_BYTES_MAX:
        raise InvalidId(f"{what} must be 1 to {ID_BYTES_MAX} bytes of UTF-8; it is {size}.")
    return value


def encode_token(value: str) -> str:
    """One subject token for any id; `decode_token` gives the id back."""
    if _PLAIN.match(value):
        return value
    return _ESCAPED.sub(lambda byte: b"=%02X" % byte.group()[0], value.encode()).decode()


def decode_token(token: str) -> str:
    if "=" not in token:
        return token
    return re.sub(rb"=([0-9A-F]{2})", lambda pair: bytes([int(pair.group(1), 16)]), token.encode()).decode()


def run_subject(tenant: str, run_id: str) -> str:
    """The subject of a run without its lane; `<this>.>` is the whole run. Raises InvalidId."""
    return f"run.{encode_token(tenant)}.{encode_token(check_id(run_id, 'The run id'))}"


def parse_subject(subject: str) -> tuple[str, str, str]:
    """(tenant, run id, lane) of a subject of the log or of its live copy."""
    _, tenant, run_id, lane = subject.split(".")
    return decode_token(tenant), decode_token(run_id), lane
