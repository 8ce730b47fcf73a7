"""The operations of `/v1/triggers` and `/v1/events`, as one table; see `rest_table`."""

from pydantic import JsonValue, RootModel

from .idempotency import KEY
from .openapi import JSON, Answer, Header, Operation
from .rest_forms import NoQuery, RunObject
from .trigger_forms import EventTold, TriggerChange, TriggerForm, TriggerObject, TriggerPage, TriggersQuery

_ALWAYS = (401, 403, 500, 503)
_TRIGGER = {JSON: TriggerObject}
_LOCATION = Header("Location", "The trigger.")


class EventData(RootModel[JsonValue]):
    """What is told: any JSON, 64 KB at most."""


TRIGGER_OPERATIONS = (
    Operation(
        "create_trigger",
        "POST",
        "/v1/triggers",
        "Make a trigger",
        {201: Answer("The trigger was made.", _TRIGGER, (_LOCATION,))},
        (400, 404, 409, 413, 415, 422, *_ALWAYS),
        NoQuery,
        body=TriggerForm,
    ),
    Operation(
        "list_triggers",
        "GET",
        "/v1/triggers",
        "List triggers, newest first",
        {200: Answer("A page of triggers.", {JSON: TriggerPage})},
        (422, *_ALWAYS),
        TriggersQuery,
    ),
    Operation(
        "get_trigger",
        "GET",
        "/v1/triggers/{trigger_id}",
        "Look at a trigger",
        {200: Answer("The trigger, with its last run and its next tick.", _TRIGGER)},
        (404, 422, *_ALWAYS),
        NoQuery,
    ),
    Operation(
        "put_trigger",
        "PUT",
        "/v1/triggers/{trigger_id}",
        "Make or replace a trigger",
        {
            200: Answer("The trigger was replaced, and what was planned before is not due any more.", _TRIGGER),
            201: Answer("The trigger was made.", _TRIGGER, (_LOCATION,)),
        },
        (400, 404, 413, 415, 422, *_ALWAYS),
        NoQuery,
        body=TriggerChange,
        description="One that is there already is for who set it, and for an `admin`, to replace.",
    ),
    Operation(
        "delete_trigger",
        "DELETE",
        "/v1/triggers/{trigger_id}",
        "Delete a trigger",
        {204: Answer("It fires no more; runs that it has started go on.")},
        (404, 422, *_ALWAYS),
        NoQuery,
    ),
    Operation(
        "fire_trigger",
        "POST",
        "/v1/triggers/{trigger_id}/fire",
        "Fire a trigger by hand",
        {
            201: Answer("The run was started, in the caller's name.", {JSON: RunObject}, (Header("Location", "It."),)),
            200: Answer("The same key had started this run.", {JSON: RunObject}, (Header("Location", "It."),)),
        },
        (400, 404, 409, 413, 415, 422, *_ALWAYS),
        NoQuery,
        (Header("Idempotency-Key", "1 to 128 visible ASCII characters. The same key is the same run.", KEY),),
    ),
    Operation(
        "tell_event",
        "POST",
        "/v1/events/{subject}",
        "Tell the tenant's triggers something",
        {202: Answer("It is recorded; each trigger whose pattern it fits starts one run.", {JSON: EventTold})},
        (400, 413, 415, 422, *_ALWAYS),
        NoQuery,
        (Header("Idempotency-Key", "1 to 128 visible ASCII characters. For two minutes the same key is once.", KEY),),
        EventData,
        description="The subject has no wildcards. The same as a message to `event.<tenant>.<subject>` of NATS.",
    ),
)
