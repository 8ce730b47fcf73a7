"""Cinatra's tools that decide: answering what a run waits for, and stopping runs."""

import asyncio
from typing import Any

from protocol.answers import Answer, find
from protocol.errors import AlreadyResolved, InterruptExpired, Invalid, NotFound, NotWaiting, UnknownInterrupt
from protocol.state import Gate, RunState, Status
from runtime.asks import Resume
from runtime.index import Query

from ..body import loads
from ..dialects.cinatra_snapshot import STATUS
from ..errors import MalformedJson
from .cinatra_forms import Acted, ResumeForm, RunIdForm, StopManyForm, StoppedMany
from .tool import ANSWERS, FACE, STOPS, Call, Told, Tool, closed_or_error
from .words import late, misread, refuse

APPROVED = "[Approved by operator]"
_AT_ONCE = 16
_STOPPED_MAX = 10_000
_ACTIVE = (Status.QUEUED.value, Status.RUNNING.value, Status.WAITING.value)


async def agent_run_resume(call: Call, form: ResumeForm) -> Told:
    state = await call.engine.state(form.runId, call.by)
    try:
        gate = _gate(state, form.reviewTaskId)
        answer, opened_seq = _answer(gate.id, form), gate.opened_seq  # before waiting: the state is shared
        done = (await call.engine.resume(form.runId, Resume([answer], partial=True), call.by, FACE)).state
    except (NotWaiting, AlreadyResolved, InterruptExpired) as error:
        state = await call.engine.state(form.runId, call.by)
        return late(error, STATUS[state.status])
    # what the answer has done, however far the run has got since
    left = sum(one.opened_seq == opened_seq for one in done.open_gates)
    told = f"recorded; the run still waits for {left} more" if left else "resumed"
    return Told({"runId": done.id, "status": STATUS[Status.WAITING if left else Status.RUNNING], "message": told})


def _gate(state: RunState, review_task_id: str | None) -> Gate:
    """The question that is meant. Raises NotWaiting, InterruptExpired, UnknownInterrupt, or Invalid where several are
    open and none is named."""
    if review_task_id is not None:
        gate = find(state, review_task_id)
        if gate is None:
            raise UnknownInterrupt(review_task_id, [one.id for one in state.open_gates])
        return gate
    if not state.open_gates:
        if state.gates and state.gates[-1].status == "expired":
            raise InterruptExpired(state.gates[-1].id, str(state.gates[-1].interrupt.get("expiresAt")))
        raise NotWaiting(state.id, state.status.value)
    if len(state.open_gates) > 1:
        named = ", ".join(one.id for one in state.open_gates)
        raise Invalid(f"The run waits for {len(state.open_gates)} answers: name one as reviewTaskId, of {named}.")
    return state.open_gates[0]


def _answer(gate_id: str, form: ResumeForm) -> Answer:
    """`userResponse` goes before `approvalNote`; without either it is an approval (contract: README, section 7)."""
    if form.userResponse is not None:
        return Answer(gate_id, payload=_payload(form.userResponse), text=form.userResponse)
    note = (form.approvalNote or "").strip() or APPROVED
    return Answer(gate_id, payload={"approved": True, "note": note}, text=note, supplied=False)


def _payload(text: str) -> Any:
    """Parsed if it is the JSON of an object or a list, else the text itself."""
    try:
        told = loads(text.encode())
    except MalformedJson:
        return text
    return told if isinstance(told, dict | list) else text


async def agent_run_stop(call: Call, form: RunIdForm) -> Told:
    before = (await call.engine.state(form.runId, call.by)).terminal
    state = await call.engine.cancel(form.runId, call.by, FACE)
    told = f"it had ended already: {STATUS[state.status]}" if before else "stopped; the agent halts after its step"
    return Told({"runId": state.id, "status": STATUS[state.status], "message": told})


async def agent_runs_stop(call: Call, form: StopManyForm) -> Told:
    """Runs that the caller may not see are passed over. Each is stopped by itself: what was stopped stays so."""
    ids = list(dict.fromkeys(form.runIds)) if form.runIds is not None else await _active(call, form)
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def stop(run_id: str) -> bool | None:
        """Whether this call has stopped it; None for a run that there is not."""
        async with at_once:
            try:
                ended = (await call.engine.state(run_id, call.by)).terminal
                return (await call.engine.cancel(run_id, call.by, FACE)).status is Status.CANCELLED and not ended
            except NotFound:
                return None

    told = await asyncio.gather(*(stop(run_id) for run_id in ids))
    return Told({"stopped": told.count(True), "alreadyTerminal": told.count(False),
                 "total": len(told) - told.count(None)})  # fmt: skip


async def _active(call: Call, form: StopManyForm) -> list[str]:
    """The active runs of an agent, the newest 10,000."""
    agent = form.templateId if form.templateId is not None else form.packageName
    if agent is None or (form.templateId is not None and form.packageName is not None):
        raise Invalid("Give one of templateId, packageName and runIds.")
    found: list[str] = []
    query = Query(agent=agent, statuses=_ACTIVE, limit=500)
    while len(found) < _STOPPED_MAX:
        page = await call.engine.list(query, call.by)
        found += [state.id for state in page]
        if len(page) < query.limit:
            break
        query = Query(agent=agent, statuses=_ACTIVE, limit=500, before=(page[-1].created_at_ms, page[-1].id))
    return found


TOOLS = (
    Tool(
        "agent_run_resume", "Answer a waiting run",
        "Answers what a run in pending_approval waits for, and lets it go on. userResponse is the person's answer and "
        "goes before approvalNote; with neither the answer is a plain approval. One answer counts: whoever comes later "
        "is told that the run is not waiting any more. Do not decide for a person who has not decided.",
        ResumeForm, closed_or_error(Acted), agent_run_resume, ANSWERS, refuse, misread,
    ),
    Tool(
        "agent_run_stop", "Stop a run",
        "Stops a run for good, whatever it is doing; its agent halts after its current step. A run that has ended "
        "stays as it is.",
        RunIdForm, closed_or_error(Acted), agent_run_stop, STOPS, refuse, misread,
    ),
    Tool(
        "agent_runs_stop", "Stop many runs",
        "Stops every active run of one agent (templateId or packageName), or the runs of runIds, which goes before the "
        "others. Runs that you may not see are passed over.",
        StopManyForm, closed_or_error(StoppedMany), agent_runs_stop, STOPS, refuse, misread,
    ),
)  # fmt: skip
