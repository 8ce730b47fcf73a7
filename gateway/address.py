"""Where clients reach this gateway, for the links that it hands out."""

import re

from starlette.datastructures import URL
from starlette.requests import Request

_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


def reached_at(request: Request, public_url: str | None) -> str:
    """Without a slash at the end: what is configured, else the host by which this client has reached the gateway, else
    the address that it is served at."""
    if public_url:
        return public_url.rstrip("/")
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        host = URL(scope={**request.scope, "headers": []}).netloc
    return f"{request.scope['scheme']}://{host}"
