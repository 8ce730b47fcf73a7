"""Cinatra's endpoints over HTTP: a run's AG-UI channel, its snapshot, and the resume of a question by its task's id.

All stand at the root and under the dialect's prefix. The resume is there only where it is switched on; what is refused
is `{"error": text}`.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol.answers import Answer, find
from protocol.entries import Caller
from protocol.errors import Conflict, Forbidden, InterruptExpired, Invalid, InvalidAnswer, NotFound
from protocol.interrupts import run_of
from runtime.asks import Resume
from runtime.engine import Engine

from ..auth import page_principal, principal
from ..body import loads, read_body, read_json
from ..json_answer import json_answer
from ..resource import Handlers, Resource
from ..translation import Translations
from .cinatra_events import cursor, word
from .cinatra_snapshot import snapshot

FACE = "cinatra"
PAGE = "page"

A2a = Callable[[Request, str, str], Awaitable[ASGIApp]]

_VALUES_CHARS_MAX = 65_536
_FIELDS_MAX = 20
_APPROVED = "[Approved by operator]"


class Cinatra:
    """The dialect over an engine. `resumes` says whether questions may be answered here; `a2a` answers a peer's
    JSON-RPC under the dialect's path: request, face, and where in a task's metadata the run's id is to stand."""

    def __init__(
        self, engine: Engine, translations: Translations, body_bytes_max: int, resumes: bool, a2a: A2a
    ) -> None:
        self._engine, self._translations, self._body_bytes_max = engine, translations, body_bytes_max
        self._resumes, self._a2a = resumes, a2a

    def routes(self, prefix: str) -> list[Resource]:
        served: dict[str, Handlers] = {
            "/api/a2a": {"GET": self.stream_task, "POST": self.post_task},
            "/api/agents/runs/{run_id}/stream": {"GET": self.stream_run},
            "/api/agents/runs/{run_id}": {"GET": self.get_run},
        }
        if self._resumes:  # a route that is not there is what a switched-off one must look like
            served["/api/a2a/resume"] = {"POST": self.resume}
        return [Resource(where + path, handlers) for where in ("", prefix) for path, handlers in served.items()]

    async def stream_task(self, request: Request) -> ASGIApp:
        by = principal(request)
        run_id = request.query_params.get("taskId")
        if not run_id:
            raise Invalid("taskId is missing: name the run to follow.")
        return await self._stream(request, run_id, by)

    async def post_task(self, request: Request) -> ASGIApp:
        return await self._a2a(request, FACE, "cinatraRunId")

    async def stream_run(self, request: Request) -> ASGIApp:
        by = principal(request)
        return await self._stream(request, request.path_params["run_id"], by)

    async def get_run(self, request: Request) -> Response:
        by = principal(request)
        state, messages = await self._engine.snapshot(request.path_params["run_id"], by)
        return json_answer(snapshot(state, messages))

    async def resume(self, request: Request) -> Response:
        """In the order of the contract's table; a missing credential comes first, what the engine refuses last."""
        by = principal(request)
        return await self._resume(await self._answer(request), by, FACE) or json_answer({"ok": True})

    async def post_answer(self, request: Request) -> Response:
        """A form of the run page: `token`, the page's own, which is also what no other site can know; `reviewTaskId`;
        and `values` as JSON, without which it is a bare approval. Back to the page it goes with 303."""
        body = await read_body(request, self._body_bytes_max)
        token = "".join(_field(body, "token"))
        by = page_principal(request, token, request.path_params["run_id"])
        given = {name: text for name in ("reviewTaskId", "values") for text in _field(body, name)}
        try:
            answer = answer_of(given | ({"values": loads(given["values"].encode())} if "values" in given else {}))
        except Invalid:
            raise Invalid("Invalid request body") from None
        refused = await self._resume(answer, by, PAGE)
        here = request.scope["raw_path"].partition(b"?")[0].decode("latin-1")
        return refused or Response(status_code=303, headers={"location": here})

    async def _resume(self, answer: Answer, by: Caller, face: str) -> Response | None:
        """What the table says of an answer that is refused; None once it is recorded."""
        run_id = run_of(answer.interrupt_id)
        if run_id is None:
            return _gone()
        try:
            await self._engine.resume(run_id, Resume([answer], partial=True), by, face)
        except InterruptExpired:
            return json_answer({"error": "Review task has expired"}, 410)
        except InvalidAnswer as bad:
            details = [{"path": fault["path"], "message": fault["message"]} for fault in bad.faults]
            return json_answer({"error": "Invalid values", "details": details}, 400)
        except (Invalid, NotFound, Conflict):
            return _gone()
        except Forbidden:
            if await self._resolved(run_id, answer.interrupt_id, by):
                return _gone()
            raise
        return None

    async def _resolved(self, run_id: str, gate_id: str, by: Caller) -> bool:
        """Whether the question is unknown or answered, as far as the caller may know."""
        gate = find(await self._engine.state(run_id, by), gate_id)
        return gate is None or gate.status not in ("open", "expired")

    async def _answer(self, request: Request) -> Answer:
        """What the body says. Raises Invalid in the one wording that there is for it, TooLarge."""
        try:
            return answer_of(await read_json(request, self._body_bytes_max))
        except (Invalid, HTTPException):
            raise Invalid("Invalid request body") from None

    async def _stream(self, request: Request, run_id: str, by: Caller) -> ASGIApp:
        after_seq = cursor(request.headers.get("last-event-id"))
        return await self._translations.stream(request, by, run_id, word, after_seq)


def _field(body: bytes, name: str) -> list[str]:
    """The value of a form's field, at most one. Raises Invalid where there are several or the form is none."""
    try:
        form: dict[str, list[str]] = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise Invalid("Invalid request body") from None
    found = form.get(name, [])
    if len(found) > 1:
        raise Invalid("Invalid request body")
    return found


def answer_of(given: Any) -> Answer:
    """The answer that a body gives. Without `values` it is a bare approval. Raises Invalid."""
    review_task_id = given.get("reviewTaskId") if isinstance(given, dict) else None
    if not isinstance(review_task_id, str) or not review_task_id:
        raise Invalid("reviewTaskId: a text is needed.")
    if "values" not in given:
        approval = {"approved": True, "note": _APPROVED}
        return Answer(review_task_id, payload=approval, text=_APPROVED, supplied=False)
    values = given["values"]
    told = orjson.dumps(values).decode()
    if len(told) > _VALUES_CHARS_MAX:
        raise Invalid(f"values: at most {_VALUES_CHARS_MAX} characters of JSON.")
    return Answer(review_task_id, payload=values, text=_words(values, told))


def _words(values: Any, told: str) -> str:
    """An answer for an agent that takes text."""
    given = [values.get(name) for name in ("userResponse", "approvalNote")] if isinstance(values, dict) else []
    return next((one for one in given if isinstance(one, str)), told)


def _gone() -> Response:
    return json_answer({"error": "Review task not found or already resolved"}, 404)
