"""A run's tool calls with what became of them, and the call that a question is about."""

from dataclasses import dataclass
from json import JSONDecoder
from typing import Any

import orjson

from . import depth
from .messages import Message, ToolCall
from .spoken import own_messages
from .state import Gate, RunState

_DECODER = JSONDecoder()


@dataclass(frozen=True, slots=True)
class Called:
    """A call that was made in this run. `arguments` is an object: `{"input": text}` where its agent wrote no JSON
    object. `result` is text, JSON for other values, None while there is none. Times and places are those of the entries
    that began the call and brought its result; None for what was not said in this run."""

    id: str
    name: str
    arguments: dict[str, Any]
    result: str | None
    began_seq: int | None
    began_at_ms: int | None
    done_seq: int | None
    done_at_ms: int | None


def calls(state: RunState) -> list[Called]:
    """The run's own calls in the order in which they were made, those that another attempt has replaced left out."""
    held = own_messages(state)
    results = {str(one.rest.get("toolCallId")): one for one in held if one.role == "tool"}
    return [_called(state, call, results.get(call.id)) for message in held for call in message.calls]


def called(state: RunState, call_id: str) -> Called | None:
    """One call by its id."""
    call = state.messages.call(call_id)
    if call is None:
        return None
    found = (one for one in state.messages.backwards() if one.role == "tool" and one.rest.get("toolCallId") == call_id)
    return _called(state, call, next(found, None))


def arguments(text: str) -> dict[str, Any]:
    """Arguments as an object, whatever the agent wrote: as text in it where they are none, or such as could not be
    told within another. An agent that makes a call again after its question has written them once more behind the
    first: the last object counts."""
    try:
        given = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        given = _last_of(text)
    return given if isinstance(given, dict) and not depth.is_deeper(given, depth.SAID) else {"input": text}


def _last_of(text: str) -> Any:
    """The last of several JSON values without anything but white space between them, None where it is something
    else."""
    found, at = None, 0
    text = text.strip()
    try:
        while at < len(text):
            found, at = _DECODER.raw_decode(text, at)
            while text[at : at + 1].isspace():
                at += 1
    except (ValueError, RecursionError):
        return None
    return found


def result_text(message: Message) -> str:
    """What a call has brought."""
    if message.text is not None:
        return "".join(message.text)
    content = message.rest.get("content")
    return content if isinstance(content, str) else orjson.dumps(content).decode()


def asked_about(state: RunState, gate: Gate) -> Called | None:
    """The call that a question is about, None for one outside of any call."""
    call_id = gate.interrupt.get("toolCallId")
    return called(state, call_id) if isinstance(call_id, str) else None


def _called(state: RunState, call: ToolCall, result: Message | None) -> Called:
    began, done = f"call {call.id}", f"result {call.id}"
    return Called(
        id=call.id,
        name=call.name,
        arguments=arguments("".join(call.args)),
        result=result_text(result) if result is not None else None,
        began_seq=state.begun.get(began),
        began_at_ms=state.begun_ms.get(began),
        done_seq=state.begun.get(done) if result is not None else None,
        done_at_ms=state.begun_ms.get(done) if result is not None else None,
    )
