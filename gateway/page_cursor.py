"""The `cursor` of a list that tells the newest first: the place after its last row, as text that no client reads."""

import base64
import binascii

import orjson

from protocol.errors import Invalid, InvalidId
from protocol.subjects import check_id

from .cursor import SEQ_MAX


def cursor_after(created_at_ms: int, id_: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([created_at_ms, id_])).rstrip(b"=").decode()


def place_of(cursor: str, what: str) -> tuple[int, str]:
    """The (created_at_ms, id) that a `cursor_after` was made of. Raises Invalid for anything else."""
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        at_ms, id_ = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        if type(at_ms) is int and 0 <= at_ms <= SEQ_MAX:
            return at_ms, check_id(id_, "The id")
    except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError, TypeError, ValueError, InvalidId):
        pass
    raise Invalid(f"cursor: this is no next_cursor of a list of {what}.")
