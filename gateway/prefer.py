"""The header Prefer: how long a client would have an answer held (RFC 7240, section 4.3)."""

import re

from starlette.requests import Request

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})\b", re.IGNORECASE | re.ASCII)


def preferred_wait(request: Request, seconds_max: int) -> int | None:
    """Seconds of `wait=N`, at most what is offered; None without one. What cannot be understood is passed over."""
    found = _WAIT.search(",".join(request.headers.getlist("prefer")))
    return min(int(found.group(1)), seconds_max) if found else None
