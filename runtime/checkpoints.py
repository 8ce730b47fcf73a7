"""Loading a run's state from its latest checkpoint and the tail after it, and deciding when to write the next.

A checkpoint is a cache: deleting the bucket loses nothing. It says after which revision to read on; entries up to
its own seq are then skipped, so it may be taken in the middle of a message.
"""

import asyncio
import logging

from protocol.checkpoint import dump, load
from protocol.entries import decode
from protocol.errors import HocketError, Unavailable
from protocol.run import fold
from protocol.sse import first_seq
from protocol.state import RunState

from .layout import CHECKPOINTS
from .log import Log

logger = logging.getLogger("hocket.checkpoints")

TAIL_BYTES_MIN = 64 << 10
"""A shorter tail is as cheap to fold as a checkpoint is to read."""


async def load_state(log: Log, run: str, exact: bool = False) -> tuple[RunState, int] | None:
    """The run's state and the revision it stands at, None if there is no such run. The caller owns the state."""
    last = await log.last(run, exact)
    if last is None:
        return None
    if first_seq(last.body) == 1:  # the run is this one message, as it is when its first leg begins
        state = RunState()
        for entry in decode(last.body):
            state = fold(state, entry)
        return state, last.rev
    state, rev = await _saved(log, run) or (RunState(), 0)
    if rev > last.rev:
        state, rev = RunState(), 0
    return await catch_up(log, run, state, rev, last.rev)


async def state_at(log: Log, run: str, seq: int, rev: int, floor: int = 0) -> RunState:
    """The run exactly after its entry `seq`, which lies in the message at `rev`; all of the run lies behind `floor`.
    The caller owns the state. Raises Unavailable."""
    saved = await _saved(log, run)
    state, start = saved if saved is not None and saved[0].seq <= seq and saved[1] <= rev else (RunState(), floor)
    return (await catch_up(log, run, state, start, rev, seq))[0]


async def _saved(log: Log, run: str) -> tuple[RunState, int] | None:
    """The latest checkpoint and the revision after which to read on from it."""
    saved = await log.get(CHECKPOINTS, run)
    head, _, body = saved.body.partition(b"\n") if saved is not None else (b"", b"", b"")
    found = load(body) if head.isdigit() else None
    return (found, int(head)) if found is not None else None


async def catch_up(
    log: Log, run: str, state: RunState, rev: int, up_to: int, last_seq: int | None = None
) -> tuple[RunState, int]:
    """`state`, which stands at or after `rev`, taken on to the revision `up_to`, where the run has a message; within
    that to the entry `last_seq`, if it is named.

    Raises Unavailable if what is read has a hole or ends too early, as a replica that lags behind can make it.
    """
    async for batch in log.read(run, rev, up_to):
        for stored in batch:
            for entry in decode(stored.body):
                if entry.seq > state.seq and (last_seq is None or entry.seq <= last_seq):
                    if entry.seq != state.seq + 1:
                        raise Unavailable(f"The log was read with a hole before entry {entry.seq}.")
                    state = fold(state, entry)
            rev = stored.rev
    if rev < up_to:
        raise Unavailable("The log was read by a replica that has not all of it yet.")
    return state, rev


class Checkpointer:
    """Writes checkpoints of one run as it is written. `take` is called where the state is whole, `appended` when
    the entries up to that seq are in the log; only then does the checkpoint go out, in the background."""

    def __init__(self, log: Log, run: str, tasks: set["asyncio.Task[None]"]) -> None:
        self._log, self._run, self._tasks = log, run, tasks
        self._taken: tuple[int, bytes] | None = None
        self._taken_at_bytes = 0
        self._size = 0

    def due(self, bytes_said: int, settled: bool = False) -> bool:
        """Whether the tail has grown as long as the last checkpoint; `settled` where a leg has just ended."""
        tail = bytes_said - self._taken_at_bytes
        return tail >= (TAIL_BYTES_MIN if settled else max(2 * TAIL_BYTES_MIN, self._size))

    def take(self, state: RunState, bytes_said: int) -> None:
        body = dump(state)
        self._taken_at_bytes, self._size = bytes_said, len(body)
        self._taken = (state.seq, body) if len(body) < self._log.body_bytes_max - 32 else None

    def appended(self, last_seq: int, rev_before: int) -> None:
        if self._taken is not None and last_seq >= self._taken[0]:
            body, self._taken = self._taken[1], None
            task = asyncio.get_running_loop().create_task(self._put(b"%d\n%b" % (rev_before, body)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _put(self, value: bytes) -> None:
        try:
            await self._log.put(CHECKPOINTS, self._run, value)
        except HocketError as fault:
            logger.warning("A checkpoint of %s was not written: %s", self._run, fault.message)
