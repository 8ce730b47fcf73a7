"""Ending a run from outside its leg: the open parts are closed and the end is appended by compare-and-set.

Whoever comes first does it: the gateway that took the cancel, the worker whose append the cancel made fail, or
any worker that finds the cancel in the queue.
"""

from collections.abc import Iterable
from typing import Any

from protocol.entries import encode, lane_of
from protocol.events import PROTOCOL_VERSION
from protocol.order import closers, unanswered
from protocol.state import RunState

from .checkpoints import load_state
from .log import Log, WrongRevision


async def settle_cancel(log: Log, run: str, at_ms: int) -> RunState | None:
    """Appends what a cancelled run is owed; returns its state after, or None if there is no such run."""
    while True:
        loaded = await load_state(log, run, exact=True)
        if loaded is None:
            return None
        state, rev = loaded
        if not state.cancelling:
            return state
        end = {
            "type": "RUN_FINISHED",
            "threadId": state.thread_id,
            "runId": state.leg.run_id,
            "outcome": {"type": "cancelled"},
            "timestamp": at_ms,
        }
        start = [] if state.leg.attempts else [started(state, at_ms)]
        try:
            await append_all(log, run, state.seq, rev, [*start, *closers(state, at_ms), *unanswered(state, at_ms), end])
        except WrongRevision:
            continue


def started(state: RunState, at_ms: int, worker: str = "") -> dict[str, Any]:
    """The RUN_STARTED of the state's latest leg, as its first attempt."""
    return {
        "type": "RUN_STARTED",
        "threadId": state.thread_id,
        "runId": state.leg.run_id,
        "protocolVersion": PROTOCOL_VERSION,
        "timestamp": at_ms,
        "metadata": {"hocket": {"attempt": 1, "worker": worker}},
    }


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
