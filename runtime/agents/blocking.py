"""A thread for one agent that blocks: any number of them may block at once, and none keeps the process from ending.

The event loop's own pool has a handful of threads and is waited for at exit; an agent that sleeps for an hour
would stop the others, and the worker's end.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_Job = tuple[Callable[[], Any], "asyncio.Future[Any] | None"]


class Thread:
    """Makes calls one after the other, in a daemon thread that starts with the first; `end` lets it go."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the call returns or raises. A cancel leaves the call running; the next waits for it."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((lambda: function(*args), answer))
        return await answer

    def end(self, last: Callable[[], Any] | None = None) -> None:
        """Ends the thread after the call that it is in, and after `last`, whose outcome nobody asks for."""
        if last is not None:
            self._jobs.put((last, None))
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, answer = job
            result: Any = None
            fault: BaseException | None = None
            try:
                result = self._context.run(call)
            except StopIteration as stop:  # a future refuses it, and nobody would ever be told
                fault = RuntimeError(f"StopIteration: {stop}")
            except BaseException as bad:  # the agent's, SystemExit too: raised where the agent is awaited
                fault = bad
            if answer is not None:
                with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for it
                    self._loop.call_soon_threadsafe(_settle, answer, result, fault)
            del call, job, answer, result, fault


def _settle(answer: "asyncio.Future[Any]", result: Any, fault: BaseException | None) -> None:
    if answer.done():
        return
    if fault is not None:
        answer.set_exception(fault)
    else:
        answer.set_result(result)
