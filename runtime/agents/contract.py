"""The contract of an agent, whatever it is made of.

An agent is a callable that takes a `Run` and says things: an async generator, a plain generator or a coroutine.
It yields text (a delta of the assistant message), AG-UI events as dicts or as `ag_ui.core` objects. hocket
guarantees in return:

- what is yielded is recorded in that order, once, and streamed as it is recorded;
- a message, step or tool call that is left open is closed, and a run that is not ended is ended;
- an exception ends the run with RUN_ERROR, code AGENT_ERROR, and its text stays in the worker's own log;
- a cancel raises `asyncio.CancelledError` inside it; a plain generator is closed at its next yield.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson
from ag_ui.core import RunAgentInput
from pydantic import BaseModel, ConfigDict, Field


class Cancelled:
    """True once the run is cancelled; awaiting it waits for that."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def __await__(self) -> Any:
        return self._event.wait().__await__()

    def set(self) -> None:
        self._event.set()


@dataclass(frozen=True, slots=True)
class Run:
    """What an agent is given. `attempt` counts the workers that had a go at this leg, from 1."""

    input: RunAgentInput
    attempt: int
    cancelled: Cancelled = field(default_factory=Cancelled)
    new_id: Callable[[], str] = field(default=lambda: "", repr=False)

    def tool_call(self, name: str, args: Any, result: Any = None, id: str | None = None) -> list[dict[str, Any]]:
        """A whole tool call. `args` is JSON or its text; a `result` of None leaves the call to the client."""
        call_id = id or self.new_id()
        said: list[dict[str, Any]] = [
            {"type": "TOOL_CALL_START", "toolCallId": call_id, "toolCallName": name},
            {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": _text(args)},
            {"type": "TOOL_CALL_END", "toolCallId": call_id},
        ]
        if result is not None:
            told = {"messageId": f"{call_id}-result", "toolCallId": call_id, "role": "tool", "content": _text(result)}
            said.append({"type": "TOOL_CALL_RESULT", **told})
        return said

    def state(self, snapshot: Any) -> dict[str, Any]:
        """The agent's whole state."""
        return {"type": "STATE_SNAPSHOT", "snapshot": snapshot}

    def state_delta(self, *operations: dict[str, Any]) -> dict[str, Any]:
        """A change of the agent's state: RFC 6902 operations."""
        return {"type": "STATE_DELTA", "delta": list(operations)}

    def custom(self, name: str, value: Any = None) -> dict[str, Any]:
        """An application's own event."""
        return {"type": "CUSTOM", "name": name, "value": value}

    def reasoning(self, text: str, id: str | None = None) -> list[dict[str, Any]]:
        """A whole piece of reasoning."""
        span = id or self.new_id()
        message = f"{span}-message"
        return [
            {"type": "REASONING_START", "messageId": span},
            {"type": "REASONING_MESSAGE_START", "messageId": message, "role": "reasoning"},
            {"type": "REASONING_MESSAGE_CONTENT", "messageId": message, "delta": text},
            {"type": "REASONING_MESSAGE_END", "messageId": message},
            {"type": "REASONING_END", "messageId": span},
        ]


class Options(BaseModel):
    """What an agent may declare about itself, as a dict in its attribute `hocket`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    retry: Literal["always", "never"] = "always"
    attempts: int | None = Field(None, ge=1, le=100)
    on_busy: Literal["reject", "cancel_previous"] = "reject"


class Agent(Protocol):
    """One kind of agent, ready to be run."""

    name: str
    options: Options

    def run(self, run: Run) -> AsyncGenerator[Any, None]:
        """What the agent says, item by item."""
        ...


Agents = Mapping[str, Agent]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
