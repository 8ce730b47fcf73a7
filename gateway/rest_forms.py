"""What `/v1` takes and gives, as pydantic models: requests are checked by them, and the OpenAPI document is made of
them. Answers are written as plain values, and tests hold them to these models."""

import re
from datetime import datetime
from typing import Annotated, Literal

from ag_ui.core import Context, Message, Tool
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, Tag

from protocol.interrupts import INTERRUPTS_MAX
from protocol.state import Status
from protocol.subjects import ID_BYTES_MAX

from .cursor import SEQ_MAX

WAIT_SECONDS_MAX = 300
RUNS_MAX = 200
EVENTS_MAX = 1000
REASON_CHARS_MAX = 1000

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,16}", re.ASCII)


class Form(BaseModel):
    """A request or a part of one: a name that is not known is a mistake, not a wish to be passed over."""

    model_config = ConfigDict(extra="forbid")


def _whole(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not _DIGITS.fullmatch(value):
        raise ValueError("must be a whole number")
    return int(value)


def _instant(value: object) -> object:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 date and time with its offset, as in 2026-01-31T12:00:00Z")
    return datetime.fromisoformat(value.upper())


Whole = Annotated[int, BeforeValidator(_whole, json_schema_input_type=int)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
Id = Annotated[str, Field(min_length=1, max_length=ID_BYTES_MAX)]
Seq = Annotated[Whole, Field(ge=0, le=SEQ_MAX)]
Input = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Message], Tag("messages")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "messages"),
]


class WorkForm(Form):
    """What to run."""

    agent: Id = Field(description="Name of the agent; GET /v1/agents lists them.")
    input: Input = Field(description="The user's text, or AG-UI messages.")
    thread_id: Id | None = Field(None, description="Thread to continue; absent, a new one.")
    state: JsonValue = Field(None, description="The agent's state to begin with.")
    tools: list[Tool] = Field([], description="Tools the client brings, in AG-UI's form.")
    context: list[Context] = Field([], description="Context for the agent, in AG-UI's form.")
    metadata: dict[str, JsonValue] = Field({}, description="Kept with the run and shown with it; 16 KB at most.")
    on_busy: Literal["reject", "cancel_previous"] | None = Field(
        None, description="What to do if the thread has a run in progress; absent, what the agent declares."
    )


class RunForm(WorkForm):
    """What to run, now."""

    run_id: Id | None = Field(None, description="Id of the run; absent, a fresh one. Sent again, it is the same run.")


class CancelForm(Form):
    """Why."""

    reason: str | None = Field(None, max_length=REASON_CHARS_MAX, description="Recorded with the cancel.")


class AnswerForm(Form):
    """An answer to one open interrupt."""

    interrupt_id: Id = Field(description="The interrupt's id, or its gate's.")
    status: Literal["resolved", "cancelled"] = Field(
        "resolved", description="`cancelled` abandons the question; the agent is told so."
    )
    payload: JsonValue = Field(None, description="The answer itself; it has to fit the interrupt's `responseSchema`.")


class ResumeForm(Form):
    """Answers to all open interrupts of a run, at once."""

    answers: list[AnswerForm] = Field(min_length=1, max_length=INTERRUPTS_MAX)


class RunsQuery(Form):
    """Which runs."""

    agent: str | None = Field(None, description="Of this agent.")
    status: list[Status] = Field([], description="In one of these; may be repeated.")
    thread_id: str | None = Field(None, description="Of this thread.")
    created_after: Instant | None = Field(None, description="Created after this instant (RFC 3339).")
    created_before: Instant | None = Field(None, description="Created before this instant (RFC 3339).")
    limit: Annotated[Whole, Field(ge=1, le=RUNS_MAX)] = Field(50, description="Most runs in the answer.")
    cursor: str | None = Field(None, max_length=2048, description="The `next_cursor` of the page before.")


class RunQuery(Form):
    """How much of a run, and from when on."""

    include: list[Literal["steps", "messages", "state"]] = Field([], description="Parts to add, comma-separated.")
    after_seq: Seq | None = Field(None, description="With `wait`: answer once the run is past this entry or over.")
    wait: Annotated[Whole, Field(ge=0, le=WAIT_SECONDS_MAX)] = Field(0, description="Longest to hold the answer, in s.")


class EventsQuery(Form):
    """Which events."""

    after_seq: Seq | None = Field(None, description="Everything after this entry; the greater of it and Last-Event-ID.")
    limit: Annotated[Whole, Field(ge=1, le=EVENTS_MAX)] = Field(100, description="Most events in a JSON page.")


class NoQuery(Form):
    """Nothing."""


class RunFault(BaseModel):
    """Why a run failed."""

    code: str
    message: str


class StepObject(BaseModel):
    """A named step; `ended_at` is null while it is open."""

    name: str
    started_at: datetime
    ended_at: datetime | None


class MessageObject(BaseModel):
    """A message in AG-UI's wire form; the role says which further fields it has."""

    model_config = ConfigDict(extra="allow")

    id: str
    role: str


class Person(BaseModel):
    """Who it was, as the credential says."""

    id: str
    kind: str
    name: str


class Decision(BaseModel):
    """What became of an interrupt. `closed` says that the run was ended without an answer."""

    interrupt_id: str
    gate: str = Field(description="The interrupt's id in the whole tenant.")
    status: Literal["resolved", "cancelled", "expired", "closed"]
    decision: Literal["approve", "reject", "answer"] | None
    by: Person | None
    face: str | None = Field(description="Through which of hocket's faces.")
    at: datetime | None


class AuditRecord(BaseModel):
    """One thing that was asked of a run or became of it, at entry `seq` of its log."""

    model_config = ConfigDict(extra="allow")

    what: Literal["started", "waiting", "answered", "cancelled", "expired"]
    seq: int
    at: datetime
    by: Person | None
    face: str | None
    interrupts: list[str] | None = Field(None, description="With `waiting`: the interrupts' ids.")
    answers: list[dict[str, JsonValue]] | None = Field(None, description="How each was answered, not with what.")
    outcome: str | None = Field(None, description="With `expired`: whether the run goes on (`answer`) or ends.")
    reason: str | None = None


class Audit(BaseModel):
    """Who asked for what, and who decided, in order."""

    run_id: str
    audit: list[AuditRecord]


class RunObject(BaseModel):
    """A run as of entry `seq` of its log. `messages`, `state` and `steps` are there if they were asked for."""

    model_config = ConfigDict(extra="forbid")

    id: str
    agent: str
    thread_id: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    seq: int = Field(description="The last entry of the run's log that this shows.")
    attempt: int = Field(description="Workers that have had a go at the run's latest stretch of work.")
    error: RunFault | None
    usage: dict[str, int] | None = Field(description="Tokens, as far as the agent reported them.")
    metadata: dict[str, JsonValue]
    interrupts: list[dict[str, JsonValue]] = Field(description="What the run waits for; empty unless it waits.")
    decisions: list[Decision] = Field(description="What became of the interrupts before.")
    result: JsonValue = Field(description="What the agent finished with, null if nothing.")
    messages: list[MessageObject] | None = None
    state: JsonValue = None
    steps: list[StepObject] | None = None


class RunPage(BaseModel):
    """Runs, newest first, each as of its last change of status."""

    runs: list[RunObject]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


class NumberedEvent(BaseModel):
    """Entry `seq` of a run: an AG-UI event, or an ask (who asked, through which face, when)."""

    seq: int
    event: dict[str, JsonValue]


class ServerSentEvent(BaseModel):
    """One event of the stream. `data` is the JSON of an AG-UI event, or of an ask where `event` is `ask`."""

    id: str | None = Field(None, description="The entry's number.")
    event: str | None = Field(None, description="`ask`, or `unknown` for a type that AG-UI does not define.")
    data: str | None = Field(None, json_schema_extra={"contentMediaType": "application/json"})
    retry: int | None = None


class EventPage(BaseModel):
    """Entries of a run in order."""

    events: list[NumberedEvent]
    next_after_seq: int = Field(description="`after_seq` of the next page.")
    has_more: bool = Field(description="More is recorded already.")


class PageToken(BaseModel):
    """A short-lived credential for one run."""

    token: str
    expires_at: datetime
    page: str = Field(description="The run's page with the token in its fragment, which no browser sends to a server.")


class ThreadMessages(BaseModel):
    """The history of a thread."""

    thread_id: str
    messages: list[MessageObject]


class AgentObject(BaseModel):
    """An agent that a worker has announced."""

    name: str
    description: str
    on_busy: Literal["reject", "cancel_previous"]
    retry: Literal["always", "never"]


class AgentList(BaseModel):
    """The agents, by name."""

    agents: list[AgentObject]


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `detail` is for people and may change."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
    run_id: str | None = Field(None, description="With `thread_busy`: the run in progress.")
    missing: list[str] | None = Field(None, description="With `interrupts_missing`: what has no answer.")
    faults: list[dict[str, str]] | None = Field(
        None, description="With `invalid_answer`: interrupt_id, path (a JSON pointer into the payload) and message."
    )
    resolved: dict[str, JsonValue] | None = Field(
        None, description="With `already_resolved`: how, by whom, through which face and when."
    )


class Health(BaseModel):
    """How the gateway is."""

    status: str
