"""Credentials become a Principal here and nowhere else; nothing in a body ever does.

Until keys can be made there is one principal, for development, and only loopback may be bound.
"""

import ipaddress

from starlette.requests import HTTPConnection

from protocol.entries import Principal
from protocol.errors import Refused

DEVELOPMENT = Principal(tenant="default", id="development", kind="development", name="Development")


def principal(connection: HTTPConnection) -> Principal:
    """Who asks."""
    return DEVELOPMENT


def check_bind(host: str) -> None:
    """Raises Refused unless `host` is loopback: there are no credentials to ask anyone else for."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Refused(f"Without credentials hocket listens on loopback only, not on {host}. Use --host 127.0.0.1.")
