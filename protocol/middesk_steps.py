"""A run's steps as Middesk's API tells them: tool calls, questions and what the run came to, within the named steps
that its agent has taken.

A stream shows all steps again whenever one changes, so the JSON of a step is made once for as long as it is the same.
"""

from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import orjson

from .ids import as_uuid
from .instants import rfc3339
from .spoken import own_messages
from .state import Gate, RunState, Status, Step

_KEPT = 16_384
_seq = itemgetter(0)
_DEPTH_MAX = 50
"""Deepest nesting that is told; what lies deeper stands beside it."""


class _Leaf(NamedTuple):
    """A step without those within it. `owner` is the subagent that took it; there is no `completed_at_ms` yet, or none
    that is known, where it is None."""

    seq: int
    id: str
    type: str
    name: str
    label: str
    status: str
    started_at_ms: int
    completed_at_ms: int | None
    owner: str | None = None


class _Group:
    """A named step and the JSON or the groups within it, in order."""

    __slots__ = ("leaf", "until", "parent", "depth", "within")

    def __init__(self, leaf: _Leaf, until: int | None, parent: "_Group | None") -> None:
        self.leaf, self.until, self.parent = leaf, until, parent
        self.depth: int = parent.depth + 1 if parent is not None else 1
        self.within: list[_Leaf | _Group] = []


def steps(state: RunState) -> list[orjson.Fragment]:
    """The top-level steps in the order in which they were begun, as JSON. What another attempt has replaced is none."""
    run_id, cut_off = as_uuid(state.tenant, state.id), _cut_off(state)
    leaves = [*_calls(state, cut_off[0]), *_questions(state), *_end(state, cut_off)]
    named = [step for step in state.steps if not step.abandoned]
    if not named:
        return [orjson.Fragment(_json(run_id, leaf, None)) for leaf in sorted(leaves, key=_seq)]
    return _nested(run_id, leaves, [_step(step, cut_off[0]) for step in named])


def size(state: RunState) -> int:
    """About how many steps there are, without a look at each."""
    return len(state.begun) // 3 + len(state.steps) + len(state.gates)


def _cut_off(state: RunState) -> tuple[int | None, int | None]:
    """Where and when somebody, or time, has ended the run; None where its agent did, or it goes on."""
    last = state.audit[-1] if state.audit else {}
    if last.get("what") == "cancelled" or (last.get("what") == "expired" and last.get("outcome") != "answer"):
        return last["seq"], last["at_ms"]
    return None, None


def _calls(state: RunState, cut_off: int | None) -> Iterator[_Leaf]:
    held, begun, begun_ms = own_messages(state), state.begun, state.begun_ms
    brought = {message.rest.get("toolCallId") for message in held if message.role == "tool"}
    for message in held:
        for call in message.calls:
            seq = begun.get(f"call {call.id}")
            if seq is None:  # of a snapshot: nobody knows when it was made
                continue
            status, done_ms = "running", None
            if call.id in brought:
                in_time = cut_off is None or begun.get(f"result {call.id}", 0) < cut_off
                status, done_ms = "completed" if in_time else "error", begun_ms.get(f"result {call.id}")
            elif state.terminal:
                status, done_ms = "completed" if state.status is Status.COMPLETED else "error", state.ended_at_ms
            at_ms = begun_ms[f"call {call.id}"]
            owner = message.rest.get("subagentRunId")
            yield _Leaf(seq, str(seq), "activity", call.name, call.name, status, at_ms, done_ms, owner)


def _questions(state: RunState) -> Iterator[_Leaf]:
    before, number = 0, 0
    for gate in state.gates:
        number = number + 1 if gate.opened_seq == before else 0
        before = gate.opened_seq
        call_id, message = gate.interrupt.get("toolCallId"), gate.interrupt.get("message")
        call = state.messages.call(call_id) if isinstance(call_id, str) else None
        name = call.name if call is not None else gate.name
        label = message if isinstance(message, str) and message else name
        id_ = f"{before}-{number}" if number else str(before)
        yield _Leaf(before, id_, "interrupt", name, label, _decided(gate), gate.opened_at_ms, gate.at_ms)


def _decided(gate: Gate) -> str:
    if gate.status == "open":
        return "running"
    # of those that have expired, the default answer of one is a decision
    answered = gate.status != "closed" and (gate.status != "expired" or (gate.answer or {}).get("decision") is not None)
    return "completed" if answered else "error"


def _end(state: RunState, cut_off: tuple[int | None, int | None]) -> Iterator[_Leaf]:
    if state.status is Status.COMPLETED:
        at_ms = state.ended_at_ms or 0
        yield _Leaf(state.seq, str(state.seq), "output", "output", "Output", "completed", at_ms, at_ms)
    elif state.terminal:
        seq, at_ms = cut_off[0] or state.seq, cut_off[1] or state.ended_at_ms or 0
        label = "cancelled" if state.status is Status.CANCELLED else "expired"
        if state.error is not None:
            label = state.error["message"]
        yield _Leaf(seq, str(seq), "error", "error", label, "error", at_ms, at_ms)


def _step(step: Step, cut_off: int | None) -> tuple[_Leaf, int | None]:
    """A named step and where it ends."""
    status = "running" if step.ended_seq is None else "completed"
    if step.ended_seq is not None and cut_off is not None and step.ended_seq > cut_off:
        status = "error"
    id_, seq = str(step.started_seq), step.started_seq
    leaf = _Leaf(
        seq, id_, "activity", step.name, step.name, status, step.started_at_ms, step.ended_at_ms, step.owner
    )  # fmt: skip
    return leaf, step.ended_seq


def _nested(run_id: str, leaves: list[_Leaf], named: list[tuple[_Leaf, int | None]]) -> list[orjson.Fragment]:
    """What was begun while a named step was open is within it: within the innermost of the same owner's, else of the
    agent's own."""
    top: list[_Leaf | _Group] = []
    groups: list[_Group] = []
    open_ones: list[_Group] = []
    ends = dict(named)
    for leaf in sorted([*leaves, *ends], key=_seq):
        open_ones = [one for one in open_ones if one.until is None or one.until > leaf.seq]
        around = next((one for one in reversed(open_ones) if one.leaf.owner == leaf.owner), None)
        around = around or next((one for one in reversed(open_ones) if one.leaf.owner is None), None)
        if around is not None and around.depth >= _DEPTH_MAX:
            around = around.parent
        if leaf.type != "activity":  # a question and the end are the run's, also where a cancel came within a step
            around = None
        within = around.within if around is not None else top
        if leaf in ends:
            groups.append(_Group(leaf, ends[leaf], around))
            open_ones.append(groups[-1])
            within.append(groups[-1])
        else:
            within.append(leaf)
    made: dict[int, bytes] = {}
    for group in reversed(groups):  # whatever is within one was begun after it
        told = orjson.loads(_json(run_id, group.leaf, _id_of(group.parent)))
        if group.within:
            told["steps"] = [_told(run_id, one, group.leaf.id, made) for one in group.within]
        made[id(group)] = orjson.dumps(told)
    return [_told(run_id, one, None, made) for one in top]


def _told(run_id: str, one: "_Leaf | _Group", parent: str | None, made: dict[int, bytes]) -> orjson.Fragment:
    return orjson.Fragment(_json(run_id, one, parent) if isinstance(one, _Leaf) else made[id(one)])


def _id_of(group: _Group | None) -> str | None:
    return group.leaf.id if group is not None else None


@lru_cache(_KEPT)
def _json(run_id: str, leaf: _Leaf, parent: str | None) -> bytes:
    told = {"id": leaf.id, "run_id": run_id, "type": leaf.type, "name": leaf.name, "label": leaf.label,
            "status": leaf.status, "started_at": rfc3339(leaf.started_at_ms)}  # fmt: skip
    if parent is not None:
        told["parent_step_id"] = parent
    if leaf.completed_at_ms is not None:
        told["completed_at"] = rfc3339(leaf.completed_at_ms)
    return orjson.dumps(told)
