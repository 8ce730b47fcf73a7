"""The command `hocket` as a real process, for tests of what a person starts."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

HOCKET = (sys.executable, "-P", "-m", "gateway.guard")
START_SECONDS = 20.0
"""Three interpreters start and import; on a busy machine that takes longer than any other wait of a test."""
WAIT_SECONDS = 5.0


def environ(**settings: str) -> dict[str, str]:
    """This process's environment without settings of hocket but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOCKET_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | settings


async def run_command(
    *words: str, cwd: Path, command: tuple[str, ...] = HOCKET, **settings: str
) -> tuple[int, str, str]:
    """A command to its end: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *command, *words, cwd=cwd, env=environ(**settings), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class Started:
    """A running command. `out` and `err` are what it has printed so far."""

    def __init__(self, folder: Path, name: str, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    async def ended(self, seconds: float = WAIT_SECONDS) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    async def says(self, text: str) -> None:
        """Returns once `text` stands in what it has printed."""
        await once(lambda: text in self.out or self.process.returncode is not None, START_SECONDS)
        assert text in self.out, self.err


@contextlib.asynccontextmanager
async def start(*words: str, cwd: Path, name: str, **settings: str) -> AsyncIterator[Started]:
    """The command under way; killed on the way out if it still runs."""
    with (cwd / f"{name}.out").open("wb") as out, (cwd / f"{name}.err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *HOCKET, *words, cwd=cwd, env=environ(**settings), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err
        )
    try:
        yield Started(cwd, name, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Dev(Started):
    """A running `hocket dev`."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, url: str) -> None:
        super().__init__(folder, "dev", process)
        self.url = url
        self.client = httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS)

    def child(self, word: str) -> psutil.Process:
        """The child whose command line holds `word`."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if any(word in part for part in child.cmdline()))

    @property
    def worker(self) -> psutil.Process:
        return self.child("gateway.guard")

    @property
    def nats(self) -> psutil.Process:
        return self.child("nats-server")

    def stop(self, sig: int = signal.SIGTERM) -> None:
        self.process.send_signal(sig)

    async def start_run(self, agent: str, run_id: str, text: str = "hi") -> dict[str, Any]:
        answer = await self.client.post("/v1/runs", json={"agent": agent, "input": text, "run_id": run_id})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def run(self, run_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/runs/{run_id}", params={"include": "messages"})
        found: dict[str, Any] = answer.json()
        return found

    async def run_once(self, run_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The run as soon as `holds` is true of it."""
        found: dict[str, Any] = {}

        async def so() -> bool:
            nonlocal found
            try:
                found = await self.run(run_id)
            except httpx.HTTPError:
                return False
            return "status" in found and holds(found)

        await once(so, START_SECONDS)
        return found


@contextlib.asynccontextmanager
async def open_dev(folder: Path, *options: str, **settings: str) -> AsyncIterator[Dev]:
    """`hocket dev` in `folder` on a free port; killed on the way out if it still runs."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    words = ("dev", "--port", "0", "--ready-file", str(ready), *options)
    children: list[psutil.Process] = []
    try:
        async with start(*words, cwd=folder, name="dev", **settings) as started:
            process = started.process
            await once(lambda: ready.exists() or process.returncode is not None, START_SECONDS)
            assert ready.exists(), started.err
            told = json.loads(ready.read_text())
            assert told["pid"] == process.pid
            children = psutil.Process(process.pid).children()
            dev = Dev(folder, process, told["url"])
            async with dev.client:
                yield dev
    finally:
        _, left = await asyncio.to_thread(psutil.wait_procs, children, WAIT_SECONDS)
        assert not left, "a child has outlived hocket"


async def once(holds: Callable[[], Any], seconds: float = WAIT_SECONDS) -> None:
    """Returns as soon as `holds()`, or what it awaits, is true; looks every 20 ms, for what no event tells of."""
    async with asyncio.timeout(seconds):
        while True:
            answer = holds()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.02)
