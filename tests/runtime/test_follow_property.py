"""Random runs, packed at random and cut anywhere: prefix and tail are the whole, a poll is the fold of the prefix."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.entries import Entry, decode
from protocol.run import fold_all
from protocol.state import RunState
from runtime.checkpoints import Checkpointer, catch_up, load_state
from runtime.follow import Tails
from runtime.gather import Gather
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.writer import Writer
from tests.runtime.follow_room import Watched, append, caught, fresh_run, packed
from tests.strategies import entries, folded, runs

pytestmark = pytest.mark.anyio

Event = dict[str, Any]
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=4)
PART = st.floats(0, 1)
FEW = settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SHARDS = 8
MANY = settings(FEW, max_examples=20_000 // SHARDS)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def log(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Log]:
    server = EmbeddedServer(tmp_path_factory.mktemp("nats"))
    await server.start()
    opened = await Log.open(server.url, "test", append_timeout_s=5.0)
    yield opened
    await opened.close()
    await server.stop()


async def whole_by_seam(log: Log, events: list[Event], sizes: list[int], part: float, loses: int, tiny: bool) -> None:
    run = fresh_run()
    messages = packed(events, sizes)
    before = int(part * len(messages)) or 1
    rev = await append(log, run, messages[:before])
    recorded = sum(len(decode(body)) for _, body in messages[:before])
    watched = Watched(log, loses=lambda number: loses > 0 and number % loses == 0)
    tails = Tails(watched, 1 if tiny else 1 << 20)
    cuts = sorted({0, recorded // 2, recorded, min(recorded + 1, len(events))})
    following = [asyncio.create_task(caught(await tails.follow(run, cut), len(events))) for cut in cuts]
    await append(log, run, messages[before:], rev)
    await tails.audit()
    whole = [Entry(seq, event) for seq, event in enumerate(events, 1)]
    for cut, told in zip(cuts, await asyncio.gather(*following), strict=True):
        assert told == whole[cut:]
    for cut in range(len(events) + 1):
        tail = await caught(await tails.follow(run, cut), len(events))
        assert tail == whole[cut:]
        if cut == recorded:
            assert fold_all(folded(events[:cut]), tail) == folded(events)


async def polls_are_folds(log: Log, events: list[Event], sizes: list[int], taken: float) -> None:
    """At each seq: polled afresh, polled on from what was known, and polled from a checkpoint in mid-message."""
    run, rev, seq = fresh_run(), 0, 0
    checkpoint_at = int(taken * len(events)) + 1
    held: tuple[RunState, int] = RunState(), 0
    expected = RunState()
    tasks: set[asyncio.Task[None]] = set()
    checkpoints = Checkpointer(log, run, tasks)
    for lane, body in packed(events, sizes):
        before, rev = rev, await log.append(run, lane, body, rev)
        seq = decode(body)[-1].seq
        if checkpoint_at <= seq:
            checkpoints.take(folded(events[:checkpoint_at]), 0)
            checkpoints.appended(seq, before)
            await asyncio.gather(*tasks)
            checkpoint_at = len(events) + 1
        expected = fold_all(expected, entries(events[expected.seq : seq], expected.seq + 1))
        assert await load_state(log, run) == (expected, rev)
        held = await catch_up(log, run, held[0], held[1], rev)
        assert held == (expected, rev)
    assert seq == len(events)


async def written_is_read(log: Log, events: list[Event], pauses: list[int]) -> None:
    run = fresh_run()
    rev = await append(log, run, packed(events[:1], [1]))
    writer = Writer(log, run, 1, rev, Gather(), 1 << 20)
    follow = asyncio.create_task(caught(await Tails(log, 1 << 20).follow(run, 0), len(events)))
    for event in events[1:]:
        writer.say(event)
        if writer.seq in pauses:
            await writer.flush()
        elif writer.seq % 3 in pauses:
            await asyncio.sleep(0)
    await writer.flush()
    writer.stop()
    assert await follow == [Entry(seq, event) for seq, event in enumerate(events, 1)]
    loaded = await load_state(log, run)
    assert loaded is not None and loaded[0] == folded(events)


LOSES = st.sampled_from([0, 0, 2, 3])
PACKS = st.just([1]) | SIZES
SEAM = given(runs(size_max=24), SIZES, PART, LOSES, st.booleans())
POLL = given(runs(size_max=20), PACKS, PART)
# A soak wants many runs, and each cut of each is a join: so short ones.
SHORT_SEAM = given(events=runs(size_max=8), sizes=SIZES, part=PART, loses=LOSES, tiny=st.booleans())
SHORT_POLL = given(events=runs(size_max=8), sizes=PACKS, taken=PART)
WRITTEN = given(runs(size_max=40), st.lists(st.integers(0, 40), max_size=6))


@FEW
@SEAM
async def test_prefix_and_live_tail_are_the_whole_for_every_cut(
    log: Log, events: list[Event], sizes: list[int], part: float, loses: int, tiny: bool
) -> None:
    await whole_by_seam(log, events, sizes, part, loses, tiny)


@FEW
@POLL
async def test_the_polled_state_is_the_fold_of_the_prefix(
    log: Log, events: list[Event], sizes: list[int], taken: float
) -> None:
    await polls_are_folds(log, events, sizes, taken)


@settings(FEW, max_examples=50)
@WRITTEN
async def test_what_a_writer_is_told_is_what_followers_and_polls_get(
    log: Log, events: list[Event], pauses: list[int]
) -> None:
    await written_is_read(log, events, pauses)


@pytest.mark.soak
@pytest.mark.parametrize("shard", range(SHARDS))
@MANY
@SHORT_SEAM
async def test_prefix_and_live_tail_are_the_whole_for_every_cut_of_many_runs(
    log: Log, shard: int, events: list[Event], sizes: list[int], part: float, loses: int, tiny: bool
) -> None:
    await whole_by_seam(log, events, sizes, part, loses, tiny)


@pytest.mark.soak
@pytest.mark.parametrize("shard", range(SHARDS))
@MANY
@SHORT_POLL
async def test_the_polled_state_is_the_fold_of_the_prefix_of_many_runs(
    log: Log, shard: int, events: list[Event], sizes: list[int], taken: float
) -> None:
    await polls_are_folds(log, events, sizes, taken)
