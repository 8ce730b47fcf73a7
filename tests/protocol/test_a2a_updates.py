"""A peer that was shown a task and folds its updates holds the task as it is polled, wherever it came in."""

import copy
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from protocol import a2a
from protocol.a2a_updates import Updates
from protocol.entries import ASK_START, NOTE_ATTEMPT, ask
from protocol.messages import patched
from protocol.run import abandoned
from protocol.state import RunState
from tests.strategies import BY, folded, runs

Wire = dict[str, Any]

SLOW = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def grown(task: Wire, updates: list[Wire]) -> Wire:
    """The task after these updates, by the rules of A2A 1.0.1 (4.2 and 3.2.4)."""
    task = copy.deepcopy(task)
    for update in copy.deepcopy(updates):
        if "statusUpdate" in update:
            before = task["status"].get("message")
            task["history"] = [*task.get("history", []), *([before] if before else [])]
            task["status"] = update["statusUpdate"]["status"]
            continue
        told = update["artifactUpdate"]
        artifact, held = told["artifact"], task.setdefault("artifacts", [])
        at = [number for number, one in enumerate(held) if one["artifactId"] == artifact["artifactId"]]
        if told.get("append"):
            assert at, "an update is appended to an artifact that the peer was never shown"
            held[at[0]]["parts"] += artifact["parts"]
        elif at:
            held[at[0]] = artifact
        else:
            held.append(artifact)
    return task


def joined(artifact: Wire) -> Wire | None:
    """An artifact with its texts made one and its patches applied; None where nothing is in it."""
    parts: list[Wire] = []
    for part in artifact["parts"]:
        if part.get("mediaType") == a2a.PATCH:
            try:
                parts[-1] = {"data": patched(parts[-1]["data"], part["data"]["patch"])}
            except ValueError:
                pass  # as everybody does: what does not apply changes nothing
        elif parts and "text" in part and "text" in parts[-1]:
            parts[-1] = {"text": parts[-1]["text"] + part["text"]}
        else:
            parts.append(part)
    if (
        parts and isinstance(parts[0].get("data"), dict) and "toolCallName" in parts[0]["data"]
    ):  # a result may even come before its call
        parts[1:] = sorted(parts[1:], key=repr)
    artifact = {name: value for name, value in artifact.items() if name != "name"}  # a patch may rename an activity
    return artifact | {"parts": parts} if parts != [{"text": ""}] or "metadata" in artifact else None


def artifacts(task: Wire) -> dict[str, Wire]:
    found = {one["artifactId"]: joined(one) for one in task.get("artifacts", [])}
    return {name: one for name, one in found.items() if one is not None}


def updates_of(state: RunState, events: list[Wire], after: int) -> list[Wire]:
    updates = Updates(state, after)
    later = enumerate(events[after:], after + 1)
    return [told for seq, event in later for told in updates.of(seq, copy.deepcopy(event))]


def retells(events: list[Wire]) -> bool:
    """Whether an attempt says something under an id that an abandoned one has used, which a worker renames."""
    seen, lost = set[Any](), set[Any]()
    for event in events:
        ids = {event[name] for name in ("messageId", "toolCallId") if name in event}
        if event["type"] == "CUSTOM" and event.get("name") == NOTE_ATTEMPT:
            lost |= seen
        elif ids & lost and not abandoned(event):
            return True
        seen |= ids
    return False


@SLOW
@given(runs(), st.floats(0, 1), st.floats(0, 1))
def test_a_task_and_its_updates_are_the_task_as_it_is_polled_later(
    events: list[Wire], part: float, known: float
) -> None:
    whole = folded(events)
    assume(all(event["type"] != "MESSAGES_SNAPSHOT" for event in events))  # it can take back, which an update cannot
    assume(not retells(events) and not any(kind == "tool" for kind, _ in whole.open))  # a call is told once it is whole
    cut = max(int(part * len(events)), 1)
    seen = cut + int(known * (len(events) - cut))  # who comes back with a cursor is served from a later state
    held = a2a.task(folded(events[:cut]))
    told = updates_of(folded(events[:seen]), events, cut)
    end = a2a.task(whole)
    assert artifacts(grown(held, told)) == artifacts(end)


def test_a_call_that_is_made_again_is_told_its_result_once_wherever_a_peer_comes_in() -> None:
    made = [
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "look"},
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
    ]
    result = {"type": "TOOL_CALL_RESULT", "toolCallId": "c", "messageId": "t", "content": "seen"}
    asked = {"agent": "a", "runId": "r", "threadId": "t", "input": {"messages": []}}
    said = [ask(ASK_START, BY, "rest", 1, **asked), {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}]
    events = [event | {"timestamp": 1} for event in [*said, *made, *made, result]]
    end = artifacts(a2a.task(folded(events)))
    for cut in range(1, len(events) + 1):
        for seen in range(cut, len(events) + 1):
            told = updates_of(folded(events[:seen]), events, cut)
            assert artifacts(grown(a2a.task(folded(events[:cut])), told)) == end, (cut, seen)
