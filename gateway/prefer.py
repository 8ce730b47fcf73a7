"""What a client would rather have: how long an answer is held, and in which of its forms."""

import re

from starlette.requests import Request

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})\b", re.IGNORECASE | re.ASCII)


def preferred_wait(request: Request, seconds_max: int) -> int | None:
    """Seconds of `wait=N` in Prefer (RFC 7240, section 4.3), at most what is offered; None without one. What cannot be
    understood is passed over."""
    found = _WAIT.search(",".join(request.headers.getlist("prefer")))
    return min(int(found.group(1)), seconds_max) if found else None


def prefers(request: Request, wanted: str, over: str) -> bool:
    """Whether Accept names the media type `wanted`, and not after the other: who can read both puts its own first."""
    named = (kind.partition(";")[0].strip().lower() for kind in request.headers.get("accept", "").split(","))
    return next((kind for kind in named if kind in (wanted, over)), None) == wanted
