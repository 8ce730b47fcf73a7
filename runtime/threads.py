"""A thread is the runs that share a threadId, in order; its history is folded from them and stored nowhere.

Each start ask names the run before it, so the chain needs no list. The head of a thread is one key, written by
compare-and-set: of two starts on one thread one comes first, on any replica.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

import orjson

from protocol.entries import Principal
from protocol.errors import ThreadBusy
from protocol.messages import REF, Message, resolve
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
_SENT = frozenset({"user", "system", "developer"})

Wire = dict[str, Any]
"""A message in AG-UI's wire form."""


class Origin(NamedTuple):
    """When a message was said, as near as the run tells it, and who sent it; `by` is None of what the agent said."""

    at_ms: int
    by: Principal | None


class History(NamedTuple):
    """Messages in order, and the origin of each by its id, also of some that are no longer among them."""

    messages: list[Wire]
    origins: dict[str, Origin]


class Histories:
    """The messages of threads as their runs left them. What an ended run said does not change, so the histories
    used last are kept, with where each message came from, and a long thread costs a new run no more than a short
    one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._held: OrderedDict[tuple[str, str], History] = OrderedDict()

    async def after(self, tenant: str, run_id: str | None) -> list[Wire]:
        """The messages of a thread up to and with that run: its own list, which names what it kept of those before."""
        return (await self.told(tenant, run_id)).messages

    async def told(self, tenant: str, run_id: str | None) -> "History":
        """The same, and of whom and when each message is."""
        chain: list[RunState] = []
        told = History([], {})
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
            told = History(resolve(state.messages, told.messages), _origins(state, told.origins))
            if state.ended_at_ms is not None:
                self._keep((tenant, state.id), told)
        return told

    def _keep(self, key: tuple[str, str], told: "History") -> None:
        self._held[key] = told
        while len(self._held) > 1 and (
            len(self._held) > _HELD_MAX or sum(len(held.origins) for held in self._held.values()) > _HELD_MESSAGES_MAX
        ):
            self._held.popitem(last=False)


def _origins(state: RunState, before: dict[str, Origin]) -> dict[str, Origin]:
    """With those of the run's own messages. What was sent has the time of its ask, what was said that of its leg."""
    found, asked, later = dict(before), Origin(state.created_at_ms, state.requester), dict[str, Origin]()
    for leg in state.legs[1:]:
        if leg.messages:
            note = next(one for one in state.audit if one["seq"] == leg.asked_seq)
            by = Principal(state.tenant, **note["by"]) if note["by"] else None
            later |= {str(message.get("id")): Origin(note["at_ms"], by) for message in leg.messages}
    said = [(leg.asked_seq, Origin(leg.started_at_ms or state.created_at_ms, None)) for leg in state.legs]
    for message in state.messages:
        if message.id in found or message.rest.get(REF):
            continue
        if message.role in _SENT:
            found[message.id] = later.get(message.id, asked)
        else:
            seq = state.begun.get(_begun_as(message), 0)
            found[message.id] = next((origin for begun, origin in reversed(said) if begun <= seq), said[0][1])
    return found


def _begun_as(message: Message) -> str:
    """What `begun` calls it."""
    if message.role == "tool":
        return f"result {message.rest.get('toolCallId')}"
    if message.role == "assistant" and message.text is None and message.calls:
        return f"call {message.calls[0].id}"
    return f"{'activity' if message.role == 'activity' else 'message'} {message.id}"


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


async def head(log: Log, tenant: str, thread_id: str, exact: bool = False) -> Head | None:
    """The head of a thread, None for a new one. `exact` asks the leader, where there are replicas."""
    held = await log.get(THREADS, _key(tenant, thread_id), exact)
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
