"""What an AG-UI client that joins late must be told before the live tail, so that the tail is legal for it.

RUN_STARTED, the open subagents, the transcript with what has been said so far, the state, the open steps and
every open part again by its START, without content: the tail continues the text of the snapshot. AG-UI itself
defines no resumption; measured against `@ag-ui/client` 1.0.0 and 0.0.59.
"""

from typing import Any

from .events import PROTOCOL_VERSION
from .state import RunState

Event = dict[str, Any]


def prelude(state: RunState, transcript: list[Event]) -> list[Event]:
    """The events of the prelude at `state.seq`. `transcript` is the run's messages with its thread's history.

    For a run that has ended, or whose leg has, the last of them is its terminal event.
    """
    told: list[Event] = [started(state)]
    parts = list(state.open.values())
    told += [_rooted(part.event, state) for part in parts if part.kind == "subagent"]
    coming = [] if state.leg.attempts else state.leg.messages  # a snapshot takes away what it does not name
    told.append({"type": "MESSAGES_SNAPSHOT", "messages": [*transcript, *coming]})
    told.append({"type": "STATE_SNAPSHOT", "snapshot": state.state})
    told += [part.event for part in parts if part.kind == "step"]
    told += [_bare(part.event, state) for part in parts if part.kind not in ("subagent", "step")]
    end = ending(state)
    if end is not None:
        told.append(end)
    return told


def started(state: RunState) -> Event:
    """The RUN_STARTED of the latest leg."""
    ids = {"threadId": state.thread_id, "runId": state.leg.run_id}
    return {"type": "RUN_STARTED", **ids, "protocolVersion": PROTOCOL_VERSION}


def _rooted(event: Event, state: RunState) -> Event:
    """A parent that has ended is not told again, and a client refuses a subagent whose parent it does not know."""
    if event.get("parentSubagentRunId") is None or ("subagent", event["parentSubagentRunId"]) in state.open:
        return event
    return {key: value for key, value in event.items() if key != "parentSubagentRunId"}


def _bare(event: Event, state: RunState) -> Event:
    """Without what the transcript has already, with what came later on top: metadata, a call's name and message."""
    bare = {key: value for key, value in event.items() if key != "metadata"}
    if "toolCallId" not in event:
        return bare
    call, holder = state.messages.call(event["toolCallId"]), state.messages.owner(event["toolCallId"])
    assert call is not None and holder is not None  # order.check keeps a call while it is open
    return bare | {"toolCallName": call.name} | ({"parentMessageId": holder.id} if "parentMessageId" in event else {})


def ending(state: RunState) -> Event | None:
    """The terminal event of a run that has ended or waits; None while a leg is under way."""
    if state.error is not None:
        return {"type": "RUN_ERROR", **state.error}
    if state.leg.ended_at_ms is None or state.outcome is None:
        return None
    end: Event = {"type": "RUN_FINISHED", "threadId": state.thread_id, "runId": state.leg.run_id}
    if state.outcome != {"type": "success"}:
        end["outcome"] = state.outcome
    if state.result is not None:
        end["result"] = state.result
    return end
