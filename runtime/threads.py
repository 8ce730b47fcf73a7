"""A thread is the runs that share a threadId, in order; its history is folded from them and stored nowhere.

Each start ask names the run before it, so the chain needs no list. The head of a thread is one key, written by
compare-and-set: of two starts on one thread one comes first, on any replica.
"""

from typing import Any, NamedTuple

import orjson

from protocol.errors import ThreadBusy
from protocol.messages import resolve
from protocol.state import RunState
from protocol.subjects import encode_token, run_subject

from .checkpoints import load_state
from .log import THREADS, Log, WrongRevision

RUNS_MAX = 500
"""Runs that a history goes back; older ones stay readable by their own ids."""
_CLAIM_GRACE_MS = 5_000


async def transcript(log: Log, state: RunState) -> list[dict[str, Any]]:
    """The wire messages of the run with its thread's history in front, as the run's own input had it."""
    return (
        resolve(state.messages, await history(log, state.tenant, state.previous))
        if state.previous
        else [message.wire() for message in state.messages]
    )


async def history(log: Log, tenant: str, run_id: str | None) -> list[dict[str, Any]]:
    """The messages of a thread up to and with that run, each id once, in order."""
    chain: list[RunState] = []
    while run_id is not None and len(chain) < RUNS_MAX:
        loaded = await load_state(log, run_subject(tenant, run_id))
        if loaded is None:
            break
        chain.append(loaded[0])
        run_id = loaded[0].previous
    told: list[dict[str, Any]] = []
    for state in reversed(chain):
        own = resolve(state.messages, told)
        renewed = {message["id"]: message for message in own}
        kept = [renewed.pop(message["id"], message) for message in told]
        told = [*kept, *(message for message in own if message["id"] in renewed)]
    return told


def with_activities(sent: list[dict[str, Any]], told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client sent, with the thread's activities where they stood: clients hold them and never send them.

    One that came after a message which the client has dropped is dropped with it.
    """
    ids = {message.get("id") for message in sent}
    following: dict[str, list[dict[str, Any]]] = {}
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

    def fresh(self, now_ms: int) -> bool:
        """Claimed so short a time ago that its start may still be on its way."""
        return now_ms - self.at_ms < _CLAIM_GRACE_MS


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
