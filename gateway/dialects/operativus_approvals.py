"""Operativus' approvals: every open question of the tenant by the id of its gate, to be looked at and answered."""

from starlette.requests import Request
from starlette.responses import Response

from protocol.answers import Answer
from protocol.entries import Caller
from protocol.errors import InvalidId, RunNotFound
from protocol.interrupts import run_of
from protocol.state import Gate, RunState, Status
from runtime.engine import Engine
from runtime.index import Query

from ..auth import principal
from ..json_answer import json_answer
from ..query import read_query
from ..resource import Handlers
from .operativus_decisions import bare, record, supplied
from .operativus_forms import DecideForm, PendingQuery, ResolveForm, read_form
from .operativus_object import approval, approval_status
from .operativus_refusals import ApprovalNotFound, BusinessRule


class OperativusApprovals:
    """Answers are recorded and not waited for."""

    def __init__(self, engine: Engine, body_bytes_max: int) -> None:
        self._engine, self._body_bytes_max = engine, body_bytes_max

    def handlers(self) -> dict[str, Handlers]:
        return {
            "/api/v1/approvals/pending": {"GET": self.list_pending},
            "/api/v1/approvals/{approval_id}": {"GET": self.get_approval},
            "/api/v1/approvals/{approval_id}/resolve": {"POST": self.resolve},
            "/api/v1/approvals/{approval_id}/decide": {"POST": self.decide},
        }

    async def list_pending(self, request: Request) -> Response:
        """Of the newest paused runs, as many as a page has, each open question."""
        by, asked = principal(request), read_query(PendingQuery, request)
        query = Query(statuses=(Status.WAITING.value,), limit=asked.size, offset=asked.page * asked.size)
        told = []
        for listed in await self._engine.list(query, by):
            try:
                state = await self._engine.state(listed.id, by)
            except RunNotFound:
                continue
            told += [approval(state, gate) for gate in state.open_gates]
        return json_answer(told)

    async def get_approval(self, request: Request) -> Response:
        by = principal(request)
        return json_answer(approval(*await self._found(request, by)))

    async def resolve(self, request: Request) -> Response:
        by = principal(request)
        form = await read_form(ResolveForm, request, self._body_bytes_max)
        state, gate = await self._found(request, by)
        await record(self._engine, state, bare(gate.id, form.decision == "APPROVED", form.decision), by)
        return json_answer(approval(*await self._found(request, by)))

    async def decide(self, request: Request) -> Response:
        """The same decision by the same principal again is answered as it was the first time."""
        by = principal(request)
        form = await read_form(DecideForm, request, self._body_bytes_max)
        state, gate = await self._found(request, by)
        answer = _answer(gate.id, form)
        try:
            await record(self._engine, state, answer, by)
        except BusinessRule:
            state, gate = await self._found(request, by)
            same = "APPROVED" if form.decision == "approve" else "REJECTED"
            if gate.by is None or gate.by.id != by.id or approval_status(gate) != same:
                raise
        return json_answer(approval(*await self._found(request, by)))

    async def _found(self, request: Request, by: Caller) -> tuple[RunState, Gate]:
        """The run and the question that the path names. Raises ApprovalNotFound, Forbidden, Unavailable."""
        name = request.path_params["approval_id"]
        run_id = run_of(name)
        try:
            state = await self._engine.state(run_id, by) if run_id is not None else None
        except (RunNotFound, InvalidId):
            state = None
        gate = next((one for one in state.gates if one.id == name), None) if state is not None else None
        if state is None or gate is None:
            raise ApprovalNotFound(name)
        return state, gate


def _answer(gate_id: str, form: DecideForm) -> Answer:
    approved = form.decision == "approve"
    if "payload" not in form.model_fields_set or form.payload is None:
        return bare(gate_id, approved, form.decision)
    return supplied(gate_id, approved, form.payload)
