"""Ending a run from outside its leg: the open parts are closed and the end is appended by compare-and-set.

Whoever comes first does it: the gateway that took the cancel, the worker whose append the cancel made fail, or
any worker that finds the cancel or the expiry in the queue.
"""

from collections.abc import Iterable
from typing import Any

from protocol import prelude
from protocol.entries import encode, lane_of
from protocol.order import closers, unanswered
from protocol.state import RunState, Status

from .checkpoints import load_state
from .log import Log, WrongRevision


async def settle(log: Log, run: str, at_ms: int) -> RunState | None:
    """Appends what a run is owed that a cancel or an expiry has ended; returns its state after, or None if there is
    no such run. A run that has its end, or goes on, is left as it is."""
    while True:
        loaded = await load_state(log, run, exact=True)
        if loaded is None:
            return None
        state, rev = loaded
        if not state.closing:
            return state
        end = end_of(state, at_ms)
        start = [] if state.leg.attempts else [started(state, at_ms)]
        try:
            await append_all(log, run, state.seq, rev, [*start, *closers(state, at_ms), *unanswered(state, at_ms), end])
        except WrongRevision:
            continue


def end_of(state: RunState, at_ms: int) -> dict[str, Any]:
    """The last event of a run that a cancel or an expiry has ended."""
    if state.status is Status.FAILED:
        told = "Nobody answered in time."
        return {"type": "RUN_ERROR", "message": told, "code": "INTERRUPT_EXPIRED", "timestamp": at_ms}
    ids = {"threadId": state.thread_id, "runId": state.leg.run_id}
    return {"type": "RUN_FINISHED", **ids, "outcome": {"type": "cancelled"}, "timestamp": at_ms}


def started(state: RunState, at_ms: int, worker: str = "") -> dict[str, Any]:
    """The RUN_STARTED of the state's latest leg, as its first attempt, with the messages that came with its answer:
    whoever follows the run is to hold them too."""
    told = prelude.started(state) | {"timestamp": at_ms, "metadata": {"hocket": {"attempt": 1, "worker": worker}}}
    if state.leg.messages:
        more: dict[str, Any] = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
        told["input"] = {"threadId": state.thread_id, "runId": told["runId"], "messages": state.leg.messages, **more}
    return told


async def append_all(log: Log, run: str, seq: int, rev: int, events: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """Appends events after `seq`, one message a lane; returns the new seq and revision. Raises WrongRevision."""
    lane, frames = "", list[bytes]()
    for event in events:
        if frames and lane_of(event) != lane:
            rev = await log.append(run, lane, b"".join(frames), rev)
            frames = []
        lane, seq = lane_of(event), seq + 1
        frames.append(encode(seq, event))
    if frames:
        rev = await log.append(run, lane, b"".join(frames), rev)
    return seq, rev
