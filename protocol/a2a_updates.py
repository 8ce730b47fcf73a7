"""The updates of a task: what each entry of a run tells an A2A peer after the task it was shown (A2A 1.0.1, 4.2).

Folded into that task, as the specification has it, they give the task as it is polled, but for two things that only a
poll can join: text comes in as many parts as it was said in, and state and activities as a part and their patches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import a2a_parts
from .a2a import (
    PATCH,
    REJECTED,
    Wire,
    activity_artifact,
    asks_for_auth,
    call_artifact,
    question,
    reply_parts,
    reply_status,
    result_artifact,
    result_part,
    results_of,
    state_artifact,
    text_artifact,
    withdrawn,
    words,
)
from .instants import rfc3339
from .run import abandoned
from .state import RunState

Event = dict[str, Any]


@dataclass(slots=True)
class _Call:
    name: str
    args: list[str]


class Updates:
    """The updates of one run from one entry on, each a StreamResponse in ProtoJSON.

    `state` is the run at any entry from `after_seq` on: it says what a peer that stands there has been told of, and
    what a call that is being made has been given so far. Hand over every later entry, in order.
    """

    def __init__(self, state: RunState, after_seq: int) -> None:
        self._run_id, self._thread_id = state.id, state.thread_id
        self._seen_seq = state.seq
        told = {name for name, seq in state.begun.items() if seq <= after_seq}
        self._known = {name.partition(" ")[2] for name in told if name.startswith(("message ", "activity "))}
        self._state_known = "state" in told
        self._silent = {
            message.id for message in state.messages
            if message.text is not None and f"message {message.id}" not in state.begun
        }  # fmt: skip
        self._whole = {name.partition(" ")[2] for name in told if name.startswith("ended ")}
        self._shown_whole = set(self._whole)
        self._calls: dict[str, _Call] = {}
        self._held_by: dict[str, list[str]] = {}
        self._results = results_of(state)
        for message in state.messages:
            for call in message.calls:
                if f"call {call.id}" in state.begun:
                    self._calls[call.id] = _Call(call.name, list(call.args))
                    self._held_by.setdefault(message.id, []).append(call.id)

    def of(self, seq: int, event: Event) -> list[Wire]:
        """What entry `seq` tells; nothing for most that is not text."""
        change = _CHANGES.get(event["type"])
        return change(self, seq, event) if change is not None else []

    # ── text ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _text_start(self, _seq: int, event: Event) -> list[Wire]:
        message_id = event["messageId"]
        if abandoned(event):
            return self._withdraw(message_id)
        if message_id in self._known or message_id in self._silent:
            return []
        if event.get("role", "assistant") != "assistant":
            self._silent.add(message_id)
            return []
        self._known.add(message_id)
        return [self._artifact(text_artifact(message_id, ""))]

    def _text_content(self, _seq: int, event: Event) -> list[Wire]:
        if event["messageId"] not in self._known:
            return []
        return [self._artifact(text_artifact(event["messageId"], event["delta"]), append=True)]

    def _text_end(self, _seq: int, event: Event) -> list[Wire]:
        message_id = event["messageId"]
        if abandoned(event):
            return self._withdraw(message_id)
        if message_id not in self._known:
            return []
        return [self._artifact(text_artifact(message_id, ""), append=True, last=True)]

    def _messages(self, _seq: int, event: Event) -> list[Wire]:
        """A snapshot replaces what it names."""
        told = []
        for message in event["messages"]:
            message_id, text = message.get("id"), message.get("content")
            if message.get("role") == "assistant" and isinstance(text, str) and message_id not in self._silent:
                self._known.add(message_id)
                told.append(self._artifact(text_artifact(message_id, text)))
        return told

    def _withdraw(self, message_id: str) -> list[Wire]:
        """An attempt is given up, and with it what its message said and called."""
        lost = [message_id] if message_id in self._known else []
        lost += [call_id for call_id in self._held_by.get(message_id, ()) if call_id in self._whole]
        self._whole -= set(lost)
        self._known.discard(message_id)
        self._silent.add(message_id)  # and stays so
        return [self._artifact(withdrawn(artifact_id)) for artifact_id in lost]

    # ── tool calls ────────────────────────────────────────────────────────────────────────────────────────────

    def _call_start(self, _seq: int, event: Event) -> list[Wire]:
        call_id, name = event["toolCallId"], event["toolCallName"]
        if call_id in self._calls:
            self._calls[call_id].name = name
        else:
            self._calls[call_id] = _Call(name, [])
            for holder in {event.get("parentMessageId") or call_id, call_id}:  # its own, where no message can hold it
                self._held_by.setdefault(holder, []).append(call_id)
        return []

    def _call_args(self, seq: int, event: Event) -> list[Wire]:
        if seq > self._seen_seq and event["toolCallId"] in self._calls:
            self._calls[event["toolCallId"]].args.append(event["delta"])
        return []

    def _call_end(self, _seq: int, event: Event) -> list[Wire]:
        """A call is told once it is whole: a peer can do nothing with half of its arguments."""
        call_id = event["toolCallId"]
        call = self._calls.get(call_id)
        if call is None:
            return []
        if abandoned(event):
            lost = call_id in self._whole
            self._whole.discard(call_id)
            return [self._artifact(withdrawn(call_id))] if lost else []
        self._whole.add(call_id)
        self._shown_whole.discard(call_id)  # made again, it is told again, with the results that are known
        return [self._artifact(call_artifact(call_id, call.name, "".join(call.args), self._results.get(call_id, ())))]

    def _call_result(self, seq: int, event: Event) -> list[Wire]:
        call_id, content = event["toolCallId"], event["content"]
        if seq > self._seen_seq:
            self._results.setdefault(call_id, []).append(content)
        if call_id not in self._whole or (seq <= self._seen_seq and call_id not in self._shown_whole):
            return []  # it comes, or has come, with the call
        artifact = {"artifactId": call_id, "parts": [result_part(call_id, content)]}
        return [self._artifact(artifact, append=True, last=True)]

    # ── state, activities ─────────────────────────────────────────────────────────────────────────────────────

    def _state_snapshot(self, _seq: int, event: Event) -> list[Wire]:
        self._state_known = True
        return [self._artifact(state_artifact(event["snapshot"]))]

    def _state_delta(self, _seq: int, event: Event) -> list[Wire]:
        known, self._state_known = self._state_known, True
        artifact = state_artifact({})
        artifact["parts"] = [_patch(event["delta"])] if known else [*artifact["parts"], _patch(event["delta"])]
        return [self._artifact(artifact, append=known)]

    def _activity(self, _seq: int, event: Event) -> list[Wire]:
        message_id = event["messageId"]
        if message_id in self._known and not event.get("replace", True):
            return []
        self._known.add(message_id)
        return [self._artifact(activity_artifact(message_id, event["activityType"], event["content"]))]

    def _activity_delta(self, _seq: int, event: Event) -> list[Wire]:
        message_id, patch = event["messageId"], event["patch"]
        if message_id not in self._known:
            return []
        if abandoned(event):
            return [self._artifact(withdrawn(message_id))]
        added = [one.get("value") for one in patch if one.get("op") == "add" and one.get("path") == "/parts/-"]
        grows = event["activityType"] == "artifact" and len(added) == len(patch) and a2a_parts.are_parts(added)
        artifact = {"artifactId": message_id, "parts": added if grows else [_patch(patch)]}
        return [self._artifact(artifact, append=True)]

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _started(self, _seq: int, event: Event) -> list[Wire]:
        return [self._status("TASK_STATE_WORKING", event)]

    def _finished(self, _seq: int, event: Event) -> list[Wire]:
        outcome = event.get("outcome") or {"type": "success"}
        if outcome["type"] == "interrupt":
            asked = outcome["interrupts"]
            name = "AUTH_REQUIRED" if asks_for_auth(asked) else "INPUT_REQUIRED"
            return [self._status(f"TASK_STATE_{name}", event, question(self._run_id, self._thread_id, asked))]
        if outcome["type"] == "cancelled":
            return [self._status("TASK_STATE_CANCELED", event)]
        result = event.get("result")
        parts = reply_parts(result)
        said = None if parts is None else reply_status(self._run_id, self._thread_id, parts)
        done = self._status("TASK_STATE_COMPLETED", event, said)
        if result is None or parts is not None:
            return [done]
        return [self._artifact(result_artifact(result), last=True), done]

    def _failed(self, _seq: int, event: Event) -> list[Wire]:
        name = "REJECTED" if event.get("code") == REJECTED else "FAILED"
        return [
            self._status(f"TASK_STATE_{name}", event, words(self._run_id, self._thread_id, "error", event["message"]))
        ]

    def _status(self, name: str, event: Event, message: Wire | None = None) -> Wire:
        status: Wire = {"state": name, "timestamp": rfc3339(event["timestamp"])}
        if message is not None:
            status["message"] = message
        return {"statusUpdate": {"taskId": self._run_id, "contextId": self._thread_id, "status": status}}

    def _artifact(self, artifact: Wire, append: bool = False, last: bool = False) -> Wire:
        told: Wire = {"taskId": self._run_id, "contextId": self._thread_id, "artifact": artifact}
        if append:
            told["append"] = True
        if last:
            told["lastChunk"] = True
        return {"artifactUpdate": told}


def _patch(operations: Any) -> Wire:
    return {"data": {"patch": operations}, "mediaType": PATCH}


_CHANGES: dict[str, Callable[[Updates, int, Event], list[Wire]]] = {
    "TEXT_MESSAGE_START": Updates._text_start,
    "TEXT_MESSAGE_CONTENT": Updates._text_content,
    "TEXT_MESSAGE_END": Updates._text_end,
    "MESSAGES_SNAPSHOT": Updates._messages,
    "TOOL_CALL_START": Updates._call_start,
    "TOOL_CALL_ARGS": Updates._call_args,
    "TOOL_CALL_END": Updates._call_end,
    "TOOL_CALL_RESULT": Updates._call_result,
    "STATE_SNAPSHOT": Updates._state_snapshot,
    "STATE_DELTA": Updates._state_delta,
    "ACTIVITY_SNAPSHOT": Updates._activity,
    "ACTIVITY_DELTA": Updates._activity_delta,
    "RUN_STARTED": Updates._started,
    "RUN_FINISHED": Updates._finished,
    "RUN_ERROR": Updates._failed,
}
