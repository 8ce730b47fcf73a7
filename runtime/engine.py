"""The single door to runs: every face asks here and nowhere else.

Asks are compare-and-set appends, answers are folds of the log. Tenant and requester come from the `Principal`
that each call is given; a run of another tenant is a run that does not exist.
"""

import asyncio
import hashlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakValueDictionary

import orjson

from protocol.entries import ASK_CANCEL, ASK_START, Principal, ask, encode
from protocol.errors import AgentNotFound, RunMismatch, RunNotFound, ThreadBusy, TooLarge
from protocol.messages import REF, resolve
from protocol.state import RunState
from protocol.subjects import check_id, encode_token, run_subject

from . import threads
from .checkpoints import catch_up, load_state
from .chunks import chunk
from .follow import Follow, Tails
from .index import Index, Query
from .log import AGENTS, Log, WrongRevision
from .settings import Settings
from .settle import settle_cancel

_STATES_MAX = 512
_STATE_ENTRIES_MAX = 1_000_000
_AGENTS_SECONDS = 1.0
_NAMESPACE = uuid.UUID("6f1d5a52-27d1-5e0a-9a52-6b0f5cf0a1b7")


@dataclass(frozen=True, slots=True)
class Start:
    """What a face asks for. `input` holds messages, state, tools, context and forwardedProps in AG-UI's wire form.

    `run_id` None gives a fresh id, or one that follows from `key`, so that a repeated key finds its own run.
    """

    agent: str
    input: dict[str, Any]
    thread_id: str | None = None
    run_id: str | None = None
    key: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    on_busy: Literal["reject", "cancel_previous"] | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """`created` is False where the same request had started the run before."""

    run_id: str
    thread_id: str
    created: bool


class Engine:
    """Shared by all faces of a process. Every method may raise Unavailable; the others are named."""

    def __init__(self, log: Log, settings: Settings, index: Index) -> None:
        self._log, self._settings, self._index = log, settings, index
        self.tails = Tails(log, settings.cache_bytes_max)
        self._histories = threads.Histories(log)
        self._states: OrderedDict[str, tuple[RunState, int]] = OrderedDict()
        self._folding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._appended_rev = 0
        self._agents: dict[str, dict[str, Any]] = {}
        self._agents_at = 0.0

    # ── asks ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, want: Start, by: Principal, face: str) -> Started:
        """Records the start of a run; a worker takes it from there.

        Raises AgentNotFound, ThreadBusy, RunMismatch (the id or key belongs to another request), InvalidId, TooLarge.
        """
        agent = await self.agent(want.agent)
        run_id = check_id(want.run_id, "The run id") if want.run_id is not None else self._fresh_id(want, by)
        run = run_subject(by.tenant, run_id)
        thread_id = check_id(want.thread_id or str(uuid.uuid4()), "The thread id")
        digest = _digest(want)
        known = await load_state(self._log, run)
        if known is not None:
            return _attached(known[0], want, digest)
        head = await threads.head(self._log, by.tenant, thread_id)
        previous = await self._previous(by, thread_id, head, run_id, want.on_busy or agent["on_busy"], face)
        entry = ask(
            ASK_START, by, face, _now_ms(), agent=want.agent, runId=run_id, threadId=thread_id, previous=previous,
            digest=digest, metadata=want.metadata, input=await self._own_input(want.input, by.tenant, previous),
        )  # fmt: skip
        body = encode(1, entry)
        if len(body) > self._log.body_bytes_max:
            raise TooLarge(f"The run's input has {len(body)} bytes; the log takes {self._log.body_bytes_max}.")
        if head is None or head.run_id != run_id:
            mine = threads.Head(run_id, previous, _now_ms(), 0)
            await threads.claim(self._log, by.tenant, thread_id, mine, head.rev if head is not None else 0)
        try:
            self._wrote(await self._log.append(run, "ask", body, 0))
        except WrongRevision:
            known = await load_state(self._log, run, exact=True)
            if known is None:
                raise
            return _attached(known[0], want, digest)
        return Started(run_id, thread_id, True)

    async def cancel(self, run_id: str, by: Principal, face: str, reason: str | None = None) -> RunState:
        """Cancels the run, whoever executes it, and returns its state. One that has ended is left as it is.

        Raises RunNotFound.
        """
        run = _run(run_id, by)
        looked = False
        while True:
            last = await self._log.last(run, exact=True)
            if last is None:
                raise RunNotFound(run_id)
            # An agent at full speed appends while its last words are being folded. So they are only counted, from
            # the second try on: nothing in the flow lane ends a run.
            if not looked or last.lane != "flow":
                state = await self.state(run_id, by, last.rev)
                if state.terminal and not state.cancelling:
                    return state
                if state.cancelling:
                    break
                looked = True
            seq = chunk(last).last + 1
            body = encode(seq, ask(ASK_CANCEL, by, face, _now_ms(), runId=run_id, reason=reason))
            try:
                self._wrote(await self._log.append(run, "ask", body, last.rev))
                break
            except WrongRevision:
                continue
        await settle_cancel(self._log, run, _now_ms())
        return await self.state(run_id, by)

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────

    async def state(self, run_id: str, by: Principal, at_least_rev: int = 0) -> RunState:
        """The run as the log has it now. Raises RunNotFound. The state is shared: read it, and before you wait."""
        run = _run(run_id, by)
        lock = self._folding.get(run)
        if lock is None:
            lock = self._folding[run] = asyncio.Lock()
        async with lock:
            try:
                return (await self._fresh(run, at_least_rev))[0]
            except RunNotFound:
                raise RunNotFound(run_id) from None

    async def _fresh(self, run: str, at_least_rev: int) -> tuple[RunState, int]:
        held = self._states.get(run)
        if held is not None and held[0].ended_at_ms is not None:
            self._states.move_to_end(run)
            return held
        if held is None:
            loaded = await load_state(self._log, run, exact=at_least_rev > 0)
            if loaded is None:
                raise RunNotFound(run)
        else:
            last = await self._log.last(run)
            if last is None:
                raise RunNotFound(run)
            up_to = max(last.rev, at_least_rev)
            loaded = held if up_to == held[1] else await catch_up(self._log, run, held[0], held[1], up_to)
        if loaded[0].ended_at_ms is not None:  # who has been told of an end must find it in the next list
            self._appended_rev = max(self._appended_rev, loaded[1])
        self._states[run] = loaded
        self._states.move_to_end(run)
        while len(self._states) > 1 and (
            len(self._states) > _STATES_MAX or sum(state.seq for state, _ in self._states.values()) > _STATE_ENTRIES_MAX
        ):
            self._states.popitem(last=False)
        return loaded

    async def follow(self, run_id: str, by: Principal, after_seq: int = 0) -> Follow:
        """A cursor on the run's entries after `after_seq`. Raises RunNotFound. Close it."""
        try:
            return await self.tails.follow(_run(run_id, by), after_seq)
        except RunNotFound:
            raise RunNotFound(run_id) from None

    async def changed(self, run_id: str, by: Principal, until: Callable[[RunState], bool], seconds: float) -> RunState:
        """The run once `until` holds of it, or as it is after that long. Raises RunNotFound."""
        state = await self.state(run_id, by)
        if until(state) or state.ended_at_ms is not None or seconds <= 0:
            return state
        follow = await self.follow(run_id, by, state.seq)
        try:
            async with asyncio.timeout(seconds):
                async for _ in follow:
                    state = await self.state(run_id, by)
                    if until(state):
                        return state
        except TimeoutError:
            pass
        finally:
            follow.close()
        return await self.state(run_id, by)

    async def transcript(self, run_id: str, by: Principal) -> list[dict[str, Any]]:
        """The run's messages in AG-UI's wire form, with its thread's history in front. Raises RunNotFound."""
        return (await self.snapshot(run_id, by))[1]

    async def snapshot(self, run_id: str, by: Principal) -> tuple[RunState, list[dict[str, Any]]]:
        """The run and its transcript as of the same entry. Raises RunNotFound."""
        state = await self.state(run_id, by)
        history = await self._histories.after(by.tenant, state.previous)
        state = await self.state(run_id, by)  # last, and nothing awaited after it: the run goes on meanwhile
        return state, resolve(state.messages, history)

    async def thread_messages(self, thread_id: str, by: Principal) -> list[dict[str, Any]] | None:
        """The whole history of a thread, None if there is no such thread."""
        head = await threads.head(self._log, by.tenant, check_id(thread_id, "The thread id"))
        return await self._histories.after(by.tenant, head.run_id) if head is not None else None

    async def thread_head(self, thread_id: str, by: Principal) -> RunState | None:
        """The latest run of a thread, None if there is none."""
        head = await threads.head(self._log, by.tenant, check_id(thread_id, "The thread id"))
        if head is None:
            return None
        try:
            return await self.state(head.run_id, by)
        except RunNotFound:
            return None

    async def list(self, query: Query) -> list[RunState]:
        """Runs by the index, newest first, each as of its last change of status."""
        await self._index.caught_up(self._appended_rev)
        return self._index.find(query)

    async def agents(self) -> dict[str, dict[str, Any]]:
        """What workers have announced: options by agent name."""
        if time.monotonic() - self._agents_at > _AGENTS_SECONDS:
            found = await self._log.keys(AGENTS)
            told = [orjson.loads(value) for value in found.values() if value]
            self._agents = {one["name"]: one for one in sorted(told, key=lambda one: str(one["name"]))}
            self._agents_at = time.monotonic()
        return self._agents

    async def agent(self, name: str) -> dict[str, Any]:
        """The options of one agent. Raises AgentNotFound."""
        known = self._agents.get(name)
        if known is None:
            held = await self._log.get(AGENTS, encode_token(check_id(name, "The agent's name")))
            if held is None or not held.body:
                raise AgentNotFound(name, list(await self.agents()))
            known = orjson.loads(held.body)
            self._agents = {**self._agents, name: known}
        return known

    @property
    def ready(self) -> bool:
        return self._log.connected and self._index.ready

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    def _fresh_id(self, want: Start, by: Principal) -> str:
        if want.key is None:
            return str(uuid.uuid4())
        return str(uuid.uuid5(_NAMESPACE, f"{by.tenant}\n{by.id}\n{want.key}"))

    def _wrote(self, rev: int) -> None:
        self._appended_rev = max(self._appended_rev, rev)

    async def _previous(
        self, by: Principal, thread_id: str, head: threads.Head | None, run_id: str, on_busy: str, face: str
    ) -> str | None:
        """The run that this one comes after on its thread; it has ended, or is cancelled now. Raises ThreadBusy."""
        if head is None:
            return None
        if head.run_id == run_id:  # the same start, sent twice
            return head.previous
        try:
            state = await self.state(head.run_id, by)
        except RunNotFound:
            if head.fresh(_now_ms(), self._settings.append_timeout_s):
                raise ThreadBusy(thread_id, head.run_id) from None
            return head.previous  # a start that got no further than its claim
        if state.ended_at_ms is None and on_busy == "cancel_previous":
            state = await self.cancel(head.run_id, by, face, "another run was started on the thread")
        if state.ended_at_ms is None:
            raise ThreadBusy(thread_id, head.run_id)
        return head.run_id

    async def _own_input(self, given: dict[str, Any], tenant: str, previous: str | None) -> dict[str, Any]:
        """The input as it is recorded: what the thread holds already only by its id.

        A client that sends at least one message of the thread holds the transcript, and its list counts as sent.
        One that sends only new ones continues the thread, and its messages stand behind the history.
        """
        sent = [{key: value for key, value in one.items() if key != REF} for one in given.get("messages") or ()]
        if previous is None:
            return {**given, "messages": sent}
        told = await self._histories.after(tenant, previous)
        known = {message["id"]: message for message in told}
        holds_it = any(message.get("id") in known for message in sent)
        sent = threads.with_activities(sent, told) if holds_it else [*told, *sent]
        own = [  # an activity is kept whole, because a delta in this run may build on it
            {"id": message["id"], "role": message["role"], REF: True}
            if known.get(message.get("id")) == message and message["role"] != "activity"
            else message
            for message in sent
        ]
        state = given.get("state")
        if not holds_it and state in (None, {}):
            before = await load_state(self._log, run_subject(tenant, previous))
            state = before[0].state if before else state
        return {**given, "messages": own, "state": state}


def _run(run_id: str, by: Principal) -> str:
    """Where the run lives. Raises InvalidId: an id too long for the log must not reach it."""
    return run_subject(by.tenant, check_id(run_id, "The run id"))


def _attached(state: RunState, want: Start, digest: str) -> Started:
    """The answer to a repeated start. Raises RunMismatch if it is another request under the same id or key."""
    other_thread = want.thread_id is not None and want.thread_id != state.thread_id
    if other_thread or want.agent != state.agent or (want.key is not None and digest != state.digest):
        what = "idempotency key" if want.key is not None else "run id"
        raise RunMismatch(f"The {what} belongs to another request, with agent {state.agent!r}.")
    return Started(state.id, state.thread_id, False)


def _digest(want: Start) -> str:
    told = [want.agent, want.thread_id, want.run_id, want.input, want.metadata]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
