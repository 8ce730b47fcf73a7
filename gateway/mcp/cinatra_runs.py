"""Cinatra's tools that start runs, poll them and list them."""

from datetime import datetime
from typing import Any

from starlette.requests import Request

from protocol.errors import AgentNotFound, Invalid
from protocol.state import RunState
from runtime.index import Query

from ..dialects.cinatra_snapshot import STATUS
from ..page_cursor import cursor_after, place_of
from ..resource import segment
from ..run_object import rfc3339
from .cinatra_agents import exactly_one, unavailable
from .cinatra_forms import (
    Begun,
    MessageList,
    MessagesForm,
    RunForm,
    RunIdForm,
    RunListForm,
    RunPage,
    RunRecord,
)
from .run_record import messages, record
from .starting import parameters_of, start
from .tool import READS, STARTS, TICKET, Call, Ticket, Told, Tool, closed_or_error
from .words import misread, refuse

_STATUSES = {words: status.value for status, words in STATUS.items()}


async def agent_run(call: Call, form: RunForm) -> Told:
    agent = exactly_one(templateId=form.templateId, packageName=form.packageName)
    begun = await start(call, agent, parameters_of(form.inputParams), form.timeoutSeconds)
    hint = {"type": "agent-run", "runId": begun.run_id, "protocols": ["ag-ui"]}
    return Told({"runId": begun.run_id, "status": "queued"}, hint)


async def agent_run_get(call: Call, form: RunIdForm) -> Told:
    state = await call.engine.state(form.runId, call.by)
    told = record(state, status_url(call.request, state.id))  # at once: the state is shared, and the run goes on
    told["packageVersion"] = await version_of(call, told["templateId"])
    return Told(told, status_hint(told))


async def version_of(call: Call, agent: str) -> str | None:
    """What the agent declares, None if it declares nothing or no worker has it any more."""
    try:
        return (await call.engine.agent(agent)).get("version") or None
    except AgentNotFound:
        return None


def status_hint(told: dict[str, Any]) -> dict[str, Any]:
    approval = told["status"] == "pending_approval"
    return {
        "type": "agent-run-status",
        "runId": told["runId"],
        "status": told["status"],
        "approvalRequired": approval,
    }


def status_url(request: Request, run_id: str) -> str:
    """The run's page, at the address where clients reach this gateway."""
    ticket: Ticket = request.scope[TICKET]
    return f"{ticket.reached_at}/agents/status/{segment(run_id)}"


async def agent_run_messages_list(call: Call, form: MessagesForm) -> Told:
    told = messages(await call.engine.state(form.runId, call.by), form.messageType)
    return Told(told, {"type": "agent-run-messages", "runId": told["runId"], "runStatus": told["runStatus"]})


async def agent_run_list(call: Call, form: RunListForm) -> Told:
    one = form.templateId if form.templateId is not None else form.packageName
    query = Query(
        agents=tuple(form.templateIds) if form.templateIds else (one,) if one is not None else (),
        statuses=(_STATUSES[form.status],) if form.status is not None else (),
        created_after_ms=_before(form.createdAfter),
        created_before_ms=_from(form.createdBefore),
        before=_place(form.cursor),
        limit=form.limit + 1,
    )
    found = await call.engine.list(query, call.by)
    page = found[: form.limit]
    told: dict[str, Any] = {"items": [_item(state) for state in page], "total": await call.engine.count(query, call.by)}
    if len(found) > len(page):
        told["nextCursor"] = cursor_after(page[-1].created_at_ms, page[-1].id)
    return Told(told)


def _item(state: RunState) -> dict[str, Any]:
    given = state.input.get("forwardedProps", {})
    return {
        "id": state.id,
        "templateId": state.agent,
        "status": STATUS[state.status],
        "inputParams": given if given is None or isinstance(given, dict) else {},
        "startedAt": rfc3339(state.started_at_ms),
        "completedAt": rfc3339(state.ended_at_ms),
        "createdAt": rfc3339(state.created_at_ms),
    }


def _place(cursor: str | None) -> tuple[int, str] | None:
    """A malformed cursor is the first page."""
    try:
        return place_of(cursor, "runs") if cursor is not None else None
    except Invalid:
        return None


def _from(at: datetime | None) -> int | None:
    """The first whole millisecond that is not before `at`."""
    if at is None:
        return None
    whole, rest = divmod(at.timestamp() * 1000, 1)
    return int(whole) + (1 if rest else 0)


def _before(at: datetime | None) -> int | None:
    first = _from(at)
    return first - 1 if first is not None else None


TOOLS = (
    Tool(
        "agent_run", "Start a run",
        "Starts a run of an agent and returns at once with its runId. Name the agent by templateId or packageName, and "
        "give what it needs in inputParams (agent_source_read tells their schema). Then poll agent_run_get every 3 to "
        "5 seconds, or let agent_run_wait wait for you, until the run is completed, failed or pending_approval.",
        RunForm, closed_or_error(Begun), agent_run, STARTS, unavailable, misread,
    ),
    Tool(
        "agent_run_get", "Look at a run",
        "The run as it is now. `completed`: read its outputs with agent_run_messages_list. `failed`: `error` says why. "
        "`pending_approval`: a person must decide; hitlContext has the question's renderer, the JSON Schema of its "
        "answer and its reviewTaskId: answer with agent_run_resume, or send the person to statusUrl.",
        RunIdForm, closed_or_error(RunRecord), agent_run_get, READS, refuse, misread,
    ),
    Tool(
        "agent_run_messages_list", "Read a run's messages",
        "The run's messages in order, tool calls and their results among them. Of an ended run the last message has "
        "messageType `final`: its output, or the error with which it failed.",
        MessagesForm, closed_or_error(MessageList), agent_run_messages_list, READS, refuse, misread,
    ),
    Tool(
        "agent_run_list", "List runs",
        "Lists past and present runs, newest first, by agent, status or time of creation; `total` counts all that "
        "match. Pass nextCursor on as cursor for the next page.",
        RunListForm, closed_or_error(RunPage), agent_run_list, READS, refuse, misread,
    ),
)  # fmt: skip
