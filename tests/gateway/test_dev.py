"""`hocket dev`: real processes, started, killed and stopped."""

import asyncio
import contextlib
import json
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

from gateway.dev import _tasks
from tests.command import WAIT_SECONDS, Dev, once, open_dev

pytestmark = pytest.mark.anyio

AGENTS = '''
import asyncio, pathlib, time

async def gated(run):
    """Says one word, then waits for the file `gate` beside the data."""
    yield f"attempt {run.attempt} "
    while not pathlib.Path("gate").exists():
        await asyncio.sleep(0.02)
    yield "done"

async def blocks(run):
    """Blocks the worker's loop once the file `blocked` is there."""
    pathlib.Path("blocked").touch()
    time.sleep(60)
    yield "never said"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agents.py").write_text(AGENTS)
    return tmp_path


def agent(name: str) -> tuple[str, str]:
    return "--agent", f"{name}=agents.py:{name}"


def open_gate(folder: Path) -> None:
    (folder / "gate").touch()


async def said(dev: Dev, run_id: str) -> None:
    """Returns once the run's agent has said its first word."""
    await dev.run_once(
        run_id, lambda run: any(one["role"] == "assistant" and one["content"] for one in run["messages"])
    )


async def bash(line: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec("bash", "-c", line, cwd=folder, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(3 * WAIT_SECONDS):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_the_printed_lines_work_as_printed(folder: Path) -> None:
    async with open_dev(folder) as dev:
        await once(lambda: "Ctrl-C" in dev.out)
        streams, polls = re.findall(r"^  (curl .*)$", dev.out, re.MULTILINE)
        streamed = await bash(streams, folder)
        polled = json.loads(await bash(polls, folder))
        (shown,) = re.findall(r"^Its URL: +(\S+)$", dev.out, re.MULTILINE)
        (looked_at,) = re.findall(r"^Its page: +(\S+)$", dev.out, re.MULTILINE)
        (docs,) = re.findall(r"^API: +(\S+)$", dev.out, re.MULTILINE)
        assert (await dev.client.get(shown)).json()["id"] == polled["id"]
        for page in (looked_at, docs):
            assert (await dev.client.get(page)).headers["content-type"].startswith("text/html")
    assert '"type":"RUN_FINISHED"' in streamed
    assert polled["status"] == "completed"
    assert polled["state"] == {"words": 1, "done": True}
    assert any("You said: Hello" in str(message.get("content")) for message in polled["messages"])


async def test_a_stop_ends_an_open_stream_and_every_process_within_three_seconds(folder: Path) -> None:
    async with open_dev(folder, *agent("gated")) as dev:
        await dev.start_run("gated", "r1")
        await said(dev, "r1")
        children = psutil.Process(dev.process.pid).children()
        async with dev.client.stream("GET", "/v1/runs/r1/events", headers={"accept": "text/event-stream"}) as stream:
            text = stream.aiter_text()
            said_so_far = ""
            while "attempt 1" not in said_so_far:
                said_so_far += await anext(text)
            dev.stop()
            rest = "".join([part async for part in text])
        assert await dev.ended(3.0) == 0
        assert len(children) == 2
        assert not any(child.is_running() for child in children)
    assert ": the gateway is stopping" in rest
    assert "Traceback" not in dev.err


async def test_a_stopped_run_is_handed_back_and_goes_on_at_the_next_start(folder: Path) -> None:
    async with open_dev(folder, *agent("gated")) as dev:
        await dev.start_run("gated", "r1")
        await said(dev, "r1")
        dev.stop(signal.SIGINT)
        assert await dev.ended() == 0
    open_gate(folder)
    async with open_dev(folder, *agent("gated")) as dev:
        run = await dev.run_once("r1", lambda run: run["status"] == "completed")
    assert run["attempt"] == 2
    assert run["messages"][-1]["content"] == "attempt 2 done"


async def test_only_the_agents_of_this_start_are_announced(folder: Path) -> None:
    for name in ("gated", "blocks"):
        async with open_dev(folder, *agent(name)) as dev:
            announced = (await dev.client.get("/v1/agents")).json()["agents"]
            dev.stop()
            assert await dev.ended() == 0
    assert [one["name"] for one in announced] == ["blocks"]


async def test_a_second_signal_ends_everything_at_once(folder: Path) -> None:
    async with open_dev(folder, *agent("blocks")) as dev:
        await dev.start_run("blocks", "r1")
        await once((folder / "blocked").exists)
        dev.stop(signal.SIGINT)
        dev.stop(signal.SIGTERM)
        assert await dev.ended(1.0) == 128 + signal.SIGTERM


async def test_an_agent_that_blocks_its_loop_stalls_neither_the_gateway_nor_the_stop(folder: Path) -> None:
    async with open_dev(folder, *agent("blocks")) as dev:
        await dev.start_run("blocks", "r1")
        await once((folder / "blocked").exists)
        assert (await dev.client.get("/readyz")).status_code == 200
        dev.stop()
        assert await dev.ended() == 0
    assert "is killed" in dev.err


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_the_children_of_a_killed_hocket_die_with_it(folder: Path) -> None:
    async with open_dev(folder, *agent("gated")) as dev:
        children = [dev.worker, dev.nats]
        dev.process.kill()
        await dev.ended()
        await once(lambda: not any(child.is_running() for child in children))


async def test_a_worker_that_dies_is_started_again_and_its_run_goes_on(folder: Path) -> None:
    async with open_dev(folder, *agent("gated")) as dev:
        await dev.start_run("gated", "r1")
        await said(dev, "r1")
        dev.worker.kill()
        open_gate(folder)
        run = await dev.run_once("r1", lambda run: run["status"] == "completed")
    assert run["attempt"] == 2
    assert "The worker was ended by SIGKILL; starting it again" in dev.err


async def test_a_nats_server_that_dies_is_started_again_on_its_port_and_runs_go_on(folder: Path) -> None:
    async with open_dev(folder, *agent("gated")) as dev:
        await dev.start_run("gated", "r1")
        await said(dev, "r1")
        killed = dev.nats
        killed.kill()
        await once(lambda: "nats-server has ended; starting it again" in dev.err)
        open_gate(folder)
        run = await dev.run_once("r1", lambda run: run["status"] == "completed")
        assert dev.nats.pid != killed.pid
    assert run["attempt"] == 1
    assert run["messages"][-1]["content"] == "attempt 1 done"


async def test_the_token_of_nats_is_on_no_command_line_and_in_no_output(folder: Path) -> None:
    async with open_dev(folder, HOCKET_LOG_LEVEL="debug") as dev:
        (token,) = re.findall(r"token: (\w+)", (folder / ".hocket" / "nats.conf").read_text())
        lines = [" ".join(child.cmdline()) for child in psutil.Process(dev.process.pid).children(recursive=True)]
        dev.nats.kill()
        await once(lambda: "starting it again" in dev.err)
        dev.stop()
        assert await dev.ended() == 0
    assert len(lines) >= 2
    assert not any(token in text for text in (*lines, dev.out, dev.err, (folder / ".hocket" / "nats.log").read_text()))


async def test_a_task_that_loses_a_cancel_does_not_keep_the_command_from_ending() -> None:
    forever = asyncio.Event()

    async def loses_it() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever.wait()
        await forever.wait()

    async with asyncio.timeout(WAIT_SECONDS), _tasks() as tasks:
        tasks.append(asyncio.create_task(loses_it()))
        await asyncio.sleep(0)
    assert tasks[0].cancelled()
