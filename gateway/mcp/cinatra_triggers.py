"""Cinatra's tools for triggers: one trigger a target, under an id that follows from the target alone."""

import contextlib
import uuid
from typing import Any, Literal, NamedTuple

from protocol.errors import Invalid, NotOwner, TriggerNotFound
from runtime.asks import Start
from runtime.trigger import Kind, Source, Trigger, Wanted

from ..dialects.cinatra_snapshot import STATUS
from ..run_object import rfc3339
from .cinatra_agents import exactly_one, unavailable
from .cinatra_trigger_forms import (
    EventForm,
    TargetForm,
    TriggerDeleted,
    TriggerFound,
    TriggerSet,
    TriggerSetForm,
)
from .definitions import check_parameters, input_schema
from .starting import check_size, input_of, parameters_of
from .tool import READS, REPLACES, STOPS, Call, Told, Tool, closed_or_error
from .words import misread, refuse

_TARGETS = uuid.UUID("9d0a3c52-6a4e-5a37-8f0b-5f0a6c1f7e44")
_MESSAGE_ID = "text"
"""Of the message in the trigger; each run gives its messages ids of their own."""
_KINDS: dict[str, Kind] = {"immediate": "now", "scheduled": "at", "recurring": "cron", "event": "event"}
_TYPES = {kind: name for name, kind in _KINDS.items()}
_STATUSES = {words: status.value for status, words in STATUS.items()}
_WORDS = {status: words for words, status in _STATUSES.items()}
_FIELDS = {"at": "scheduledAt", "cron": "cronExpression", "kind": "triggerType"}


class Target(NamedTuple):
    """What a trigger is a trigger of: a run, or an agent, whichever of its two names it is given by."""

    kind: Literal["run", "agent"]
    id: str

    @property
    def trigger_id(self) -> str:
        return str(uuid.uuid5(_TARGETS, f"{self.kind}\n{self.id}"))


async def agent_run_trigger_set(call: Call, form: TriggerSetForm) -> Told:
    target = _target(form)
    for name, given, wanted in (("scheduledAt", form.scheduledAt, "scheduled"), ("event", form.event, "event"),
                                ("cronExpression", form.cronExpression, "recurring")):  # fmt: skip
        if (given is None) == (form.triggerType == wanted):
            raise Invalid(f"{name}: needed with triggerType {wanted}, and given with that one alone.")
    owner = await _owner(call, target)
    template = await _template(call, target, form)
    want = Wanted(
        template.agent,
        template.input,
        _KINDS[form.triggerType],
        round(form.scheduledAt.timestamp() * 1000) if form.scheduledAt is not None else None,
        form.cronExpression,
        form.timezone,
        _source(form.event) if form.event is not None else None,
        enabled=form.enabled,
        timeout_s=template.timeout_s,
    )
    try:
        trigger = await call.engine.triggers.set(want, call.by, target.trigger_id, owner=owner)
    except Invalid as bad:
        name, colon, rest = bad.message.partition(":")
        raise Invalid(f"{_FIELDS.get(name, name)}{colon}{rest}") from None
    planned = trigger.next_at_ms is not None and want.kind in ("at", "cron")
    return Told({
        "runId": form.runId,
        "templateId": trigger.want.agent,
        "triggerId": trigger.id,
        "jobSchedulerId": f"trigger-release-{trigger.id}" if planned else None,
    })  # fmt: skip


async def agent_run_trigger_get(call: Call, form: TargetForm) -> Told:
    target = _target(form)
    trigger = await _held(call, target)
    if trigger is not None:
        return Told(_record(trigger, form.runId))
    if target.kind == "run":
        await call.engine.state(target.id, call.by)
    return Told({}, text="null")


async def agent_run_trigger_delete(call: Call, form: TargetForm) -> Told:
    with contextlib.suppress(TriggerNotFound):
        await call.engine.triggers.delete(_target(form).trigger_id, call.by)
    return Told({"ok": True})


def _target(form: TargetForm) -> Target:
    """Raises Invalid."""
    one = exactly_one(runId=form.runId, templateId=form.templateId, packageName=form.packageName)
    return Target("run" if form.runId is not None else "agent", one)


async def _held(call: Call, target: Target) -> Trigger | None:
    try:
        return await call.engine.triggers.get(target.trigger_id, call.by)
    except TriggerNotFound:
        return None


async def _owner(call: Call, target: Target) -> str:
    """Whose the trigger is: a run's is for who has asked for the run, an agent's for who sets it. Raises RunNotFound,
    NotOwner for another's run."""
    if target.kind == "agent":
        return ""
    asked_by = (await call.engine.state(target.id, call.by)).requester
    assert asked_by is not None  # a run begins with its start
    if asked_by.id != call.by.id and not call.by.may("admin"):
        raise NotOwner("The run", asked_by.id)
    return asked_by.id


async def _template(call: Call, target: Target, form: TriggerSetForm) -> Start:
    """What each firing starts. Raises Invalid, AgentNotFound, RunNotFound."""
    if target.kind == "run":
        if form.inputParams is not None:
            raise Invalid("inputParams: with runId the run's own are used; give templateId or packageName instead.")
        return await call.engine.asked(target.id, call.by)
    parameters = parameters_of(form.inputParams)
    check_size(parameters)
    wanted = input_schema(await call.engine.agent(target.id))
    if form.event is not None and isinstance(wanted.get("required"), list):  # the event is put in when there is one
        wanted = {**wanted, "required": [name for name in wanted["required"] if name != "event"]}
    check_parameters(wanted, parameters)
    return Start(target.id, input_of(parameters, _MESSAGE_ID))


def _source(event: EventForm) -> Source:
    """Raises Invalid."""
    if (event.agent is None) == (event.subject is None) or (event.agent is None) != (event.statuses is None):
        raise Invalid("event: expected either a subject, or an agent with statuses.")
    statuses = tuple(dict.fromkeys(_STATUSES[words] for words in event.statuses or ()))
    return Source(event.agent, statuses, subject=event.subject)


def _record(trigger: Trigger, run_id: str | None) -> dict[str, Any]:
    want, source, last = trigger.want, trigger.want.event, trigger.last
    event: dict[str, Any] | None = None
    if source is not None:
        told = {"agent": source.agent, "statuses": [_WORDS[status] for status in source.statuses]}
        event = {"subject": source.subject} if source.subject is not None else told
    # what it fires for is never before it was set, by the setter's clock; of what it did before, the run alone is shown
    released = last is not None and last.run_id is not None and last.due_at_ms >= trigger.updated_at_ms
    return {
        "runId": run_id,
        "templateId": want.agent,
        "triggerId": trigger.id,
        "triggerType": _TYPES[want.kind],
        "scheduledAt": rfc3339(want.at_ms),
        "cronExpression": want.cron,
        "timezone": want.timezone,
        "event": event,
        "enabled": want.enabled,
        "releasedAt": rfc3339(last.at_ms) if last is not None and released else None,
        "lastRunId": trigger.last_run_id,
        "createdAt": rfc3339(trigger.created_at_ms),
        "updatedAt": rfc3339(trigger.updated_at_ms),
    }


TOOLS = (
    Tool(
        "agent_run_trigger_set", "Set a trigger",
        "Lets runs start by themselves: now, once at an instant, by cron in a time zone, or on an event. Name an agent "
        "by templateId or packageName and give its inputParams, or name a run to be repeated by runId: exactly one of "
        "the three. A target has one trigger, and setting it again replaces it. Each firing starts one run on a thread "
        "of its own; agent_run_trigger_get tells the last one.",
        TriggerSetForm, closed_or_error(TriggerSet), agent_run_trigger_set, REPLACES, unavailable, misread,
    ),
    Tool(
        "agent_run_trigger_get", "Look at a trigger",
        "The trigger of a target: when it fires, whether it is enabled, when it fired last and with which run. `null` "
        "where there is none.",
        TargetForm, closed_or_error(TriggerFound), agent_run_trigger_get, READS, refuse, misread,
    ),
    Tool(
        "agent_run_trigger_delete", "Delete a trigger",
        "Ends the trigger of a target. Runs that it has started go on. It is no error where there is none.",
        TargetForm, closed_or_error(TriggerDeleted), agent_run_trigger_delete, STOPS, refuse, misread,
    ),
)  # fmt: skip
