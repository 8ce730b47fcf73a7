"""Veryfront's run API over HTTP: start, read, events, resume and cancel of a run, and its AG-UI stream.

Its MCP tool `get_agent_run` stands under the same prefix and shows the same object; it is in `gateway/mcp`.
"""

import uuid
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol import sse
from protocol.answers import Answer, echoes
from protocol.entries import Caller
from protocol.errors import (
    AlreadyResolved,
    Forbidden,
    InterruptExpired,
    Invalid,
    NotWaiting,
    RunNotFound,
    TooLarge,
    UnknownInterrupt,
)
from protocol.state import RunState
from runtime.asks import Resume, Start
from runtime.engine import Engine
from runtime.settings import Settings

from ..auth import principal
from ..body import parse, read_json
from ..cursor import cursor_of, seq_of
from ..idempotency import idempotency_key
from ..query import read_query
from ..resource import Handlers, Resource
from ..run_object import rfc3339
from ..translation import Translations
from .veryfront_events import word
from .veryfront_forms import (
    CALL_ID_CHARS_MAX,
    RESULT_BYTES_MAX,
    RESUME_BYTES_MAX,
    EventsQuery,
    ResumeForm,
    StartForm,
    targets,
    wire_input,
)
from .veryfront_object import FACE, canonical_run, gate_of, is_conversation, run_object
from .veryfront_refusals import answer, conflict, not_active, not_waiting

Json = dict[str, Any]

AFTER = "after_event_id"
_SNAPSHOT_ENTRIES_MAX = 20_000
_ANCESTORS_MAX = 32


class Veryfront:
    """The dialect over an engine."""

    def __init__(self, engine: Engine, translations: Translations, settings: Settings) -> None:
        self._engine, self._translations = engine, translations
        self._body_bytes_max = settings.body_bytes_max

    def routes(self, prefix: str) -> list[Resource]:
        run, owned = "/runs/{run_id}", "/conversations/{conversation_id}/runs/{run_id}"
        served: dict[str, Handlers] = {
            "/runs": {"POST": self.start},
            run: {"GET": self.get},
            f"{run}/events": {"GET": self.events},
            f"{run}/resume": {"POST": self.resume},
            f"{run}/cancel": {"POST": self.cancel},
            owned: {"GET": self.get_owned},
            f"{owned}/stream": {"GET": self.stream},
            f"{owned}/snapshot": {"GET": self.snapshot},
        }
        return [Resource(prefix + path, handlers) for path, handlers in served.items()]

    async def start(self, request: Request) -> Response:
        """`public_id` is the run's id and the key by which a repetition is known; else the Idempotency-Key is."""
        by = principal(request)
        form = parse(StartForm, await read_json(request, self._body_bytes_max))
        header = idempotency_key(request)
        key = form.public_id if form.public_id is not None else header
        shown = targets(form.request)
        want = Start(
            form.request.agent_id,
            wire_input(form.request, f"{by.tenant}\n{by.id}\n{key}" if key is not None else str(uuid.uuid4())),
            thread_id=await self._engine.thread_id_of(form.owner.id, by),
            run_id=form.public_id,
            key=key,
            metadata={FACE: shown} if shown else {},
            parent=form.parent_run_id,
        )
        started = await self._engine.start(want, by, FACE)
        run = await self._run(started.run_id, by)
        return answer(202, {"accepted": True} | ({} if started.created else {"duplicate": True}) | {"run": run})

    async def get(self, request: Request) -> Response:
        return answer(200, await self._run(_run_id(request), principal(request)))

    async def get_owned(self, request: Request) -> Response:
        state = await self._owned(request, principal(request))
        return answer(200, run_object(state) | {"latest_external_event_sequence": state.seq})

    async def events(self, request: Request) -> Response:
        """A page. All events of one entry have its number and stand on one page, which may so have more than `limit`
        where that is less than what one entry says."""
        by, run_id = principal(request), _run_id(request)
        limit = read_query(EventsQuery, request).limit
        given = seq_of(request, AFTER)
        after = given or 0
        told = await self._translations.told(by, run_id, word, after, limit + 1)
        page: list[Json] = []
        for seq, frames in told:
            events = _events(frames)
            if page and len(page) + len(events) > limit:
                break
            page += [_event(seq, event) for event in events]
            after = seq
        more = bool(page) and bool(await self._translations.told(by, run_id, word, after, 1))
        info = {"self": str(given) if given is not None else None, "first": None}
        return answer(200, {"data": page, "page_info": info | {"next": str(after) if more else None, "prev": None}})

    async def snapshot(self, request: Request) -> Response:
        """Everything after an entry that is recorded now. Of a run of megabytes it is the first of them: what is left
        out comes after the last event that is told, here or as a stream."""
        by = principal(request)
        run_id = (await self._owned(request, by)).id
        after = seq_of(request, AFTER) or 0
        found = await self._translations.told(by, run_id, word, after, _SNAPSHOT_ENTRIES_MAX)
        told = [{"event_id": seq, "event": event} for seq, frames in found for event in _events(frames)]
        return answer(200, {"after_event_id": after, "events": told})

    async def stream(self, request: Request) -> ASGIApp:
        by = principal(request)
        run_id = (await self._owned(request, by)).id
        after = cursor_of(request, AFTER) or 0
        return await self._translations.stream(request, by, run_id, word, after)

    async def cancel(self, request: Request) -> Response:
        """A body is not read."""
        by, run_id = principal(request), _run_id(request)
        before_seq = (await self._engine.state(run_id, by)).seq
        state = await self._engine.cancel(run_id, by, FACE)
        done = any(
            one["what"] == "cancelled" and one["seq"] > before_seq and one["by"]["id"] == by.id for one in state.audit
        )
        return answer(200, {"cancelled": done, "run": await self._run(run_id, by)})

    async def resume(self, request: Request) -> Response:
        """In the order of the contract's table: what is answered already comes before what the run is by now, so that
        who comes second is told the same however fast the agent was."""
        by, run_id = principal(request), _run_id(request)
        form = parse(ResumeForm, await read_json(request, min(self._body_bytes_max, RESUME_BYTES_MAX)))
        size = len(orjson.dumps(form.result))
        if size > RESULT_BYTES_MAX:
            raise TooLarge(f"result has {size} bytes of JSON; it may have {RESULT_BYTES_MAX}.")
        state = await self._engine.state(run_id, by)
        if not by.may("runs:resume"):
            raise Forbidden("runs:resume")
        gate = gate_of(state, form.tool_call_id)
        if gate is None:
            return _never_asked(state, form.tool_call_id)
        given = Answer(gate.id, payload=form.result, is_error=form.is_error)
        try:
            await self._engine.resume(run_id, Resume([given], partial=True), by, FACE)
        except AlreadyResolved:
            return self._resolved(await self._engine.state(run_id, by), gate.id, given)
        except InterruptExpired as late:
            return not_active(late.message)
        except (NotWaiting, UnknownInterrupt) as bad:
            return not_waiting(bad.message)
        return answer(200, {"accepted": True})

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    def _resolved(self, state: RunState, gate_id: str, given: Answer) -> Response:
        gate = next(one for one in state.gates if one.id == gate_id)
        if echoes(gate, given):
            return answer(200, {"accepted": True, "duplicate": True})
        if gate.answer is not None:
            return conflict("This call has another result already.")
        return _over(state)

    async def _run(self, run_id: str, by: Caller) -> Json:
        root = await self._root(run_id, by)
        return canonical_run(await self._engine.state(run_id, by), root)

    async def _root(self, run_id: str, by: Caller) -> str | None:
        """The first of the runs for which one another were started; None where that is too far off or not to be
        seen."""
        for _ in range(_ANCESTORS_MAX):
            try:
                state = await self._engine.state(run_id, by)
            except RunNotFound:
                return None
            if state.parent is None:
                return state.id
            run_id = state.parent
        return None

    async def _owned(self, request: Request, by: Caller) -> RunState:
        """The run of the path, if it is of the conversation of the path. Raises RunNotFound."""
        run_id = _run_id(request)
        state = await self._engine.state(run_id, by)
        if not is_conversation(state, request.path_params["conversation_id"]):
            raise RunNotFound(run_id)
        return state


def _run_id(request: Request) -> str:
    return str(request.path_params["run_id"])


def _never_asked(state: RunState, tool_call_id: str) -> Response:
    if len(tool_call_id) > CALL_ID_CHARS_MAX:
        raise Invalid(f"tool_call_id: at most {CALL_ID_CHARS_MAX} characters.")
    if state.terminal:
        return _over(state)
    return not_waiting("The run does not wait for that call.")


def _over(state: RunState) -> Response:
    return not_active(f"The run is not active any more: it is {state.status.value}.")


def _events(frames: bytes) -> list[Json]:
    return [orjson.loads(found.data) for found in sse.split(frames)]


def _event(seq: int, event: Json) -> Json:
    return {"event_id": seq, "event_type": event["type"], "payload": event, "created_at": rfc3339(event["timestamp"])}
