"""The command `hocket` as a person sees it: with a pseudo-terminal for its stdin and stderr."""

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import re
import signal
import termios
from collections.abc import AsyncIterator
from pathlib import Path

from tests.command import HOCKET, START_SECONDS, WAIT_SECONDS, environ, once

_COLORS = re.compile(r"\x1b\[(?:0|2|22|33)m")
"""What hocket itself sends to set its own lines apart."""


class Terminal:
    """`shown` is what the terminal has shown so far without its colours, `out` what went to stdout, which is a file."""

    def __init__(self, fd: int, out: Path, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.shown = ""
        self._raw = b""
        self._fd, self._out = fd, out
        self._read_to = 0

    @property
    def out(self) -> str:
        return self._out.read_text()

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def end_input(self) -> None:
        """Ctrl-D."""
        self.type("\x04")

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.type("\x03")

    async def shows(self, text: str) -> None:
        """Returns once `text` stands below what was waited for before."""

        def found() -> bool:
            return text in self.shown[self._read_to :]

        await once(lambda: found() or self.process.returncode is not None, START_SECONDS)
        await once(lambda: found() or self._fd < 0)
        assert found(), self.shown
        self._read_to = self.shown.index(text, self._read_to) + len(text)

    async def ended(self) -> int:
        async with asyncio.timeout(WAIT_SECONDS):
            code = await self.process.wait()
        await once(lambda: self._fd < 0)
        return code

    def read(self) -> None:
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError as gone:
            assert gone.errno == errno.EIO  # nobody holds the other end any more
            data = b""
        if data:
            self._raw += data
            self.shown = _COLORS.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")
        else:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


@contextlib.asynccontextmanager
async def open_terminal(*words: str, cwd: Path, **settings: str) -> AsyncIterator[Terminal]:
    """The command under way at a terminal; killed on the way out if it still runs."""
    ours, theirs = pty.openpty()
    out = cwd / "terminal.out"

    def own_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with out.open("wb") as stdout:
        process = await asyncio.create_subprocess_exec(
            *HOCKET, *words, cwd=cwd, env=environ(**settings), stdin=theirs, stdout=stdout,
            stderr=theirs, preexec_fn=own_the_terminal,
        )  # fmt: skip
    os.close(theirs)
    terminal = Terminal(ours, out, process)
    asyncio.get_running_loop().add_reader(ours, terminal.read)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        terminal.close()
