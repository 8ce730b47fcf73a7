"""The single door to runs: every face asks here and nowhere else.

Asks are compare-and-set appends, answers are folds of the log. Tenant, requester and scopes come from the `Principal`
that each call is given; a run of another tenant is a run that does not exist. One that is no `Caller` is hocket itself.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from protocol import answers
from protocol.entries import ASK_CANCEL, ASK_RESUME, ASK_START, Principal, ask, decode, encode
from protocol.errors import AgentNotFound, RunNotFound, ThreadBusy, TooLarge, Unavailable
from protocol.messages import REF, resolve
from protocol.state import RunState, Status
from protocol.subjects import check_id, encode_token, run_subject

from . import threads
from .access import check_scope, own_run
from .asks import Resume, Resumed, Start, Started, attached, resume_digest, start_digest
from .checkpoints import load_state
from .chunks import chunk
from .follow import Follow, Tails
from .index import Index, Query
from .layout import AGENTS
from .log import Log, Stored, WrongRevision
from .names import id_of
from .push_door import Push
from .settings import Settings
from .settle import settle
from .states import States
from .thread_door import Threads
from .triggers import Triggers
from .webhooks import Webhooks

_AGENTS_SECONDS = 1.0
_NAMESPACE = uuid.UUID("6f1d5a52-27d1-5e0a-9a52-6b0f5cf0a1b7")


class Engine:
    """Shared by all faces of a process. Every method may raise Unavailable, and Forbidden where the caller's credential
    lacks the scope; the others are named."""

    def __init__(self, log: Log, settings: Settings, index: Index | None = None) -> None:
        """Without an index, as in a worker, it does everything but list runs."""
        self._log, self._settings, self._index = log, settings, index
        self.tails = Tails(log, settings.cache_bytes_max)
        self._histories = threads.Histories(log)
        self._states = States(log)
        self.threads = Threads(log, self._histories, self._state, self._listed)
        self.push = Push(log, settings)
        self.webhooks = Webhooks(log, settings)
        self._appended_rev = 0
        self._agents: dict[str, dict[str, Any]] = {}
        self._agents_at = 0.0
        self.triggers = Triggers(log, self.agent, self.start)

    # ── asks ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, want: Start, by: Principal, face: str) -> Started:
        """Records the start of a run; a worker takes it from there.

        Raises AgentNotFound, RunNotFound (the parent), ThreadBusy, RunMismatch (the id or key belongs to another
        request), InvalidId, TooLarge.
        """
        check_scope(by, "runs:start")
        check_scope(by, "runs:read")  # whoever starts, answers or cancels a run is shown it
        agent = await self.agent(want.agent)
        run_id = check_id(want.run_id, "The run id") if want.run_id is not None else self.fresh_id(want.key, by)
        run = run_subject(by.tenant, run_id)
        thread_id = check_id(want.thread_id or str(uuid.uuid4()), "The thread id")
        digest = start_digest(want)
        known = await load_state(self._log, run)
        if known is not None:
            return attached(known[0], want, digest)
        head = await threads.head(self._log, by.tenant, thread_id)
        want = await self.threads.hand_over(want, thread_id, head, by.tenant)
        leg_of = await self._run_of_leg(by, head, run_id)
        if leg_of is not None:
            return attached(leg_of, want, digest)
        parent = await self._parent(want.parent, by)
        previous = await self._previous(by, thread_id, head, run_id, want.on_busy or agent["on_busy"], face)
        entry = ask(
            ASK_START, by, face, _now_ms(), agent=want.agent, runId=run_id, threadId=thread_id, previous=previous,
            digest=digest, metadata=want.metadata, timeoutSeconds=want.timeout_s, parent=parent,
            input=await self._own_input(want.input, by.tenant, previous),
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
            return attached(known[0], want, digest)
        return Started(run_id, thread_id, True)

    def fresh_id(self, key: str | None, by: Principal) -> str:
        """The id of a run that is started under `key`, a random one for None."""
        return str(uuid.uuid5(_NAMESPACE, f"{by.tenant}\n{by.id}\n{key}") if key is not None else uuid.uuid4())

    async def cancel(
        self, run_id: str, by: Principal, face: str, reason: str | None = None, seen_seq: int | None = None
    ) -> RunState:
        """Cancels the run, whoever executes it, and returns its state. One that has ended is left as it is. `seen_seq`
        is how far the caller had read, recorded with it.

        Raises RunNotFound.
        """
        run = own_run(run_id, by)
        asked_rev = 0
        while True:
            last = await self._last(run, run_id, by, "runs:cancel")
            # An agent at full speed appends while its last words are being folded. So they are only counted, from
            # the second try on: nothing in the flow lane ends a run, unless another has asked for that meanwhile.
            asked = await self._log.last(run, exact=True, lane="ask")
            if not asked_rev or last.lane != "flow" or asked is None or asked.rev != asked_rev:
                state = await self._state(run_id, by, last.rev)
                if state.closing:
                    break
                if state.terminal:
                    return state
                asked_rev = asked.rev if asked is not None else 0
            seq = chunk(last).last + 1
            body = encode(seq, ask(ASK_CANCEL, by, face, _now_ms(), runId=run_id, reason=reason, seenSeq=seen_seq))
            try:
                self._wrote(await self._log.append(run, "ask", body, last.rev))
                break
            except WrongRevision:
                continue
        await settle(self._log, run, _now_ms())
        return await self._state(run_id, by)

    async def resume(self, run_id: str, want: Resume, by: Principal, face: str) -> Resumed:
        """Records answers to the run's open interrupts; a worker takes it from there once none is open any more.

        Of any number of callers, on any replica, one is recorded. Raises RunNotFound, UnknownInterrupt, NotWaiting,
        AlreadyResolved, InterruptExpired, InterruptsMissing, InvalidAnswer, TooLarge.
        """
        run = own_run(run_id, by)
        digest = resume_digest(want)
        while True:
            last = await self._last(run, run_id, by, "runs:resume")
            state = await self._state(run_id, by, last.rev)
            given, passed_over = want.answers, list[str]()
            if want.lenient:
                given, passed_over = answers.relevant(state, given)
            repeated = answers.repeated(state, given, by, digest)
            if repeated is not None:
                return Resumed(state, False, repeated, passed_over)
            recorded = answers.fit(state, given, _now_ms(), want.partial)
            leg_id = want.leg_id or str(uuid.uuid4())
            entry = ask(
                ASK_RESUME, by, face, _now_ms(), agent=state.agent, runId=state.id, legId=leg_id,
                requester=answers.requester(state), answers=recorded, digest=digest,
                messages=await self._new_messages(state, want.messages),
            )  # fmt: skip
            seq = chunk(last).last + 1
            body = encode(seq, entry)
            if len(body) > self._log.body_bytes_max:
                raise TooLarge(f"The answers have {len(body)} bytes; the log takes {self._log.body_bytes_max}.")
            try:
                self._wrote(rev := await self._log.append(run, "ask", body, last.rev))
            except WrongRevision:
                continue
            return Resumed(await self._state(run_id, by, rev), True, seq, passed_over)

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────

    async def state(self, run_id: str, by: Principal, at_least_rev: int = 0) -> RunState:
        """The run as the log has it now. Raises RunNotFound. The state is shared: read it, and before you wait."""
        check_scope(by, "runs:read")
        return await self._state(run_id, by, at_least_rev)

    async def asked(self, run_id: str, by: Principal) -> Start:
        """What the run was asked to do, to be asked again on a thread of its own: its agent, its time, and its input
        without what its thread held before. Raises RunNotFound."""
        check_scope(by, "runs:read")
        first = await self._log.first_after(own_run(run_id, by), 0)
        if first is None:
            raise RunNotFound(run_id)
        event = decode(first.body)[0].event
        sent = [message for message in event["input"]["messages"] if not message.get(REF)]
        return Start(event["agent"], {**event["input"], "messages": sent}, timeout_s=event.get("timeoutSeconds"))

    async def follow(self, run_id: str, by: Principal, after_seq: int = 0) -> Follow:
        """A cursor on the run's entries after `after_seq`. Raises RunNotFound. Close it."""
        check_scope(by, "runs:read")
        try:
            return await self.tails.follow(own_run(run_id, by), after_seq)
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
        check_scope(by, "runs:read", everywhere=True)
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

    async def list(self, query: Query, by: Principal) -> list[RunState]:
        """Runs of the caller's tenant by the index, newest first, each as of its last change of status."""
        return (await self._listed(by)).find(by.tenant, query)

    async def count(self, query: Query, by: Principal) -> int:
        """How many runs `list` would name on all its pages."""
        return self._lists(by).count(by.tenant, query)

    async def run_id_of(self, name: str, by: Principal) -> str:
        """The id of the run that a name stands for: an id, or the UUID as which one is shown that is none."""
        return name if self._index is None else await id_of("runs", name, by, self._log, self._listed)

    async def thread_id_of(self, name: str, by: Principal) -> str:
        """The same of a thread."""
        return name if self._index is None else await id_of("threads", name, by, self._log, self._listed)

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
        return self._log.connected and self._index is not None and self._index.ready

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    def _lists(self, by: Principal) -> Index:
        """Raises Unavailable in a process that keeps none, as a worker does."""
        check_scope(by, "runs:read", everywhere=True)
        if self._index is None:
            raise Unavailable("This process keeps no list of runs.")
        return self._index

    async def _listed(self, by: Principal) -> Index:
        index = self._lists(by)
        # whoever was streamed an end or shown a trigger's run must find it in the next list, as whoever polled one does
        seen_rev = max(self._appended_rev, self.tails.cache.ended_rev, self.triggers.shown_rev)
        await index.caught_up(seen_rev)
        return index

    async def _last(self, run: str, run_id: str, by: Principal, scope: str) -> Stored:
        """The end of a run that is to be asked for something. That there is no run comes before what is not allowed."""
        last = await self._log.last(run, exact=True)
        if last is None:
            raise RunNotFound(run_id)
        check_scope(by, scope)
        check_scope(by, "runs:read")
        return last

    async def _state(self, run_id: str, by: Principal, at_least_rev: int = 0) -> RunState:
        """For the engine itself, whatever the caller may read."""
        try:
            state, rev = await self._states.get(own_run(run_id, by), at_least_rev)
        except RunNotFound:
            raise RunNotFound(run_id) from None
        if state.ended_at_ms is not None:  # who has been told of an end must find it in the next list
            self._wrote(rev)
        return state

    async def _run_of_leg(self, by: Principal, head: threads.Head | None, leg_id: str) -> RunState | None:
        """The thread's latest run if one of its legs has that id: an AG-UI client knows a leg as a run of its own."""
        if head is None or head.run_id == leg_id:
            return None
        try:
            state = await self._state(head.run_id, by)
        except RunNotFound:
            return None
        return state if any(leg.run_id == leg_id for leg in state.legs) else None

    async def _parent(self, run_id: str | None, by: Principal) -> dict[str, str] | None:
        if run_id is None:
            return None
        parent = await self._state(run_id, by)
        return {"runId": parent.id, "threadId": parent.thread_id}

    async def _new_messages(self, state: RunState, sent: Sequence[threads.Wire]) -> Sequence[threads.Wire]:
        """What a client has sent with its answers and the thread does not hold yet."""
        if not sent:
            return []
        known = {message["id"] for message in await self._histories.after(state.tenant, state.previous)}
        own = [message for message in sent if message.get("id") not in known]
        return [message for message in own if state.messages.get(str(message.get("id"))) is None]

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
            state = await self._state(head.run_id, by)
        except RunNotFound:
            if head.fresh(_now_ms(), self._settings.append_timeout_s):
                raise ThreadBusy(thread_id, head.run_id) from None
            return head.previous  # a start that got no further than its claim
        if state.ended_at_ms is None and on_busy == "cancel_previous":
            state = await self.cancel(head.run_id, by, face, "another run was started on the thread")
        if state.ended_at_ms is None:
            raise ThreadBusy(thread_id, head.run_id, state.status is Status.WAITING)
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


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
