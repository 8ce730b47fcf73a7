"""The one HTTP client for webhooks: bounded in time, size and redirects, and guarded where it connects.

A name is resolved once a connection, every address of the answer is judged, and exactly a judged one is connected to;
so an answer that changes meanwhile (DNS rebinding) changes nothing. TLS still verifies the name. No proxy is used.
"""

import asyncio
import contextlib
import email.utils
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin

import httpcore

from protocol.errors import HocketError, Invalid

from .addresses import AddressRefused, Target, check_url, may_connect

REDIRECTS_MAX = 3
RETRY_AFTER_SECONDS_MAX = 300.0
_ANSWER_BYTES_MAX = 4096
_ANSWER_SECONDS_MAX = 1.0
_ADDRESSES_MAX = 4
_FOLLOWED = frozenset({307, 308})
_FOR_ONE_ORIGIN = frozenset({"authorization", "x-a2a-notification-token"})

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, at least one, or OSError."""


class Undelivered(HocketError):
    """Nobody was reached, or no answer came in time."""

    code = "undelivered"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said. `retry_after_s` is what it asks to be left alone for, at most RETRY_AFTER_SECONDS_MAX."""

    status: int
    reason: str
    retry_after_s: float | None = None

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """What the system says, /etc/hosts included."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Outbound:
    """Each post has a connection of its own: none is left open, and none is older than the judgement it rests on."""

    def __init__(
        self, timeout_s: float, loopback: bool = False, resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._timeout_s, self._loopback, self._resolve = timeout_s, loopback, resolve
        self._tls = tls

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One POST, and at most three more where 307 or 308 lead on; any other status is the answer.

        Raises AddressRefused where an address is not allowed, Undelivered for all else that keeps an answer away.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, dict(headers), body)
        except TimeoutError:
            raise Undelivered(f"No answer within {self._timeout_s:g} s.") from None
        except httpcore.TimeoutException:
            raise Undelivered("The receiver did not answer in time.") from None
        except httpcore.LocalProtocolError:  # its words would quote what could not be sent
            raise Undelivered("The request cannot be written.") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as bad:
            raise Undelivered(f"The receiver cannot be reached: {_words(bad)}.") from None

    async def _follow(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        target = check_url(url, self._loopback)
        for _ in range(REDIRECTS_MAX + 1):
            answer, location = await self._send(target, headers, body)
            if answer.status not in _FOLLOWED or not location:
                return answer
            url = urljoin(url, location)
            try:
                following = check_url(url, self._loopback)
            except AddressRefused:
                raise
            except Invalid as bad:
                raise Undelivered(f"The receiver redirects to where no webhook can go: {bad.message}") from None
            if target.scheme == "https" and following.scheme == "http":
                raise Undelivered("The receiver redirects from https to http.")
            if following.origin != target.origin:
                headers = {name: value for name, value in headers.items() if name.lower() not in _FOR_ONE_ORIGIN}
            target = following
        raise Undelivered(f"The receiver redirects more than {REDIRECTS_MAX} times.")

    async def _send(self, target: Target, headers: Mapping[str, str], body: bytes) -> tuple[Answer, str]:
        if self._tls is None and target.scheme == "https":
            self._tls = httpcore.default_ssl_context()
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        named = [("Host", target.authority), ("Content-Length", str(len(body))), ("User-Agent", "hocket"),
                 ("Connection", "close"), *headers.items()]  # fmt: skip
        raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in named]
        guard = _Guard(self._resolve, self._loopback)
        pool = httpcore.AsyncConnectionPool(self._tls, max_connections=1, retries=0, network_backend=guard)
        async with pool, pool.stream("POST", url, headers=raw, content=body) as response:
            taken = 0
            # The status is the answer; its body is read for as long as that lets the receiver end in peace.
            with contextlib.suppress(httpcore.NetworkError, httpcore.ProtocolError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS_MAX):
                    async for part in response.aiter_stream():
                        taken += len(part)
                        if taken > _ANSWER_BYTES_MAX:
                            break
            told = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            return _answer(response.status, told.get(b"retry-after", "")), told.get(b"location", "")


class _Guard(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone."""

    def __init__(self, resolve: Resolve, loopback: bool) -> None:
        self._resolve, self._loopback = resolve, loopback
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        refused = [one for one in addresses if not may_connect(one, self._loopback)]
        if refused or not addresses:
            told = f"resolves to {refused[0]}, which is not a public address" if refused else "has no address"
            raise AddressRefused(f"A webhook may not be sent to {host}: it {told}.")
        fault: Exception = httpcore.ConnectError("no address")
        for address in addresses[:_ADDRESSES_MAX]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as bad:
                fault = bad
        raise fault

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def _answer(status: int, retry_after: str) -> Answer:
    """The reason is that of the standard, for what a receiver writes there is its own."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return Answer(status, reason, _seconds(retry_after))


def _seconds(retry_after: str) -> float | None:
    """Of Retry-After in either form (RFC 9110, 10.2.3)."""
    given = retry_after.strip()
    if given.isascii() and given.isdigit() and len(given) < 10:
        return min(float(given), RETRY_AFTER_SECONDS_MAX)
    try:
        at = email.utils.parsedate_to_datetime(given).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(at - time.time(), 0.0), RETRY_AFTER_SECONDS_MAX)


def _words(bad: Exception) -> str:
    """Of the failure, as one short line."""
    told = " ".join(str(bad).split()).rstrip(".")
    return told[:200] or type(bad).__name__
