"""The `Idempotency-Key` of a request that starts or answers something."""

import re

from starlette.requests import Request

from protocol.errors import Invalid

_KEY = re.compile(r"[!-~]{1,128}")


def idempotency_key(request: Request) -> str | None:
    """None if there is none. Raises Invalid."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid("Idempotency-Key must be 1 to 128 visible ASCII characters.")
    return key
