"""CopilotKit's runtime routes over HTTP."""

import asyncio
from typing import Any

import httpx
import pytest

from gateway.auth import DEVELOPMENT as BY
from protocol.state import Status
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.test_agui import asking, data_of, greeter, types_of
from tests.house import House, agui_input, open_house

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 5.0
BASE = "/copilotkit"


async def endless(run: Any) -> Any:
    """Greets, and never ends."""
    yield {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"}
    yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hel"}
    await asyncio.Event().wait()


def old(thread_id: str = "t1", run_id: str = "r1", **more: Any) -> dict[str, Any]:
    """A RunAgentInput as a client of AG-UI 0.0.x posts it."""
    given = agui_input(thread_id, run_id, **more)
    del given["protocolVersion"]
    return given


async def post(house: House, path: str, body: Any = None) -> httpx.Response:
    if body is None:
        return await house.client.post(BASE + path, headers={"content-type": "application/json"})
    return await house.client.post(BASE + path, json=body)


async def started(house: House) -> "asyncio.Task[httpx.Response]":
    """A run of `endless` whose first words are recorded."""
    running = asyncio.create_task(post(house, "/agent/endless/run", old()))
    async with asyncio.timeout(WAIT_SECONDS):
        while not running.done():
            told = await post(house, "", {"method": "info"})
            assert told.status_code == 200
            head = await house.engine.thread_head("t1", BY)
            if head is not None and head.open:
                return running
    raise AssertionError(running.result().text)


async def test_the_info_names_the_agents_by_either_route(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, greeter=greeter, endless=endless) as house:
        by_path = await house.client.get(f"{BASE}/info")
        for path in ("", "/"):
            assert (await post(house, path, {"method": "info"})).json() == by_path.json()
    told = by_path.json()
    assert list(told["agents"]) == ["endless", "greeter"] and told["mode"] == "sse"
    assert told["agents"]["endless"]["description"] == "Greets, and never ends."


@pytest.mark.parametrize("single", [False, True])
async def test_run_and_connect_stream_what_an_old_client_parses(
    nats: EmbeddedServer, settings: Settings, single: bool
) -> None:
    async def ask(house: House, verb: str, body: dict[str, Any]) -> httpx.Response:
        if not single:
            return await post(house, f"/agent/greeter/{verb}", body)
        return await post(house, "", {"method": f"agent/{verb}", "params": {"agentId": "greeter"}, "body": body})

    async with open_house(nats, settings, greeter=greeter) as house:
        empty = await ask(house, "connect", old())
        ran = await ask(house, "run", old())
        connected = await ask(house, "connect", old(run_id="random"))
    assert empty.headers["content-type"].startswith("text/event-stream")
    assert types_of(empty.text) == ["RUN_STARTED", "RUN_FINISHED"]
    assert types_of(ran.text)[-1] == "RUN_FINISHED"
    told = data_of(connected.text)
    assert [event["type"] for event in told] == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert told[0]["runId"] == "r1" and told[1]["messages"][1]["content"] == "Hello, you"


async def test_a_stop_cancels_the_run_and_ends_every_stream(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, endless=endless) as house:
        running = await started(house)
        late = asyncio.create_task(post(house, "/agent/endless/connect", old(run_id="random")))
        stopped = await post(house, "/agent/endless/stop/t1", {"runId": "r1"})
        async with asyncio.timeout(WAIT_SECONDS):
            answers = await asyncio.gather(running, late)
        again = await post(house, "/agent/endless/stop/t1")
        state = await house.engine.state("r1", BY)
    assert stopped.json() == {
        "stopped": True,
        "interrupt": {"type": "RUN_ERROR", "message": "Run stopped by user", "code": "STOPPED"},
    }
    for answer in answers:
        end = data_of(answer.text)[-1]
        assert (end["type"], end["code"]) == ("RUN_ERROR", "abort")
    assert again.json()["stopped"] is False
    assert state.status is Status.CANCELLED


@pytest.mark.parametrize(
    ("body", "status"),
    [({"runId": "r2"}, 200), ({"runId": ""}, 400), ({"runId": 5}, 400), ({"runid": "r1"}, 400), ([], 400)],
)
async def test_a_stop_that_does_not_name_the_run_stops_nothing(
    nats: EmbeddedServer, settings: Settings, body: Any, status: int
) -> None:
    async with open_house(nats, settings, endless=endless) as house:
        running = await started(house)
        answer = await post(house, "/agent/endless/stop/t1", body)
        assert (await house.engine.state("r1", BY)).status is Status.RUNNING
        params = {"agentId": "endless", "threadId": "t1"}
        stopped = await post(house, "", {"method": "agent/stop", "params": params})
        async with asyncio.timeout(WAIT_SECONDS):
            await running
    assert answer.status_code == status
    assert status == 400 or answer.json()["stopped"] is False
    assert stopped.json()["stopped"] is True


async def test_a_stop_decides_nothing_for_a_run_that_waits_for_an_answer(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        ran = await post(house, "/agent/asking/run", old())
        connected = await post(house, "/agent/asking/connect", old(run_id="random"))
        stopped = await post(house, "/agent/asking/stop/t1")
        state = await house.engine.state("r1", BY)
    for answer in (ran, connected):
        noted = {"hocket": {"gate": "g-r1-0", "name": "i"}}
        outcome = {"type": "interrupt", "interrupts": [{"id": "i", "reason": "confirmation", "metadata": noted}]}
        assert data_of(answer.text)[-1]["outcome"] == outcome
    assert stopped.json()["stopped"] is False
    assert state.status is Status.WAITING


async def test_names_with_slashes_are_told_apart_from_the_route(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **{"team/greeter": greeter}) as house:
        for path in ("/agent/team%2Fgreeter/run", "/agent/team/greeter/connect"):
            answer = await post(house, path, old("a/stop/b"))
            assert types_of(answer.text)[-1] == "RUN_FINISHED"
        stopped = await post(house, "/agent/team%2Fgreeter/stop/a%2Fstop%2Fb")
        assert stopped.json() == {"stopped": False, "message": "The thread has no run in progress."}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/agent/nobody/run", old(), 404, "Agent not found"),
        ("POST", "/agent/nobody/connect", old(), 404, "Agent not found"),
        ("POST", "/agent/nobody/stop/t1", {}, 404, "Agent not found"),
        ("POST", "/agent/greeter/run", {}, 400, "Invalid request body"),
        ("POST", "/agent/greeter/run", old(resume=[{"interruptId": "i", "status": "resolved"}]), 400,
         "Invalid request body"),
        ("POST", "/agent/greeter/suggest", {}, 404, "Not found"),
        ("GET", "/else", None, 404, "Not found"),
        ("GET", "/agent/greeter/run", None, 405, "Method not allowed"),
        ("GET", "", None, 405, "Method not allowed"),
        ("POST", "", {"method": "agent/fly"}, 400, "invalid_request"),
        ("POST", "", {"params": {}}, 400, "invalid_request"),
        ("POST", "", {"method": "agent/run", "params": 5}, 400, "invalid_request"),
        ("POST", "", {"method": "agent/stop", "params": {"agentId": "greeter", "threadId": ""}}, 400,
         "invalid_request"),
    ],
)  # fmt: skip
async def test_a_refusal_is_in_the_runtimes_words(
    nats: EmbeddedServer, settings: Settings, method: str, path: str, body: Any, status: int, error: str
) -> None:
    async with open_house(nats, settings, greeter=greeter) as house:
        answer = await house.client.request(method, BASE + path, json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_a_busy_thread_is_refused_with_the_run_that_keeps_it(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, endless=endless) as house:
        running = await started(house)
        answer = await post(house, "/agent/endless/run", old(run_id="r2"))
        await post(house, "/agent/endless/stop/t1")
        async with asyncio.timeout(WAIT_SECONDS):
            await running
    assert (answer.status_code, answer.json()["run_id"]) == (409, "r1")


async def test_what_is_no_json_is_refused(nats: EmbeddedServer, settings: Settings) -> None:
    typed = {"content-type": "application/json"}
    async with open_house(nats, settings, greeter=greeter) as house:
        for path, error in (("", "invalid_request"), ("/agent/greeter/run", "Invalid request body")):
            answer = await house.client.post(BASE + path, content=b"{", headers=typed)
            assert (answer.status_code, answer.json()["error"]) == (400, error)
        for path in ("", "/agent/greeter/run", "/agent/greeter/stop/t1"):
            assert (await house.client.post(BASE + path, content=b"{}")).status_code == 415
