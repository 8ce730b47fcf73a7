"""The streams and buckets that the log is made of.

One stream `RUNS` holds `run.<tenant>.<run>.<lane>`; JetStream republishes what it has committed to `live.>`. Another,
`CLOCK`, holds what is planned for an instant, until then, and what is due, until somebody has dealt with it. A third,
`DEAD`, holds under `dead.<tenant>` the updates that no webhook has taken.
"""

from collections.abc import Awaitable, Callable

import orjson
from nats.js.api import KeyValueConfig, RePublish, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from protocol.errors import Refused

from .nats_server import Link

STREAM = "RUNS"
CLOCK = "CLOCK"
CHECKPOINTS = "CHECKPOINTS"
THREADS = "THREADS"
AGENTS = "AGENTS"
KEYS = "KEYS"
PUSH = "PUSH"
DEAD = "DEAD"
DEAD_LETTERS_MAX = 10_000
"""Of one tenant; the oldest give way."""

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
    try:
        await jetstream.stream_info(DEAD)
    except NotFoundError:
        await jetstream.add_stream(_dead_letters(replicas))
    for bucket in (CHECKPOINTS, THREADS, AGENTS, KEYS, PUSH):
        try:
            await jetstream.stream_info(f"KV_{bucket}")
        except NotFoundError:
            await jetstream.create_key_value(KeyValueConfig(bucket=bucket, direct=True, replicas=replicas))
    return (info.config.num_replicas or 1) > 1


def _dead_letters(replicas: int) -> StreamConfig:
    return StreamConfig(
        name=DEAD,
        subjects=["dead.*"],
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        max_msgs_per_subject=DEAD_LETTERS_MAX,
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
    answer = orjson.loads(await request(f"$JS.API.STREAM.CREATE.{CLOCK}", orjson.dumps(config)))
    if answer.get("error", {}).get("err_code", _IN_USE) != _IN_USE:
        raise Refused(f"NATS cannot hold the clock: {answer['error'].get('description')}. hocket needs 2.14 or newer.")
