"""The REST face of triggers: what each operation takes and answers with is in `trigger_table.py`."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from protocol.subjects import check_id
from runtime.engine import Engine
from runtime.trigger import Fired, Source, Trigger, Wanted

from .auth import principal
from .body import parse, read_json
from .idempotency import idempotency_key
from .page_cursor import cursor_after, place_of
from .query import read_query
from .resource import Resource, segment
from .rest_forms import NoQuery
from .run_input import check_metadata, wire_input
from .run_object import rfc3339, run_object
from .trigger_forms import TriggerChange, TriggerForm, TriggersQuery
from .trigger_table import TRIGGER_OPERATIONS

_TEXT_ID = "text"
"""Of a text's message in the trigger; each run gives its messages ids of their own."""


class RestTriggers:
    """The face over an engine."""

    def __init__(self, engine: Engine, body_bytes_max: int) -> None:
        self._engine, self._triggers, self._body_bytes_max = engine, engine.triggers, body_bytes_max

    def routes(self) -> list[Resource]:
        """One resource a path of the table; each operation is answered by the method of its name."""
        handlers: dict[str, dict[str, Any]] = {}
        for operation in TRIGGER_OPERATIONS:
            handlers.setdefault(operation.path, {})[operation.method] = getattr(self, operation.name)
        return [Resource(path, methods) for path, methods in handlers.items()]

    async def create_trigger(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        form = parse(TriggerForm, await read_json(request, self._body_bytes_max))
        made = await self._triggers.set(_wanted(form), by, form.id, fresh=True)
        return _answer(_shown(made), 201, {"location": _place(made)})

    async def list_triggers(self, request: Request) -> Response:
        by, asked = principal(request), read_query(TriggersQuery, request)
        before = place_of(asked.cursor, "triggers") if asked.cursor is not None else None
        found = [
            one
            for one in await self._triggers.list(by)
            if asked.agent in (None, one.want.agent) and (before is None or (one.created_at_ms, one.id) < before)
        ]
        page = found[: asked.limit]
        cursor = cursor_after(page[-1].created_at_ms, page[-1].id) if len(found) > len(page) else None
        return _answer({"triggers": [trigger_object(one) for one in page], "next_cursor": cursor})

    async def get_trigger(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        return _answer(_shown(await self._triggers.get(_id(request), by)))

    async def put_trigger(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        form = parse(TriggerChange, await read_json(request, self._body_bytes_max))
        made = await self._triggers.set(_wanted(form), by, _id(request))
        if made.created_at_ms < made.updated_at_ms:
            return _answer(_shown(made))
        return _answer(_shown(made), 201, {"location": _place(made)})

    async def delete_trigger(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        await self._triggers.delete(_id(request), by)
        return Response(status_code=204)

    async def fire_trigger(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        started = await self._triggers.fire(_id(request), by, idempotency_key(request))
        state = await self._engine.state(started.run_id, by)
        location = {"location": f"/v1/runs/{segment(started.run_id)}"}
        return _answer(run_object(state), 201 if started.created else 200, location)

    async def tell_event(self, request: Request) -> Response:
        by, key = principal(request), idempotency_key(request)
        read_query(NoQuery, request)
        data = await read_json(request, self._body_bytes_max)
        subject = request.path_params["subject"]
        seq = await self._triggers.tell(subject, data, by, key)
        return _answer({"subject": subject, "seq": seq}, 202)


def trigger_object(trigger: Trigger) -> dict[str, Any]:
    """The trigger without its input."""
    want, source = trigger.want, trigger.want.event
    event = None
    if source is not None:
        event = {"agent": source.agent, "statuses": source.statuses, "metadata": source.metadata,
                 "subject": source.subject}  # fmt: skip
    return {
        "id": trigger.id,
        "agent": want.agent,
        "kind": want.kind,
        "at": rfc3339(want.at_ms),
        "cron": want.cron,
        "timezone": want.timezone,
        "event": event,
        "catch_up": want.catch_up,
        "enabled": want.enabled,
        "thread_id": want.thread_id,
        "on_busy": want.on_busy,
        "metadata": want.metadata,
        "set_by": {"id": trigger.by.id, "kind": trigger.by.kind, "name": trigger.by.name},
        "created_at": rfc3339(trigger.created_at_ms),
        "updated_at": rfc3339(trigger.updated_at_ms),
        "next_at": rfc3339(trigger.next_at_ms),
        "last": _fired(trigger.last) if trigger.last is not None else None,
        "last_run_id": trigger.last_run_id,
    }


def _shown(trigger: Trigger) -> dict[str, Any]:
    return trigger_object(trigger) | {"input": trigger.want.input["messages"]}


def _fired(fired: Fired) -> dict[str, Any]:
    told = {"due_at": rfc3339(fired.due_at_ms), "at": rfc3339(fired.at_ms)}
    return told | {"run_id": fired.run_id, "error": fired.error}


def _wanted(form: TriggerChange) -> Wanted:
    check_metadata(form)
    source = None
    if form.event is not None:
        told = form.event
        source = Source(told.agent, tuple(dict.fromkeys(told.statuses)), told.metadata, told.subject)
    return Wanted(
        form.agent,
        wire_input(form, _TEXT_ID),
        form.kind,
        round(form.at.timestamp() * 1000) if form.at is not None else None,
        form.cron,
        form.timezone,
        source,
        form.catch_up,
        form.enabled,
        form.thread_id,
        form.on_busy,
        form.metadata,
    )


def _place(trigger: Trigger) -> str:
    return f"/v1/triggers/{segment(trigger.id)}"


def _id(request: Request) -> str:
    return check_id(request.path_params["trigger_id"], "The trigger id")


def _answer(told: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(told), status, headers, "application/json")
