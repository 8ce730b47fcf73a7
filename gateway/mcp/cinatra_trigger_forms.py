"""What Cinatra's trigger tools take and give; see `cinatra_forms`."""

from typing import Literal

from pydantic import Field, JsonValue, RootModel

from ..rest_forms import Instant
from .cinatra_forms import Id, Out, Package, Template
from .tool import Form

CRON_CHARS_MAX = 256
ZONE_CHARS_MAX = 64

TriggerType = Literal["immediate", "scheduled", "recurring", "event"]
EventStatus = Literal["completed", "failed", "stopped", "pending_approval"]


class TargetForm(Form):
    """Exactly one of the three."""

    runId: Id | None = Field(None, description="A run: its agent, its inputs and its time limit are the template.")
    templateId: Template | None = None
    packageName: Package | None = None


class EventForm(Form):
    """Either a subject, or an agent with statuses."""

    subject: str | None = Field(
        None,
        max_length=200,
        description="Messages under it, as a NATS subject of the tenant's own, such as `orders.*` or `orders.>`.",
    )
    agent: Id | None = Field(None, description="A run of this agent that comes to one of `statuses`.")
    statuses: list[EventStatus] | None = Field(None, min_length=1, max_length=4, description="With `agent`.")


class TriggerSetForm(TargetForm):
    """What to start, and when."""

    triggerType: TriggerType = Field(
        description="Now; once at scheduledAt; at each tick of cronExpression; or whenever the event comes."
    )
    scheduledAt: Instant | None = Field(None, description="With `scheduled`: an instant to come (RFC 3339).")
    cronExpression: str | None = Field(
        None,
        max_length=CRON_CHARS_MAX,
        description="With `recurring`: minute, hour, day of month, month, day of week.",
    )
    timezone: str = Field("UTC", max_length=ZONE_CHARS_MAX, description="IANA time zone of cronExpression.")
    event: EventForm | None = Field(None, description="With `event`: what to wait for.")
    enabled: bool = Field(True, description="A trigger that is not enabled is kept, and starts nothing.")
    inputParams: str | dict[str, JsonValue] | None = Field(
        None,
        description="With templateId or packageName: what each run is given, as agent_run takes it. A run that an "
        "event starts is given the event too, as `event`.",
    )


class TriggerSet(Out):
    runId: str | None
    templateId: str
    triggerId: str
    jobSchedulerId: str | None = Field(description="There where a time is planned.")


class SubjectEvent(Out):
    subject: str


class AgentEvent(Out):
    agent: str
    statuses: list[EventStatus]


class TriggerRecord(Out):
    runId: str | None
    templateId: str
    triggerId: str
    triggerType: TriggerType
    scheduledAt: str | None
    cronExpression: str | None
    timezone: str
    event: SubjectEvent | AgentEvent | None
    enabled: bool
    releasedAt: str | None = Field(description="When it has last started a run, since it was set last.")
    lastRunId: str | None
    createdAt: str
    updatedAt: str


class NoTrigger(Out):
    """There is none: the text is `null`."""


class TriggerFound(RootModel[TriggerRecord | NoTrigger]):
    """A trigger, or none."""


class TriggerDeleted(Out):
    ok: Literal[True]
