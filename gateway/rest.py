"""The REST face `/v1`: start, poll, page through, stream and cancel runs. What each operation takes and answers with
is in `rest_table.py`; every refusal is an RFC 9457 problem."""

import uuid
from datetime import datetime
from typing import Any, Literal

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol import sse
from protocol.answers import Answer
from protocol.entries import Caller, Principal, public
from protocol.errors import NotFound
from protocol.state import RunState, Status
from protocol.subjects import check_id
from runtime.asks import Resume, Start
from runtime.chunks import Chunk
from runtime.engine import Engine
from runtime.index import Query

from .auth import holding, issue, principal, tenant_wide
from .body import parse, read_json, read_optional_json
from .cursor import cursor_of
from .idempotency import idempotency_key
from .long_poll import hold
from .page_cursor import cursor_after, place_of
from .prefer import preferred_wait, prefers
from .query import read_query
from .resource import Resource, segment
from .rest_forms import (
    WAIT_SECONDS_MAX,
    CancelForm,
    EventsQuery,
    NoQuery,
    ResumeForm,
    RunForm,
    RunQuery,
    RunsQuery,
)
from .rest_table import OPERATIONS
from .run_input import check_metadata, wire_input
from .run_object import audit, rfc3339, run_object, steps
from .stream import NO_HURRY, EventStream, Streams, head

FACE, PAGE = "rest", "page"

_PAGE_BYTES_MAX = 4 << 20
_MESSAGES = uuid.UUID("b7a9f6cc-64a6-5a38-9d4e-5f7d1d1c3a52")


class Rest:
    """The face over an engine."""

    def __init__(self, engine: Engine, streams: Streams, body_bytes_max: int) -> None:
        self._engine, self._streams, self._body_bytes_max = engine, streams, body_bytes_max

    def routes(self) -> list[Resource]:
        """One resource a path of the table; each operation is answered by the method of its name."""
        handlers: dict[str, dict[str, Any]] = {}
        for operation in OPERATIONS:
            handlers.setdefault(operation.path, {})[operation.method] = getattr(self, operation.name)
        return [Resource(path, methods) for path, methods in handlers.items()]

    async def create_run(self, request: Request) -> Response:
        by = principal(request)
        read_query(NoQuery, request)
        key, wait = idempotency_key(request), preferred_wait(request, WAIT_SECONDS_MAX)
        form = parse(RunForm, await read_json(request, self._body_bytes_max))
        begun = await self._engine.start(_start(form, key, by), by, FACE)
        if wait:
            await hold(
                self._engine.changed(begun.run_id, by, lambda run: run.status is Status.WAITING, wait),
                request,
                self._streams,
            )
            by = principal(request)  # a key may have been revoked meanwhile
        headers = {"location": f"/v1/runs/{segment(begun.run_id)}"}
        if wait is not None:
            headers["preference-applied"] = f"wait={wait}"
        state = await self._engine.state(begun.run_id, by)
        return _answer(run_object(state), _etag(state), 201 if begun.created else 200, headers)

    async def list_runs(self, request: Request) -> Response:
        by, asked = principal(request), read_query(RunsQuery, request)
        query = Query(
            agent=asked.agent,
            statuses=tuple(status.value for status in asked.status),
            thread_id=asked.thread_id,
            created_after_ms=_ms(asked.created_after),
            created_before_ms=_ms(asked.created_before, up=True),
            before=place_of(asked.cursor, "runs") if asked.cursor is not None else None,
            limit=asked.limit + 1,
        )
        found = await self._engine.list(query, by)
        page = found[: asked.limit]
        cursor = cursor_after(page[-1].created_at_ms, page[-1].id) if len(found) > len(page) else None
        return _answer({"runs": [run_object(state) for state in page], "next_cursor": cursor})

    async def get_run(self, request: Request) -> Response:
        by, run_id = principal(request), _id(request, "run_id")
        asked = read_query(RunQuery, request) if request.scope["query_string"] else _PLAIN
        if asked.wait and asked.after_seq is not None:
            after = asked.after_seq
            await hold(
                self._engine.changed(run_id, by, lambda run: run.seq > after, asked.wait), request, self._streams
            )
            by = principal(request)
        told: dict[str, Any] = {}
        if "messages" in asked.include:
            state, told["messages"] = await self._engine.snapshot(run_id, by)
        else:
            state = await self._engine.state(run_id, by)
        etag = _etag(state)
        if _holds(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers={"etag": etag})
        if "state" in asked.include:
            told["state"] = state.state
        if "steps" in asked.include:
            told["steps"] = steps(state)
        return _answer(run_object(state) | told, etag)

    async def get_events(self, request: Request) -> ASGIApp:
        by, run_id = principal(request), _id(request, "run_id")
        asked = read_query(EventsQuery, request)
        after = cursor_of(request) or 0
        if prefers(request, "application/json", over="text/event-stream"):
            return await self._event_page(run_id, by, after, asked.limit)
        follow = await self._engine.follow(run_id, by, after)
        if request.method == "HEAD":
            follow.close()
            return head()
        opening = NO_HURRY if follow.over(leg_only=False) else b""
        return EventStream(self._streams, follow, _named, opening, holds=holding(request, by))

    async def _event_page(self, run_id: str, by: Principal, after: int, limit: int) -> Response:
        follow = await self._engine.follow(run_id, by, after)
        told: list[bytes] = []
        size, last = 0, after
        try:
            while len(told) < limit and size < _PAGE_BYTES_MAX and (pieces := await follow.fill()):
                for found in sse.split(b"".join(_named(piece) for piece in pieces)):
                    if len(told) == limit or size >= _PAGE_BYTES_MAX:
                        break
                    last = found.seq or last
                    told.append(b'{"seq":%d,"event":%b}' % (last, found.data))
                    size += len(found.data)
            more = b"true" if follow.head > last else b"false"
        finally:
            follow.close()
        body = b'{"events":[%b],"next_after_seq":%d,"has_more":%b}' % (b",".join(told), last, more)
        return Response(body, media_type="application/json")

    async def resume_run(self, request: Request) -> Response:
        by, run_id = principal(request), _id(request, "run_id")
        read_query(NoQuery, request)
        key = idempotency_key(request)
        form = parse(ResumeForm, await read_json(request, self._body_bytes_max))
        answers = [Answer(one.interrupt_id, one.status, one.payload) for one in form.answers]
        done = await self._engine.resume(run_id, Resume(answers, key), by, _face(by))
        return _answer(run_object(done.state), _etag(done.state))

    async def get_audit(self, request: Request) -> Response:
        by, run_id = principal(request), _id(request, "run_id")
        read_query(NoQuery, request)
        return _answer({"run_id": run_id, "audit": audit(await self._engine.state(run_id, by))})

    async def cancel_run(self, request: Request) -> Response:
        by, run_id = principal(request), _id(request, "run_id")
        read_query(NoQuery, request)
        form = parse(CancelForm, await read_optional_json(request, self._body_bytes_max))
        state = await self._engine.cancel(run_id, by, _face(by), form.reason)
        return _answer(run_object(state), _etag(state))

    async def create_run_token(self, request: Request) -> Response:
        by, run_id = principal(request), _id(request, "run_id")
        read_query(NoQuery, request)
        await self._engine.state(run_id, by)
        token, until = await issue(request, by, run_id)
        page = f"/agents/status/{segment(run_id)}#token={token}"
        told = {"token": token, "expires_at": rfc3339(until * 1000), "page": page}
        return _answer(told, None, 201, {"cache-control": "no-store"})

    async def get_thread_messages(self, request: Request) -> Response:
        by, thread_id = principal(request), _id(request, "thread_id")
        read_query(NoQuery, request)
        messages = await self._engine.thread_messages(thread_id, by)
        if messages is None:
            raise NotFound(f"There is no thread {thread_id[:80]!r}.")
        return _answer({"thread_id": thread_id, "messages": messages})

    async def list_agents(self, request: Request) -> Response:
        tenant_wide(request)
        read_query(NoQuery, request)
        known = await self._engine.agents()
        shown = ("name", "description", "on_busy", "retry")
        return _answer({"agents": [{name: agent[name] for name in shown} for agent in known.values()]})


_PLAIN = RunQuery.model_validate({})


def _start(form: RunForm, key: str | None, by: Principal) -> Start:
    check_metadata(form)
    # a text's message has an id that follows from what makes the request the same one again
    known = form.run_id if form.run_id is not None else key and f"{by.id}\n{key}"
    text_id = uuid.uuid5(_MESSAGES, f"{by.tenant}\n{known}") if known else uuid.uuid4()
    on_busy: Literal["reject", "cancel_previous"] | None = form.on_busy
    return Start(form.agent, wire_input(form, str(text_id)), form.thread_id, form.run_id, key, form.metadata, on_busy)


def _face(by: Caller) -> str:
    """The run page asks here too, with a token that is good for its run alone."""
    return PAGE if by.run is not None else FACE


def _named(piece: Chunk) -> bytes:
    """As stored, with an ask as any reader of the run may see it."""
    if piece.lane != "ask":
        return piece.body
    return b"".join(
        sse.frame(found.seq or 0, orjson.dumps(public(orjson.loads(found.data))), "ask")
        for found in sse.split(piece.body)
    )


def _answer(
    told: dict[str, Any], etag: str | None = None, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    headers = headers or {}
    if etag is not None:
        headers["etag"] = etag
    return Response(orjson.dumps(told), status, headers, "application/json")


def _etag(state: RunState) -> str:
    return f'"{state.seq}"'


def _holds(given: str | None, etag: str) -> bool:
    """Whether If-None-Match names the ETag; weak ones match as well (RFC 9110, 13.1.2)."""
    if given is None:
        return False
    return given.strip() == "*" or any(tag.strip().removeprefix("W/") == etag for tag in given.split(","))


def _id(request: Request, name: str) -> str:
    return check_id(request.path_params[name], f"The {name.replace('_', ' ')}")


def _ms(at: datetime | None, up: bool = False) -> int | None:
    if at is None:
        return None
    whole, rest = divmod(at.timestamp() * 1000, 1)
    return int(whole) + (1 if up and rest else 0)
