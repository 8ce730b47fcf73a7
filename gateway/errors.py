"""What was refused, in the words of each face: one table from error class to HTTP status.

Nothing internal reaches a client: what is no HocketError is logged here and told as a bare 500.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from protocol import errors

from .run_object import told_decision

logger = logging.getLogger("hocket.gateway")

STATUS: dict[type[errors.HocketError], int] = {
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.InterruptExpired: 410,
    errors.TooLarge: 413,
    errors.Unavailable: 503,
}
_RETRY_AFTER_S = "2"
_GRPC = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    500: "INTERNAL",
}
_WORDS = {401: "unauthorized", 403: "forbidden", 503: "unavailable"}


class InvalidFields(errors.Invalid):
    """Fields that are not what they should be: each with `field`, where it stands, and `message`."""

    def __init__(self, message: str, fields: list[dict[str, str]]) -> None:
        super().__init__(message)
        self.fields = fields


class MalformedJson(errors.Invalid):
    """The body is not JSON at all."""

    code = "malformed_json"


def status_of(error: errors.HocketError) -> int:
    """By the nearest class in the table; 500 for what no client can bring about."""
    if isinstance(error, MalformedJson):
        return 400
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(status: int, code: str, detail: str, **extra: Any) -> Response:
    """An RFC 9457 problem. `code` is stable; `type` is a URN made of it."""
    body = {"type": f"urn:hocket:{code}", "title": HTTPStatus(status).phrase, "status": status, "code": code,
            "detail": detail, **extra}  # fmt: skip
    return JSONResponse(body, status, _headers(status), media_type="application/problem+json")


def plain(status: int, code: str, detail: str, **extra: Any) -> Response:
    """The form of AG-UI and CopilotKit: a short JSON body, which their clients show as `HTTP <status>: …`."""
    return JSONResponse({"error": code, "message": detail, **extra}, status, _headers(status))


def worded(status: int, code: str, detail: str, **extra: Any) -> Response:
    """The form of Cinatra: one text, fixed for some statuses. It knows no 422."""
    told = {"error": _WORDS.get(status, detail)}
    return JSONResponse(told, 400 if status == 422 else status, _headers(status))


def refuse_worded(status: int, code: str, detail: str, error: Exception) -> Response:
    """The same for a dialect; a path that is not there, and what is switched off, is a bare text."""
    if isinstance(error, HTTPException) and status == 404:
        return PlainTextResponse("Not Found", 404)
    return worded(status, code, detail)


def grpc(status: int, code: str, detail: str, **_: Any) -> Response:
    """The form of A2A over HTTP for what A2A itself has no error for (AIP-193)."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code.upper(), "domain": "hocket"}
    told = {"code": status, "status": _GRPC.get(status, "UNKNOWN"), "message": detail, "details": [info]}
    return JSONResponse({"error": told}, status, _headers(status))


def _headers(status: int) -> dict[str, str]:
    return {503: {"retry-after": _RETRY_AFTER_S}, 401: {"www-authenticate": "Bearer"}}.get(status, {})


def _more(error: errors.HocketError) -> dict[str, Any]:
    """What a client is told beside the sentence, to act upon."""
    if isinstance(error, errors.ThreadBusy):
        return {"run_id": error.run_id}
    if isinstance(error, errors.InterruptsMissing):
        return {"missing": error.missing}
    if isinstance(error, errors.InvalidAnswer):
        return {"faults": error.faults}
    if isinstance(error, errors.AlreadyResolved):
        return {"resolved": told_decision(error.resolved)}
    return {}


_FORMS: tuple[tuple[str, Callable[..., Response]], ...] = (
    ("/v1/", problem),
    ("/a2a/", grpc),
    ("/api/", worded),
    ("/agents/status/", worded),
)


def _form_of(path: str) -> Callable[..., Response]:
    return next((form for prefix, form in _FORMS if f"{path}/".startswith(prefix)), plain)


def render(request: Request, error: Exception) -> Response:
    """The answer of the face that the path belongs to."""
    path = request.scope["path"]  # request.url would be built from the Host header, which may be rubbish
    dialect = next((one for one in getattr(request.app.state, "dialects", ()) if one.holds(path)), None)
    if dialect is not None:
        return _in_dialect(dialect.refuse, request, error)
    form = _form_of(path)
    if isinstance(error, errors.HocketError):
        status = status_of(error)
        if status >= 500:
            logger.warning("%s %s: %s", request.method, path, error.message)
        return form(status, error.code, error.message, **_more(error))
    if isinstance(error, HTTPException):
        code = _phrase(error.status_code)
        if form is worded:
            response = refuse_worded(error.status_code, code, error.detail, error)
        else:
            response = form(error.status_code, code, error.detail)
        response.headers.update(error.headers or {})
        return response
    logger.error("%s %s failed", request.method, path, exc_info=error)
    return form(500, "internal_error", "The gateway failed; its log says why.")


def _in_dialect(refuse: Callable[[int, str, str, Exception], Response], request: Request, error: Exception) -> Response:
    if isinstance(error, errors.HocketError):
        status, code, detail = status_of(error), error.code, error.message
    elif isinstance(error, HTTPException):
        status, code, detail = error.status_code, _phrase(error.status_code), str(error.detail)
    else:
        status, code, detail = 500, "internal_error", "The gateway failed; its log says why."
    if status >= 500:
        fault = None if isinstance(error, errors.HocketError) else error
        logger.warning("%s %s: %s", request.method, request.scope["path"], detail, exc_info=fault)
    response = refuse(status, code, detail, error)
    response.headers.update(_headers(status) | dict(getattr(error, "headers", None) or {}))
    return response


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_")


HANDLERS: dict[Any, Any] = {errors.HocketError: render, HTTPException: render, Exception: render}
