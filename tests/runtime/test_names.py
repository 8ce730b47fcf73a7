"""Names of runs and threads: an id, or the UUID as which one is shown that is none."""

import sqlite3
import uuid
from pathlib import Path

import pytest

from protocol.entries import Caller, Principal
from protocol.ids import as_uuid
from runtime.engine import Engine
from runtime.index import Index, Query
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.runtime.stage import ended, eventually, open_engine, open_stage, want
from tests.runtime.test_thread_door import ALICE, brief

pytestmark = pytest.mark.anyio


async def test_a_run_and_a_thread_are_found_by_their_uuid_in_their_tenant_alone(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    own, other = str(uuid.uuid4()), Principal("other", "tester", "development")
    async with open_stage(nats, settings, brief=brief) as engine:
        for run_id, thread_id in (("r 1", "t/1"), (own, str(uuid.uuid4())), (own.upper(), "T1")):
            await engine.start(want("brief", run_id, thread_id), by, "test")
            name, thread = as_uuid("default", run_id), as_uuid("default", thread_id)
            assert await engine.run_id_of(name, by) == await engine.run_id_of(run_id, by) == run_id
            assert await engine.thread_id_of(thread, by) == await engine.thread_id_of(thread_id, by) == thread_id
            assert await engine.run_id_of(name, other) == name and await engine.thread_id_of(thread, other) == thread
        made = as_uuid("default", "r 1")
        assert await engine.run_id_of(made.upper(), by) == "r 1"
        await engine.threads.open(ALICE, "no run yet")
        assert await engine.thread_id_of(as_uuid("default", "no run yet"), by) == "no run yet"
        unknown = str(uuid.uuid4())
        assert await engine.run_id_of(unknown, by) == unknown == await engine.thread_id_of(unknown, by)
        assert await engine.run_id_of("nothing", by) == "nothing"
        page = Caller("default", "r", "api_key", "", frozenset({"runs:read"}), run="r 1")
        assert await engine.run_id_of(made, page) == "r 1" and await engine.run_id_of(own, page) == own
        assert await Engine(log, settings).run_id_of(made, by) == made  # a worker keeps no list


async def test_a_run_that_bears_another_s_uuid_as_its_id_is_meant_by_it(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        name = as_uuid("default", "r1")
        await engine.start(want("brief", "r1"), by, "test")
        assert await engine.run_id_of(name, by) == "r1"
        await engine.start(want("brief", name, "t2"), by, "test")
        assert await engine.run_id_of(name, by) == name


async def test_a_list_by_number_of_rows_and_one_by_row_give_the_same_pages(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        for number in range(7):
            await engine.start(want("brief", f"r{number}", f"t{number}"), by, "test")
            await ended(engine, by, f"r{number}")
        everything = [(one.created_at_ms, one.id) for one in await engine.list(Query(), by)]
        for offset in range(9):
            found = await engine.list(Query(limit=3, offset=offset), by)
            assert [(one.created_at_ms, one.id) for one in found] == everything[offset : offset + 3]
        assert await engine.list(Query(offset=10**30), by) == []
        for place, (_, run_id) in enumerate(everything):
            state = await engine.state(run_id, by)
            older = await engine.list(Query(before=(state.created_at_ms, state.id)), by)
            assert [(one.created_at_ms, one.id) for one in older] == everything[place + 1 :]


async def test_an_index_of_other_tables_is_built_anew_with_all_names_and_threads(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal, tmp_path: Path
) -> None:
    async with open_stage(nats, settings, brief=brief) as engine:
        await engine.start(want("brief", "r 1", "t 1"), by, "test")
        await ended(engine, by, "r 1")
        await engine.threads.open(ALICE, "t 2", "Second")
    path = tmp_path / "index.sqlite"
    first = Index(log, path)
    await first.start()
    await first.stop()
    with sqlite3.connect(path) as held:  # as an earlier version had it
        held.execute("drop table threads")
        held.execute("drop index by_name")
        held.execute("alter table runs drop column uuid")
        held.execute("update meta set value = substr(value, 1, length(value) - 2) where name = 'log'")
    held.close()
    index = Index(log, path)
    await index.start()
    await index.caught_up(await log.last_rev())
    assert await index.named("runs", "default", as_uuid("default", "r 1")) == "r 1"
    found, total = await index.threads("default", 10, 0)
    assert [(one.id, one.record and one.record.title) for one in found] == [("t 2", "Second"), ("t 1", None)]
    assert total == 2 and await index.named("threads", "default", as_uuid("default", "t 2")) == "t 2"
    await index.stop()


async def test_threads_come_back_into_a_damaged_index(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_engine(nats.url, settings) as engine:
        await engine.threads.open(ALICE, "t1")
        index = engine._index
        assert index is not None
        index._rebuild(RuntimeError("as if the disk had"))
        await eventually(lambda: engine.ready)
        await eventually(lambda: index._rows("select id from threads", []) == [("t1",)])
        assert (await engine.threads.list(ALICE, 10, 0))[1] == 1
