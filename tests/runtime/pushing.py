"""Runs with webhooks, for the tests of those who send them."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from protocol.answers import Answer
from protocol.entries import Principal, decode
from protocol.subjects import run_subject
from runtime import push_configs
from runtime.asks import Resume
from runtime.engine import Engine
from runtime.log import Log
from runtime.push import CONSUMER
from runtime.push_configs import PushConfig, Standing
from runtime.settings import Settings
from tests.runtime.receiver import Received, Receiver, Reply
from tests.runtime.stage import ended, stored, until, want

QUESTIONS = 4


def to_loopback(settings: Settings) -> Settings:
    """To receivers of this machine, with short pauses."""
    return settings.model_copy(update={"push_loopback_enabled": True, "push_retry_s": 0.01, "push_timeout_s": 3.0})


async def talks(run: Any) -> Any:
    yield "hi"


async def asks(run: Any) -> Any:
    """Several legs, so that much becomes of the run."""
    if len(run.answers) < QUESTIONS:
        yield run.interrupt("Well?", id=f"i{len(run.answers)}")
    else:
        yield "done"


async def go_through(engine: Engine, by: Principal, run_id: str = "r1") -> None:
    """Answers all that the run asks, to its end."""
    for number in range(QUESTIONS):
        await until(engine, by, lambda state: [one.interrupt_id for one in state.open_gates] == [f"i{number}"], run_id)  # noqa: B023
        await engine.resume(run_id, Resume([Answer(f"i{number}", payload=1)]), by, "test")
    await ended(engine, by, run_id)


async def life(log: Log, run_id: str = "r1") -> list[int]:
    """The numbers of the entries that are told of."""
    entries = [entry for one in await stored(log, run_id) if one.lane == "life" for entry in decode(one.body)]
    return [entry.seq for entry in entries if entry.event["type"] != "CUSTOM"]


async def begin(engine: Engine, by: Principal, receiver: Receiver, agent: str, run_id: str = "r1", **more: Any) -> None:
    """A run whose webhook is set before it starts."""
    await engine.push.set(run_id, PushConfig("c1", receiver.url, **more), by, new_run=True)
    await engine.start(want(agent, run_id, f"t-{run_id}"), by, "test")


def numbers(came: list[Received], run_id: str = "r1") -> list[int]:
    return [one.seq for one in came if one.run == run_id]


def failing(times: int, status: int = 503, **headers: str) -> Callable[[Received], Reply]:
    """Each update fails so often before it is taken."""
    tries: dict[str, int] = {}

    def reply(came: Received) -> Reply:
        tries[came.headers["x-hocket-delivery"]] = tried = tries.get(came.headers["x-hocket-delivery"], 0) + 1
        return Reply(status, headers) if tried <= times else Reply()

    return reply


async def all_dealt_with(log: Log) -> None:
    """Returns once no update waits for anything."""
    async with asyncio.timeout(8):
        while True:
            told = orjson.loads(await log.request(f"$JS.API.CONSUMER.INFO.RUNS.{CONSUMER}", b""))
            if not told["num_ack_pending"] and not told["num_pending"]:
                return
            await asyncio.sleep(0.01)


async def standing(log: Log) -> Standing:
    """How far the webhook of the run is."""
    return (await push_configs.load(log, run_subject("default", "r1")))[0]["c1"]


async def tried(log: Log, holds: Callable[[int], bool]) -> int:
    """The failed tries of the next update, once that holds of them."""
    async with asyncio.timeout(10):
        while not holds(attempts := (await standing(log)).attempts):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return attempts
