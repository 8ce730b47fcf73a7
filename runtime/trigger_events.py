"""Event triggers: what another agent's run has come to, and what anyone tells a tenant under `event.<tenant>.>`.

Both are read by durable consumers that the workers share, so nothing is lost while none is there. Which triggers wait
for what, each worker keeps in memory, and asks before it looks whether it has read all of it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson

from protocol.entries import decode
from protocol.errors import HocketError
from protocol.run import ends_as, fold_all
from protocol.state import RunState
from protocol.subjects import encode_token, parse_subject, run_subject

from .firing import Firing, now_ms
from .layout import EVENTS, STREAM, TRIGGERS
from .log import Log
from .mirror import Mirror
from .pull import Delivery, has_consumer
from .shared import Shared
from .trigger import DEPTH_MAX, Fired, Occasion, Trigger, load, matches
from .triggers import note

logger = logging.getLogger("hocket.triggers")

_RUNS = "trigger-runs"
_ROOM = 128
_AGAIN_SECONDS = 0.5
_ACK_WAIT_SECONDS = 5.0
_RESULT_BYTES_MAX = 64 << 10
_DEPTH_JSON_MAX = 100
_KEEP_TRIGGERS = 50


class Book:
    """The enabled event triggers of all tenants. `on_run` is told of each that waits for runs."""

    def __init__(self, log: Log, on_run: Callable[[Trigger], None]) -> None:
        self._log, self._on_run = log, on_run
        self._by_tenant: dict[str, dict[str, Trigger]] = {}
        self._mirror = Mirror(log, "triggers", TRIGGERS, self._take)

    async def start(self) -> None:
        await self._mirror.start()

    async def stop(self) -> None:
        await self._mirror.stop()

    async def of(self, tenant: str) -> list[Trigger]:
        """Those of a tenant, which is named as in a subject, with every change that was written before the question.
        Raises Unavailable."""
        await self._mirror.current()
        return list(self._by_tenant.get(tenant, {}).values())

    def _take(self, delivery: Delivery) -> None:
        _, _, tenant, trigger_id = delivery.subject.split(".")
        trigger = load(delivery.body) if b'"kind":"event"' in delivery.body else None
        mine = self._by_tenant.setdefault(tenant, {})
        if trigger is not None and trigger.want.enabled:
            mine[trigger_id] = trigger
            if trigger.want.event is not None and trigger.want.event.agent is not None:
                self._on_run(trigger)
        elif mine.pop(trigger_id, None) is not None or not mine:
            self._by_tenant = {name: held for name, held in self._by_tenant.items() if held}


class TriggerEvents:
    """Takes what runs have come to and what was told, shared by all workers."""

    def __init__(self, log: Log, firing: Firing) -> None:
        self._log, self._firing = log, firing
        self._book = Book(log, self._wants_runs)
        self._told = Shared(log, "trigger-events", EVENTS, ["event.>"], self._was_told, _ROOM, _ACK_WAIT_SECONDS)
        self._runs: Shared | None = None
        self._beginning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._book.start()
        await self._told.start()
        if await has_consumer(self._log, _RUNS):
            self._begin(0)

    async def stop(self) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.wait({self._beginning})
        await asyncio.gather(*(one.stop() for one in (self._told, self._runs) if one is not None))
        await self._book.stop()

    def _wants_runs(self, trigger: Trigger) -> None:
        self._begin(trigger.from_rev)

    def _begin(self, after_rev: int) -> None:
        """What runs come to costs nothing before the first trigger that waits for it; from then on it is read for
        ever."""
        if self._beginning is None:
            self._beginning = asyncio.get_running_loop().create_task(self._read_runs(after_rev))

    async def _read_runs(self, after_rev: int) -> None:
        runs = Shared(
            self._log, _RUNS, STREAM, ["run.*.*.life"], self._run_came_to, _ROOM, _ACK_WAIT_SECONDS, after_rev
        )
        while self._runs is None:
            try:
                await runs.start()
                self._runs = runs
            except HocketError as away:
                logger.warning("What runs come to cannot be read yet: %s", away.message)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _run_came_to(self, delivery: Delivery) -> None:
        if b'"RUN_FINISHED"' in delivery.body or b'"RUN_ERROR"' in delivery.body:
            tenant, run_id, _ = parse_subject(delivery.subject)
            watching = [
                one for one in await self._book.of(encode_token(tenant)) if one.want.event and one.want.event.agent
            ]
            if watching:
                first = await self._log.first_after(run_subject(tenant, run_id), 0)
                begun = fold_all(RunState(), decode(first.body) if first is not None else ())
                for seq, event in decode(delivery.body):
                    await self._ended(watching, begun, seq, event, delivery)
        await delivery.ack()

    async def _ended(
        self, watching: list[Trigger], begun: RunState, seq: int, event: dict[str, Any], delivery: Delivery
    ) -> None:
        status = ends_as(event)
        if status is None:
            return
        told = {"agent": begun.agent, "runId": begun.id, "threadId": begun.thread_id, "status": status.value}
        result = event.get("result")
        if result is not None and len(orjson.dumps(result)) <= _RESULT_BYTES_MAX:
            told["result"] = result
        occasion = Occasion(f"run\n{begun.id}\n{seq}", event["timestamp"], depth_of(begun) + 1, told)
        waiting = [trigger for trigger in watching if _waits_for(trigger, begun, status.value, delivery.rev)]
        await self._fire(waiting, occasion, delivery)

    async def _was_told(self, delivery: Delivery) -> None:
        _, tenant, subject = delivery.subject.split(".", 2) if delivery.subject.count(".") > 1 else ("", "", "")
        watching = await self._book.of(tenant) if subject else []
        waiting = [
            trigger
            for trigger in watching
            if trigger.want.event is not None
            and trigger.want.event.subject is not None
            and matches(trigger.want.event.subject, subject)
            and delivery.rev > trigger.from_rev
        ]
        if waiting:
            told = {"subject": subject, "data": _data(delivery.body)}
            key = f"event\n{delivery.rev}\n{delivery.stored_ns}"
            await self._fire(waiting, Occasion(key, delivery.stored_ns // 1_000_000, 1, told), delivery)
        await delivery.ack()

    async def _fire(self, waiting: list[Trigger], occasion: Occasion, delivery: Delivery) -> None:
        for number, trigger in enumerate(waiting, 1):
            if occasion.depth > DEPTH_MAX:
                fired = Fired(occasion.at_ms, now_ms(), None, _TOO_DEEP)
            else:
                fired = await self._firing.fire(trigger, occasion)
            if fired.error is not None:
                logger.warning("Trigger %s starts no run: %s", trigger.id, fired.error["message"])
            await note(self._log, trigger, fired)
            if number % _KEEP_TRIGGERS == 0:
                await delivery.keep()


def depth_of(run: RunState) -> int:
    """How many runs of a chain the run stands behind, itself counted; 0 for one that no trigger has started. What is
    noted on the run counts only where a trigger has asked for it: a client may write there what it likes."""
    if run.requester is None or run.requester.kind != "trigger":
        return 0
    noted = run.metadata.get("trigger")
    depth = noted.get("depth") if isinstance(noted, dict) else None
    return depth if isinstance(depth, int) else 1


def _waits_for(trigger: Trigger, run: RunState, status: str, rev: int) -> bool:
    source = trigger.want.event
    return (
        source is not None
        and source.agent == run.agent
        and status in source.statuses
        and rev > trigger.from_rev
        and all(name in run.metadata and run.metadata[name] == value for name, value in source.metadata.items())
    )


def _data(body: bytes) -> Any:
    """JSON, or the text of what is none or is nested too deep to be passed on."""
    try:
        if body.count(b"[") + body.count(b"{") <= _DEPTH_JSON_MAX:
            return orjson.loads(body)
        wrapped = found = orjson.loads(body)
        for _ in range(_DEPTH_JSON_MAX):
            wrapped = [wrapped]
        orjson.dumps(wrapped)
        return found
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return body.decode(errors="replace")


_TOO_DEEP = {"code": "too_deep", "message": f"A chain of triggered runs ends after {DEPTH_MAX}."}
