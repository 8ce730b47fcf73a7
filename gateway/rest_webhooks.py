"""The REST face of a tenant's webhooks: what each operation takes and answers with is in `webhook_table.py`."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol.webhooks import EVENTS
from runtime.deliveries import Tried
from runtime.engine import Engine
from runtime.webhook import Webhook
from runtime.webhooks import Change

from .auth import holding, principal
from .body import parse, read_json
from .query import read_query
from .resource import Resource
from .rest_forms import NoQuery
from .run_object import rfc3339
from .stream import Streams, head
from .webhook_stream import WebhookStream, place_of
from .webhook_table import WEBHOOK_OPERATIONS, ListenQuery, WebhookChange, WebhookForm


class RestWebhooks:
    """The face over `engine.webhooks`."""

    def __init__(self, engine: Engine, streams: Streams, body_bytes_max: int) -> None:
        self._webhooks, self._streams, self._body_bytes_max = engine.webhooks, streams, body_bytes_max

    def routes(self) -> list[Resource]:
        """One resource a path of the table; each operation is answered by the method of its name."""
        handlers: dict[str, dict[str, Any]] = {}
        for operation in WEBHOOK_OPERATIONS:
            handlers.setdefault(operation.path, {})[operation.method] = getattr(self, operation.name)
        return [Resource(path, methods) for path, methods in handlers.items()]

    async def create_webhook(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        form = parse(WebhookForm, await read_json(request, self._body_bytes_max))
        made = await self._webhooks.create(_wanted(form), by)
        return _answer(_with_secret(made), 201, {"location": f"/v1/webhooks/{made.id}"})

    async def list_webhooks(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        return _answer({"webhooks": [webhook_object(one) for one in await self._webhooks.list(by)]})

    async def listen_webhooks(self, request: Request) -> ASGIApp:
        by = principal(request)
        asked = read_query(ListenQuery, request)
        feed = await self._webhooks.listen(asked.events or EVENTS, asked.agent, by, place_of(request))
        if request.method == "HEAD":
            await feed.close()
            return head()
        return WebhookStream(self._streams, feed, holding(request, by))

    async def get_webhook(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        return _answer(webhook_object(await self._webhooks.get(_id(request), by)))

    async def change_webhook(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        form = parse(WebhookChange, await read_json(request, self._body_bytes_max))
        return _answer(webhook_object(await self._webhooks.change(_id(request), _wanted(form), by)))

    async def delete_webhook(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        await self._webhooks.delete(_id(request), by)
        return Response(status_code=204)

    async def rotate_secret(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        return _answer(_with_secret(await self._webhooks.rotate(_id(request), by)))

    async def test_webhook(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        return _answer(delivery_object(await self._webhooks.test(_id(request), by)))

    async def list_deliveries(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        found = await self._webhooks.deliveries(_id(request), by)
        return _answer({"deliveries": [delivery_object(one) for one in found]})


def webhook_object(one: Webhook) -> dict[str, Any]:
    """Without its secrets."""
    return {
        "id": one.id,
        "url": one.url,
        "events": one.events,
        "agent": one.agent,
        "format": one.format,
        "description": one.description,
        "enabled": one.enabled,
        "created_at": rfc3339(one.created_at_ms),
        "updated_at": rfc3339(one.updated_at_ms),
    }


def delivery_object(tried: Tried) -> dict[str, Any]:
    told = {name: getattr(tried, name) for name in ("message_id", "type", "run_id", "seq", "attempt", "status")}
    more = {"delivered": not tried.error, "error": tried.error or None, "duration_ms": tried.duration_ms}
    return {"at": rfc3339(tried.at_ms)} | told | more


def _with_secret(one: Webhook) -> dict[str, Any]:
    return webhook_object(one) | {"secret": one.secrets[0].value}


def _wanted(form: WebhookChange) -> Change:
    given = {name: getattr(form, name) for name in form.model_fields_set}
    if "events" in given:
        given["events"] = tuple(dict.fromkeys(given["events"]))
    if "agent" in given:
        given["agent"] = given["agent"] or ""
    return Change(**given)


def _id(request: Request) -> str:
    return str(request.path_params["webhook_id"])


def _answer(told: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(told), status, headers, "application/json")
