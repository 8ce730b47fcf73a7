"""What a face asks the engine for, and what it is told: plain values, and what makes two of them the same request."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from protocol.answers import Answer
from protocol.errors import RunMismatch
from protocol.state import RunState


@dataclass(frozen=True, slots=True)
class Start:
    """What to run. `input` holds messages, state, tools, context and forwardedProps in AG-UI's wire form; `posted` puts
    in front of its messages what was posted to the thread and no run has taken. A repeated start need not have it anew.

    `run_id` None gives a fresh id, or one that follows from `key`, so that a repeated key finds its own run.
    `timeout_s` bounds the working time of all legs together. `parent` is the run for which this one is started.
    """

    agent: str
    input: dict[str, Any]
    thread_id: str | None = None
    run_id: str | None = None
    key: str | None = None
    posted: bool = field(default=False, kw_only=True)
    metadata: dict[str, Any] = field(default_factory=dict)
    on_busy: Literal["reject", "cancel_previous"] | None = None
    timeout_s: int | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """`created` is False where the same request had started the run before."""

    run_id: str
    thread_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Answers to a run's open interrupts, all of them unless `partial`, for callers that can name but one.

    The same answers under the same `key` from the same principal are the same request. `leg_id` is what AG-UI clients
    are to know the next leg by. Of `messages`, in AG-UI's wire form, those are kept that the run does not hold.
    `lenient` passes over answers to what is not open, as long as what is open is answered (AG-UI 1.0).
    """

    answers: Sequence[Answer]
    key: str | None = None
    leg_id: str | None = None
    messages: Sequence[dict[str, Any]] = ()
    partial: bool = False
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """`created` is False where the same request had been recorded before; `seq` is the entry of the answers, and
    `passed_over` names the answers that were to nothing open."""

    state: RunState
    created: bool
    seq: int
    passed_over: Sequence[str] = ()


def attached(state: RunState, want: Start, digest: str) -> Started:
    """The answer to a repeated start. Raises RunMismatch if it is another request under the same id or key."""
    other_thread = want.thread_id is not None and want.thread_id != state.thread_id
    if other_thread or want.agent != state.agent or (want.key is not None and digest != state.digest):
        what = "idempotency key" if want.key is not None else "run id"
        raise RunMismatch(f"The {what} belongs to another request, with agent {state.agent!r}.")
    return Started(state.id, state.thread_id, False)


def start_digest(want: Start) -> str:
    told = [want.agent, want.thread_id, want.run_id, want.input, want.metadata]
    more = [one for one in (want.timeout_s, want.parent) if one is not None]
    return _digest([*told, *more])


def resume_digest(want: Resume) -> str:
    """Empty without a key: then no other request is the same one."""
    if want.key is None:
        return ""
    told = sorted(
        [one.interrupt_id, one.status, orjson.dumps(one.payload).decode(), one.text or "", *["error"] * one.is_error]
        for one in want.answers
    )
    return _digest([want.key, told])


def _digest(told: Any) -> str:
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
