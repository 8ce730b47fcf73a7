"""What Veryfront's endpoints refuse, in its envelope: `{"error": CODE, "detail": text}`."""

from typing import Any

from starlette.responses import Response

from protocol.errors import RunMismatch

from ..json_answer import json_answer

_CODES = {
    400: "INVALID_REQUEST",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    410: "RUN_NOT_ACTIVE",
    413: "TOO_LARGE",
    503: "UNAVAILABLE",
}


def refuse(status: int, code: str, detail: str, error: Exception) -> Response:
    """Veryfront knows no 422. Of a missing credential it says one word, as its MCP endpoint does."""
    if status == 401:
        return answer(401, {"error": "unauthorized"})
    status = 400 if status == 422 else status
    return answer(status, {"error": _code(status, code, error), "detail": detail})


def _code(status: int, code: str, error: Exception) -> str:
    if isinstance(error, RunMismatch):
        return "RUN_ID_CONFLICT"
    return _CODES.get(status, code.upper())


def not_active(detail: str) -> Response:
    return answer(410, {"error": "RUN_NOT_ACTIVE", "detail": detail})


def not_waiting(detail: str) -> Response:
    return answer(409, {"error": "TOOL_RESULT_NOT_WAITING", "detail": detail})


def conflict(detail: str) -> Response:
    return answer(409, {"error": "TOOL_RESULT_CONFLICT", "detail": detail})


def answer(status: int, told: Any) -> Response:
    return json_answer(told, status)
