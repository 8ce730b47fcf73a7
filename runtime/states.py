"""The states of runs as this process has lately folded them, each kept up with its log when it is asked for."""

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

from protocol.errors import RunNotFound
from protocol.state import RunState

from .checkpoints import catch_up, load_state
from .log import Log

_STATES_MAX = 512
_STATE_ENTRIES_MAX = 1_000_000


class States:
    """A state is shared by all who ask: it is to be read, and before one waits."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._held: OrderedDict[str, tuple[RunState, int]] = OrderedDict()
        self._folding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def get(self, run: str, at_least_rev: int = 0) -> tuple[RunState, int]:
        """The run as the log has it now and the revision it stands at, folded once however many ask. Raises
        RunNotFound with the run's subject, Unavailable."""
        lock = self._folding.get(run)
        if lock is None:
            lock = self._folding[run] = asyncio.Lock()
        async with lock:
            return await self._fresh(run, at_least_rev)

    async def _fresh(self, run: str, at_least_rev: int) -> tuple[RunState, int]:
        held = self._held.get(run)
        if held is not None and held[0].ended_at_ms is not None:
            self._held.move_to_end(run)
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
        self._held[run] = loaded
        self._held.move_to_end(run)
        while len(self._held) > 1 and (
            len(self._held) > _STATES_MAX or sum(state.seq for state, _ in self._held.values()) > _STATE_ENTRIES_MAX
        ):
            self._held.popitem(last=False)
        return loaded
