"""What is measured: a fresh `hocket dev` and the reference server, each a process tree with its CPU and memory."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_HERE = Path(__file__).parent
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Ground:
    """A running server. `pid` is its root process; of hocket that is the gateway, its children the rest."""

    url: str
    pid: int

    def cpu_s(self, gateway_only: bool = False, nats: bool = True) -> float:
        """User and system CPU seconds used so far, of all its processes, the gateway alone, or without nats-server."""
        told = self._processes(gateway_only)
        return sum(sum(process.cpu_times()[:2]) for process in told if nats or not _is_nats(process))

    def split(self) -> dict[str, float]:
        """CPU seconds by process: gateway, nats-server, worker."""
        told: dict[str, float] = {}
        for process in self._processes(False):
            line = " ".join(process.cmdline())
            name = "nats" if _is_nats(process) else "worker" if " worker" in line else "gateway"
            told[name] = told.get(name, 0.0) + sum(process.cpu_times()[:2])
        return told

    def rss_kb(self, whole: bool = False) -> float:
        """Resident memory of the gateway, or of the gateway and the worker."""
        told = [process for process in self._processes(not whole) if not _is_nats(process)]
        return float(sum(process.memory_info().rss for process in told)) / 1024

    def _processes(self, gateway_only: bool) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root] if gateway_only else [root, *root.children(recursive=True)]


def _is_nats(process: psutil.Process) -> bool:
    return any("nats-server" in word for word in process.cmdline())


@contextlib.asynccontextmanager
async def hocket(data: Path | None = None, **environ: str) -> AsyncIterator[Ground]:
    """A hocket with the bench's agents, fresh unless `data` is a folder that one has had before."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        named = [f"--agent={name}={_HERE / 'agents.py'}:{name}" for name in ("burst", "paced", "silent", "asking")]
        command = [str(Path(sys.executable).parent / "hocket"), "dev", "--port=0", f"--data={data or folder + '/data'}"]
        environ = {"HOCKET_LOG_LEVEL": "error", **environ}
        process = _spawn([*command, f"--ready-file={ready}", *named], environ)
        async with _ended(process):
            await _until(ready.exists, process)
            told = json.loads(ready.read_text())
            yield Ground(told["url"], told["pid"])


@contextlib.asynccontextmanager
async def reference(script: str = "reference.py", *arguments: str) -> AsyncIterator[Ground]:
    """What hocket is measured beside, in one process: AG-UI's reference style, or another script of this folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = _spawn([sys.executable, str(_HERE / script), str(port), *arguments], {})

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    async with _ended(process):
        await _until(listens, process)
        yield Ground(f"http://127.0.0.1:{port}", process.pid)


def _spawn(command: list[str], environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr, env={**os.environ, **environ})


@contextlib.asynccontextmanager
async def _ended(process: "subprocess.Popen[bytes]") -> AsyncIterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()


async def _until(holds: object, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    assert callable(holds)
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("A server under measurement did not start.")
        await asyncio.sleep(0.02)
