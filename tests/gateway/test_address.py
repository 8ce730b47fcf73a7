"""Where clients reach the gateway."""

import pytest
from starlette.requests import Request

from gateway.address import reached_at


def asked(host: str | None, scheme: str = "http") -> Request:
    headers = [(b"host", host.encode())] if host is not None else []
    return Request({"type": "http", "method": "GET", "scheme": scheme, "path": "/", "query_string": b"",
                    "server": ("10.0.0.1", 8700), "headers": headers})  # fmt: skip


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("agents.example.com", "https://agents.example.com"),
        ("127.0.0.1:8700", "https://127.0.0.1:8700"),
        ("[::1]:8700", "https://[::1]:8700"),
        (None, "https://10.0.0.1:8700"),
        ("a/../b", "https://10.0.0.1:8700"),
        ("a@b", "https://10.0.0.1:8700"),
        ('x"><script>', "https://10.0.0.1:8700"),
    ],
)
def test_it_is_the_host_that_the_client_names_or_else_the_servers_own(host: str | None, address: str) -> None:
    assert reached_at(asked(host, "https"), None) == address


def test_what_is_configured_goes_before_what_a_client_says() -> None:
    assert reached_at(asked("evil.example"), "https://agents.example.com/") == "https://agents.example.com"
