"""The header Idempotency-Key: the same key with the same request is the same thing done once."""

import re
import uuid

from starlette.requests import Request

from protocol.entries import Principal
from protocol.errors import Invalid

KEY = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]{1,128}$"}
"""Its schema."""
_KEY = re.compile(r"[!-~]{1,128}")
_MESSAGES = uuid.UUID("3b6d5f0e-92a3-5f0b-8f6e-0d2f4f6f1a11")


def idempotency_key(request: Request) -> str | None:
    """None if there is none. Raises Invalid."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid("Idempotency-Key must be 1 to 128 visible ASCII characters.")
    return key


def message_id(key: str | None, by: Principal) -> str:
    """An id for the message that a request brings: the same when it is repeated under its key, else a fresh one."""
    return str(uuid.uuid5(_MESSAGES, f"{by.tenant}\n{by.id}\n{key}") if key is not None else uuid.uuid4())
