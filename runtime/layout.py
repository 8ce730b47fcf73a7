"""The streams and buckets that the log is made of.

One stream `RUNS` holds `run.<tenant>.<run>.<lane>`; JetStream republishes what it has committed to `live.>`. Another,
`CLOCK`, holds what is planned for an instant, until then, and what is due, until somebody has dealt with it. `EVENTS`
takes `event.<tenant>.<subject>`, what anyone tells a tenant's triggers, until a worker has seen it, and `DEAD`, under
`dead.<tenant>`, the updates that no webhook has taken. `DELIVERIES` has the latest posts to a tenant's webhook under
`delivery.<tenant>.<webhook>`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from nats.js.api import KeyValueConfig, RePublish, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from protocol.errors import Refused

from .nats_server import Link

STREAM = "RUNS"
CLOCK = "CLOCK"
EVENTS = "EVENTS"
CHECKPOINTS = "CHECKPOINTS"
THREADS = "THREADS"
AGENTS = "AGENTS"
KEYS = "KEYS"
TRIGGERS = "TRIGGERS"
PUSH = "PUSH"
DEAD = "DEAD"
WEBHOOKS = "WEBHOOKS"
THREAD_RECORDS = "THREAD_RECORDS"
DELIVERIES = "DELIVERIES"
DEAD_LETTERS_MAX = 10_000
"""Of one tenant; the oldest give way."""
DELIVERIES_MAX = 100
"""Of one webhook, likewise."""

EVENT_BYTES_MAX = 64 << 10
"""Largest body of an event."""
_HEADERS_BYTES_MAX = 1024
_EVENTS_MAX = 50_000
_EVENTS_SECONDS_MAX = 7 * 86_400
_IN_USE = 10058

Request = Callable[[str, bytes], Awaitable[bytes]]


async def create(link: Link, request: Request, replicas: int) -> bool:
    """Creates what is missing; says whether the runs are held by several servers. Raises Refused where the server is
    too old, Unavailable, and what nats-py raises."""
    jetstream = link.jetstream()
    config = StreamConfig(
        name=STREAM,
        subjects=["run.>"],
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        max_consumers=10_000,
        republish=RePublish(src="run.>", dest="live.>"),
    )
    try:
        info = await jetstream.stream_info(STREAM)
    except NotFoundError:
        info = await jetstream.add_stream(config)
    await _create_clock(request, replicas)
    await _create_events(request, replicas)
    for kept in (_latest(DEAD, "dead.*", DEAD_LETTERS_MAX), _latest(DELIVERIES, "delivery.*.*", DELIVERIES_MAX)):
        try:
            await jetstream.stream_info(kept.name or "")
        except NotFoundError:
            kept.num_replicas = replicas
            await jetstream.add_stream(kept)
    for bucket in (CHECKPOINTS, THREADS, AGENTS, KEYS, TRIGGERS, PUSH, WEBHOOKS, THREAD_RECORDS):
        try:
            await jetstream.stream_info(f"KV_{bucket}")
        except NotFoundError:
            await jetstream.create_key_value(KeyValueConfig(bucket=bucket, direct=True, replicas=replicas))
    return (info.config.num_replicas or 1) > 1


def _latest(name: str, subject: str, most: int) -> StreamConfig:
    """A stream of the latest messages under each of its subjects."""
    return StreamConfig(
        name=name, subjects=[subject], storage=StorageType.FILE, allow_direct=True, max_msgs_per_subject=most
    )


async def _create_clock(request: Request, replicas: int) -> None:
    """Of what is due a message stays until its consumer has dealt with it, so that no downtime loses one.
    nats-py's own form of the request does not know the flag for schedules."""
    config = {
        "name": CLOCK,
        "subjects": ["clock.>"],
        "storage": "file",
        "retention": "workqueue",
        "num_replicas": replicas,
        "allow_msg_schedules": True,
    }
    answer = await _create(request, config)
    if answer.get("error", {}).get("err_code", _IN_USE) != _IN_USE:
        raise Refused(f"NATS cannot hold the clock: {answer['error'].get('description')}. hocket needs 2.14 or newer.")


async def _create_events(request: Request, replicas: int) -> None:
    """A message stays until the workers have seen it, a week at most; of more than there may be, the oldest go. Their
    number is bounded and not their bytes, which the server would set aside at once."""
    config = {
        "name": EVENTS,
        "subjects": ["event.>"],
        "storage": "file",
        "retention": "workqueue",
        "num_replicas": replicas,
        "max_msg_size": EVENT_BYTES_MAX + _HEADERS_BYTES_MAX,
        "max_msgs": _EVENTS_MAX,
        "max_age": _EVENTS_SECONDS_MAX * 1_000_000_000,
        "discard": "old",
    }
    answer = await _create(request, config)
    if answer.get("error", {}).get("err_code", _IN_USE) != _IN_USE:
        raise Refused(f"NATS cannot hold what is told to triggers: {answer['error'].get('description')}.")


async def _create(request: Request, config: dict[str, object]) -> dict[str, Any]:
    made: dict[str, Any] = orjson.loads(await request(f"$JS.API.STREAM.CREATE.{config['name']}", orjson.dumps(config)))
    return made
