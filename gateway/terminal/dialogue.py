"""Questions asked in a terminal while the run may go on without their answers.

    thread: the gateway's stream ──▶ Feed ──▶ draws entry after entry
                                      │ readable as soon as there is one
    the keyboard's lines ─────────────┴─▶ select ──▶ Dialogue

Whichever comes first is taken: a line, or an entry, which ends the prompt. The terminal stays in line mode, so its own
editing keys work, and what was typed for a question that is gone is thrown away.
"""

import os
import queue
import select
import socket
import termios
import threading
from collections.abc import Iterator
from typing import Any, Self

import click

from .client import Told
from .drawing import unharmed
from .prompt import CANCEL, Field, Form, Unfit

_READ_BYTES = 1 << 16


class Overtaken(Exception):
    """The run has said something while a prompt waited."""


class Abandoned(Exception):
    """The question is to be answered with cancelled."""


class Feed:
    """The entries of a run, read by a thread, so that whoever draws them can wait for the keyboard as well.

    Iterating gives each entry once, in order, and raises what reading them raised.
    """

    def __init__(self, entries: Iterator[Told]) -> None:
        self._told: queue.SimpleQueue[Told | BaseException] = queue.SimpleQueue()
        self._ours, self._theirs = socket.socketpair()
        threading.Thread(target=self._read, args=(entries,), name="feed", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._theirs.close()

    def __iter__(self) -> Iterator[Told]:
        while self._ours.recv(1):  # one byte an entry; blocks, and Ctrl-C gets through
            told = self._told.get_nowait()
            if isinstance(told, StopIteration):
                return
            if isinstance(told, BaseException):
                raise told
            yield told

    def fileno(self) -> int:
        """Readable while there is an entry, or the end, to take."""
        return self._ours.fileno()

    def _read(self, entries: Iterator[Told]) -> None:
        try:
            for told in entries:
                self._put(told)
            self._put(StopIteration())
        except Exception as ended:
            self._put(ended)

    def _put(self, told: Told | BaseException) -> None:
        self._told.put(told)
        try:
            self._theirs.send(b".")
        except OSError:
            raise SystemExit from None  # nobody looks any more: ends this thread


class Dialogue:
    """Asks on stderr and reads the answers from the terminal on stdin."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._keys = 0
        self._rest = b""

    def forget(self) -> None:
        """Throws away what was typed before a question could be read."""
        self._rest = b""
        termios.tcflush(self._keys, termios.TCIFLUSH)

    def ask(self, form: Form) -> Any:
        """The payload. Raises Abandoned, Overtaken, EOFError, KeyboardInterrupt."""
        return form.payload({field.name: self._value(field) for field in form.fields})

    def _value(self, field: Field) -> Any:
        if field.description:
            _tell(field.description)
        for number, (label, _) in enumerate(field.options, 1):
            _tell(f"{number}) {label}")
        while True:
            line = self._line(unharmed(field.prompt))
            if line.strip() == CANCEL:
                raise Abandoned
            try:
                return field.read(line)
            except Unfit as unfit:
                _tell(str(unfit))

    def _line(self, prompt: str) -> str:
        click.echo(prompt, nl=False, err=True)
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._feed.fileno(), self._keys], [], [])
            if self._feed.fileno() in ready:
                click.echo(err=True)
                raise Overtaken
            read = os.read(self._keys, _READ_BYTES)
            if not read:
                click.echo(err=True)
                raise EOFError
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")


def _tell(text: str) -> None:
    click.secho(f"  {unharmed(text)}", err=True, dim=True)
