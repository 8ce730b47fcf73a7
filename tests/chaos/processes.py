"""A gateway and a worker as processes of their own, and a client that comes back until the run has ended.

python processes.py worker NATS_URL NAME          python processes.py gateway NATS_URL PORT
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
WORDS = 400


async def ticker(run: Any) -> Any:
    """Counts, a word every few milliseconds; a second attempt counts from the start again."""
    for number in range(WORDS):
        yield f"{number} "
        await asyncio.sleep(0.004)


async def torrent(run: Any) -> Any:
    """As fast as the log takes it, without an end."""
    while True:
        yield "word "


async def asking(run: Any) -> Any:
    """Asks once, for as long as its user says (in seconds), and then tells what it was told."""
    if run.answers:
        yield f"told {run.answers['go'].payload}"
    else:
        seconds = float(run.input.messages[-1].content)
        yield run.interrupt("Go on?", id="go", expires_in_s=seconds, on_expiry="answer", default="nothing")


async def _worker(url: str, name: str) -> None:
    from runtime.agents.python import PythonAgent
    from runtime.log import Log
    from runtime.settings import load
    from runtime.worker import Worker

    pushing = {"push_loopback_enabled": True, "push_timeout_s": 1.0, "push_retry_s": 0.1}
    settings = load({}, ack_wait_s=1.0, append_timeout_s=20.0, **pushing)
    log = await Log.open(url, name, settings.append_timeout_s)
    worker = Worker(
        log, {call.__name__: PythonAgent(call.__name__, call) for call in (ticker, torrent, asking)}, settings, name
    )
    await worker.start()
    await _until_stopped("ready")
    await worker.stop()
    await log.close()


async def _gateway(url: str, port: str) -> None:
    from gateway.app import open_gateway
    from gateway.server import Server, bind
    from runtime.settings import load

    settings = load({}, nats_url=url, append_timeout_s=20.0, agui_external_enabled=True)
    async with open_gateway(settings, url) as gateway:
        listening = bind("127.0.0.1", int(port))
        serving = asyncio.create_task(Server(gateway)._serve([listening]))
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await serving


async def _until_stopped(word: str) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    await stopped.wait()


class Process:
    """A process of this script; `said` is the line by which it told that it serves."""

    def __init__(self, role: str, *args: str) -> None:
        self._command = [sys.executable, str(Path(__file__)), role, *args]
        self.said = ""

    async def start(self) -> "Process":
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(15):
            self.said = (await self._process.stdout.readline()).decode().strip()
        assert self.said, "the process ended before it served"
        return self

    def send(self, sent: signal.Signals) -> None:
        self._process.send_signal(sent)

    async def ended(self) -> int:
        async with asyncio.timeout(10):
            return await self._process.wait()

    async def kill(self) -> None:
        if self._process.returncode is None:
            self.send(signal.SIGKILL)
            await self.ended()


class Client:
    """Streams one run over AG-UI and comes back with Last-Event-ID whenever the stream breaks off."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.cursor = 0
        self.visits = 0
        self.grown = asyncio.Event()
        self._frame: dict[str, str] = {}

    async def run(self, body: dict[str, Any], agent: str, seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds), httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=None)) as http:
            while not self.over:
                headers = {"last-event-id": str(self.cursor)} if self.visits else {}
                with contextlib.suppress(httpx.HTTPError):
                    self._frame.clear()
                    async with http.stream("POST", f"{self.url}/agui/{agent}", json=body, headers=headers) as answer:
                        if answer.status_code == 200:
                            self.visits += 1
                            async for line in answer.aiter_lines():
                                self._read(line)
                if not self.over:
                    await asyncio.sleep(0.05)

    @property
    def over(self) -> bool:
        return bool(self.events) and self.events[-1][1]["type"] in ("RUN_FINISHED", "RUN_ERROR")

    async def has(self, count: int) -> None:
        async with asyncio.timeout(15):
            while len(self.events) < count:
                self.grown.clear()
                await self.grown.wait()

    def _read(self, line: str) -> None:
        """The cursor moves at a frame's end, as in a browser: half a frame counts for nothing."""
        field, _, value = line.partition(": ")
        if field in ("id", "data"):
            self._frame[field] = value
        elif not line:
            seq = int(self._frame.get("id", self.cursor))
            if "data" in self._frame:
                self.events.append((seq, json.loads(self._frame["data"])))
                self.grown.set()
            self.cursor = seq
            self._frame.clear()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run({"worker": _worker, "gateway": _gateway}[sys.argv[1]](*sys.argv[2:]))
