"""Whether a request is one: what the SDK's routes would let pass, or tell in the words of an exception.

They take an enum value that they do not know for none, which for a filter means everything, and a field of the wrong
kind for an internal error.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from a2a.compat.v0_3.jsonrpc_adapter import JSONRPC03Adapter
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.utils.errors import InvalidParamsError, InvalidRequestError, MethodNotFoundError, VersionNotSupportedError
from a2a.utils.proto_utils import parse_params
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from pydantic import ValidationError
from starlette.datastructures import QueryParams

METHODS = JsonRpcDispatcher.METHOD_TO_MODEL
METHODS_03 = JSONRPC03Adapter.METHOD_TO_MODEL
_FAULTS_MAX = 20
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_LOOKED_AT = (FieldDescriptor.TYPE_ENUM, FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BYTES)
_OPAQUE = "google.protobuf."
"""Value, Struct and Timestamp are JSON of their own."""


def check_envelope(given: Any) -> dict[str, Any]:
    """A single JSON-RPC 2.0 request. Raises InvalidRequestError."""
    if isinstance(given, list):
        raise InvalidRequestError("Batches are not supported: send one request at a time.")
    if not isinstance(given, dict):
        raise InvalidRequestError("A JSON-RPC request is an object.")
    if given.get("jsonrpc") != "2.0":
        raise InvalidRequestError('jsonrpc: exactly "2.0" is expected.')
    if not isinstance(given.get("method"), str) or not given["method"]:
        raise InvalidRequestError("method: the name of a method is expected.")
    if not isinstance(given.get("params", {}), dict):
        raise InvalidParamsError("params: an object is expected.")
    if not _is_id(given.get("id")):
        raise InvalidRequestError("id: a text, a whole number or null is expected.")
    return given


def request_id(given: Any) -> Any:
    """The id to answer under; null where there is none that could be."""
    found = given.get("id") if isinstance(given, dict) else None
    return found if _is_id(found) else None


def _is_id(found: Any) -> bool:
    return found is None or (isinstance(found, str | int) and not isinstance(found, bool))


def check_version(version: str, expected: str) -> None:
    """Only the major version counts. Raises VersionNotSupportedError."""
    if version.partition(".")[0] != expected.partition(".")[0]:
        raise VersionNotSupportedError(f"A2A-Version: {version[:20]!r} is not spoken here; send {expected}.")


def check_params(method: str, given: dict[str, Any], version: str) -> Message | None:
    """The request of a method of 1.0, None for one of 0.3. Raises MethodNotFoundError, VersionNotSupportedError,
    InvalidParamsError."""
    if method in METHODS_03:
        check_version(version, "0.3")
        _check_03(method, given)
        return None
    if method not in METHODS:
        raise MethodNotFoundError(f"There is no method {method[:80]!r}.")
    check_version(version, "1.0")
    return parsed(METHODS[method](), given.get("params", {}))


def parsed(message: Message, given: Any) -> Message:
    """`given`, ProtoJSON, as the message. Unknown fields are passed over; unknown values of enums are not. Raises
    InvalidParamsError."""
    if not isinstance(given, dict):
        raise InvalidParamsError("An object is expected.")
    return _filled(message, given, lambda: ParseDict(given, message, ignore_unknown_fields=True))


def parsed_query(message: Message, query: QueryParams) -> Message:
    """The same of a query string. Raises InvalidParamsError."""
    return _filled(message, dict(query), lambda: parse_params(query, message))


def _filled(message: Message, given: dict[str, Any], fill: Callable[[], Any]) -> Message:
    """The message once `fill` has put `given` into it. Raises InvalidParamsError."""
    strange = list(_strange(given, message.DESCRIPTOR, ""))
    if strange:
        raise InvalidParamsError(strange[0]["message"], {"errors": strange[:_FAULTS_MAX]})
    try:
        fill()
    except (ParseError, ValueError, TypeError, RecursionError) as bad:
        where = str(bad).partition(":")[0].removeprefix("Failed to parse ").removesuffix(" field")
        raise InvalidParamsError(f"{where[:120]}: this is not of the kind that the field has.") from None
    return message


def _strange(given: Any, kind: Any, where: str) -> Iterator[dict[str, str]]:
    """Values of enums that there are not, and bytes that are not base64, of which ProtoJSON takes either alphabet."""
    if not isinstance(given, dict) or kind.full_name.startswith(_OPAQUE):
        return
    for field in kind.fields:
        value = given.get(field.json_name, given.get(field.name))
        if value is None or field.type not in _LOOKED_AT:
            continue
        path = f"{where}.{field.json_name}" if where else field.json_name
        for one in value if isinstance(value, list) else [value]:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                yield from _strange(one, field.message_type, path)
            elif field.type == FieldDescriptor.TYPE_BYTES:
                if isinstance(one, str) and not (_BASE64.fullmatch(one) and len(one.rstrip("=")) % 4 != 1):
                    yield {"field": path, "message": f"{path}: this is not base64."}
            elif not _is_value(one, field):
                known = ", ".join(value.name for value in field.enum_type.values if value.number)
                yield {"field": path, "message": f"{path}: {str(one)[:80]!r} is none of {known}."}


def _is_value(given: Any, field: Any) -> bool:
    if isinstance(given, str) and not given.lstrip("-").isdigit():
        return given in field.enum_type.values_by_name
    return isinstance(given, str | int) and int(given) in field.enum_type.values_by_number


def _check_03(method: str, given: dict[str, Any]) -> None:
    model: Any = METHODS_03[method]
    try:
        model.model_validate(given)
    except ValidationError as bad:
        fault = bad.errors(include_url=False)[0]
        raise InvalidParamsError(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}.") from None
