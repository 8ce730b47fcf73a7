"""The header Idempotency-Key: the same key with the same request is the same thing done once."""

import re

from starlette.requests import Request

from protocol.errors import Invalid

KEY = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]{1,128}$"}
"""Its schema."""
_KEY = re.compile(r"[!-~]{1,128}")


def idempotency_key(request: Request) -> str | None:
    """None if there is none. Raises Invalid."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid("Idempotency-Key must be 1 to 128 visible ASCII characters.")
    return key
