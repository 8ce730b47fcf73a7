"""Refusals as Middesk's API words them: `{"errors": [{"message"}]}`, one entry for each thing that is wrong."""

from starlette.responses import Response

from protocol import errors

from ..errors import InvalidFields
from ..json_answer import json_answer
from ..resource import BadSegment


class NoContext(errors.Invalid):
    """A start that says neither what it is about nor what to do."""

    def __init__(self) -> None:
        super().__init__("Give thread_id, business_id, context_type with context_id, or input.")


_STATUS: dict[type[Exception], int] = {
    NoContext: 400,
    BadSegment: 404,
    errors.AgentNotFound: 422,
    errors.InterruptExpired: 409,
}
"""Where this dialect differs from the others."""
_STATUS_OF_STATUS = {400: 422, 415: 422}
"""A body that is no JSON is of the wrong form like any other."""
_FIXED: dict[type[Exception], str] = {
    errors.RunNotFound: "Run not found",
    errors.ThreadNotFound: "Thread not found",
    BadSegment: "Not found",
}


def refuse(status: int, code: str, detail: str, error: Exception) -> Response:
    """The dialect's envelope."""
    status = _STATUS.get(type(error)) or _STATUS_OF_STATUS.get(status, status)
    told = {"errors": [{"message": message} for message in _messages(detail, error)]}
    return json_answer(told, status)


def _messages(detail: str, error: Exception) -> list[str]:
    if isinstance(error, InvalidFields):
        return [f"{one['field'] or 'body'}: {one['message']}" for one in error.fields]
    if isinstance(error, errors.InvalidAnswer):
        return [f"input{one['path']}: {one['message']}" for one in error.faults]
    return [_FIXED.get(type(error), detail)]
