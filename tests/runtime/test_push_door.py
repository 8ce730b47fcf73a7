"""The door to webhooks: whose they are, how many, and from when on they are told."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from protocol.entries import Caller, Principal
from protocol.errors import Conflict, Forbidden, Invalid, NotFound, RunNotFound
from runtime import dead_letters
from runtime.dead_letters import DeadLetter
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.push_configs import CONFIGS_MAX, PushConfig
from runtime.settings import Settings
from tests.runtime.receiver import open_receiver
from tests.runtime.stage import ended, open_engine, open_stage, until, want

pytestmark = pytest.mark.anyio

HOOK = PushConfig("c1", "https://example.com/hook", "token", "Bearer", "credentials")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"push_loopback_enabled": True, "push_retry_s": 0.01, "push_timeout_s": 3.0})


async def talks(run: Any) -> Any:
    yield "hi"


async def test_a_webhook_is_set_read_listed_replaced_and_removed(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        made = await engine.push.set("r1", HOOK, by, new_run=True)
        assert made == replace(HOOK, created_at_ms=made.created_at_ms) and made.created_at_ms > 0
        async with open_stage(nats, settings, talks=talks):
            await engine.start(want("talks"), by, "test")
            await ended(engine, by)
        assert await engine.push.get("r1", "c1", by) == made
        other = await engine.push.set("r1", replace(HOOK, id="c2"), by)
        changed = await engine.push.set("r1", replace(HOOK, url="https://example.org/"), by)
        assert await engine.push.list("r1", by) == [changed, other]
        await engine.push.remove("r1", "c1", by)
        await engine.push.remove("r1", "c1", by)
        assert await engine.push.list("r1", by) == [other]
        with pytest.raises(NotFound):
            await engine.push.get("r1", "c1", by)
        await engine.push.forget("r1", by)
        assert await engine.push.list("r1", by) == []


async def test_what_was_set_for_a_start_that_failed_is_forgotten(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    async with open_engine(nats.url, settings) as engine:
        await engine.push.set("r1", HOOK, by, new_run=True)
        await engine.push.forget("r1", by)
        await engine.push.forget("r2", by)
        async with open_stage(nats, settings, talks=talks):
            await engine.start(want("talks"), by, "test")
            await ended(engine, by)
        assert await engine.push.list("r1", by) == []


async def test_a_run_that_does_not_exist_or_is_anothers_has_no_webhooks(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    stranger = Principal("other", "x", "user")
    async with open_stage(nats, settings, talks=talks) as engine:
        await engine.start(want("talks"), by, "test")
        await engine.push.set("r1", HOOK, by)
        for run_id, who in (("r1", stranger), ("r2", by)):
            for asked in (
                engine.push.set(run_id, HOOK, who), engine.push.get(run_id, "c1", who),
                engine.push.list(run_id, who), engine.push.remove(run_id, "c1", who),
            ):  # fmt: skip
                with pytest.raises(RunNotFound):
                    await asked
        await engine.push.forget("r1", stranger)
        assert len(await engine.push.list("r1", by)) == 1


async def test_scopes_are_asked_for_and_one_runs_own_token_opens_no_dead_letters(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    def caller(*scopes: str, run: str | None = None) -> Caller:
        return Caller("default", "x", "user", "X", frozenset(scopes), run)

    reads, page = caller("runs:read"), caller("runs:read", "runs:resume", "runs:cancel", run="r1")
    async with open_stage(nats, settings, talks=talks) as engine:
        await engine.start(want("talks"), by, "test")
        await engine.push.set("r1", HOOK, caller("runs:read", "runs:start"))
        for who in (reads, page):
            assert len(await engine.push.list("r1", who)) == 1
            for asked in (
                engine.push.set("r1", HOOK, who), engine.push.remove("r1", "c1", who), engine.push.forget("r1", who),
                engine.push.redeliver("1", who),
            ):  # fmt: skip
                with pytest.raises(Forbidden):
                    await asked
        assert await engine.push.dead(reads) == []
        for asked in (engine.push.dead(page), engine.push.list("r1", caller("runs:start"))):
            with pytest.raises(Forbidden):
                await asked


async def test_a_run_has_so_many_webhooks_at_most(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async with open_engine(nats.url, settings) as engine:
        for number in range(CONFIGS_MAX):
            await engine.push.set("r1", replace(HOOK, id=f"c{number}"), by, new_run=True)
        with pytest.raises(Invalid, match=str(CONFIGS_MAX)):
            await engine.push.set("r1", replace(HOOK, id="one more"), by, new_run=True)
        await engine.push.set("r1", HOOK, by, new_run=True)
        with pytest.raises(Invalid):
            await engine.push.set("r1", replace(HOOK, token="a\r\nb"), by, new_run=True)


async def test_a_webhook_of_the_largest_size_fits_so_often_as_there_may_be(
    nats: EmbeddedServer, settings: Settings, by: Principal
) -> None:
    large = PushConfig("", "https://example.com/".ljust(2048, "x"), "t" * 4096, "Bearer", "c" * 4096)
    async with open_engine(nats.url, settings) as engine:
        for number in range(CONFIGS_MAX):
            await engine.push.set("r1", replace(large, id=f"{number}".ljust(128, "x")), by, new_run=True)


async def test_a_webhook_that_is_set_on_a_run_in_progress_is_told_what_comes_after_alone(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    go = asyncio.Event()

    async def waits(run: Any) -> Any:
        yield "before "
        await go.wait()
        yield "after"

    async with open_receiver() as receiver, open_stage(nats, settings, waits=waits) as engine:
        await engine.start(want("waits"), by, "test")
        await until(engine, by, lambda state: len(state.messages) == 2)
        await engine.push.set("r1", PushConfig("c1", receiver.url), by)
        go.set()
        await receiver.has_taken(1)
        await ended(engine, by)
        await engine.push.set("r1", PushConfig("c2", receiver.url), by)
        await engine.start(want("waits", "r2", "t2"), by, "test")
        await ended(engine, by, "r2")
    assert [one.state for one in receiver.seen] == ["COMPLETED"]


async def test_ids_that_hold_anything_split_no_header(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    run_id, config_id = "a/b\r\nX-Evil: 1", "c\n/ü"
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        await engine.push.set(run_id, PushConfig(config_id, receiver.url), by, new_run=True)
        await engine.start(want("talks", run_id), by, "test")
        await receiver.has_taken(2)
    headers = receiver.seen[0].headers
    assert "x-evil" not in headers and headers["x-hocket-run"] == "a%2Fb%0D%0AX-Evil%3A%201"
    assert headers["x-hocket-delivery"] == "a%2Fb%0D%0AX-Evil%3A%201/c%0A%2F%C3%BC/2"


async def test_the_older_version_is_sent_as_plain_json(nats: EmbeddedServer, settings: Settings, by: Principal) -> None:
    async with open_receiver() as receiver, open_stage(nats, settings, talks=talks) as engine:
        await engine.push.set("r1", PushConfig("c1", receiver.url, version="0.3"), by, new_run=True)
        await engine.start(want("talks"), by, "test")
        await receiver.has_taken(2)
    headers = receiver.seen[0].headers
    assert (headers["content-type"], headers["a2a-version"]) == ("application/json", "0.3")
    assert not {"authorization", "x-a2a-notification-token"} & headers.keys()


def letter(seq: int, run_id: str = "r1") -> DeadLetter:
    return DeadLetter("", run_id, "c1", "https://example.com/", seq, 1, "500", 12, 1, 2)


async def test_dead_letters_are_listed_from_the_newest_on_page_by_page_and_each_tenants_by_themselves(
    nats: EmbeddedServer, settings: Settings, log: Log, by: Principal
) -> None:
    for seq in range(1, 41):
        await dead_letters.bury(log, "default", letter(seq))
        for other in range(3):
            await dead_letters.bury(log, "other", letter(3 * seq + other))
    await dead_letters.bury(log, "default", letter(40))  # said twice
    async with open_engine(nats.url, settings) as engine:
        found: list[DeadLetter] = []
        while page := await engine.push.dead(by, 7, found[-1].id if found else None):
            assert len(page) <= 7
            found += page
        assert [one.seq for one in found] == list(range(40, 0, -1))
        assert len(await engine.push.dead(by, 1000)) == 40
        assert await engine.push.dead(Principal("third", "x", "user")) == []
        theirs = (await engine.push.dead(Principal("other", "x", "user"), 1))[0].id
        for unknown in (theirs, "0", "999999", "x", "", "-1", "9" * 30):
            with pytest.raises(NotFound):
                await engine.push.redeliver(unknown, by)
        with pytest.raises(NotFound):
            await engine.push.dead(by, 5, "x")
        with pytest.raises(Conflict):
            await engine.push.redeliver(found[0].id, by)
