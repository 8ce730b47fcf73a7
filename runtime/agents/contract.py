"""The contract of an agent, whatever it is made of.

An agent is a callable that takes a `Run` and says things: an async generator, a plain generator or a coroutine.
It yields text (a delta of the assistant message), AG-UI events as dicts or as `ag_ui.core` objects. hocket
guarantees in return:

- what is yielded is recorded in that order, once, and streamed as it is recorded;
- a message, step or tool call that is left open is closed, and a run that is not ended is ended;
- an exception ends the run with RUN_ERROR, code AGENT_ERROR, and its text stays in the worker's own log;
- a cancel raises `asyncio.CancelledError` inside it; a plain generator is closed at its next yield;
- what it asks a person (`run.interrupt`) ends its leg, nothing of hocket's or its own waits meanwhile, and it is called
  again, from its start, with every answer of the run so far in `run.answers`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson
from ag_ui.core import RunAgentInput
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from protocol.entries import Principal


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
class Decision:
    """An answer to what the agent has asked. `status` is resolved, cancelled (the answer was to abandon it) or expired
    (nobody answered in time, and `payload` is the declared default). `by` decided; `text` is the answer in words. Where
    it `is_error`, the payload tells why there is no answer."""

    status: str
    payload: Any
    text: str
    by: Principal
    at_ms: int
    is_error: bool = False

    @property
    def approved(self) -> bool:
        """Whether the payload says `approved: true`."""
        return isinstance(self.payload, dict) and self.payload.get("approved") is True and not self.is_error


@dataclass(frozen=True, slots=True)
class Run:
    """What an agent is given. `attempt` counts the workers that had a go at this leg, from 1; `answers` holds the
    decisions of all legs before, each under its interrupt's id and under its name."""

    input: RunAgentInput
    attempt: int
    cancelled: Cancelled = field(default_factory=Cancelled)
    new_id: Callable[[], str] = field(default=lambda: "", repr=False)
    answers: Mapping[str, Decision] = field(default_factory=dict)

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

    def question(
        self,
        message: str | None = None,
        *,
        name: str | None = None,
        id: str | None = None,
        reason: str | None = None,
        response_schema: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        expires_in_s: float | None = None,
        expires_at: str | None = None,
        on_expiry: Literal["answer", "cancel", "fail"] | None = None,
        default: Any = None,
        renderer: str | None = None,
        values: Any = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One question, for `interrupts`. Its answer stands in `run.answers` under `name` (or its id), however often
        the run asks under that name. `response_schema` is JSON Schema 2020-12, `values` what a form begins with."""
        if reason is None:
            reason = "tool_call" if tool_call_id else "input_required" if response_schema else "confirmation"
        own = {"name": name, "expires_in_s": expires_in_s, "on_expiry": on_expiry, "default": default}
        noted = (metadata or {}) | _given(own | {"renderer": renderer, "values": values})
        fresh = f"{name}-{self.new_id()[:8]}" if name else self.new_id()
        told = {"id": id or fresh, "reason": reason, "message": message, "toolCallId": tool_call_id}
        return _given(told | {"responseSchema": response_schema, "expiresAt": expires_at, "metadata": noted or None})

    def interrupts(self, *questions: dict[str, Any]) -> dict[str, Any]:
        """Ends the leg with several questions; the run goes on once all have their answers."""
        return {"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": list(questions)}}

    def interrupt(self, message: str | None = None, **question: Any) -> dict[str, Any]:
        """Ends the leg with one question; takes what `question` takes."""
        return self.interrupts(self.question(message, **question))

    def artifact(
        self, *parts: dict[str, Any], name: str | None = None, description: str | None = None, id: str | None = None
    ) -> dict[str, Any]:
        """Something that is made, for A2A peers an artifact: parts of A2A's form, each with `text`, `raw` (base64),
        `url` or `data`, and perhaps `mediaType` and `filename`. AG-UI clients are shown an activity."""
        content = _given({"name": name, "description": description}) | {"parts": list(parts)}
        told = {"messageId": id or self.new_id(), "activityType": "artifact", "content": content}
        return {"type": "ACTIVITY_SNAPSHOT", **told}

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


class Screen(BaseModel):
    """A question that an agent may ask: its id, who draws it, and the JSON Schema of its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    renderer: str = ""
    response_schema: dict[str, Any] = {}


class Skill(BaseModel):
    """Something an agent can do, as A2A's card tells it. One that is `extended` is told to callers with a credential
    alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(min_length=1, max_length=4_000)
    tags: list[str] = Field(min_length=1, max_length=50)
    examples: list[str] = Field(default=[], max_length=50)
    extended: bool = False


class Options(BaseModel):
    """What an agent may declare about itself, as a dict in its attribute `hocket`.

    `input_schema` is the JSON Schema 2020-12 of the parameters that a run of it may be started with; `source` lets
    clients read its source text. `skills` and the media types of `input_modes` and `output_modes` are for A2A's card;
    what is not of a declared input mode is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    description: str = ""
    input_schema: dict[str, Any] | None = None
    screens: tuple[Screen, ...] = ()
    source: bool = False
    retry: Literal["always", "never"] = "always"
    attempts: int | None = Field(None, ge=1, le=100)
    on_busy: Literal["reject", "cancel_previous"] = "reject"
    interrupt_seconds: float | None = Field(None, gt=0)
    on_expiry: Literal["answer", "cancel", "fail"] = "cancel"
    default: JsonValue = None
    version: str = Field("", max_length=64)
    skills: list[Skill] = Field([], max_length=100)
    input_modes: list[str] = Field([], max_length=50)
    output_modes: list[str] = Field([], max_length=50)


class Agent(Protocol):
    """One kind of agent, ready to be run."""

    name: str
    options: Options

    def run(self, run: Run) -> AsyncGenerator[Any, None]:
        """What the agent says, item by item."""
        ...


Agents = Mapping[str, Agent]


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
