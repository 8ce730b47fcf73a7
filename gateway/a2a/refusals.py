"""What hocket refuses, in A2A's words: a table from our errors to the specification's (A2A 1.0.1, 3.3.2 and 5.4).

No text of an exception reaches a peer but that of our own errors, which is fit for clients.
"""

import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar, cast

from a2a.utils.error_handlers import build_error_details, build_rest_error_payload
from a2a.utils.errors import (
    JSON_RPC_ERROR_CODE_MAP,
    A2AError,
    InternalError,
    InvalidAgentResponseError,
    InvalidParamsError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import ParseError
from starlette.responses import JSONResponse, Response

from protocol import errors

from .call import Call, call_of

logger = logging.getLogger("hocket.a2a")

Method = TypeVar("Method", bound=Callable[..., Any])

_KINDS: tuple[tuple[type[errors.HocketError], type[A2AError]], ...] = (
    (errors.AgentNotFound, InternalError),
    (errors.NotFound, TaskNotFoundError),
    (errors.RunMismatch, InvalidParamsError),
    (errors.Conflict, UnsupportedOperationError),
    (errors.InterruptExpired, UnsupportedOperationError),
    (errors.Invalid, InvalidParamsError),
    (errors.TooLarge, InvalidParamsError),
)
_WITH_STATUS = (errors.Unauthorized, errors.Forbidden, errors.AgentNotFound, errors.Unavailable)
"""What the specification leaves to HTTP, because it is not about A2A."""


def refusal(call: Call, error: Exception) -> A2AError:
    """The specification's error for ours; what has none is noted on the call."""
    if isinstance(error, A2AError):
        return error
    if isinstance(error, ParseError):
        logger.warning("An agent has said what A2A cannot carry: %s", error)
        return InvalidAgentResponseError("The agent has said what A2A cannot carry.")
    if isinstance(error, _WITH_STATUS):
        call.refused = error
        return InternalError(error.message)
    if isinstance(error, errors.HocketError):
        kind = next((theirs for ours, theirs in _KINDS if isinstance(error, ours)), InternalError)
        return kind(error.message, _more(error))
    logger.error("A call of A2A failed", exc_info=error)
    return InternalError("The gateway failed; its log says why.")


def _more(error: errors.HocketError) -> dict[str, Any]:
    """Metadata of the ErrorInfo, texts all, and the fields that are wrong."""
    told: dict[str, Any] = {"code": error.code}
    if isinstance(error, errors.ThreadBusy):
        told["taskId"] = error.run_id
    if isinstance(error, errors.AlreadyResolved):
        by = error.resolved["by"] or {}
        told |= {"status": str(error.resolved["status"]), "by": str(by.get("name") or by.get("id", ""))}
        told |= {"face": str(error.resolved["face"])}
    if isinstance(error, errors.InvalidAnswer):
        told["errors"] = [
            {"field": f"{fault['interrupt_id']}{fault['path']}", "message": fault["message"]} for fault in error.faults
        ]
    return told


def refusing(method: Method) -> Method:
    """Of a method of the SDK's handler: whatever is raised becomes the specification's error."""

    @functools.wraps(method)
    async def answered(self: Any, params: Any, context: Any) -> Any:
        try:
            return await method(self, params, context)
        except Exception as error:
            raise refusal(call_of(context), error) from None

    return cast(Method, answered)


def refusing_stream(method: Method) -> Method:
    """The same of a method that yields."""

    @functools.wraps(method)
    async def answered(self: Any, params: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for item in method(self, params, context):
                yield item
        except Exception as error:
            raise refusal(call_of(context), error) from None

    return cast(Method, answered)


def rpc_error(request_id: Any, error: A2AError) -> Response:
    """As JSON-RPC tells it: with HTTP 200. The SDK's own form cannot tell a body that is no JSON."""
    code = JSON_RPC_ERROR_CODE_MAP.get(type(error), -32603)
    told = {"code": code, "message": error.message, "data": build_error_details(error)}
    return JSONResponse({"jsonrpc": "2.0", "id": request_id, "error": told})


def rest_error(error: A2AError) -> Response:
    """As HTTP+JSON tells it (AIP-193)."""
    told = build_rest_error_payload(error)
    return JSONResponse(told, told["error"]["code"])
