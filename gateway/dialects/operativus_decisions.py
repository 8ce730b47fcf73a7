"""A human's decision in Operativus: which question it is for, and how it is recorded. `/continue` and the approvals
both come here, and answer the same gates."""

from typing import Any

from protocol.answers import Answer
from protocol.entries import Caller
from protocol.errors import AlreadyResolved, Conflict, InterruptExpired, RunNotFound, UnknownInterrupt
from protocol.state import Gate, RunState, Status
from runtime.asks import Resume
from runtime.engine import Engine

from ..errors import InvalidFields
from .operativus_object import STATUS
from .operativus_refusals import BusinessRule

FACE = "operativus"


def bare(gate_id: str, approved: bool, word: str) -> Answer:
    """An approval or a rejection without values, which no schema is asked about."""
    return Answer(gate_id, payload={"approved": approved}, text=word, supplied=False)


def supplied(gate_id: str, approved: bool, payload: Any) -> Answer:
    """A decision that brings the answer's payload. A rejection is told by `approved` in it, so it is an object. Raises
    InvalidFields."""
    said = payload.get("approved") if isinstance(payload, dict) else None
    if isinstance(said, bool) and said is not approved:
        raise _bad("says the opposite of decision in approved")
    if not approved:
        if not isinstance(payload, dict):
            raise _bad("must be an object where the decision is reject")
        payload = {**payload, "approved": False}
    return Answer(gate_id, payload=payload, text=payload if isinstance(payload, str) else None)


def _bad(told: str) -> InvalidFields:
    return InvalidFields(f"payload {told}.", [{"field": "payload", "message": told}])


def gate_to_continue(state: RunState, approval_id: str | None) -> Gate:
    """The one open question, or the one that is named. Raises BusinessRule."""
    if state.status is not Status.WAITING:
        raise _not_paused(state)
    if approval_id is not None:
        gate = next((one for one in state.open_gates if one.id == approval_id), None)
        if gate is None:
            raise BusinessRule(f"{approval_id[:80]!r} is no open approval of this run (status {STATUS[state.status]})")
        return gate
    if len(state.open_gates) != 1:
        told = f"run {state.id} waits for {len(state.open_gates)} approvals (status {STATUS[state.status]})"
        raise BusinessRule(f"{told}: name one as approvalId, or resolve each at /api/v1/approvals/{{id}}/resolve")
    return state.open_gates[0]


async def record(engine: Engine, state: RunState, answer: Answer, by: Caller) -> None:
    """Records the answer. Raises BusinessRule where another came first or there is nothing to answer, InvalidAnswer,
    Forbidden, RunNotFound, TooLarge, Unavailable."""
    run_id = state.id
    try:
        await engine.resume(run_id, Resume([answer], partial=True), by, FACE)
    except (Conflict, InterruptExpired, UnknownInterrupt) as refused:
        state = await engine.state(run_id, by)
        if isinstance(refused, AlreadyResolved | InterruptExpired):
            raise BusinessRule(f"{refused.message} Run {run_id} has status {STATUS[state.status]}.") from None
        raise _not_paused(state) from None


def _not_paused(state: RunState) -> BusinessRule:
    return BusinessRule(f"run {state.id} is not paused (status {STATUS[state.status]})")


def check_agent(state: RunState, agent: str | None, name: str) -> None:
    """Raises RunNotFound, by the name that was asked for, where the run is another agent's."""
    if agent is not None and state.agent != agent:
        raise RunNotFound(name)
