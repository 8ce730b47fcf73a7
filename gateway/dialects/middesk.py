"""Middesk's run API: runs with their interrupts and steps, polled or streamed as whole objects, and threads."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol.answers import Answer
from protocol.entries import Caller
from protocol.errors import (
    AgentNotFound,
    Forbidden,
    Invalid,
    InvalidId,
    NotWaiting,
    RunNotFound,
    ThreadNotFound,
    TooLarge,
    UnknownInterrupt,
)
from protocol.ids import as_uuid
from protocol.instants import rfc3339
from protocol.middesk import as_started, run_object
from protocol.middesk_steps import steps
from protocol.state import RunState, Status
from runtime.asks import Resume, Start
from runtime.engine import Engine
from runtime.index import Query
from runtime.settings import Settings
from runtime.thread_door import Thread

from ..auth import principal, tenant_wide
from ..body import parse, read_json, read_optional_json
from ..cursor import cursor_of
from ..idempotency import idempotency_key, message_id
from ..json_answer import json_answer
from ..query import read_query
from ..resource import Resource
from ..translation import Translations
from .middesk_events import word
from .middesk_forms import PageQuery, ResumeForm, RunForm, ThreadForm, wants_steps, words
from .middesk_refusals import NoContext

FACE = "middesk"
INPUT_BYTES_MAX = 64 << 10


class Middesk:
    """The dialect over an engine."""

    def __init__(self, engine: Engine, translations: Translations, settings: Settings) -> None:
        self._engine, self._translations = engine, translations
        self._body_bytes_max = settings.body_bytes_max

    def routes(self, prefix: str) -> list[Resource]:
        return [
            Resource(f"{prefix}/v1/runs", {"GET": self.list_runs, "POST": self.create_run}),
            Resource(f"{prefix}/v1/runs/{{run_id}}", {"GET": self.get_run}),
            Resource(f"{prefix}/v1/runs/{{run_id}}/resume", {"POST": self.resume_run}),
            Resource(f"{prefix}/v1/runs/{{run_id}}/stream", {"GET": self.stream_run}),
            Resource(f"{prefix}/v1/threads", {"GET": self.list_threads, "POST": self.create_thread}),
            Resource(f"{prefix}/v1/threads/{{thread_id}}", {"GET": self.get_thread}),
        ]

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_run(self, request: Request) -> Response:
        """Answered with the run as it was right after its start, by then or whenever the same start is sent again."""
        by, key = tenant_wide(request), idempotency_key(request)
        form = parse(RunForm, await read_json(request, self._body_bytes_max))
        if not form.about_something:
            raise NoContext
        thread_id = None if form.thread_id is None else (await self._thread(form.thread_id, by)).id
        sent_id = message_id(key, by)
        want = Start(form.type, form.agent_input(sent_id), thread_id, key=key, posted=thread_id is not None)
        try:
            begun = await self._engine.start(want, by, FACE)
        except (AgentNotFound, InvalidId) as unknown:
            raise Invalid(f"type: {unknown.message}") from None
        state = as_started(await self._engine.state(begun.run_id, by))
        return json_answer(_run(state, wants_steps(request)), 201)

    async def list_runs(self, request: Request) -> Response:
        by, asked = principal(request), read_query(PageQuery, request)
        found = await self._engine.list(Query(limit=asked.per_page, offset=asked.offset), by)
        total = await self._engine.count(Query(), by)
        # the list itself knows what a run has come to, not what it has said
        runs = [_run(await self._engine.state(state.id, by)) for state in found]
        return json_answer(_page(runs, asked, total))

    async def get_run(self, request: Request) -> Response:
        by = principal(request)
        return json_answer(_run(await self._state(request, by), wants_steps(request)))

    async def resume_run(self, request: Request) -> Response:
        """Refused in the contract's order: credential, run, scope, body, state of the run and its gate, schema."""
        by = principal(request)
        run_id = (await self._state(request, by)).id
        if not by.may("runs:resume"):
            raise Forbidden("runs:resume")
        form = parse(ResumeForm, await read_json(request, self._body_bytes_max))
        if len(orjson.dumps(form.input)) > INPUT_BYTES_MAX:
            raise TooLarge(f"input: at most {INPUT_BYTES_MAX} bytes of JSON.")
        answer = Answer(form.interrupt, payload=form.input, text=words(form.input))
        try:
            done = await self._engine.resume(run_id, Resume([answer], partial=True), by, FACE)
        except UnknownInterrupt:
            state = await self._engine.state(run_id, by)
            if state.status is not Status.WAITING:
                raise NotWaiting(state.id, state.status.value) from None
            raise
        return json_answer(_run(done.state, wants_steps(request)))

    async def stream_run(self, request: Request) -> ASGIApp:
        by, after = principal(request), cursor_of(request) or 0
        run_id = (await self._state(request, by)).id
        return await self._translations.stream(request, by, run_id, word, after)

    # ── threads ───────────────────────────────────────────────────────────────────────────────────────────────

    async def create_thread(self, request: Request) -> Response:
        by = tenant_wide(request)
        parse(ThreadForm, await read_optional_json(request, self._body_bytes_max))
        return json_answer(_thread(await self._engine.threads.open(by), by), 201)

    async def get_thread(self, request: Request) -> Response:
        by = principal(request)
        return json_answer(_thread(await self._thread(request.path_params["thread_id"], by), by))

    async def list_threads(self, request: Request) -> Response:
        by, asked = principal(request), read_query(PageQuery, request)
        found, total = await self._engine.threads.list(by, asked.per_page, asked.offset)
        return json_answer(_page([_thread(one, by) for one in found], asked, total))

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _state(self, request: Request, by: Caller) -> RunState:
        """The run that the path names by its id, or by the UUID as which it is shown. Raises RunNotFound for what is no
        id at all, too."""
        name = request.path_params["run_id"]
        try:
            return await self._engine.state(await self._engine.run_id_of(name, by), by)
        except InvalidId:
            raise RunNotFound(name) from None

    async def _thread(self, name: str, by: Caller) -> Thread:
        """The same of a thread. Raises ThreadNotFound."""
        try:
            return await self._engine.threads.get(await self._engine.thread_id_of(name, by), by)
        except InvalidId:
            raise ThreadNotFound(name) from None


def _run(state: RunState, with_steps: bool = False) -> dict[str, Any]:
    run = run_object(state)
    return run | {"steps": steps(state)} if with_steps else run


def _thread(one: Thread, by: Caller) -> dict[str, Any]:
    at = {"created_at": rfc3339(one.created_at_ms), "updated_at": rfc3339(one.updated_at_ms)}
    return {"object": "thread", "id": as_uuid(by.tenant, one.id), **at}


def _page(data: list[dict[str, Any]], asked: PageQuery, total: int) -> dict[str, Any]:
    has_more = asked.offset + len(data) < total and bool(data)
    return {"object": "list", "has_more": has_more, "data": data, "total_count": total}
