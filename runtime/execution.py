"""One leg of one run: load, claim, call the agent, check order, append, settle.

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

from ag_ui.core import RunAgentInput
from pydantic import ValidationError

from protocol.entries import NOTE_HANDED_BACK, Entry, note
from protocol.errors import HocketError, IllegalEvent, TooLarge, Unavailable
from protocol.order import check, closers
from protocol.prelude import PROTOCOL_VERSION
from protocol.run import ABANDONED, fold
from protocol.speech import Speech
from protocol.state import RunState, Status

from .agents.contract import Agent, Cancelled, Run
from .checkpoints import Checkpointer, load_state
from .gather import Gather
from .log import Log, WrongRevision
from .settings import Settings
from .settle import settle_cancel, started
from .takeover import attempts_allowed, lost, takeover
from .threads import transcript
from .writer import Writer

logger = logging.getLogger("hocket.execution")


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


class Execution:
    """Executes the latest leg of `run` once; `execute` never raises but for a cancel of its own task.

    `stop` hands the leg back at once; `cancel` tells that somebody has cancelled the run.
    """

    def __init__(self, shop: Workshop, run: str, agent: Agent) -> None:
        self._shop, self._run, self._agent = shop, run, agent
        self._cancelled = Cancelled()
        self._stopping = False
        self._speaking: asyncio.Task[None] | None = None
        self._state: RunState
        self._writer: Writer
        self._checkpoints = Checkpointer(shop.log, run, shop.tasks)

    def stop(self) -> None:
        self._stopping = True
        self._interrupt()

    def cancel(self) -> None:
        self._cancelled.set()
        self._interrupt()

    def _interrupt(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()

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
        if self._state.cancelling:
            await settle_cancel(self._shop.log, self._run, now_ms())
            return Outcome.DONE
        if self._state.terminal or self._state.status is Status.WAITING:
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
        history = await transcript(self._shop.log, self._state)
        self._speaking = asyncio.get_running_loop().create_task(self._speak(history))
        if self._cancelled or self._stopping:
            self._interrupt()
        try:
            await self._speaking
        except asyncio.CancelledError:
            if self._stopping:
                return await self._hand_back()
            if not self._cancelled:
                raise
            return await self._outpaced()
        await self._writer.flush()
        return Outcome.DONE

    async def _speak(self, history: list[dict[str, Any]]) -> None:
        """Lets the agent talk, and ends the leg in every case that is the agent's own."""
        settings = self._shop.settings
        end: dict[str, Any] | None = None
        try:
            given = _input(self._state, history)
            run = Run(given, self._state.attempt, self._cancelled, new_id)
            speech = Speech(self._state, new_id)
            async with asyncio.timeout(settings.run_seconds_max) as limit:
                async with contextlib.aclosing(self._agent.run(run)) as said:
                    async for item in said:
                        if type(item) is str:
                            self._say(speech, item)
                        else:
                            end = self._take(speech, item)
                            if end is not None:
                                break
                        if self._writer.full:
                            await self._writer.room()
        except (WrongRevision, Unavailable):
            raise
        except TimeoutError as late:
            end = (
                error("RUN_TIMEOUT", f"The run took longer than {settings.run_seconds_max:g} s.")
                if limit.expired()
                else self._failed(late)
            )
        except (IllegalEvent, TooLarge) as bad:
            logger.warning("Agent %s said what it may not in run %s: %s", self._agent.name, self._state.id, bad.message)
            end = error(bad.code.upper(), bad.message)
        except Exception as fault:  # the agent is the user's: whatever it raises ends the run and nothing else
            end = self._failed(fault)
        self._end_leg(end or {"type": "RUN_FINISHED"})
        await self._writer.flush()

    def _failed(self, fault: Exception) -> dict[str, Any]:
        logger.error("Agent %s failed in run %s", self._agent.name, self._state.id, exc_info=fault)
        return error("AGENT_ERROR", f"The agent failed with {type(fault).__name__}.")

    def _say(self, speech: Speech, delta: str) -> None:
        """The hot path: what is made of a delta is legal by construction, so its order is not checked again."""
        at_ms = now_ms()
        for event in speech.say(delta):
            event["timestamp"] = at_ms
            self._record(event)

    def _take(self, speech: Speech, item: Any) -> dict[str, Any] | None:
        """Records what the agent said; returns the event by which it ended its leg, if it did."""
        if isinstance(item, list | tuple):
            ends = (self._take(speech, one) for one in item)
            return next((end for end in ends if end is not None), None)
        if type(item) is str:
            return self._say(speech, item)
        at_ms = now_ms()
        for event in speech.events(item):
            kind = event.get("type")
            if kind == "RUN_STARTED":
                continue
            if kind in ("RUN_FINISHED", "RUN_ERROR"):
                return _own_end(event)
            check(self._state, event)
            if "timestamp" not in event:
                event = {**event, "timestamp": at_ms}
            self._record(event)
        return None

    def _record(self, event: dict[str, Any]) -> None:
        self._writer.say(event)
        self._state = fold(self._state, Entry(self._writer.seq, event))

    def _appended(self, last_seq: int, rev_before: int) -> None:
        """After each append. Between two words of the agent the state is whole, as far as it has spoken."""
        self._checkpoints.appended(last_seq, rev_before)
        if self._checkpoints.due(self._writer.bytes_said):
            self._checkpoints.take(self._state, self._writer.bytes_said)

    def _end_leg(self, end: dict[str, Any]) -> None:
        at_ms = now_ms()
        for event in closers(self._state, at_ms):
            self._record(event)
        if end["type"] == "RUN_FINISHED":
            end = {**end, "threadId": self._state.thread_id, "runId": self._state.leg.run_id}
        self._record({**end, "timestamp": at_ms})
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
            state = await settle_cancel(self._shop.log, self._run, now_ms())
        except Unavailable:
            return Outcome.LATER
        over = state is None or state.terminal
        if not over:
            logger.warning("Worker %s has lost run %s to another worker", self._shop.worker, self._run)
        return Outcome.DONE if over else Outcome.LOST


def _input(state: RunState, history: list[dict[str, Any]]) -> RunAgentInput:
    """What the agent is given: the run's own input with the thread's messages, without what was abandoned."""
    abandoned = ABANDONED["hocket"]
    messages = [message for message in history if (message.get("metadata") or {}).get("hocket") != abandoned]
    whole = {"tools": [], "context": [], "forwardedProps": {}, "protocolVersion": PROTOCOL_VERSION, **state.input}
    whole |= {"threadId": state.thread_id, "runId": state.leg.run_id, "messages": messages, "state": state.state}
    try:
        return RunAgentInput.model_validate(whole)
    except ValidationError as bad:
        fault = bad.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise IllegalEvent(
            "run-input", f"The run's input cannot be given to an agent: {where}: {fault['msg']}"
        ) from None


def _own_end(event: dict[str, Any]) -> dict[str, Any]:
    """The agent's own RUN_FINISHED or RUN_ERROR, as far as it is the agent's to say."""
    if event["type"] == "RUN_ERROR":
        if not isinstance(event.get("message"), str):
            raise IllegalEvent("event-fields", "RUN_ERROR needs 'message' as text")
        return {"code": "AGENT_ERROR", **{key: value for key, value in event.items() if value is not None}}
    outcome = event.get("outcome")
    if outcome is not None and (not isinstance(outcome, dict) or outcome.get("type") not in _OUTCOMES):
        raise IllegalEvent("outcome", f"RUN_FINISHED has an outcome that is none of {', '.join(_OUTCOMES)}")
    if outcome is not None and outcome["type"] == "interrupt" and not outcome.get("interrupts"):
        raise IllegalEvent("outcome", "RUN_FINISHED with outcome interrupt needs at least one interrupt")
    return {key: value for key, value in event.items() if value is not None}


_OUTCOMES = ("success", "interrupt", "cancelled")


def error(code: str, message: str) -> dict[str, Any]:
    return {"type": "RUN_ERROR", "message": message, "code": code}


def new_id() -> str:
    return str(uuid.uuid4())


def now_ms() -> int:
    return time.time_ns() // 1_000_000
