"""What Operativus' clients are refused with: an RFC 9457 problem whose type says what it was."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from protocol.errors import (
    AgentNotFound,
    Conflict,
    Forbidden,
    HocketError,
    InterruptExpired,
    Invalid,
    InvalidAnswer,
    NotFound,
    RunMismatch,
    RunNotFound,
    ThreadNotFound,
)

from ..errors import InvalidFields, MalformedJson


class BusinessRule(Invalid):
    """What was asked for is understood, and cannot be done as things are."""

    code = "business_validation_error"


class ForeignOrg(Forbidden):
    """`orgId` is none that the credential belongs to."""

    def __init__(self) -> None:
        HocketError.__init__(self, "This credential does not belong to the organisation that orgId names.")
        self.scope = ""


class ApprovalNotFound(NotFound):
    code = "approval_not_found"

    def __init__(self, approval_id: str) -> None:
        super().__init__("There is no such approval.")
        self.identifier = approval_id


_KINDS = {
    401: "unauthorized",
    403: "forbidden",
    404: "resource-not-found",
    405: "method-not-allowed",
    409: "idempotency-conflict",
    413: "payload-too-large",
    415: "unsupported-media-type",
    429: "rate-limit-exceeded",
    500: "internal-error",
    503: "unavailable",
    504: "run-still-active",
}
_RESOURCES: dict[type[NotFound], str] = {
    AgentNotFound: "Agent",
    RunNotFound: "Run",
    ThreadNotFound: "Session",
    ApprovalNotFound: "Approval",
}


def refuse(status: int, code: str, detail: str, error: Exception) -> Response:
    """The problem of an error, whose status is not always hocket's own: no field is wrong with another than 400."""
    if isinstance(error, Conflict) and not isinstance(error, RunMismatch):
        return problem("business-validation-error", 400, detail, errors=[])
    if isinstance(error, BusinessRule | InterruptExpired):
        return problem("business-validation-error", 400, detail, errors=[])
    if isinstance(error, MalformedJson):
        return problem("malformed-request-body", 400, detail)
    if isinstance(error, Invalid):
        return problem("invalid-request", 400, detail, invalidParams=_params(error))
    more: dict[str, Any] = {}
    if status == 404:
        named = error if isinstance(error, NotFound) else None
        name = next((name for kind, name in _RESOURCES.items() if isinstance(error, kind)), "Path")
        more = {"resourceName": name, "identifier": named.identifier if named is not None else ""}
    kind = _KINDS.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "-")
    return problem(kind, status, detail, **more)


def problem(kind: str, status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> Response:
    """A problem of a kind, which its title is made of, with more members."""
    return Problem(kind, status, detail, headers, members)


class Problem(Response):
    """Written as it is sent, for `instance` is the path that was asked for."""

    media_type = "application/problem+json"

    def __init__(
        self, kind: str, status: int, detail: str, headers: Mapping[str, str] | None, members: dict[str, Any]
    ) -> None:
        super().__init__(b"", status, headers)
        title = kind.replace("-", " ").title()
        self._told = {"type": f"urn:problem-type:{kind}", "title": title, "status": status, "detail": detail}
        self._members = members

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        self.body = orjson.dumps({**self._told, "instance": path, **self._members})
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def _params(error: Invalid) -> list[dict[str, str]]:
    if isinstance(error, InvalidFields):
        return error.fields
    if isinstance(error, InvalidAnswer):
        return [{"field": "payload" + one["path"].replace("/", "."), "message": one["message"]} for one in error.faults]
    return [{"field": "", "message": error.message}]
