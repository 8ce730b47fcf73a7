"""Operativus' run API: a message is sent, and the call is held until its run has an answer or needs a human; a human
approves or rejects, or somebody cancels. Beside it the later forms: background runs, records, streams, approvals.
"""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol.entries import Caller
from protocol.errors import InvalidId, RunNotFound
from protocol.state import RunState, Status
from runtime.asks import Started
from runtime.engine import Engine
from runtime.index import Query
from runtime.settings import Settings

from ..auth import principal, tenant_wide
from ..cursor import cursor_of
from ..idempotency import idempotency_key
from ..json_answer import json_answer
from ..long_poll import hold
from ..prefer import preferred_wait
from ..query import read_query
from ..resource import Handlers, Resource
from ..stream import Streams
from ..translation import Translations
from .operativus_approvals import OperativusApprovals
from .operativus_decisions import FACE, bare, check_agent, gate_to_continue, record
from .operativus_events import event_word, stream_word
from .operativus_forms import ContinueForm, RunForm, RunsQuery, asked_run_ids, read_form, start_of
from .operativus_object import STATUS_OF, agent, agent_run, listed_run, page_of, run_response
from .operativus_refusals import ForeignOrg, problem

_PREFIX = "run_"
"""What the ids of Operativus' own runs begin with."""


class Operativus:
    """The dialect over an engine. A call waits by following its run: it holds no worker, and who hangs up loses
    nothing."""

    def __init__(self, engine: Engine, streams: Streams, translations: Translations, settings: Settings) -> None:
        self._engine, self._streams, self._translations = engine, streams, translations
        self._body_bytes_max, self._wait_seconds_max = settings.body_bytes_max, settings.sync_wait_seconds
        self._approvals = OperativusApprovals(engine, settings.body_bytes_max)

    def routes(self, prefix: str) -> list[Resource]:
        runs = "/api/agents/{agent_id}/runs"
        served: dict[str, Handlers] = {
            "/api/agents": {"GET": self.list_agents},
            runs: {"POST": self.run},
            f"{runs}/background": {"POST": self.run_in_background},
            f"{runs}/stream": {"POST": self.run_as_stream},
            f"{runs}/status": {"GET": self.get_runs},
            f"{runs}/{{run_id}}": {"DELETE": self.cancel_run},
            f"{runs}/{{run_id}}/status": {"GET": self.get_run},
            f"{runs}/{{run_id}}/continue": {"POST": self.continue_run},
            "/api/v1/runs": {"GET": self.list_runs},
            "/api/v1/runs/{run_id}": {"GET": self.get_run},
            "/api/v1/runs/{run_id}/cancel": {"POST": self.cancel_run},
            "/api/v1/runs/{run_id}/events": {"GET": self.stream_events},
            **self._approvals.handlers(),
        }
        return [Resource(prefix + path, handlers) for path, handlers in served.items()]

    # ── start ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, request: Request) -> Response:
        by = principal(request)
        begun = await self._start(request, by)
        return await self._outcome(request, by, begun.run_id)

    async def run_in_background(self, request: Request) -> Response:
        begun = await self._start(request, principal(request))
        return json_answer({"runId": begun.run_id, "status": "QUEUED"})

    async def run_as_stream(self, request: Request) -> ASGIApp:
        """The run to its end or its first pause; it cannot be entered again, `/events` is for that."""
        by = principal(request)
        begun = await self._start(request, by)
        return await self._translations.stream(request, by, begun.run_id, stream_word, 0, leg_only=True)

    async def _start(self, request: Request, by: Caller) -> Started:
        key = idempotency_key(request)
        form = await read_form(RunForm, request, self._body_bytes_max)
        if form.org_id is not None and form.org_id != by.tenant:
            raise ForeignOrg
        thread_id = form.session_id and await self._engine.thread_id_of(form.session_id, by)
        want = start_of(request.path_params["agent_id"], form, thread_id, key, by)
        return await self._engine.start(want, by, FACE)

    # ── human in the loop, cancel ─────────────────────────────────────────────────────────────────────────────

    async def continue_run(self, request: Request) -> Response:
        by = principal(request)
        form = await read_form(ContinueForm, request, self._body_bytes_max)
        state = await self._run(request, by)
        run_id, gate = state.id, gate_to_continue(state, form.approval_id)
        await record(self._engine, state, bare(gate.id, form.action.startswith("APPROVE"), form.action), by)
        return await self._outcome(request, by, run_id)

    async def cancel_run(self, request: Request) -> Response:
        by = principal(request)
        state = await self._run(request, by)
        await self._engine.cancel(state.id, by, FACE)
        return Response(status_code=204)

    async def _outcome(self, request: Request, by: Caller, run_id: str) -> Response:
        """RunResponse once the run has ended or waits for a human; a problem with its ids where that takes too long."""
        asked = preferred_wait(request, self._wait_seconds_max)
        headers = {} if asked is None else {"preference-applied": f"wait={asked}"}
        seconds = self._wait_seconds_max if asked is None else asked

        async def told() -> dict[str, Any] | None:
            state = await self._engine.changed(run_id, by, lambda run: run.status is Status.WAITING, seconds)
            return _told(state)  # nothing awaited before it: the run may go on at once

        found = await hold(told(), request, self._streams)
        by = principal(request)  # a key may have been revoked meanwhile
        if found is None:
            state = await self._engine.state(run_id, by)
            found = _told(state)
            if found is None:
                detail = f"Run {run_id} is still active; it goes on. Read it with GET …/runs/{run_id}/status."
                ids = {"runId": run_id, "sessionId": state.thread_id}
                return problem("run-still-active", 504, detail, headers, **ids)
        return json_answer(found, headers=headers)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    async def list_agents(self, request: Request) -> Response:
        tenant_wide(request)
        return json_answer([agent(one) for one in (await self._engine.agents()).values()])

    async def get_run(self, request: Request) -> Response:
        by = principal(request)
        return json_answer(agent_run(await self._run(request, by)))

    async def get_runs(self, request: Request) -> Response:
        """Those of `runIds` that are runs of the agent; the others are left out."""
        by = principal(request)
        told = []
        for name in asked_run_ids(request.query_params.getlist("runIds")):
            try:
                state = await self._found(name, by)
                check_agent(state, request.path_params["agent_id"], name)
            except (RunNotFound, InvalidId):
                continue
            told.append(agent_run(state))
        return json_answer(told)

    async def list_runs(self, request: Request) -> Response:
        by, asked = principal(request), read_query(RunsQuery, request)
        query = Query(limit=asked.size, offset=asked.page * asked.size)
        if asked.session_id:  # one filter counts, in this order
            query = replace(query, thread_id=await self._engine.thread_id_of(asked.session_id, by))
        elif asked.agent_id:
            query = replace(query, agent=asked.agent_id)
        elif asked.status is not None:
            query = replace(query, statuses=(STATUS_OF[asked.status].value,))
        told = []
        for state in await self._engine.list(query, by):
            if state.status is Status.WAITING:  # what it waits for takes the whole run
                state = await self._engine.state(state.id, by)
            told.append(listed_run(state))
        return json_answer(page_of(told, await self._engine.count(query, by), asked.page, asked.size))

    async def stream_events(self, request: Request) -> ASGIApp:
        by = principal(request)
        after = cursor_of(request, "sinceId") or 0
        state = await self._run(request, by)
        return await self._translations.stream(request, by, state.id, event_word, after)

    async def _run(self, request: Request, by: Caller) -> RunState:
        """The run that the path names, of the agent that it names. Raises RunNotFound, Forbidden, Unavailable."""
        name = request.path_params["run_id"]
        state = await self._found(name, by)
        check_agent(state, request.path_params.get("agent_id"), name)
        return state

    async def _found(self, name: str, by: Caller) -> RunState:
        """A run by its id, which may have Operativus' prefix. Raises RunNotFound by that name."""
        try:
            return await self._engine.state(name, by)  # nearly every poll ends here
        except RunNotFound:
            pass
        for one in dict.fromkeys([name, name.removeprefix(_PREFIX) or name]):
            try:
                return await self._engine.state(await self._engine.run_id_of(one, by), by)
            except RunNotFound:
                continue
        raise RunNotFound(name)


def _told(state: RunState) -> dict[str, Any] | None:
    return run_response(state) if state.terminal or state.status is Status.WAITING else None
