"""What the triggers of `/v1` take and give, as pydantic models; see `rest_forms`."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runtime.trigger import CatchUp, Kind

from .rest_forms import Form, Id, Instant, MessageObject, Person, Whole, WorkForm

TRIGGERS_MAX = 200
EventStatus = Literal["completed", "failed", "cancelled", "waiting"]


class EventForm(Form):
    """What an event trigger waits for: a run of an agent, or a message to a subject."""

    agent: Id | None = Field(None, description="A run of this agent that comes to one of `statuses`.")
    statuses: list[EventStatus] = Field([], description="With `agent`: at least one.")
    metadata: dict[str, JsonValue] = Field({}, description="With `agent`: the run's metadata must hold all of these.")
    subject: str | None = Field(
        None, description="Messages to `event.<tenant>.<subject>` of NATS, or to POST /v1/events; `*` and `>` as there."
    )


class TriggerChange(WorkForm):
    """When to run what."""

    kind: Kind = Field(description="`now`, `at` an instant, by `cron`, or on an `event`.")
    at: Instant | None = Field(None, description="With kind `at`: the instant (RFC 3339), later than now.")
    cron: str | None = Field(
        None, max_length=256, description="With kind `cron`: minute, hour, day of month, month, day of week."
    )
    timezone: str = Field("UTC", max_length=64, description="IANA time zone of `cron`, such as Europe/Berlin.")
    event: EventForm | None = Field(None, description="With kind `event`: what to wait for.")
    catch_up: CatchUp = Field(
        "last", description="What becomes of ticks that nobody was there to take: `all` is the last 1,000."
    )
    enabled: bool = Field(True, description="A trigger that is not enabled keeps, and fires by hand alone.")
    thread_id: Id | None = Field(None, description="One thread for all its runs; absent, a new one for each.")


class TriggerForm(TriggerChange):
    """A new trigger."""

    id: Id | None = Field(None, description="Its id; absent, a fresh one.")


class TriggersQuery(Form):
    """Which triggers."""

    agent: str | None = Field(None, description="Of this agent.")
    limit: Annotated[Whole, Field(ge=1, le=TRIGGERS_MAX)] = Field(50, description="Most triggers in the answer.")
    cursor: str | None = Field(None, max_length=2048, description="The `next_cursor` of the page before.")


class EventObject(BaseModel):
    """What an event trigger waits for."""

    agent: str | None
    statuses: list[EventStatus]
    metadata: dict[str, JsonValue]
    subject: str | None


class FireFault(BaseModel):
    """Why there is no run. `code` is stable: `missed`, `too_deep`, `forbidden`, `thread_busy`, `agent_not_found`."""

    code: str
    message: str


class FireObject(BaseModel):
    """How a trigger fired last: for which tick or event, when, and with which run."""

    due_at: datetime
    at: datetime
    run_id: str | None
    error: FireFault | None


class TriggerObject(BaseModel):
    """A trigger. `input` is there where one trigger is asked for."""

    model_config = ConfigDict(extra="forbid")

    id: str
    agent: str
    kind: Kind
    at: datetime | None
    cron: str | None
    timezone: str
    event: EventObject | None
    catch_up: CatchUp
    enabled: bool
    thread_id: str | None
    on_busy: Literal["reject", "cancel_previous"] | None
    metadata: dict[str, JsonValue]
    set_by: Person = Field(description="Who set it last; its runs are in that one's name, with kind `trigger`.")
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None = Field(description="When it is due next, null if it is not by the clock.")
    last: FireObject | None
    last_run_id: str | None = Field(description="The last run that it started.")
    input: list[MessageObject] | None = None


class TriggerPage(BaseModel):
    """Triggers, newest first."""

    triggers: list[TriggerObject]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


class EventTold(BaseModel):
    """What was told, and is kept until the triggers have been looked through."""

    subject: str
    seq: int = Field(description="The message's number; the same for a repetition.")
