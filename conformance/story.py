"""What each face tells of one run, as facts that can be held side by side: at which entry, of what kind, what.

Kinds: `said` (a finished message), `called` (a finished tool call), `result`, `asked` (a gate), `answered` (by whom)
and `end`. A face tells some of them; of those it tells, it must say the same at the same entry as every other.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx

Json = dict[str, Any]


class Frame(NamedTuple):
    """A frame of a stream. `seq` is the entry that it stands for: of several frames only the last has an id."""

    seq: int
    name: str
    data: Json


class Fact(NamedTuple):
    seq: int
    kind: str
    what: Any


def read(http: httpx.Client, path: str, after: str | None = None, count: int | None = None, **post: Any) -> list[Frame]:
    """A stream to its end, or to so many frames."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after is not None else {})
    method = "POST" if post else "GET"
    told: list[tuple[str | None, str, Json]] = []
    with http.stream(method, path, headers=headers, **post) as answer:
        assert answer.status_code == 200, (path, answer.status_code, answer.read())
        for id_, name, data in _blocks(answer.iter_lines()):
            told.append((id_, name, data))
            if len(told) == count:
                break
    return list(_numbered(told))


def _blocks(lines: Iterator[str]) -> Iterator[tuple[str | None, str, Json]]:
    id_, name, data = None, "message", list[str]()
    for line in lines:
        field, _, value = line.partition(": ")
        if not line and data:
            yield id_, name, json.loads("\n".join(data))
            id_, name, data = None, "message", []
        elif field == "id":
            id_ = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _numbered(told: list[tuple[str | None, str, Json]]) -> Iterator[Frame]:
    waiting: list[tuple[str, Json]] = []
    for id_, name, data in told:
        waiting.append((name, data))
        if id_ is not None:
            yield from (Frame(int(id_.rpartition("-")[2]), *one) for one in waiting)
            waiting = []


def agui_like(frames: list[Frame]) -> Iterator[Fact]:
    """AG-UI, `/v1`'s events, Cinatra's channel and Veryfront's stream."""
    texts: dict[str, str] = {}
    calls: dict[str, list[str]] = {}
    for seq, _, event in frames:
        kind = event["type"]
        if kind == "TEXT_MESSAGE_CONTENT":
            texts[event["messageId"]] = texts.get(event["messageId"], "") + event["delta"]
        elif kind == "TEXT_MESSAGE_END":
            yield Fact(seq, "said", texts[event["messageId"]])
        elif kind == "TOOL_CALL_START":
            calls[event["toolCallId"]] = [event["toolCallName"], ""]
        elif kind == "TOOL_CALL_ARGS":
            calls[event["toolCallId"]][1] += event["delta"]
        elif kind == "TOOL_CALL_END":
            name, text = calls[event["toolCallId"]]
            yield Fact(seq, "called", (name, json.loads(text or "{}")))
        elif kind == "TOOL_CALL_RESULT":
            yield Fact(seq, "result", (calls[event["toolCallId"]][0], event["content"]))
        elif kind == "INTERRUPT":
            yield Fact(seq, "asked", event["reviewTaskId"])
        elif kind == "RESUME":
            yield Fact(seq, "answered", event["resumedBy"]["id"])
        elif kind == "ask.resume":
            yield Fact(seq, "answered", event["by"]["id"])
        elif kind == "RUN_FINISHED":
            outcome = event.get("outcome") or {}
            if outcome.get("type") == "interrupt":
                for one in outcome["interrupts"]:
                    yield Fact(seq, "asked", one["metadata"]["hocket"]["gate"])
            else:
                stopped = outcome.get("type") == "cancelled" or event.get("status") == "stopped"
                yield Fact(seq, "end", "cancelled" if stopped else "completed")
        elif kind == "RUN_ERROR":
            yield Fact(seq, "end", "cancelled" if event.get("code") == "cancelled" else "failed")


def veryfront(frames: list[Frame]) -> Iterator[Fact]:
    """Its questions are tool calls without results, and its answers results of these."""
    asked: set[tuple[str, str]] = set()
    for fact in agui_like(frames):
        if fact.kind == "result" and fact.what[0] == "send" and fact.what not in asked and not asked:
            asked.add(fact.what)  # the answer itself, which the others tell as one
        else:
            yield fact


def operativus(frames: list[Frame]) -> Iterator[Fact]:
    for seq, _, event in frames:
        kind, payload = event["eventType"], event["payload"]
        if kind == "LLM_RESPONSE":
            yield Fact(seq, "said", payload["content"])
        elif kind == "TOOL_INVOKED":
            yield Fact(seq, "called", (payload["toolName"], payload["toolArguments"]))
        elif kind == "TOOL_COMPLETED":
            yield Fact(seq, "result", (payload["toolName"], payload["result"]))
        elif kind == "RUN_PAUSED":
            for one in payload["approvals"]:
                yield Fact(seq, "asked", one["approvalId"])
        elif kind == "RUN_RESUMED":
            yield Fact(seq, "answered", payload["resolvedBy"])
        elif kind in ("RUN_COMPLETE", "RUN_FAILED", "RUN_CANCELLED"):
            ends = {"RUN_COMPLETE": "completed", "RUN_FAILED": "failed", "RUN_CANCELLED": "cancelled"}
            yield Fact(seq, "end", ends[kind])


def middesk(frames: list[Frame]) -> Iterator[Fact]:
    """From what is new in each snapshot against the one before."""
    before: Json = {"steps": [], "interrupts": [], "status": "running"}
    for seq, name, event in frames:
        now = event["snapshot"]
        known = {step["id"]: step["status"] for step in before["steps"]}
        for step in now["steps"]:
            if step["type"] == "activity" and step["id"] not in known:
                yield Fact(seq, "called", step["name"])
            elif step["type"] == "activity" and step["status"] == "completed" != known.get(step["id"]):
                yield Fact(seq, "result", step["name"])
        for one in now["interrupts"]:
            if one not in before["interrupts"]:
                yield Fact(seq, "asked", one["id"])
        if name == "RUN_FINISHED":
            cancelled = any(step["type"] == "error" and step["label"] == "cancelled" for step in now["steps"])
            yield Fact(
                seq, "end", "completed" if now["status"] == "completed" else "cancelled" if cancelled else "failed"
            )
        before = now


def arkloop(frames: list[Frame]) -> Iterator[Fact]:
    text = ""
    for seq, _, event in frames:
        kind, data = event["type"], event["data"]
        if kind == "message.delta" and data.get("channel") != "thinking":
            text += data["content"]
        elif kind == "hocket.text_message_end":
            yield Fact(seq, "said", text)
            text = ""
        elif kind == "tool.call":
            yield Fact(seq, "called", (data["tool_name"], data["arguments"]))
        elif kind == "tool.result":
            yield Fact(seq, "result", (data["tool_name"], data["result"]))
        elif kind == "run.waiting_for_input":
            yield Fact(seq, "asked", data["request_id"])
        elif kind == "run.input_provided":
            yield Fact(seq, "answered", data["provided_by"]["id"])
        elif kind in ("run.completed", "run.failed", "run.cancelled"):
            yield Fact(seq, "end", kind.removeprefix("run."))


def a2a(frames: list[Frame]) -> Iterator[Fact]:
    """StreamResponses of SubscribeToTask: what it waits for and how it ends."""
    for seq, _, told in frames:
        state = told.get("statusUpdate", {}).get("status", {}).get("state", "")
        ends = {"TASK_STATE_COMPLETED": "completed", "TASK_STATE_FAILED": "failed", "TASK_STATE_CANCELED": "cancelled"}
        if state in ends:
            yield Fact(seq, "end", ends[state])


TELLERS: dict[str, Callable[[list[Frame]], Iterator[Fact]]] = {
    "agui": agui_like, "rest": agui_like, "cinatra": agui_like, "veryfront": veryfront, "operativus": operativus,
    "middesk": middesk, "arkloop": arkloop, "a2a": a2a,
}  # fmt: skip


def check_same(stories: dict[str, list[Fact]]) -> None:
    """Of every kind that two faces tell, they tell the same at the same entry."""
    for kind in ("said", "called", "result", "asked", "answered", "end"):
        told = {
            face: [(one.seq, one.what) for one in facts if one.kind == kind]
            for face, facts in stories.items()
            if (face, kind) not in UNTOLD
        }
        if kind in ("called", "result"):
            names = {
                face: [(seq, what if face == "middesk" else what[0]) for seq, what in one] for face, one in told.items()
            }
            assert len({json.dumps(one) for one in names.values()}) == 1, (kind, names)
            told.pop("middesk", None)
        assert len({json.dumps(one) for one in told.values()}) == 1, (kind, told)


UNTOLD = {
    ("middesk", "said"), ("middesk", "answered"), ("veryfront", "asked"), ("veryfront", "answered"),
    ("agui", "answered"), ("a2a", "said"), ("a2a", "called"), ("a2a", "result"), ("a2a", "asked"), ("a2a", "answered"),
}  # fmt: skip
"""What a face has no form for."""
