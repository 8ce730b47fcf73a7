"""The children of `hocket dev`, each started again when it dies: nats-server, and the worker.

The worker is a process of its own so that an agent that blocks stalls nobody else.
"""

import asyncio
import functools
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence

from protocol.errors import HocketError, Refused, Unavailable
from runtime.nats_server import EmbeddedServer, die_with_parent
from runtime.settings import Settings, inherited
from runtime.storage import check_log

logger = logging.getLogger("hocket.dev")

READY = "ready"
_PAUSE_SECONDS_MIN = 0.2
_PAUSE_SECONDS_MAX = 5.0
_SETTLED_SECONDS = 10.0
_WATCH_SECONDS = 0.2
_FULL_SECONDS = 2.0
_ROOM_BYTES = 8 << 20


class NatsChild:
    """The embedded nats-server with its storage under `settings.data`; one that dies comes back on its port."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data
        self._server = EmbeddedServer(settings.data, settings.sync_interval_s)
        self._full_since: float | None = None

    @property
    def pid(self) -> int:
        return self._server.pid

    async def start(self) -> str:
        """The URL to connect to. Raises Refused with one sentence if the folder or its log cannot be used."""
        await self._server.start()
        try:
            await check_log(self._folder, self._server.url)
        except BaseException:
            await self._server.stop()
            raise
        return self._server.url

    async def keep(self) -> None:
        """Starts the server again when it has died; ends only by raising Refused, where its log is gone."""
        port = int(self._server.url.rpartition(":")[2])
        pause = _PAUSE_SECONDS_MIN
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._server.alive and not self._has_room_again():
                continue
            if not self._server.alive:
                logger.warning("nats-server has ended; starting it again")
            await self._server.stop()
            try:
                await self._server.start(port)
            except HocketError as bad:
                logger.error("%s", bad.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSE_SECONDS_MAX)
                continue
            pause = _PAUSE_SECONDS_MIN
            try:
                await check_log(self._folder, self._server.url)
            except Unavailable as away:
                logger.error("%s", away.message)

    def _has_room_again(self) -> bool:
        """Whether the server has run full, and may take writes once it is started again."""
        now = asyncio.get_running_loop().time()
        if self._server.has_run_full() and self._full_since is None:
            self._full_since = now
            logger.error("The disk under %s is full: free some space. Runs wait until then.", self._folder)
        if self._full_since is None or now - self._full_since < _FULL_SECONDS:
            return False
        if shutil.disk_usage(self._folder).free < _ROOM_BYTES:
            return False
        logger.warning("There is room under %s again; starting nats-server again", self._folder)
        self._full_since = None
        return True

    async def stop(self) -> None:
        await self._server.stop()

    def kill(self) -> None:
        if self._server.alive:
            os.kill(self._server.pid, signal.SIGKILL)


class WorkerChild:
    """One worker with the agents `targets` (NAME=TARGET each), started again whenever it ends, until `stop`.
    `sole` where no other worker can be at work on the log.

    The URL of NATS holds a token and goes by the environment: a command line is for everyone to read.
    """

    def __init__(self, targets: Sequence[str], nats_url: str, sole: bool) -> None:
        self._nats_url = nats_url
        self._options = [part for target in targets for part in ("--agent", target)] + ["--sole"] * sole
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Returns once the agents are announced. Raises Refused with the worker's own sentence if they cannot be."""
        told = await self._spawn()
        if told != READY:
            raise Refused(told or f"The worker {await self._end()} before it was ready; its output says why.")

    async def keep(self) -> None:
        """Starts the worker again when it ends; returns only after `stop`."""
        pause, loop = _PAUSE_SECONDS_MIN, asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            end = await self._end()
            if self._stopping:
                return
            pause = _PAUSE_SECONDS_MIN if loop.time() - started_at > _SETTLED_SECONDS else pause
            logger.warning("The worker %s; starting it again", end)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)
            if self._stopping:
                return
            told = await self._spawn()
            if told not in (READY, ""):
                logger.error("%s", told)

    async def stop(self, seconds: float) -> None:
        """Lets the worker hand back what it runs, for at most so long."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            logger.warning("The worker does not stop by itself, and is killed")
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _spawn(self) -> str:
        """Starts the process and waits for its word: READY, a refusal, or nothing if it ended without one."""
        told, tell = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "gateway.guard", "worker", *self._options, "--ready-fd", str(tell)),
                env=inherited(nats_url=self._nats_url),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(tell,),
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, signal.SIGKILL),
            )
        finally:
            os.close(tell)
        reader = asyncio.StreamReader()
        pipe = os.fdopen(told, "rb")
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            return (await reader.read()).decode(errors="replace").strip()
        finally:
            transport.close()

    async def _end(self) -> str:
        """How the process ended, once it has."""
        assert self._process is not None
        code = await self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"
