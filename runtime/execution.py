"""One leg of one run: load, claim, call the agent, check order, append, settle.

The ask that opens a leg is its only ticket: an ask that comes again after the run has gone on to another leg is over.

claim ──> speak ──┬─ agent ends / yields the end ──> close, RUN_FINISHED or RUN_ERROR ──> DONE
  │               ├─ agent raises, breaks a rule, takes too long ──> close, RUN_ERROR ──> DONE
  │               ├─ an append fails: the run was cancelled ──> settle ──> DONE
  │               ├─ an append fails: another worker has it ──> LOST (not a word more)
  │               └─ the worker is stopping ──> note ──> HANDED_BACK
  └─ nothing left to do, or attempts used up ──> DONE
"""

import asyncio
import contextlib
import logging
import time
import uuid
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from protocol.entries import NOTE_HANDED_BACK, Entry, note
from protocol.errors import HocketError, IllegalEvent, TooLarge, Unavailable
from protocol.messages import resolve
from protocol.order import check, closers
from protocol.run import fold
from protocol.speech import Speech
from protocol.state import RunState, Status

from .agents.contract import Agent, Cancelled, Run
from .checkpoints import Checkpointer, load_state
from .expiry import plan_expiry
from .gather import Gather
from .intake import decisions, error, own_copy, own_end, run_input
from .log import Log, WrongRevision
from .settings import Settings
from .settle import settle, started
from .takeover import attempts_allowed, lost, takeover
from .threads import Histories
from .writer import Writer

logger = logging.getLogger("hocket.execution")

Event = dict[str, Any]

LEG_TIMEOUT, OWN_TIMEOUT = "RUN_TIMEOUT", "timeout"
_GRACE_SECONDS = 1.0
"""How long an agent that is told to stop may take before its leg goes on without it."""
_ITEMS_A_TURN = 1_000
"""After so many items the other legs have their turn, even if an agent says nothing that must be written."""


class Outcome(Enum):
    """What the worker does with the ask: acknowledge it, leave it to its new owner, give it back, try later."""

    DONE = "done"
    LOST = "lost"
    HANDED_BACK = "handed_back"
    LATER = "later"


@dataclass
class Workshop:
    """What the executions of one worker share."""

    log: Log
    settings: Settings
    worker: str
    gather: Gather = field(default_factory=Gather)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    histories: Histories = field(init=False)
    left_behind: set["asyncio.Task[Event]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.histories = Histories(self.log)


class Execution:
    """Executes the leg of `run` that the ask `asked_seq` has opened, once; `execute` raises nothing but for a
    cancel of its own task.

    `stop` hands the leg back at once; `cancel` tells that somebody has cancelled the run.
    """

    def __init__(self, shop: Workshop, run: str, agent: Agent, asked_seq: int) -> None:
        self._shop, self._run, self._agent, self._asked_seq = shop, run, agent, asked_seq
        self._cancelled = Cancelled()
        self._stopping = self._late = self._hushed = False
        self._speaking: asyncio.Task[Event] | None = None
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._state: RunState
        self._writer: Writer
        self._checkpoints = Checkpointer(shop.log, run, shop.tasks)

    def stop(self) -> None:
        self._stopping = True
        self._interrupt()

    def cancel(self) -> None:
        self._cancelled.set()
        self._interrupt()

    async def look(self) -> None:
        """Asks the log whether the run has moved on without this leg: what tells of it may have been missed."""
        if self._speaking is None or not self._writer.idle:
            return  # an append under way finds out by itself
        rev = self._writer.rev
        last = await self._shop.log.last(self._run)
        if last is not None and self._writer.idle and last.rev > self._writer.rev == rev:
            self.cancel()

    def _interrupt(self) -> None:
        """Stops the agent: from now on it goes unheard, and it is waited for only so long."""
        if self._speaking is not None and not self._speaking.done() and not self._hushed:
            self._hushed = True
            self._speaking.cancel()
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._leave)

    def _too_late(self) -> None:
        self._late = True
        self._interrupt()

    def _leave(self) -> None:
        if not self._left.done():
            self._left.set_result(None)

    async def execute(self) -> Outcome:
        try:
            return await self._execute()
        except WrongRevision:
            return await self._outpaced()
        except Unavailable as away:
            logger.error("Run %s is put off: %s", self._run, away.message)
            return Outcome.LATER
        except HocketError as fault:
            logger.error("Run %s cannot be executed: %s", self._run, fault.message)
            return Outcome.LATER

    async def _execute(self) -> Outcome:
        loaded = await load_state(self._shop.log, self._run, exact=True)
        if loaded is None:
            return Outcome.DONE
        self._state, rev = loaded
        if self._state.closing:
            await settle(self._shop.log, self._run, now_ms())
            return Outcome.DONE
        if self._state.status is Status.WAITING:  # its worker may have died before the clock was set
            await plan_expiry(self._shop.log, self._run, self._state)
        if self._state.status not in (Status.QUEUED, Status.RUNNING) or self._state.leg.asked_seq != self._asked_seq:
            return Outcome.DONE
        settings = self._shop.settings
        self._writer = Writer(
            self._shop.log, self._run, self._state.seq, rev, self._shop.gather, settings.event_bytes_max
        )
        self._writer.on_append(self._appended)
        try:
            if not await self._claim():
                return Outcome.DONE
            return await self._perform()
        finally:
            self._writer.stop()

    async def _claim(self) -> bool:
        """Makes the leg this worker's by its first entry; False if its attempts are used up, and it is ended."""
        at_ms = now_ms()
        if not self._state.leg.attempts:
            self._record(started(self._state, at_ms, self._shop.worker))
            return True
        if len(self._state.leg.attempts) >= attempts_allowed(self._state, self._agent.options, self._shop.settings):
            for event in lost(self._state, at_ms):
                self._record(event)
            await self._writer.flush()
            return False
        for event in takeover(self._state, self._shop.worker, at_ms):
            self._record(event)
        await self._writer.flush()
        return True

    async def _perform(self) -> Outcome:
        history = await self._shop.histories.after(self._state.tenant, self._state.previous)
        end = await self._hear(resolve(self._state.messages, history))
        if end is not None:
            self._end_leg(end)
            await self._writer.flush()
            await plan_expiry(self._shop.log, self._run, self._state)
            return Outcome.DONE
        return await (self._outpaced() if self._cancelled else self._hand_back())

    async def _hear(self, history: list[Event]) -> Event | None:
        """Lets the agent speak; the answer is the event that ends its leg, None if it was interrupted."""
        seconds, code = _seconds_left(self._state, self._shop.settings.run_seconds_max, now_ms())
        loop = asyncio.get_running_loop()
        speaking = self._speaking = loop.create_task(self._speak(history))
        speaking.add_done_callback(_retrieve)
        if self._cancelled or self._stopping:
            self._interrupt()
        timer = loop.call_later(seconds, self._too_late)
        try:
            # a failed append counts as well: an agent that is silent would not come to hear of it
            any_of: list[asyncio.Future[Any]] = [speaking, self._left, self._writer.broken]
            await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            if not speaking.done():
                self._leave_behind(speaking)
        if self._writer.broken.done():
            await self._writer.flush()
        if self._late:
            longest = self._state.timeout_s if code == OWN_TIMEOUT else self._shop.settings.run_seconds_max
            return error(code, f"The run took longer than {longest:g} s.")
        if self._hushed:
            return None
        return self._failed(asyncio.CancelledError()) if speaking.cancelled() else speaking.result()

    def _leave_behind(self, speaking: "asyncio.Task[Event]") -> None:
        """The agent does not stop. It goes on unheard, and the leg goes on without it."""
        if self._left.done():
            logger.warning("Agent %s does not stop in run %s and is left behind", self._agent.name, self._run)
        self._interrupt()
        self._shop.left_behind.add(speaking)
        speaking.add_done_callback(self._shop.left_behind.discard)

    async def _speak(self, history: list[Event]) -> Event:
        """Lets the agent talk. What it raises is its own affair and ends the leg; what the log raises is not."""
        end: Event | None = None
        items = 0
        try:
            given = run_input(self._state, history)
            run = Run(given, self._state.attempt, self._cancelled, new_id, decisions(self._state))
            speech = Speech(self._state, new_id)
            async with contextlib.aclosing(self._agent.run(run)) as said:
                async for item in said:
                    if self._hushed:
                        raise asyncio.CancelledError
                    if type(item) is str:
                        self._say(speech, item)
                    else:
                        end = self._take(speech, item)
                        if end is not None:
                            break
                    items += 1
                    if self._writer.full:
                        await self._writer.room()
                    elif items % _ITEMS_A_TURN == 0:
                        await asyncio.sleep(0)
        except (WrongRevision, Unavailable):
            raise
        except (IllegalEvent, TooLarge) as bad:
            logger.warning("Agent %s said what it may not in run %s: %s", self._agent.name, self._run, bad.message)
            return error(bad.code.upper(), bad.message)
        except (Exception, SystemExit) as fault:  # the agent is the user's: it ends the run and nothing else
            return self._failed(fault)
        return end or {"type": "RUN_FINISHED"}

    def _failed(self, fault: BaseException) -> Event:
        if not self._hushed:
            logger.error("Agent %s failed in run %s", self._agent.name, self._run, exc_info=fault)
        return error("AGENT_ERROR", f"The agent failed with {type(fault).__name__}.")

    def _say(self, speech: Speech, delta: str) -> None:
        """The hot path: what is made of a delta is legal by construction, so its order is not checked again."""
        at_ms = now_ms()
        for event in speech.say(delta):
            event["timestamp"] = at_ms
            self._record(event)

    def _take(self, speech: Speech, item: Any) -> Event | None:
        """Records what the agent said; returns the event by which it ended its leg, if it did."""
        if isinstance(item, list | tuple):
            ends = (self._take(speech, one) for one in item)
            return next((end for end in ends if end is not None), None)
        if type(item) is str:
            self._say(speech, item)
            return None
        at_ms = now_ms()
        for event in speech.events(item):
            kind = event.get("type")
            if kind == "RUN_STARTED":
                continue
            if kind in ("RUN_FINISHED", "RUN_ERROR"):
                interrupt_seconds = self._shop.settings.interrupt_seconds
                return own_end(event, self._state, self._agent.options, interrupt_seconds, at_ms)
            check(self._state, event)
            self._record(own_copy(event, at_ms))
        return None

    def _record(self, event: Event) -> None:
        self._writer.say(event)
        self._state = fold(self._state, Entry(self._writer.seq, event))

    def _appended(self, last_seq: int, rev_before: int) -> None:
        """After each append. Between two words of the agent the state is whole, as far as it has spoken."""
        self._checkpoints.appended(last_seq, rev_before)
        if self._checkpoints.due(self._writer.bytes_said):
            self._checkpoints.take(self._state, self._writer.bytes_said)

    def _end_leg(self, end: Event) -> None:
        at_ms = now_ms()
        for event in closers(self._state, at_ms):
            self._record(event)
        if end["type"] == "RUN_FINISHED":
            end = {**end, "threadId": self._state.thread_id, "runId": self._state.leg.run_id}
        try:
            self._record({**end, "timestamp": at_ms})
        except TooLarge as bad:
            self._record({**error(bad.code.upper(), bad.message), "timestamp": at_ms})
        if self._checkpoints.due(self._writer.bytes_said, settled=True):
            self._checkpoints.take(self._state, self._writer.bytes_said)

    async def _hand_back(self) -> Outcome:
        """The worker is stopping: what was said is kept, the note tells the next one why."""
        self._record(note(NOTE_HANDED_BACK, now_ms(), {"worker": self._shop.worker}))
        await self._writer.flush()
        return Outcome.HANDED_BACK

    async def _outpaced(self) -> Outcome:
        """The run has moved on without this leg: settled here if it was cancelled, else another worker's."""
        self._cancelled.set()
        try:
            state = await settle(self._shop.log, self._run, now_ms())
        except Unavailable:
            return Outcome.LATER
        over = state is None or state.terminal
        if not over:
            logger.warning("Worker %s has lost run %s to another worker", self._shop.worker, self._run)
        return Outcome.DONE if over else Outcome.LOST


def _seconds_left(state: RunState, leg_seconds_max: float, at_ms: int) -> tuple[float, str]:
    """How long the leg may take, and as what the end of that time is told. A run's own time stands still while it
    waits: it is that of its legs."""
    if state.timeout_s is None:
        return leg_seconds_max, LEG_TIMEOUT
    spans = [(leg.ended_at_ms or at_ms) - leg.started_at_ms for leg in state.legs if leg.started_at_ms is not None]
    left = state.timeout_s - sum(spans) / 1000
    return (max(left, 0.0), OWN_TIMEOUT) if left < leg_seconds_max else (leg_seconds_max, LEG_TIMEOUT)


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """An agent that was stopped may fail in passing, and nobody asks."""
    if not task.cancelled():
        task.exception()


def new_id() -> str:
    return str(uuid.uuid4())


def now_ms() -> int:
    return time.time_ns() // 1_000_000
