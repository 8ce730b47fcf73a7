"""RunState: everything that is known of a run after some prefix of its log. `run.fold` alone makes it grow."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .entries import Principal
from .messages import Transcript


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass(slots=True)
class Attempt:
    """One worker's go at a leg. `reason` says why it was needed: first, worker_lost or shutdown."""

    number: int
    worker: str
    started_at_ms: int
    reason: str


@dataclass(slots=True)
class Leg:
    """A stretch of work between two decisions. `run_id` is the id AG-UI clients know it by; `messages`, in wire form,
    came with the answer that opened it, and are the run's from its RUN_STARTED on."""

    run_id: str
    asked_seq: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Gate:
    """A question that the run has asked: an AG-UI interrupt, and what became of it.

    `id` is unique in the tenant and names the run, `interrupt` is what the agent asked, as recorded. `status` is
    open, resolved, cancelled (the answer was to abandon it), expired, or closed (the run was ended meanwhile). `by`,
    `face`, `at_ms`, `answered_seq` and `answer` (payload, text, isError, decision) are of the decision; `digest` tells
    its repetition.
    """

    id: str
    interrupt: dict[str, Any]
    opened_seq: int
    opened_at_ms: int
    status: str = "open"
    by: Principal | None = None
    face: str | None = None
    at_ms: int | None = None
    answered_seq: int | None = None
    answer: dict[str, Any] | None = None
    digest: str = ""

    @property
    def interrupt_id(self) -> str:
        return str(self.interrupt["id"])

    @property
    def name(self) -> str:
        """What its agent calls it; another interrupt of the run may have had the same name before."""
        return str(own_metadata(self.interrupt).get("name", self.interrupt["id"]))


def own_metadata(interrupt: dict[str, Any]) -> dict[str, Any]:
    """What hocket has noted on an interrupt as it was asked."""
    metadata = interrupt.get("metadata")
    noted = metadata.get("hocket") if isinstance(metadata, dict) else None
    return noted if isinstance(noted, dict) else {}


@dataclass(slots=True)
class Step:
    """A named step, from one entry to another; what has not come yet is None. `owner` is the subagent that took it, if
    one did; `abandoned` that another attempt has replaced it."""

    name: str
    started_at_ms: int
    started_seq: int
    ended_at_ms: int | None = None
    ended_seq: int | None = None
    owner: str | None = None
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class OpenPart:
    """What was opened and not closed yet. `kind` is subagent, step, reasoning, reasoning_message, text or tool;
    `event` is the one that opened it; `owner` the subagent that said it, None for the agent itself."""

    kind: str
    id: str
    owner: str | None
    event: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Its place among the open parts."""
        return (self.kind, self.id if self.kind != "step" else step_id(self.id, self.owner))


def step_id(name: str, owner: str | None) -> str:
    """Steps of one name may be open side by side, one for the agent and one for each subagent."""
    return name if owner is None else f"{name}\0{owner}"


@dataclass(slots=True)
class RunState:
    """Everything a face may show of one run. Times are milliseconds since the epoch, UTC.

    `timeout_s` bounds its working time, in which it does not wait. `gates` are all questions asked so far, `audit`
    tells in plain values who asked for what and who decided, in order. `said` names the messages of this attempt,
    `leg_state` is the agent's state as it began, and `owners` tells by bucket and id which subagent a client holds a
    message, call, activity or reasoning to be of. `begun` says in which entry the agent first said a message, call,
    result or activity (by bucket and id), when a call was first `ended`, and when there first was a `state`; `begun_ms`
    at what time messages, calls and results began. `parent` is the run that this one was started for, if its client
    named one. `usage`, `cost_usd` and `model` are what the agent has reported (`usage.py`). `updated_at_ms` is when the
    last entry was recorded.
    """

    seq: int = 0
    id: str = ""
    tenant: str = ""
    agent: str = ""
    thread_id: str = ""
    previous: str | None = None
    parent: str | None = None
    parent_thread: str | None = None
    digest: str = ""
    status: Status = Status.QUEUED
    requester: Principal | None = None
    face: str = ""
    created_at_ms: int = 0
    updated_at_ms: int = 0
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    input: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    timeout_s: int | None = None
    messages: Transcript = field(default_factory=Transcript)
    steps: list[Step] = field(default_factory=list)
    state: Any = None
    leg_state: Any = None
    said: list[str] = field(default_factory=list)
    open: dict[tuple[str, str], OpenPart] = field(default_factory=dict)
    closed_subagents: set[str] = field(default_factory=set)
    owners: dict[str, str | None] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    begun_ms: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] | None = None
    cost_usd: float | None = None
    model: str | None = None
    result: Any = None
    error: dict[str, str] | None = None
    outcome: dict[str, Any] | None = None
    gates: list[Gate] = field(default_factory=list)
    audit: list[dict[str, Any]] = field(default_factory=list)
    cancelled_by: Principal | None = None
    handed_back: bool = False
    legs: list[Leg] = field(default_factory=list)

    def begin(self, what: str, event: dict[str, Any]) -> None:
        """Notes where and when something was first said."""
        self.begun[what] = self.seq
        self.begun_ms[what] = event.get("timestamp", 0)

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def changed_at_ms(self) -> int:
        """When its status last changed."""
        if self.ended_at_ms is not None:
            return self.ended_at_ms
        leg = self.legs[-1] if self.legs else None
        if leg is not None and not self.terminal and (leg.ended_at_ms or leg.started_at_ms) is not None:
            return leg.ended_at_ms or leg.started_at_ms or 0
        return int(self.audit[-1]["at_ms"]) if self.audit else self.created_at_ms

    @property
    def leg(self) -> Leg:
        """The latest leg; there is one from the start ask on."""
        return self.legs[-1]

    @property
    def attempt(self) -> int:
        """How many workers have had a go at the latest leg."""
        return len(self.leg.attempts) if self.legs else 0

    @property
    def closing(self) -> bool:
        """A cancel or an expiry has ended the run, and its last event is not recorded yet."""
        return self.terminal and self.ended_at_ms is None

    @property
    def open_gates(self) -> list[Gate]:
        """The questions that wait for an answer, in the order in which they were asked."""
        return [gate for gate in self.gates if gate.status == "open"]

    @property
    def interrupts(self) -> list[dict[str, Any]]:
        """The open interrupts in AG-UI's form."""
        return [gate.interrupt for gate in self.open_gates]
