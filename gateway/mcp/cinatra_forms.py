"""What Cinatra's tools take and give, as pydantic models: arguments are checked by them and schemas made of them.
Answers are written as plain values, and tests hold them to these schemas."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from protocol.subjects import ID_BYTES_MAX

from ..rest_forms import Instant
from .tool import Form

PAGE_MAX = 200
RUN_IDS_MAX = 500
TEXT_CHARS_MAX = 65_536

Id = Annotated[str, Field(min_length=1, max_length=ID_BYTES_MAX)]
RunId = Annotated[Id, Field(description="The run's id, as agent_run and agent_run_list tell it.")]
Limit = Annotated[int, Field(ge=1, le=PAGE_MAX, description="Most items in the answer.")]
Cursor = Annotated[str, Field(max_length=2048, description="The nextCursor of the page before.")]
Template = Annotated[Id, Field(description="An agent's id, as agent_list tells it.")]
Package = Annotated[Id, Field(description="An agent's packageName, as agent_list tells it.")]
RunStatus = Literal["queued", "running", "pending_approval", "completed", "failed", "stopped"]
MessageType = Literal["setup", "user", "assistant", "tool", "final"]


class AgentListForm(Form):
    """Which agents."""

    query: str | None = Field(None, max_length=1000, description="Text that the name or description holds.")
    status: Literal["draft", "published", "archived"] | None = Field(
        None, description="Every agent that hocket runs is published."
    )
    packageName: Package | None = None
    limit: Limit = 50
    offset: int = Field(0, ge=0, le=1_000_000, description="Items to skip; a cursor counts instead where there is one.")
    cursor: Cursor | None = None


class NoForm(Form):
    """Nothing."""


class SourceForm(Form):
    """Exactly one of the two."""

    packageName: Package | None = None
    packageSlug: str | None = Field(
        None, min_length=1, max_length=ID_BYTES_MAX, pattern=r"^[^/\\]+$", description="The agent's name, as in path."
    )


class RunForm(Form):
    """Exactly one of templateId and packageName."""

    templateId: Template | None = None
    packageName: Package | None = None
    inputParams: str | dict[str, JsonValue] | None = Field(
        None,
        description="The agent's parameters, as an object or its JSON text, 64 KiB at most. agent_source_read tells "
        "their schema; an agent that takes text reads `message` (or `prompt`).",
    )
    timeoutSeconds: int | None = Field(
        None,
        ge=1,
        le=86_400,
        description="Working time after which the run fails; waiting for a person does not count.",
    )


class RunIdForm(Form):
    """One run."""

    runId: RunId


class MessagesForm(RunIdForm):
    """One run's messages, or those of one type."""

    messageType: MessageType | None = Field(None, description="Only these; `final` is the outcome of an ended run.")


class ResumeForm(RunIdForm):
    """The answer to what a run waits for."""

    userResponse: str | None = Field(
        None,
        max_length=TEXT_CHARS_MAX,
        description="The answer, usually JSON text that fits hitlContext.inputSchema; goes before approvalNote.",
    )
    approvalNote: str | None = Field(
        None, max_length=TEXT_CHARS_MAX, description="Approves, with this note. Without either it approves without one."
    )
    reviewTaskId: Id | None = Field(
        None, description="hitlContext.reviewTaskId: needed where several questions are open, and a guard where one is."
    )


class StopManyForm(Form):
    """One of the three; runIds goes before the others."""

    templateId: Template | None = None
    packageName: Package | None = None
    runIds: list[Id] | None = Field(None, max_length=RUN_IDS_MAX)


class RunListForm(Form):
    """Which runs."""

    templateId: Template | None = None
    packageName: Package | None = None
    templateIds: list[Id] | None = Field(None, max_length=100, description="Of any of these; goes before the others.")
    status: RunStatus | None = None
    createdAfter: Instant | None = Field(None, description="Created at this instant or later (RFC 3339).")
    createdBefore: Instant | None = Field(None, description="Created before this instant (RFC 3339).")
    limit: Limit = 50
    cursor: Cursor | None = None
    projectId: str | None = Field(None, max_length=1000, description="Not looked at: hocket has no projects.")


class Out(BaseModel):
    """A part of an answer, with exactly these names."""

    model_config = ConfigDict(extra="forbid")


class AgentItem(Out):
    id: str
    name: str
    description: str
    status: Literal["published"]
    packageName: str
    createdAt: str | None


class AgentPage(Out):
    items: list[AgentItem]
    total: int
    nextCursor: str = Field("", description="Absent on the last page.")


class SourceItem(Out):
    path: str
    packageName: str
    packageVersion: str
    name: str
    description: str


class SourceList(Out):
    items: list[SourceItem]
    total: int


class ScreenItem(Out):
    id: str
    xRenderer: str
    schema_: dict[str, Any] = Field(alias="schema")


class SourceContent(Out):
    packageName: str
    version: str
    name: str
    description: str
    inputSchema: dict[str, Any]
    hitlScreens: list[ScreenItem]


class SourceDocument(Out):
    content: SourceContent
    path: str


class Begun(Out):
    runId: str
    status: Literal["queued"]


class Hitl(Out):
    xRenderer: str
    childRunId: None
    reviewTaskId: str
    inputSchema: JsonValue
    currentValues: JsonValue
    expiresAt: str | None


class Actor(Out):
    id: str
    kind: str
    clientId: str | None


class Resumer(Actor):
    reviewTaskId: str
    at: str
    dialect: str


class Audit(Out):
    startedBy: Actor
    resumedBy: list[Resumer]
    stoppedBy: Actor | None
    summary: str


class RunRecord(Out):
    id: str
    runId: str
    templateId: str
    packageName: str
    packageVersion: str | None
    versionId: None
    status: RunStatus
    title: None
    inputParams: dict[str, JsonValue]
    stepResults: list[dict[str, JsonValue]]
    streamedText: str
    error: str | None
    createdAt: str
    startedAt: str | None
    completedAt: str | None
    timeoutSeconds: int | None
    runBy: str
    orgId: str
    projectId: None
    authPolicy: None
    sourceType: str
    sourceId: str | None = Field(description="The trigger that has started the run.")
    idempotencyKey: None
    a2aTaskId: str
    a2aContextId: str
    parentRunId: None
    agUiEnabled: bool
    lgThreadId: None
    traceId: None
    workflowId: None
    workflowTaskId: None
    statusUrl: str
    hitlContext: Hitl | None
    hitlContexts: list[Hitl] = Field([], description="There only where several questions are open.")
    audit: Audit


class MessageItem(Out):
    id: str
    sequence: int
    role: str
    messageType: MessageType
    body: str
    createdAt: str


class MessageList(Out):
    items: list[MessageItem]
    total: int
    hasMore: bool
    runId: str
    runStatus: RunStatus
    lgThreadId: None


class Acted(Out):
    runId: str
    status: RunStatus
    message: str


class StoppedMany(Out):
    stopped: int
    alreadyTerminal: int
    total: int


class RunItem(Out):
    id: str
    templateId: str
    status: RunStatus
    inputParams: dict[str, JsonValue] | None = Field(description="Null where they are too long for a list.")
    startedAt: str | None
    completedAt: str | None
    createdAt: str


class RunPage(Out):
    items: list[RunItem]
    total: int
    nextCursor: str = Field("", description="Absent on the last page.")
