"""What Arkloop's clients are told when something is refused: `error` and `code` alike, a message, a trace."""

import uuid
from typing import Any

import orjson
from starlette.responses import Response

from protocol import errors
from protocol.state import TERMINAL

from ..errors import InvalidFields

VALIDATION = "validation.error"
NOT_ACTIVE, NOT_WAITING, AMBIGUOUS = "runs.not_active", "runs.not_waiting_for_input", "runs.input_ambiguous"

_CODES = {
    400: VALIDATION, 401: "auth.unauthorized", 403: "policy.denied", 404: "http.not_found", 409: "runs.conflict",
    405: "http.method_not_allowed", 413: VALIDATION, 415: VALIDATION, 422: VALIDATION, 429: "runs.limit_exceeded",
    500: "internal.error", 503: "internal.unavailable",
}  # fmt: skip
_NO_RUN, _NO_THREAD = "run not found", "thread not found"


class Ambiguous(errors.Conflict):
    """Several questions are open and the answer names none; `request_ids` are theirs."""

    def __init__(self, request_ids: list[str]) -> None:
        super().__init__("The run waits for several answers: name one of them as request_id.")
        self.request_ids = request_ids


def answer(status: int, told: Any, trace: str) -> Response:
    """JSON with its trace, as every answer has one."""
    return Response(orjson.dumps(told), status, {"x-trace-id": trace}, "application/json")


def fresh_trace() -> str:
    """The trace of what is not about one run."""
    return uuid.uuid4().hex


def refuse(status: int, code: str, detail: str, error: Exception) -> Response:
    """The dialect's envelope for a refusal. JSON that does not parse is 422 here, and so is an agent that is not there;
    a question that has expired is a run that is not active."""
    status = {400: 422, 410: 409}.get(status, status)
    if isinstance(error, errors.AgentNotFound | errors.UnknownInterrupt):
        status = 422 if isinstance(error, errors.AgentNotFound) else 409
    if isinstance(error, errors.RunNotFound | errors.ThreadNotFound):  # the same whatever the id
        detail = _NO_RUN if isinstance(error, errors.RunNotFound) else _NO_THREAD
    named = _code(status, error)
    trace = fresh_trace()
    told = {"error": named, "code": named, "message": detail, "trace_id": trace, "details": _details(error)}
    return answer(status, told, trace)


def _code(status: int, error: Exception) -> str:
    if isinstance(error, errors.NotWaiting):
        return NOT_ACTIVE if error.status in TERMINAL else NOT_WAITING
    if isinstance(error, errors.AlreadyResolved):
        return NOT_ACTIVE if error.resolved["status"] == "closed" else NOT_WAITING
    by_kind = (code for kind, code in _KINDS.items() if isinstance(error, kind))
    return next(by_kind, _CODES.get(status, f"http.{status}"))


_KINDS: dict[type[Exception], str] = {
    errors.RunNotFound: "runs.not_found",
    errors.ThreadNotFound: "threads.not_found",
    errors.ThreadBusy: "runs.thread_busy",
    errors.RunMismatch: "runs.idempotency_conflict",
    errors.InterruptExpired: NOT_ACTIVE,
    errors.UnknownInterrupt: NOT_WAITING,
    Ambiguous: AMBIGUOUS,
}


def _details(error: Exception) -> dict[str, Any]:
    if isinstance(error, errors.ThreadBusy):
        return {"run_id": error.run_id}
    if isinstance(error, errors.InvalidAnswer):
        return {"errors": [{"path": one["path"], "message": one["message"]} for one in error.faults]}
    if isinstance(error, InvalidFields):
        return {"errors": error.fields}
    if isinstance(error, Ambiguous):
        return {"request_ids": error.request_ids}
    return {}
