"""What a run has said and come to, without its thread's history and without what another attempt has replaced."""

from collections.abc import Iterator

import orjson

from .messages import REF, Message
from .run import abandoned
from .state import RunState, Status


def own_messages(state: RunState) -> list[Message]:
    """What was sent with the run and said in it, without its thread's history and what another attempt replaced."""
    return [message for message in state.messages if not message.rest.get(REF) and not abandoned(message.rest)]


def spoken(state: RunState, chars_max: int) -> str:
    """The agent's words so far, at most the last `chars_max`. What it costs is bounded by them, not by the run."""
    parts: list[str] = []
    left = chars_max
    for message in _backwards(state):
        if message.role == "assistant":
            for delta in reversed(message.text or ()):
                parts.append(delta[-left:])
                left -= len(parts[-1])
                if left == 0:
                    return "".join(reversed(parts))
    return "".join(reversed(parts))


def _backwards(state: RunState) -> Iterator[Message]:
    for message in state.messages.backwards():
        if message.rest.get(REF):
            return  # the thread's history stands in front of the run's own
        if not abandoned(message.rest):
            yield message


def reasonings(state: RunState) -> list[str]:
    """The agent's finished reasoning messages, in order."""
    open_ones = {part.id for part in state.open.values() if part.kind == "reasoning_message"}
    found = (one for one in own_messages(state) if one.role == "reasoning" and one.id not in open_ones)
    return [text for one in found if (text := "".join(one.text or ()))]


def outcome(state: RunState) -> str | None:
    """What an ended run came to, where that is not among its messages already."""
    if state.error is not None:
        return state.error["message"]
    if state.status is not Status.COMPLETED or state.result is None:
        return None
    return state.result if isinstance(state.result, str) else orjson.dumps(state.result).decode()


def output(state: RunState) -> str | None:
    """What a completed run came to, as text."""
    if state.status is not Status.COMPLETED:
        return None
    found = outcome(state)
    return found if found is not None else last_words(state)


def last_words(state: RunState) -> str:
    """The agent's last message of this run that has a text, empty where there is none."""
    said = (one.text for one in _backwards(state) if one.role == "assistant" and one.text)
    return next((text for deltas in said if (text := "".join(deltas))), "")


def last_said(state: RunState) -> str | None:
    """The id of the agent's last message of this run."""
    return next((message.id for message in _backwards(state) if message.role == "assistant"), None)
