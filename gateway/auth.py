"""Credentials become a Caller here and nowhere else; nothing in a body ever does.

Whoever offers a credential is judged by it. Who offers none is the developer, as long as there has never been a key:
then only loopback is bound, and only pages of loopback may ask.
"""

import ipaddress
import time
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from protocol.entries import SCOPES, Caller
from protocol.errors import Forbidden, HocketError, Refused, Unauthorized
from runtime.keys import Keys

from . import tokens
from .tokens import PageCaller

DEVELOPMENT = Caller("default", "development", "development", "Development", scopes=frozenset(SCOPES))
_EXPECTED = "Send `Authorization: Bearer <key>` with a key that is good; `hocket keys create` makes one."


class Elsewhere(Forbidden):
    """Without keys: a request by another name than loopback's, as a page of a foreign site can send it."""

    code = "foreign_origin"

    def __init__(self, what: str, given: str) -> None:
        told = f"Without API keys hocket answers on loopback only, and the {what} is {given[:80]!r}."
        HocketError.__init__(self, f"{told} Make a key with `hocket keys create` and send it.")
        self.scope = ""


class ForeignOrigin(Forbidden):
    """A page of an origin that is not named, whatever its credential."""

    code = "foreign_origin"

    def __init__(self, message: str) -> None:
        HocketError.__init__(self, message)
        self.scope = ""


class Auth:
    """Who a request is from. `origins` are those whose pages may ask in development as well."""

    def __init__(self, keys: Keys, origins: Collection[str] = ()) -> None:
        self._keys, self._origins = keys, frozenset(origins)

    @property
    def keyed(self) -> bool:
        """Whether a key is asked for."""
        return self._keys.configured

    @property
    def ready(self) -> bool:
        """Whether all keys are known; a replica that cannot read them must not go on admitting those it knew."""
        return self._keys.ready

    def caller(self, connection: HTTPConnection) -> Caller:
        """Raises Unauthorized, in the same words whatever is wrong with the credential, and Elsewhere."""
        given = connection.headers.get("authorization")
        if given is None:
            if self._keys.configured:
                raise Unauthorized(_EXPECTED)
            self._check_origin(connection)
            return DEVELOPMENT
        scheme, _, credential = given.partition(" ")
        found = self._judged(credential.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Unauthorized(_EXPECTED)
        return found

    def page(self, token: str, run_id: str) -> PageCaller:
        """Who holds the page token of that run. Raises Unauthorized for anything else, a key included."""
        found = self._judged(token)
        if not isinstance(found, PageCaller) or found.run != run_id:
            raise Unauthorized("This page's token is not good any more: open the page again.")
        return found

    def holds(self, by: Caller) -> bool:
        """Whether what `by` was admitted with is good still: who follows a run for hours is asked again."""
        if isinstance(by, PageCaller) and time.time() >= by.until:
            return False
        return self._stands(by)

    async def issue(self, by: Caller, run_id: str) -> tuple[str, int]:
        """A page token for the run and when it ends. Raises Unauthorized, Unavailable."""
        return tokens.issue(await self._keys.signing_secret(), by, run_id, int(time.time()))

    def _judged(self, credential: str) -> Caller | None:
        if not tokens.looks_like_one(credential):
            return self._keys.find(credential, _now_ms())
        secret = self._keys.secret
        page = tokens.read(secret, credential, int(time.time())) if secret is not None else None
        return page if page is not None and self._stands(page) else None

    def _stands(self, by: Caller) -> bool:
        """A key lives until it is revoked or expires; development until there is a key."""
        return self._keys.good(by.credential, _now_ms()) if by.credential else not self._keys.configured

    def _check_origin(self, connection: HTTPConnection) -> None:
        """A page of a foreign site whose name leads to 127.0.0.1 sends that name as Host; one that merely posts here
        sends its Origin."""
        host = connection.headers.get("host", "")
        if not is_loopback(_hostname(f"//{host}")):
            raise Elsewhere("Host", host)
        if not self.knows_origin(connection):
            raise Elsewhere("Origin", connection.headers["origin"])

    def knows_origin(self, connection: HTTPConnection) -> bool:
        """Whether a page that asks, if one does, is of loopback or of an origin that is named."""
        origin = connection.headers.get("origin")
        return origin is None or origin in self._origins or is_loopback(_hostname(origin))


def principal(connection: HTTPConnection) -> Caller:
    """Who asks; what that one may do is for the engine to look at. Raises Unauthorized or Forbidden."""
    auth: Auth = connection.app.state.auth
    return auth.caller(connection)


def page_principal(connection: HTTPConnection, token: str, run_id: str) -> Caller:
    """Who posts a form of the run's page: the form's own token says so, and no other site knows it. Raises
    Unauthorized."""
    auth: Auth = connection.app.state.auth
    return auth.page(token, run_id)


def tenant_wide(connection: HTTPConnection) -> Caller:
    """Who asks, for what is not about one run. Raises Unauthorized or Forbidden."""
    by = principal(connection)
    if by.run is not None:
        raise Forbidden("runs:read for more than one run")
    return by


def check_origin(connection: HTTPConnection) -> None:
    """For a protocol that wants the Origin judged whatever the credential (MCP, Streamable HTTP). Raises Forbidden."""
    auth: Auth = connection.app.state.auth
    if not auth.knows_origin(connection):
        origin = connection.headers["origin"]
        raise ForeignOrigin(f"Pages of {origin[:80]!r} may not ask here: HOCKET_CORS_ORIGINS names those that may.")


def holding(connection: HTTPConnection, by: Caller) -> Callable[[], bool]:
    """Says at any later time whether `by` may go on. It keeps nothing of the request."""
    auth: Auth = connection.app.state.auth
    return partial(auth.holds, by)


async def issue(connection: HTTPConnection, by: Caller, run_id: str) -> tuple[str, int]:
    """A page token for the run and when it ends. Raises Unauthorized, Unavailable."""
    auth: Auth = connection.app.state.auth
    return await auth.issue(by, run_id)


def check_bind(host: str, keyed: bool) -> None:
    """Raises Refused where anyone but this machine could ask and nobody would be asked for a key."""
    if not keyed and not is_loopback(host):
        raise Refused(
            f"Without an API key hocket listens on loopback only, not on {host}: "
            "make a key with `hocket keys create` first, or use --host 127.0.0.1."
        )


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _hostname(url: str) -> str:
    """Of a URL or `//host:port`; empty where that cannot be made out."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
