"""An agent that is a Python callable: `module:attribute` or `path/file.py:attribute`."""

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from protocol import schema
from protocol.errors import Refused

from .blocking import Thread
from .contract import Options, Run

_OURS = ("gateway", "protocol", "runtime")
_END = object()


class PythonAgent:
    """Runs the callable once a leg. A plain generator or function is stepped in a thread, so it may block."""

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name = name
        self._call = call
        declared = getattr(call, "hocket", None) or {}
        described = {"description": (inspect.getdoc(call) or "").split("\n")[0]}
        try:
            self.options = Options(**(described | declared))
        except (ValidationError, TypeError) as bad:
            raise Refused(f"Agent {name} declares in its attribute 'hocket' what cannot be used: {bad}") from None
        fault = schema.fault_of(self.options.input_schema) if self.options.input_schema is not None else None
        if fault is not None:
            raise Refused(f"Agent {name}: its input_schema is no JSON Schema 2020-12: {fault}")
        self.source = _source(call) if self.options.source else ""

    def run(self, run: Run) -> AsyncGenerator[Any, None]:
        """What the callable says. An async generator is handed on as it is: each layer costs every event."""
        if inspect.isasyncgenfunction(self._call):
            said: AsyncGenerator[Any, None] = self._call(run)
            return said
        return self._said(run)

    async def _said(self, run: Run) -> AsyncGenerator[Any, None]:
        thread: Thread | None = None
        last = None
        try:
            if inspect.iscoroutinefunction(self._call):
                said = await self._call(run)
            else:
                thread = Thread(f"agent {self.name}")
                said = await thread.call(self._call, run)
            if inspect.isawaitable(said):
                said = await said
            if inspect.isgenerator(said):
                thread, last = thread or Thread(f"agent {self.name}"), said.close
                while (item := await thread.call(next, said, _END)) is not _END:
                    yield item
            elif inspect.isasyncgen(said):
                async with contextlib.aclosing(said):
                    async for item in said:
                        yield item
            elif hasattr(said, "__aiter__"):
                async for item in said:
                    yield item
            elif said is not None:
                yield said
        finally:
            if thread is not None:
                thread.end(last)


def _source(call: Callable[..., Any]) -> str:
    """The text of the callable, empty where there is none to be had."""
    try:
        return inspect.getsource(call if inspect.isroutine(call) else type(call))
    except (OSError, TypeError):
        return ""


def load_agent(name: str, target: str) -> PythonAgent:
    """The agent at `target`. Raises Refused with one sentence that says what is wrong with it."""
    where, colon, attribute = target.rpartition(":")
    if not colon or not where or not attribute:
        raise Refused(f"Agent {name}: {target!r} must be module:attribute or path/file.py:attribute.")
    module = _load_file(name, Path(where)) if where.endswith(".py") else _load_module(name, where)
    try:
        call = getattr(module, attribute)
    except AttributeError:
        raise Refused(f"Agent {name}: {where} has no attribute {attribute!r}.") from None
    if not callable(call):
        raise Refused(f"Agent {name}: {target} is no callable but a {type(call).__name__}.")
    return PythonAgent(name, call)


def _load_file(name: str, path: Path) -> Any:
    if not path.is_file():
        raise Refused(f"Agent {name}: there is no file {path}.")
    folder = path.resolve().parent
    for ours in _OURS:
        if (folder / ours).is_dir() and not (folder / ours / "__init__.py").exists():
            continue
        if (folder / ours).is_dir() and folder != Path(__file__).resolve().parents[2]:
            raise Refused(f"Agent {name}: {folder} has a package {ours!r} that would be taken for hocket's; rename it.")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    module_name = f"hocket_agent_{path.stem}_{abs(hash(str(path.resolve()))):x}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as bad:  # the user's own file, whatever it raises
        raise Refused(f"Agent {name}: {path} cannot be loaded: {type(bad).__name__}: {bad}.") from bad
    return module


def _load_module(name: str, where: str) -> Any:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(where)
    except Exception as bad:  # the user's own module, whatever it raises
        raise Refused(f"Agent {name}: module {where} cannot be loaded: {type(bad).__name__}: {bad}.") from bad
