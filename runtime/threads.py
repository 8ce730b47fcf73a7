"""A thread is the runs that share a threadId, in order; its history is folded from them and stored nowhere.

Each start ask names the run before it, so the chain needs no list. The head of a thread is one key, written by
compare-and-set: of two starts on one thread one comes first, on any replica.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

import orjson

from protocol.errors import ThreadBusy
from protocol.messages import resolve
from protocol.state import RunState
from protocol.subjects import encode_token, run_subject

from .checkpoints import load_state
from .layout import THREADS
from .log import Log, WrongRevision

RUNS_MAX = 500
"""Runs that a history goes back; older ones stay readable by their own ids."""
_CLAIM_GRACE_MS = 5_000
_HELD_MAX = 256
_HELD_MESSAGES_MAX = 100_000

Wire = dict[str, Any]
"""A message in AG-UI's wire form."""


class Histories:
    """The messages of threads as their runs left them. What an ended run said does not change, so the histories
    used last are kept, and a long thread costs a new run no more than a short one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._held: OrderedDict[tuple[str, str], list[Wire]] = OrderedDict()

    async def after(self, tenant: str, run_id: str | None) -> list[Wire]:
        """The messages of a thread up to and with that run: its own list, which names what it kept of those before."""
        chain: list[RunState] = []
        told: list[Wire] = []
        while run_id is not None and len(chain) < RUNS_MAX:
            held = self._held.get((tenant, run_id))
            if held is not None:
                self._held.move_to_end((tenant, run_id))
                told = held
                break
            loaded = await load_state(self._log, run_subject(tenant, run_id))
            if loaded is None:
                break
            chain.append(loaded[0])
            run_id = loaded[0].previous
        for state in reversed(chain):
            told = resolve(state.messages, told)
            if state.ended_at_ms is not None:
                self._keep((tenant, state.id), told)
        return told

    def _keep(self, key: tuple[str, str], told: list[Wire]) -> None:
        self._held[key] = told
        while len(self._held) > 1 and (
            len(self._held) > _HELD_MAX or sum(map(len, self._held.values())) > _HELD_MESSAGES_MAX
        ):
            self._held.popitem(last=False)


def with_activities(sent: list[Wire], told: list[Wire]) -> list[Wire]:
    """What a client sent, with the thread's activities where they stood: clients hold them and never send them.

    One that came after a message which the client has dropped is dropped with it.
    """
    ids = {message.get("id") for message in sent}
    following: dict[str, list[Wire]] = {}
    before = ""
    for message in told:
        if message["role"] != "activity":
            before = message["id"]
        elif message["id"] not in ids:
            following.setdefault(before, []).append(message)
    whole = following.get("", [])[:]
    for message in sent:
        whole += [message, *following.get(message.get("id", ""), ())]
    return whole


class Head(NamedTuple):
    """The latest run of a thread, the one before it, when it was claimed, and the revision of that claim."""

    run_id: str
    previous: str | None
    at_ms: int
    rev: int

    def fresh(self, now_ms: int, append_timeout_s: float) -> bool:
        """Claimed so short a time ago that its start may still be on its way to a log that is slow to take it."""
        return now_ms - self.at_ms < append_timeout_s * 1000 + _CLAIM_GRACE_MS


async def head(log: Log, tenant: str, thread_id: str) -> Head | None:
    """The head of a thread, None for a new one."""
    held = await log.get(THREADS, _key(tenant, thread_id))
    if held is None or not held.body:
        return None
    told = orjson.loads(held.body)
    return Head(told["run"], told["previous"], told["at"], held.rev)


async def claim(log: Log, tenant: str, thread_id: str, claimed: Head, expected: int) -> None:
    """Makes `claimed` the thread's head. Raises ThreadBusy if another start came first."""
    body = orjson.dumps({"run": claimed.run_id, "previous": claimed.previous, "at": claimed.at_ms})
    try:
        await log.put(THREADS, _key(tenant, thread_id), body, expected)
    except WrongRevision:
        now = await head(log, tenant, thread_id)
        if now is None or now.run_id != claimed.run_id:
            raise ThreadBusy(thread_id, now.run_id if now is not None else claimed.run_id) from None


def _key(tenant: str, thread_id: str) -> str:
    return f"{encode_token(tenant)}.{encode_token(thread_id)}"
