"""A run exactly as it was after one of its entries, whatever has been written since."""

from typing import Any

import pytest

from protocol.checkpoint import dump
from protocol.entries import Principal, decode
from protocol.run import fold
from protocol.state import RunState
from protocol.subjects import run_subject
from runtime.checkpoints import load_state, state_at
from runtime.layout import CHECKPOINTS
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.runtime.stage import ended, open_engine, open_stage, stored, want

pytestmark = pytest.mark.anyio


async def talks(run: Any) -> Any:
    for word in ("one ", "two ", "three"):
        yield word
    yield run.state({"n": 1})


@pytest.mark.parametrize("at", [None, 3, 6])
async def test_the_state_after_each_entry_is_the_fold_of_those_up_to_it(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, at: int | None
) -> None:
    """With a checkpoint before and beyond what is asked for, and with none."""
    run = run_subject("default", "r1")
    async with open_stage(nats, settings, talks=talks) as engine:
        await engine.start(want("talks"), by, "test")
        await ended(engine, by)
    entries = [(entry, one.rev) for one in await stored(log) for entry in decode(one.body)]
    folded, state = [], RunState()
    for entry, _ in entries:
        state = fold(state, entry)
        folded.append(dump(state))
        if entry.seq == at:
            before = max((rev for other, rev in entries if other.seq < at), default=0)
            await log.put(CHECKPOINTS, run, b"%d\n%b" % (before - 1, folded[-1]))
    for (entry, rev), expected in zip(entries, folded, strict=True):
        assert dump(await state_at(log, run, entry.seq, rev)) == expected
    first = entries[0][1]
    assert dump(await state_at(log, run, entries[-1][0].seq, entries[-1][1], first - 1)) == folded[-1]


async def test_a_run_that_has_only_been_asked_for_is_the_fold_of_that_message_whatever_a_checkpoint_says(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    run = run_subject("default", "r1")
    async with open_stage(nats, settings, talks=talks) as engine:
        await engine.start(want("talks", "other", "t2"), by, "test")
        other = await ended(engine, by, "other")
    await log.put(CHECKPOINTS, run, b"1\n%b" % dump(other))
    async with open_engine(nats.url, settings) as engine:  # and no worker, which would go on with the run
        await engine.start(want("talks"), by, "test")
        (asked,) = await stored(log)
        loaded = await load_state(log, run)
    assert loaded is not None and loaded[1] == asked.rev
    assert dump(loaded[0]) == dump(fold(RunState(), decode(asked.body)[0])) and loaded[0].id == "r1"
