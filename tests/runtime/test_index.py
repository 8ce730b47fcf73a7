"""The list of runs: filters, paging, own writes at once, and building it again from the log."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocol.checkpoint import FORM
from protocol.entries import Principal
from runtime.index import Index, Query
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.runtime.stage import ended, eventually, open_engine, open_stage, open_wire, restart, want

pytestmark = pytest.mark.anyio


async def agent(run: Any) -> Any:
    yield "x"


async def patient(run: Any) -> Any:
    yield "x"
    await asyncio.sleep(60)


def ids(index: Index, **query: Any) -> list[str]:
    return [state.id for state in index.find("default", Query(**query))]


async def test_runs_are_listed_newest_first_page_by_page_and_by_what_they_are(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=agent, patient=patient) as engine:
        for number in range(6):
            await engine.start(want("patient" if number == 3 else "agent", f"r{number}", f"t{number % 5}"), by, "test")
            listed = await engine.list(Query(), by)
            assert f"r{number}" in [state.id for state in listed]  # one's own write, at once
            if number != 3:
                await ended(engine, by, f"r{number}")
        index = engine._index
        await eventually(lambda: len(ids(index, statuses=("completed",))) == 5)
        everything = [(state.created_at_ms, state.id) for state in index.find("default", Query())]
        assert everything == sorted(everything, reverse=True) and len(everything) == 6
        pages, before = list[tuple[int, str]](), None
        while page := index.find("default", Query(limit=2, before=before)):
            pages += [(state.created_at_ms, state.id) for state in page]
            before = pages[-1]
        assert pages == everything
        assert ids(index, agent="patient") == ids(index, statuses=("running", "queued")) == ["r3"]
        assert ids(index, thread_id="t0") == ["r5", "r0"]
        changed = [state.id for state in index.find("default", Query(by="changed_at_ms"))]
        assert changed[0] == "r5" and sorted(changed) == sorted(name for _, name in everything)
        last = index.find("default", Query(task_state="TASK_STATE_COMPLETED", by="changed_at_ms", limit=1))[0]
        assert ids(index, by="changed_at_ms", before=(last.changed_at_ms, last.id)) == changed[1:]
        assert last.id in ids(index, changed_from_ms=last.changed_at_ms)
        assert not ids(index, changed_from_ms=last.changed_at_ms + 60_000)
        assert ids(index, task_state="TASK_STATE_WORKING") == ["r3"]
        middle = everything[2][0]
        assert set(ids(index, created_after_ms=middle)) == {name for at, name in everything if at > middle}
        assert set(ids(index, created_before_ms=middle)) == {name for at, name in everything if at < middle}
        assert index.find("other", Query()) == [] and index.count("other", Query()) == 0
        assert index.count("default", Query(limit=1, before=everything[2])) == 6  # a page changes no count
        assert index.count("default", Query(agents=("agent", "nobody"))) == len(ids(index, agents=("agent",))) == 5
        assert await engine.count(Query(agents=("agent", "patient"), statuses=("completed",)), by) == 5
        await engine.cancel("r3", by, "test")
        assert [state.id for state in await engine.list(Query(statuses=("cancelled",)), by)] == ["r3"]


async def test_runs_are_listed_by_the_run_for_which_they_were_started(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, agent=agent) as engine:
        for number, parent in enumerate((None, "r0", "r0", "r1")):
            start = replace(want("agent", f"r{number}", f"t{number}"), parent=parent)
            await engine.start(start, by, "test")
        for parent, children in (("r0", ["r2", "r1"]), ("r1", ["r3"]), ("r2", [])):
            assert [state.id for state in await engine.list(Query(parent=parent), by)] == children
            assert await engine.count(Query(parent=parent, limit=1), by) == len(children)


async def filled(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async with open_stage(nats, settings, agent=agent) as engine:
        for number in range(5):
            await engine.start(want("agent", f"r{number}", f"t{number}"), by, "test")
            await ended(engine, by, f"r{number}")


@pytest.mark.parametrize("damage", ["none", "absent", "rubbish", "truncated", "pages", "form"])
async def test_an_index_of_any_condition_comes_to_list_every_run(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, tmp_path: Path, damage: str
) -> None:
    await filled(nats, settings, by)
    path = tmp_path / "index.sqlite"
    first = Index(log, path)
    await first.start()
    await eventually(lambda: len(ids(first, statuses=("completed",))) == 5)
    await first.stop()
    whole = path.read_bytes()
    broken = {"none": whole, "form": whole.replace(b'"form":%d' % FORM, b'"form":0').replace(b"Z %d" % FORM, b"Z 0"),
              "absent": None, "rubbish": b"rubbish" * 999, "truncated": whole[: len(whole) // 2],
              "pages": whole[:4096] + b"\xff" * (len(whole) - 4096)}[damage]  # fmt: skip
    path.unlink()
    if broken is not None:
        path.write_bytes(broken)
    again = Index(log, path)
    await again.start()
    await eventually(lambda: again.ready)

    def listed() -> int:
        try:
            return len(ids(again, statuses=("completed",)))
        except Exception as bad:
            assert type(bad).__name__ == "Unavailable"
            return 0

    await eventually(lambda: listed() == 5)
    await again.stop()


async def test_an_index_goes_on_after_a_restart_of_nats_and_misses_nothing_that_a_broken_wire_lost(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    async with open_wire(nats) as (wire, far), open_stage(nats, settings, agent=agent) as near:
        async with open_engine(far, settings) as engine:
            index = engine._index
            await near.start(want("agent", "r0", "t0"), by, "test")
            await eventually(lambda: ids(index) == ["r0"])
            wire.deaf = True
            await near.start(want("agent", "r1", "t1"), by, "test")
            async with asyncio.timeout(5):
                await wire.lost.wait()
            await ended(near, by, "r1")
            wire.deaf = False
            wire.cut()
            await near.start(want("agent", "r2", "t2"), by, "test")
            await eventually(lambda: set(ids(index)) == {"r0", "r1", "r2"})
    async with open_engine(nats.url, settings) as engine, open_stage(nats, settings, agent=agent):
        index = engine._index
        await eventually(lambda: len(ids(index)) == 3)
        await restart(nats)
        await eventually(lambda: engine.ready)
        await engine.start(want("agent", "r3", "t3"), by, "test")
        await eventually(lambda: len(ids(index)) == 4)
