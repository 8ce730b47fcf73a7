"""The operations of `/v1/webhooks`, as one table, and what they take and give; see `rest_table` and `rest_forms`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from runtime.addresses import URL_CHARS_MAX
from runtime.webhook import DESCRIPTION_CHARS_MAX, WEBHOOKS_MAX
from runtime.webhooks import FEEDS_MAX

from .openapi import EVENT_STREAM, JSON, Answer, Header, Operation
from .rest_forms import Form, Id, NoQuery

Event = Literal["run.started", "run.waiting", "run.completed", "run.failed", "run.cancelled"]
Format = Literal["hocket", "middesk"]


class WebhookChange(Form):
    """What is to be otherwise; what is absent stays."""

    url: str = Field("", max_length=URL_CHARS_MAX, description="Where to send: http or https, a public address.")
    events: list[Event] = Field([], min_length=1, max_length=20, description="What to tell; absent at first, all.")
    agent: Id | None = Field(None, description="Only runs of this agent; null for every agent's.")
    format: Format = Field("hocket", description="In whose words to tell it: hocket's, or those of Middesk's webhooks.")
    description: str = Field("", max_length=DESCRIPTION_CHARS_MAX)
    enabled: bool = Field(True, description="What is recorded while it is not enabled is never told.")


class WebhookForm(WebhookChange):
    """A new webhook."""

    url: str = Field(max_length=URL_CHARS_MAX, description="Where to send: http or https, a public address.")


class WebhookObject(BaseModel):
    """A webhook of the tenant."""

    id: str
    url: str
    events: list[Event]
    agent: str | None
    format: Format
    description: str
    enabled: bool
    created_at: datetime
    updated_at: datetime


class SecretWebhook(WebhookObject):
    """A webhook with its new secret, which is shown here alone."""

    secret: str = Field(description="`whsec_` and base64: what a library of Standard Webhooks takes.")


class WebhookList(BaseModel):
    """All webhooks of the tenant, oldest first."""

    webhooks: list[WebhookObject]


class DeliveryObject(BaseModel):
    """One post and what came of it."""

    at: datetime
    message_id: str = Field(description="The `webhook-id` that was sent: the same for every try of one update.")
    type: str
    run_id: str | None = Field(description="Null for a ping.")
    seq: int | None = Field(description="The entry of the run's log that it tells of.")
    attempt: int = Field(description="Which try of the update this was, from 1 on.")
    delivered: bool
    status: int | None = Field(description="The receiver's answer, null if there was none.")
    error: str | None
    duration_ms: int


class DeliveryList(BaseModel):
    """The last 100 posts, newest first."""

    deliveries: list[DeliveryObject]


class ListenQuery(Form):
    """What to tell."""

    events: list[Event] = Field([], description="These, repeated or comma-separated; absent, all.")
    agent: Id | None = Field(None, description="Only runs of this agent.")


class ListenEvent(BaseModel):
    """One event of the stream. `data` is, byte for byte, the body that a webhook would be sent; `{}` where nothing is
    told and only the place moves."""

    id: str = Field(description="The place behind it: where `Last-Event-ID` goes on.")
    event: Event | Literal["listening"]
    data: str = Field(json_schema_extra={"contentMediaType": "application/json"})


_ALWAYS = (401, 403, 422, 500, 503)
_ONE = {JSON: WebhookObject}
_SECRET = {JSON: SecretWebhook}
_PATH = "/v1/webhooks/{webhook_id}"

WEBHOOK_OPERATIONS = (
    Operation(
        "create_webhook",
        "POST",
        "/v1/webhooks",
        "Make a webhook",
        {201: Answer("It was made; its secret is shown this once.", _SECRET, (Header("Location", "The webhook."),))},
        (400, 413, 415, *_ALWAYS),
        NoQuery,
        body=WebhookForm,
        description="It is told of what becomes of any run of the tenant from now on, signed as in Standard Webhooks. "
        f"A tenant has {WEBHOOKS_MAX} at most.",
    ),
    Operation(
        "list_webhooks",
        "GET",
        "/v1/webhooks",
        "List the webhooks",
        {200: Answer("All of them.", {JSON: WebhookList})},
        _ALWAYS,
        NoQuery,
    ),
    Operation(
        "listen_webhooks",
        "GET",
        "/v1/webhooks/events",
        "See what webhooks would be told, as it happens",
        {
            200: Answer(
                "Server-sent events without an end: first `listening`, then whatever is recorded from there on, each "
                "once and in order, and `listening` again where there is silence.",
                {EVENT_STREAM: ListenEvent},
            )
        },
        _ALWAYS,
        ListenQuery,
        (
            Header(
                "Last-Event-ID",
                "The place to go on at: the id that came last.",
                {"type": "string", "pattern": "^[0-9]{1,16}-[0-9]{1,16}$"},
            ),
        ),
        description=f"No webhook is needed for it and none is changed by it. {FEEDS_MAX} may listen at once.",
    ),
    Operation("get_webhook", "GET", _PATH, "Look at a webhook", {200: Answer("It.", _ONE)}, (404, *_ALWAYS), NoQuery),
    Operation(
        "change_webhook",
        "PATCH",
        _PATH,
        "Change a webhook",
        {200: Answer("As it is now.", _ONE)},
        (400, 404, 413, 415, *_ALWAYS),
        NoQuery,
        body=WebhookChange,
    ),
    Operation(
        "delete_webhook",
        "DELETE",
        _PATH,
        "Delete a webhook",
        {204: Answer("It is sent nothing more.")},
        (404, *_ALWAYS),
        NoQuery,
    ),
    Operation(
        "rotate_secret",
        "POST",
        f"{_PATH}/secret",
        "Give a webhook a new secret",
        {200: Answer("With the new secret; the one before signs beside it for 24 hours.", _SECRET)},
        (404, *_ALWAYS),
        NoQuery,
    ),
    Operation(
        "test_webhook",
        "POST",
        f"{_PATH}/test",
        "Send a ping",
        {200: Answer("It was sent, once.", {JSON: DeliveryObject})},
        (404, *_ALWAYS),
        NoQuery,
    ),
    Operation(
        "list_deliveries",
        "GET",
        f"{_PATH}/deliveries",
        "See what was sent and what came of it",
        {200: Answer("The last 100 posts.", {JSON: DeliveryList})},
        (404, *_ALWAYS),
        NoQuery,
    ),
)
