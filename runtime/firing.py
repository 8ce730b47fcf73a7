"""How a trigger fires by itself: in the name of the one who set it, as long as that one may start runs."""

import time

from protocol.errors import Forbidden, HocketError, RunMismatch, Unavailable

from .engine import Engine
from .keys import Keys
from .trigger import Fired, Occasion, Trigger, start_of
from .triggers import FACE


class Firing:
    """Shared by what makes a worker's triggers fire."""

    def __init__(self, engine: Engine, keys: Keys) -> None:
        self._engine, self._keys = engine, keys

    async def fire(self, trigger: Trigger, occasion: Occasion) -> Fired:
        """Starts the run of that occasion, once, however often it is asked for. A refusal is told, and final: the
        thread is busy, the agent is gone, the one who set it may not start runs any more. Raises Unavailable."""
        want = start_of(trigger, occasion)
        error: HocketError | None = None
        run_id: str | None = None
        try:
            self._check(trigger)
            run_id = (await self._engine.start(want, trigger.principal, FACE)).run_id
        except Unavailable:
            raise
        except RunMismatch:  # it has fired for this already, before its agent or its thread was changed
            run_id = want.run_id
        except HocketError as refusal:
            error = refusal
        told = {"code": error.code, "message": error.message} if error is not None else None
        return Fired(occasion.at_ms, now_ms(), run_id, told)

    def _check(self, trigger: Trigger) -> None:
        """Raises Forbidden. Keys are renewed: any key of the one who set it will do. Without a key, whoever set it was
        in development, and that ends with the first key."""
        if trigger.credential == "" and trigger.by.kind == "development":
            allowed = not self._keys.configured
        else:
            allowed = self._keys.allows(trigger.by.tenant, trigger.by.id, "runs:start", now_ms())
        if not allowed:
            raise Forbidden("runs:start")


def now_ms() -> int:
    return time.time_ns() // 1_000_000
