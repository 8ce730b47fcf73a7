"""Which URLs a webhook may have, and which addresses may be connected to: public ones alone.

Loopback, private, link-local (cloud metadata among them), shared and multicast addresses are refused in every form in
which IPv6 can carry them.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from protocol.errors import Invalid

URL_CHARS_MAX = 2048
_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")
_SHUT = tuple(
    ipaddress.ip_network(one)
    for one in (
        "168.63.129.16/32",  # Azure's host, which serves metadata under a public number
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",  # Teredo among others: an IPv4 address in it leads wherever it likes
        "3fff::/20",
    )
)
"""What `ipaddress` takes for global, in this or that version of Python, and is not for webhooks."""


class AddressRefused(Invalid):
    """A webhook leads to where none may."""

    code = "address_refused"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked for. `host` is bare, `authority` as the Host header has it, `path` with its query."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


def may_connect(address: str, loopback: bool) -> bool:
    """Whether a webhook may be sent to that address; `loopback` also allows this machine, and nothing else."""
    try:
        return _judged(ipaddress.ip_address(address), loopback)
    except ValueError:  # a scope id, a name: no address
        return False


def _judged(address: ipaddress.IPv4Address | ipaddress.IPv6Address, loopback: bool) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _judged(address.ipv4_mapped, loopback)
        if address.is_loopback:
            return loopback
        if address in _NAT64:
            return _judged(ipaddress.IPv4Address(address.packed[-4:]), False)
        if address in _6TO4:
            return _judged(ipaddress.IPv4Address(address.packed[2:6]), False)
        if address not in _GLOBAL_UNICAST:
            return False
    elif address.is_loopback:
        return loopback
    shut = not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified
    return not shut and not any(address in one for one in _SHUT)


def check_url(url: str, loopback: bool) -> Target:
    """The URL's parts. No name is looked up. Raises Invalid, or AddressRefused for an address that is written out."""
    if len(url) > URL_CHARS_MAX:
        raise Invalid(f"A webhook's URL has at most {URL_CHARS_MAX} characters; this one has {len(url)}.")
    if not _VISIBLE.fullmatch(url):
        raise Invalid("A webhook's URL is visible ASCII without spaces; anything else is percent-encoded.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as bad:
        raise Invalid(f"The webhook's URL cannot be read: {bad}.") from None
    if parts.scheme not in _PORTS:
        raise Invalid("A webhook's URL begins with http:// or https://.")
    if "@" in parts.netloc:
        raise Invalid("A webhook's URL holds no credentials: they have fields of their own.")
    if not host or not _HOST.fullmatch(parts.netloc.removesuffix(f":{port}")) or port == 0 or parts.netloc[-1] == ":":
        raise Invalid("A webhook's URL names a host, and a port from 1 to 65535 or none.")
    if not _may_be_named(host, loopback):
        raise AddressRefused(f"A webhook may not lead to {host}: only public addresses are allowed.")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], parts.netloc, _path(parts))


def _may_be_named(host: str, loopback: bool) -> bool:
    """An address that is written out is judged at once; a name only when it is connected to, but for `localhost`."""
    try:
        return _judged(ipaddress.ip_address(host), loopback)
    except ValueError:
        return loopback or not (host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"))


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
