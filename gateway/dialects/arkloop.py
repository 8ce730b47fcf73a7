"""Arkloop's run API: threads hold messages, a run executes an agent on a thread, events come by their number, and a
waiting run takes input."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol.answers import Answer, find
from protocol.errors import AgentNotFound, Invalid, NotWaiting, UnknownInterrupt
from protocol.ids import trace_of
from protocol.state import Gate, RunState
from runtime.access import check_scope
from runtime.asks import Resume, Start
from runtime.engine import Engine
from runtime.index import Query
from runtime.settings import Settings
from runtime.thread_door import MESSAGES_MAX

from ..auth import principal, tenant_wide
from ..body import loads, parse, read_json, read_optional_json
from ..cursor import cursor_of
from ..errors import MalformedJson
from ..idempotency import idempotency_key
from ..prefer import prefers
from ..query import read_query
from ..resource import Resource
from ..translation import Translations
from . import arkloop_lists
from .arkloop_events import word
from .arkloop_forms import (
    CancelForm,
    EventsQuery,
    InputForm,
    LimitQuery,
    MessageForm,
    RunForm,
    RunsQuery,
    ThreadForm,
)
from .arkloop_object import DIALECT, asked_as, detail, is_shown, message, short_row, thread
from .arkloop_refusals import Ambiguous, answer, fresh_trace

_PING = b": ping\n\n"
_OK = {"ok": True}


class Arkloop:
    """The dialect over an engine."""

    def __init__(self, engine: Engine, translations: Translations, settings: Settings) -> None:
        self._engine, self._translations = engine, translations
        self._body_bytes_max, self._default = settings.body_bytes_max, settings.arkloop_agent

    def routes(self, prefix: str) -> list[Resource]:
        return [
            Resource(f"{prefix}/v1/threads", {"POST": self.create_thread}),
            Resource(f"{prefix}/v1/threads/{{thread_id}}", {"GET": self.get_thread}),
            Resource(f"{prefix}/v1/threads/{{thread_id}}/messages", {"GET": self.list_messages, "POST": self.post}),
            Resource(f"{prefix}/v1/threads/{{thread_id}}/runs", {"GET": self.list_of_thread, "POST": self.create_run}),
            Resource(f"{prefix}/v1/runs", {"GET": self.list_runs}),
            Resource(f"{prefix}/v1/runs/{{run_id}}:cancel", {"POST": self.cancel_run}),
            Resource(f"{prefix}/v1/runs/{{run_id}}", {"GET": self.get_run}),
            Resource(f"{prefix}/v1/runs/{{run_id}}/cancel", {"POST": self.cancel_run}),
            Resource(f"{prefix}/v1/runs/{{run_id}}/input", {"POST": self.give_input}),
            Resource(f"{prefix}/v1/runs/{{run_id}}/events", {"GET": self.get_events}),
        ]

    # ── threads ───────────────────────────────────────────────────────────────────────────────────────────────

    async def create_thread(self, request: Request) -> Response:
        by = tenant_wide(request)
        form = parse(ThreadForm, await read_optional_json(request, self._body_bytes_max))
        made = await self._engine.threads.open(by, title=form.title, private=bool(form.is_private))
        return answer(201, thread(made, by.tenant), fresh_trace())

    async def get_thread(self, request: Request) -> Response:
        by = tenant_wide(request)
        found = await self._engine.threads.get(request.path_params["thread_id"], by)
        return answer(200, thread(found, by.tenant), fresh_trace())

    async def post(self, request: Request) -> Response:
        by, thread_id = tenant_wide(request), request.path_params["thread_id"]
        form = parse(MessageForm, await read_json(request, self._body_bytes_max))
        said = await self._engine.threads.post(thread_id, form.content, by)
        return answer(201, message(said, thread_id, by.tenant), fresh_trace())

    async def list_messages(self, request: Request) -> Response:
        by, thread_id = tenant_wide(request), request.path_params["thread_id"]
        asked = read_query(LimitQuery, request)
        # tool results and the like are left out of what is counted
        found = await self._engine.threads.messages(thread_id, by, MESSAGES_MAX)
        shown = [said for said in found if is_shown(said)][: asked.limit]
        return answer(200, [message(said, thread_id, by.tenant) for said in shown], fresh_trace())

    async def list_of_thread(self, request: Request) -> Response:
        by, asked = tenant_wide(request), read_query(LimitQuery, request)
        thread_id = (await self._engine.threads.get(request.path_params["thread_id"], by)).id
        found = await self._engine.list(Query(thread_id=thread_id, limit=asked.limit), by)
        return answer(200, [short_row(state) for state in found], fresh_trace())

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_run(self, request: Request) -> Response:
        by, key = tenant_wide(request), idempotency_key(request)
        form = parse(RunForm, await read_optional_json(request, self._body_bytes_max))
        thread_id = (await self._engine.threads.get(request.path_params["thread_id"], by)).id
        agent, persona_id = await self._persona(form.persona_id)
        handed_on = form.model_dump(exclude={"persona_id"}, exclude_none=True)
        given: dict[str, Any] = {"messages": [], "state": None, "tools": [], "context": [], "forwardedProps": handed_on}
        want = Start(agent, given, thread_id, key=key, posted=True, metadata=asked_as(persona_id, form.route_id),
                     on_busy="reject")  # fmt: skip
        begun = await self._engine.start(want, by, DIALECT)
        trace = trace_of(by.tenant, begun.run_id)
        return answer(201, {"run_id": begun.run_id, "trace_id": trace}, trace)

    async def list_runs(self, request: Request) -> Response:
        by, asked = tenant_wide(request), read_query(RunsQuery, request)
        return answer(200, await arkloop_lists.runs(self._engine, by, asked), fresh_trace())

    async def get_run(self, request: Request) -> ASGIApp:
        if prefers(request, "text/event-stream", over="application/json"):
            return await self.get_events(request)
        by = principal(request)
        state = await self._engine.state(request.path_params["run_id"], by)
        return answer(200, detail(state), trace_of(by.tenant, state.id))

    async def get_events(self, request: Request) -> ASGIApp:
        by, run_id = principal(request), request.path_params["run_id"]
        asked = read_query(EventsQuery, request)
        return await self._translations.stream(
            request, by, run_id, word, cursor_of(request) or 0, live=asked.follow in ("true", "1"), opening=_PING,
            keep_alive=_PING, more_headers=[(b"x-trace-id", trace_of(by.tenant, run_id).encode())],
        )  # fmt: skip

    async def cancel_run(self, request: Request) -> Response:
        by, run_id = principal(request), request.path_params["run_id"]
        form = parse(CancelForm, await read_optional_json(request, self._body_bytes_max))
        await self._engine.cancel(run_id, by, DIALECT, seen_seq=form.last_seen_seq)
        return answer(200, _OK, trace_of(by.tenant, run_id))

    async def give_input(self, request: Request) -> Response:
        by, run_id = principal(request), request.path_params["run_id"]
        form = parse(InputForm, await read_json(request, self._body_bytes_max))
        state = await self._engine.state(run_id, by)
        check_scope(by, "runs:resume")
        given = Answer(_gate(state, form.request_id).id, payload=_payload(form.content), text=form.content)
        await self._engine.resume(run_id, Resume([given], partial=True), by, DIALECT)
        return answer(200, _OK, trace_of(by.tenant, run_id))

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _persona(self, given: str | None) -> tuple[str, str | None]:
        """The agent that is meant, and how a run of it is shown to have been asked for. Raises Invalid."""
        if not given or not given.strip():
            return await self._default_agent(), None
        for name, version in ((given, None), (given.rpartition("@")[0], given.rpartition("@")[2])):
            known = (await self._agent(name) or {}) if name else {}
            current = known.get("version") or ""
            if known and version in (None, current):
                return name, f"{name}@{current}" if current else name
        raise Invalid(f"persona_id: there is no persona {given[:80]!r}; it is an agent's key, or `key@version`.")

    async def _agent(self, name: str) -> dict[str, Any] | None:
        """What it has announced, at most a second ago."""
        found = (await self._engine.agents()).get(name)
        try:
            return found if found is not None else await self._engine.agent(name)
        except AgentNotFound:
            return None

    async def _default_agent(self) -> str:
        if self._default is not None:
            return self._default
        known = list(await self._engine.agents())
        if len(known) != 1:
            raise Invalid(f"persona_id is missing: there are {len(known)} agents, and HOCKET_ARKLOOP_AGENT names none.")
        return known[0]


def _gate(state: RunState, request_id: str | None) -> Gate:
    """The question that is meant; whether it may still be answered the engine judges. Raises NotWaiting,
    UnknownInterrupt, Ambiguous."""
    waits = state.open_gates
    if state.terminal or (request_id is None and not waits):
        raise NotWaiting(state.id, state.status.value)
    named = [gate.id for gate in waits]
    if request_id is None and len(waits) > 1:
        raise Ambiguous(named)
    meant = find(state, request_id) if request_id is not None else waits[0]
    if meant is None:
        raise UnknownInterrupt(request_id or "", named)
    return meant


def _payload(content: str) -> Any:
    """An object, if it is the JSON of one, else the text. Raises Invalid for one that is nested too deep."""
    try:
        told = loads(content.encode())
    except MalformedJson:
        return content
    return told if isinstance(told, dict) else content
