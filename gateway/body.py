"""Reading a request's JSON within its bounds."""

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from protocol import depth
from protocol.errors import Invalid, TooLarge

from .errors import InvalidFields, MalformedJson

Form = TypeVar("Form", bound=BaseModel)


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The body. Raises TooLarge as soon as it is known to be over the limit, before it is read further."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > bytes_max:
        raise TooLarge(f"The body has {declared} bytes; it may have {bytes_max}.")
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > bytes_max:
                raise TooLarge(f"The body has more than the {bytes_max} bytes it may have.")
            parts.append(part)
    except ClientDisconnect:
        raise Invalid("The client left before its request was complete.") from None
    return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, for an app that reads it again."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def check_declared(request: Request) -> None:
    """Raises HTTPException 415 unless the body is declared as JSON: a page of another site can send anything else
    without being asked first."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise HTTPException(415, f"Send the body as application/json, not as {media[:80] or 'nothing at all'}.")


async def read_json(request: Request, bytes_max: int) -> Any:
    """The body, declared as JSON. Raises HTTPException 415, TooLarge, MalformedJson."""
    check_declared(request)
    return loads(await read_body(request, bytes_max))


async def read_optional_json(request: Request, bytes_max: int) -> Any:
    """The same; an empty object where there is no body at all, which need not be declared."""
    body = await read_body(request, bytes_max)
    if not body:
        return {}
    check_declared(request)
    return loads(body)


def loads(body: bytes) -> Any:
    """Raises MalformedJson."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as bad:
        raise MalformedJson(f"The body is not JSON: {bad}.") from None
    if depth.is_deeper(given, depth.TAKEN, body):
        raise Invalid(f"The body is nested deeper than {depth.TAKEN} levels.")
    return given


def parse(form: type[Form], given: Any) -> Form:
    """`given` as a `form`. Raises InvalidFields, whose message has the first three faults: where, and what was
    expected."""
    try:
        return form.model_validate(given)
    except ValidationError as bad:
        fields = [_told(fault) for fault in bad.errors(include_url=False)[:_FAULTS_MAX]]
        told = " ".join(f"{one['field'] or 'body'}: {one['message']}." for one in fields[:3])
        raise InvalidFields(told, fields) from None


def _told(fault: Any) -> dict[str, str]:
    return {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}


_FAULTS_MAX = 20
