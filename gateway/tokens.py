"""Page tokens: a JWT (RFC 7519, HS256) that is good for one run, for minutes, in place of a key in a URL.

It says who asks as the key behind it did, never allows more than to read, answer and cancel that run, and dies with
the key.
"""

from dataclasses import dataclass

import jwt

from protocol.entries import Caller
from protocol.errors import Unauthorized

SCOPES = ("runs:read", "runs:resume", "runs:cancel")
"""All that a page may be allowed."""
LIFE_SECONDS = 15 * 60
RENEWAL_SECONDS = 8 * 60 * 60
"""A token may fetch the next one until so long after a key (or development) made the first."""

_ALGORITHM = "HS256"
_CLAIMS = ("tenant", "sub", "kind", "name", "run", "key")


@dataclass(frozen=True, slots=True)
class PageCaller(Caller):
    """Who asks by a page token. `auth_at` is when the first one was made, `until` when this one ends; epoch seconds."""

    auth_at: int = 0
    until: int = 0


def issue(secret: bytes, by: Caller, run_id: str, now: int) -> tuple[str, int]:
    """A token for the run with what `by` may do there, and when it ends. Raises Unauthorized where `by` is a token of
    a line that is too old to go on."""
    auth_at = by.auth_at if isinstance(by, PageCaller) else now
    until = min(now + LIFE_SECONDS, auth_at + RENEWAL_SECONDS)
    if until <= now:
        raise Unauthorized("This page has been open for too long: open it again with a key.")
    claims = {
        "tenant": by.tenant,
        "sub": by.id,
        "kind": by.kind,
        "name": by.name,
        "run": run_id,
        "scopes": [scope for scope in SCOPES if by.may(scope)],
        "key": by.credential,
        "iat": now,
        "exp": until,
        "auth_at": auth_at,
    }
    return jwt.encode(claims, secret, _ALGORITHM), until


def read(secret: bytes, token: str, now: int) -> PageCaller | None:
    """Who holds the token, None if it is expired or none of ours. Whether its key is good is for the caller to ask."""
    try:
        # times are compared below, with the clock that is given
        options = {"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", *_CLAIMS]}
        claims = jwt.decode(token, secret, [_ALGORITHM], options)  # type: ignore[arg-type]
    except jwt.InvalidTokenError:
        return None
    tenant, sub, kind, name, run, key = (claims[name] for name in _CLAIMS)
    until, auth_at, scopes = claims["exp"], claims.get("auth_at"), claims.get("scopes")
    if type(until) is not int or type(auth_at) is not int or not isinstance(scopes, list) or now >= until:
        return None
    return PageCaller(tenant, sub, kind, name, frozenset(scopes) & frozenset(SCOPES), run, key, auth_at, until)


def looks_like_one(token: str) -> bool:
    """Whether it has the form of a JWT; a key has no dots."""
    return token.count(".") == 2
