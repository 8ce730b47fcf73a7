"""Random runs for Hypothesis: everything an agent may say and everything that may befall a run, in any legal order.

A run is grown by the rules themselves: candidates are drawn, and what `protocol.order.check` refuses is left out.
So the strategy knows what events look like, and nothing of when they are legal.
"""

import copy
from typing import Any

import orjson
from hypothesis import strategies as st

from protocol.answers import Answer, fit
from protocol.entries import (
    ASK_CANCEL,
    ASK_EXPIRE,
    ASK_RESUME,
    ASK_START,
    NOTE_HANDED_BACK,
    Entry,
    Principal,
    ask,
    note,
)
from protocol.errors import IllegalEvent
from protocol.interrupts import asked, expired
from protocol.order import check, closers, unanswered
from protocol.run import fold
from protocol.state import RunState, Status
from runtime.settle import end_of, started
from runtime.takeover import lost, takeover

Event = dict[str, Any]

BY = Principal("default", "tester", "development", "Tester")
TEXT = st.sampled_from(["", "a", "Hel", "lo ", "ü€😀", '"quoted"', "line\nfeed\r\n\n", "\u2028", "id: 9\n\ndata: x"])
TEXTS = st.sampled_from(["m1", "m2", "m3", "u1"])
THOUGHTS = st.sampled_from(["r1", "r2"])
RESULTS = st.sampled_from(["t1", "t2"])
ACTIVITIES = st.sampled_from(["a1", "a2"])
CALLS = st.sampled_from(["c1", "c2"])
STEPS = st.sampled_from(["plan", "act"])
AGENTS = st.sampled_from(["s1", "s2"])
KEYS = st.sampled_from(["a", "b", "list"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=2)
POINTERS = st.sampled_from(["/a", "/b", "/list", "/list/-", "/list/0", "/a/b", ""])
PATCHES = st.lists(
    st.fixed_dictionaries({"op": st.sampled_from(["add", "replace", "test"]), "path": POINTERS, "value": JSON})
    | st.fixed_dictionaries({"op": st.just("remove"), "path": POINTERS})
    | st.fixed_dictionaries({"op": st.sampled_from(["move", "copy"]), "from": POINTERS, "path": POINTERS}),
    max_size=2,
)


def _event(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    optional = {name.removesuffix("_"): value for name, value in fields.items() if name.endswith("_")}
    needed = {name: value for name, value in fields.items() if not name.endswith("_")}
    extra = {"metadata": st.just({"k": kind}) | OBJECTS, "timestamp": st.integers(0, 9)}
    if not kind.startswith("SUBAGENT"):
        extra["subagentRunId"] = AGENTS
    return st.fixed_dictionaries({"type": st.just(kind), **needed}, optional=optional | extra)


def _messages() -> st.SearchStrategy[list[Event]]:
    call = st.fixed_dictionaries(
        {"id": CALLS, "type": st.just("function"), "function": st.just({"name": "look", "arguments": '{"q":'})}
    )
    calls = st.lists(call, max_size=2, unique_by=lambda one: str(one["id"]))
    one = st.one_of(
        st.fixed_dictionaries(
            {"id": TEXTS, "role": st.just("user"), "content": TEXT | st.just([{"type": "text", "text": "x"}])}
        ),
        st.fixed_dictionaries(
            {"id": TEXTS, "role": st.just("assistant")},
            optional={
                "content": TEXT,
                "toolCalls": calls,
                "subagentRunId": AGENTS,
                "name": TEXT,
            },
        ),
        st.fixed_dictionaries({"id": THOUGHTS, "role": st.just("reasoning"), "content": TEXT}),
        st.fixed_dictionaries({"id": RESULTS, "role": st.just("tool"), "content": TEXT, "toolCallId": CALLS}),
        st.fixed_dictionaries(
            {"id": ACTIVITIES, "role": st.just("activity"), "activityType": st.just("plan"), "content": OBJECTS}
        ),
    )
    return st.lists(one, max_size=3, unique_by=lambda message: str(message["id"]))


SAID = st.one_of(
    _event("TEXT_MESSAGE_START", messageId=TEXTS, role_=st.sampled_from(["assistant", "user"]), name_=TEXT),
    _event("TEXT_MESSAGE_CONTENT", messageId=TEXTS, delta=TEXT),
    _event("TEXT_MESSAGE_END", messageId=TEXTS),
    _event("TOOL_CALL_START", toolCallId=CALLS, toolCallName=st.sampled_from(["look", "send"]), parentMessageId_=TEXTS),
    _event("TOOL_CALL_ARGS", toolCallId=CALLS, delta=TEXT),
    _event("TOOL_CALL_END", toolCallId=CALLS),
    _event("TOOL_CALL_RESULT", messageId=RESULTS, toolCallId=CALLS, content=TEXT | st.just([]), role_=st.just("tool")),
    _event("STATE_SNAPSHOT", snapshot=JSON | OBJECTS),
    _event("STATE_DELTA", delta=PATCHES),
    _event("MESSAGES_SNAPSHOT", messages=_messages()),
    _event("ACTIVITY_SNAPSHOT", messageId=ACTIVITIES, activityType=TEXT, content=OBJECTS, replace_=st.booleans()),
    _event("ACTIVITY_DELTA", messageId=ACTIVITIES, activityType=TEXT, patch=PATCHES),
    _event("STEP_STARTED", stepName=STEPS),
    _event("STEP_FINISHED", stepName=STEPS),
    _event("REASONING_START", messageId=THOUGHTS),
    _event("REASONING_MESSAGE_START", messageId=THOUGHTS, role=st.just("reasoning")),
    _event("REASONING_MESSAGE_CONTENT", messageId=THOUGHTS, delta=TEXT),
    _event("REASONING_MESSAGE_END", messageId=THOUGHTS),
    _event("REASONING_END", messageId=THOUGHTS),
    _event("REASONING_ENCRYPTED_VALUE", subtype=st.sampled_from(["tool-call", "message"]), 
           entityId=TEXTS | THOUGHTS | CALLS, encryptedValue=TEXT),
    _event("SUBAGENT_STARTED", subagentRunId=AGENTS, name=TEXT, parentSubagentRunId_=AGENTS),
    _event("SUBAGENT_FINISHED", subagentRunId=AGENTS),
    _event("SUBAGENT_ERROR", subagentRunId=AGENTS, message=TEXT),
    _event("CUSTOM", name=TEXT, value=JSON),
    _event("RAW", event=JSON),
    _event("NOT_OF_AG_UI", anything=JSON),
)  # fmt: skip
"""Any one event of an agent, legal or not."""

_ENDS = st.sampled_from(["finish", "finish", "result", "interrupt", "error", "cancel", "lost", "open", "open"])
_DECISIONS = st.sampled_from(["wait", "answer", "answer", "expire", "cancel", "fail"])
_HAPPENINGS = st.sampled_from(["takeover", "shutdown"])


class Growing:
    """A log that grows by legal events; `state` is its fold, `events` what it holds."""

    def __init__(self, run_id: str, given: Event) -> None:
        self.state = RunState()
        self.events: list[Event] = []
        start = {"agent": "demo", "runId": run_id, "threadId": "t", "metadata": {}, "digest": "d", "input": given}
        self.add(ask(ASK_START, BY, "test", 1, **start))

    def add(self, event: Event) -> None:
        self.events.append(copy.deepcopy(event))
        self.state = fold(self.state, Entry(len(self.events), event))

    def say(self, event: Event) -> bool:
        try:
            check(self.state, event)
        except IllegalEvent:
            return False
        self.add(event)
        return True

    def happen(self, what: str) -> None:
        at_ms = 10 + len(self.events)
        if what == "shutdown":
            self.add(note(NOTE_HANDED_BACK, at_ms, {"worker": "w"}))
        for event in takeover(self.state, "w2", at_ms):
            self.add(event)

    def end(self, how: str) -> None:
        at_ms = 10 + len(self.events)
        if how == "open":
            return
        if how == "lost":
            for event in lost(self.state, at_ms):
                self.add(event)
            return
        if how == "cancel":
            self.add(ask(ASK_CANCEL, BY, "test", at_ms, runId=self.state.id, reason="enough"))
        for event in [*closers(self.state, at_ms), *(unanswered(self.state, at_ms) if how == "cancel" else ())]:
            self.add(event)
        end: Event = {"type": "RUN_FINISHED", "threadId": "t", "runId": self.state.leg.run_id, "timestamp": at_ms}
        if how == "error":
            end = {"type": "RUN_ERROR", "message": "no", "code": "AGENT_ERROR", "timestamp": at_ms}
        elif how == "cancel":
            end["outcome"] = {"type": "cancelled"}
        elif how == "interrupt":
            questions = [{"id": "i1", "reason": "confirmation", "expiresAt": "1970-01-01T00:00:01Z"}]
            end["outcome"] = {"type": "interrupt", "interrupts": asked(self.state, questions, None, "answer", {"a": 1})}
        elif how == "result":
            end |= {"result": {"a": 1}, "usage": [{"model": "m", "inputTokens": 3, "outputTokens": 4}]}
        self.add(end)

    def decide(self, how: str) -> None:
        """What may befall a run that waits; `on` begins its next leg, or another word of it ends the run."""
        at_ms = 2_000 + len(self.events)
        leg_id = f"leg{len(self.state.legs)}"
        if how == "cancel":
            self.add(ask(ASK_CANCEL, BY, "test", at_ms, runId=self.state.id, reason=None))
        elif how == "answer":
            answers = [Answer(gate.id, payload={"approved": True}) for gate in self.state.open_gates]
            told = fit(self.state, answers, 0)
            said = [{"id": f"u{leg_id}", "role": "user", "content": "and this"}]
            self.add(ask(ASK_RESUME, BY, "test", at_ms, legId=leg_id, answers=told, digest="d", messages=said))
        else:
            over = expired(self.state, at_ms)
            assert over is not None
            outcome = over[0] if how == "expire" else how
            self.add(ask(ASK_EXPIRE, BY, "clock", at_ms, legId=leg_id, answers=over[1], outcome=outcome))
        if self.state.closing:
            for event in [started(self.state, at_ms), *unanswered(self.state, at_ms), end_of(self.state, at_ms)]:
                self.add(event)
        else:
            self.add(started(self.state, at_ms, "w9"))


@st.composite
def runs(draw: st.DrawFn, run_id: str = "r", size_max: int = 40) -> list[Event]:
    """The events of a whole log, from its start ask on, in order; entry n is the nth."""
    given: Event = {"messages": [{"id": "u1", "role": "user", "content": "hi"}], "state": draw(OBJECTS), "tools": []}
    growing = Growing(run_id, given)
    if draw(st.integers(0, 20)) == 0:
        growing.add(ask(ASK_CANCEL, BY, "test", 2, runId=run_id, reason=None))
        growing.add(started(growing.state, 3))
        growing.add({"type": "RUN_FINISHED", "threadId": "t", "runId": run_id, "outcome": {"type": "cancelled"},
                     "timestamp": 3})  # fmt: skip
        return growing.events
    growing.add(started(growing.state, 2, "w1"))
    _leg(draw, growing, size_max)
    while growing.state.status is Status.WAITING and (how := draw(_DECISIONS)) != "wait":
        growing.decide(how)
        if not growing.state.terminal:
            _leg(draw, growing, size_max // 2)
    return growing.events


def _leg(draw: st.DrawFn, growing: Growing, size_max: int) -> None:
    size = draw(st.integers(0, size_max))
    calm = draw(st.booleans())
    for event in draw(st.lists(SAID, min_size=size, max_size=size)):
        if not calm and draw(st.integers(0, 15)) == 15:
            growing.happen(draw(_HAPPENINGS))
        if not growing.say(event):
            opener = _opener(event)
            if opener is not None and growing.say(opener):
                growing.say(event)
    growing.end(draw(_ENDS))


_OPENERS = {
    "TEXT_MESSAGE": ("TEXT_MESSAGE_START", "messageId", {"role": "assistant"}),
    "TOOL_CALL": ("TOOL_CALL_START", "toolCallId", {"toolCallName": "look"}),
    "REASONING_MESSAGE": ("REASONING_MESSAGE_START", "messageId", {"role": "reasoning"}),
    "REASONING": ("REASONING_START", "messageId", {}),
    "STEP": ("STEP_STARTED", "stepName", {}),
    "SUBAGENT": ("SUBAGENT_STARTED", "subagentRunId", {"name": "helper"}),
}


def _opener(event: Event) -> Event | None:
    """What the event may be waiting for."""
    family = event["type"].rpartition("_")[0]
    if family not in _OPENERS or event["type"].endswith(("_START", "_STARTED")):
        return None
    kind, name, more = _OPENERS[family]
    tag = {"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {}
    return {"type": kind, name: event[name], **more, **tag}


def entries(events: list[Event], first: int = 1) -> list[Entry]:
    """Fresh entries of these events: the fold keeps parts of what it is given."""
    return [Entry(seq, event) for seq, event in enumerate(orjson.loads(orjson.dumps(events)), first)]


def folded(events: list[Event]) -> RunState:
    state = RunState()
    for entry in entries(events):
        state = fold(state, entry)
    return state
