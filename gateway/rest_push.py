"""Webhooks' dead letters under `/v1/push`: what no receiver has taken, and sending it again. The operations, what they
take and give, and their handlers."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from protocol.errors import Invalid, NotFound
from runtime.dead_letters import DeadLetter
from runtime.engine import Engine
from runtime.push_door import DEAD_MAX

from .auth import tenant_wide
from .json_answer import json_answer
from .openapi import JSON, Answer, Operation
from .query import read_query
from .resource import Resource
from .rest_forms import Form, NoQuery, Whole
from .run_object import rfc3339


class DeadLettersQuery(Form):
    """Which dead letters."""

    limit: Annotated[Whole, Field(ge=1, le=DEAD_MAX)] = Field(50, description="Most dead letters in the answer.")
    cursor: str | None = Field(None, max_length=64, description="The `next_cursor` of the page before.")


class DeadLetterObject(BaseModel):
    """An update of a run that a webhook was not told."""

    id: str
    run_id: str
    config_id: str = Field(description="Which of the run's webhooks, or of the tenant's.")
    of_tenant: bool = Field(description="Whether it is one of `/v1/webhooks`.")
    url: str = Field(description="Where it was sent.")
    seq: int = Field(description="The entry of the run's log that it tells of.")
    error: str = Field(description="Why the last try failed.")
    attempts: int
    first_at: datetime
    last_at: datetime


class DeadLetterPage(BaseModel):
    """Dead letters, newest first."""

    dead_letters: list[DeadLetterObject]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


class RedeliveryObject(BaseModel):
    """What became of the one try."""

    delivered: bool = Field(description="Whether it was taken; the dead letter is then gone.")
    status: int | None = Field(description="The receiver's answer, null if there was none.")
    reason: str


_ALWAYS = (401, 403, 422, 500, 503)

PUSH_OPERATIONS = (
    Operation(
        "list_dead_letters",
        "GET",
        "/v1/push/dead-letters",
        "List what webhooks did not take, newest first",
        {200: Answer("A page of dead letters.", {JSON: DeadLetterPage})},
        _ALWAYS,
        DeadLettersQuery,
    ),
    Operation(
        "redeliver",
        "POST",
        "/v1/push/dead-letters/{dead_letter_id}/redeliver",
        "Send a dead letter again",
        {200: Answer("It was tried, once and now.", {JSON: RedeliveryObject})},
        (404, 409, *_ALWAYS),
        NoQuery,
        description="It is sent to the webhook as it is now. One that was removed or disabled is a conflict. What is "
        "taken is a dead letter no more; what is not stays one.",
    ),
)


class RestPush:
    """The part of the REST face over `engine.push`."""

    def __init__(self, engine: Engine) -> None:
        self._push = engine.push

    def routes(self) -> list[Resource]:
        return [Resource(one.path, {one.method: getattr(self, one.name)}) for one in PUSH_OPERATIONS]

    async def list_dead_letters(self, request: Request) -> Response:
        by, asked = tenant_wide(request), read_query(DeadLettersQuery, request)
        try:
            found = await self._push.dead(by, asked.limit + 1, asked.cursor)
        except NotFound:
            raise Invalid("cursor: this is no next_cursor of a list of dead letters.") from None
        page = found[: asked.limit]
        cursor = page[-1].id if len(found) > len(page) else None
        return json_answer({"dead_letters": [_told(letter) for letter in page], "next_cursor": cursor})

    async def redeliver(self, request: Request) -> Response:
        by = tenant_wide(request)
        read_query(NoQuery, request)
        return json_answer(asdict(await self._push.redeliver(request.path_params["dead_letter_id"], by)))


def _told(letter: DeadLetter) -> dict[str, Any]:
    shown = ("id", "run_id", "config_id", "url", "seq", "error", "attempts", "of_tenant")
    times = {"first_at": rfc3339(letter.first_at_ms), "last_at": rfc3339(letter.last_at_ms)}
    return {name: getattr(letter, name) for name in shown} | times
