"""One call of a peer: who asks, which agent, and what the peer has opted into."""

from dataclasses import dataclass

from a2a.auth.user import User
from a2a.extensions.common import HTTP_EXTENSION_HEADER, get_requested_extensions
from a2a.server.context import ServerCallContext
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.utils.constants import VERSION_HEADER
from a2a.utils.errors import InvalidParamsError, PushNotificationNotSupportedError
from starlette.requests import Request

from protocol.entries import Caller
from protocol.errors import HocketError

CURSOR = "urn:hocket:a2a:cursor:1"
"""Each update says which entry of the log it is, and a stream goes on after one: `cursor.md`."""
IDEMPOTENCY = "urn:hocket:a2a:idempotency:1"
"""`Idempotency-Key` makes a repeated SendMessage the same one: `idempotency.md`."""
EXTENSIONS = (CURSOR, IDEMPOTENCY)

_SCOPE = "hocket.a2a"


@dataclass(slots=True)
class Call:
    """`face` is recorded with what is asked, `pushes` says whether there are push notifications. `run_id_name` is a key
    of the task's metadata under which a dialect wants the run's id. `refused` is what A2A has no word for, and is told
    with an HTTP status instead."""

    by: Caller
    agent: str
    request: Request
    face: str = "a2a"
    pushes: bool = True
    key: str | None = None
    extensions: frozenset[str] = frozenset()
    run_id_name: str | None = None
    refused: HocketError | None = None

    @property
    def numbered(self) -> bool:
        """Whether updates are to say their entry."""
        return CURSOR in self.extensions

    def check_pushes(self) -> None:
        """Raises PushNotificationNotSupportedError."""
        if not self.pushes:
            raise PushNotificationNotSupportedError("Push notifications are switched off here.")

    def check_tenant(self, tenant: str) -> None:
        """A tenant comes from the credential; one that a request names can only be that. Raises InvalidParamsError."""
        if tenant and tenant != self.by.tenant:
            raise InvalidParamsError(f"tenant: {tenant[:80]!r} is not the tenant of this credential; leave it out.")


class Peer(User):
    """Who asks, as the SDK sees it."""

    def __init__(self, by: Caller) -> None:
        self._by = by

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def user_name(self) -> str:
        return self._by.id


class Context(ServerCallContextBuilder):
    """The SDK's context, which carries the call to the handler."""

    def build(self, request: Request) -> ServerCallContext:
        call: Call = request.scope[_SCOPE]
        headers = dict(request.headers) | {VERSION_HEADER.lower(): version_of(request)}
        asked = get_requested_extensions(request.headers.getlist(HTTP_EXTENSION_HEADER))
        return ServerCallContext(
            user=Peer(call.by), state={"headers": headers, "call": call}, requested_extensions=asked
        )


def attach(call: Call) -> None:
    call.request.scope[_SCOPE] = call


def call_of(context: ServerCallContext) -> Call:
    call: Call = context.state["call"]
    return call


def version_of(request: Request) -> str:
    """The A2A-Version that the peer speaks; the query counts where there is no header (A2A 1.0.1, 3.6.1), and none at
    all is 0.3."""
    return request.headers.get(VERSION_HEADER) or request.query_params.get(VERSION_HEADER) or "0.3"


def extensions_of(request: Request) -> frozenset[str]:
    """Those of ours that the peer has activated."""
    asked = get_requested_extensions(request.headers.getlist(HTTP_EXTENSION_HEADER))
    return frozenset(asked) & frozenset(EXTENSIONS)
