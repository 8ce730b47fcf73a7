"""The agent of a `hocket dev` that is given none: it shows every kind of thing that a run can hold.

Written as a user would write one: it imports nothing of hocket's.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

_PAUSE_SECONDS = 0.04


_WISH = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean", "title": "Shall I go on?"},
        "name": {"type": "string", "title": "What may I call you?", "maxLength": 80},
    },
    "required": ["approved"],
}


async def agent(run: Any) -> AsyncIterator[Any]:
    """Echoes what it is told, with reasoning, a tool call and state along the way; told to ask, it asks a person."""
    if run.answers:
        yield _thanks(run.answers["wish"])
        return
    said = next((_text(message) for message in reversed(run.input.messages) if message.role == "user"), "nothing")
    yield run.reasoning("I count the words first, then I repeat them.")
    yield run.state({"words": 0, "done": False})
    words = said.split()
    yield run.tool_call("count_words", {"text": said}, result={"words": len(words)})
    yield run.state_delta({"op": "replace", "path": "/words", "value": len(words)})
    for piece in re.findall(r"\S+\s*", f"You said: {said}\n\nEach word of this came as an event of its own."):
        yield piece
        await asyncio.sleep(_PAUSE_SECONDS)
    yield run.state_delta({"op": "replace", "path": "/done", "value": True})
    if re.search(r"\bask\b", said, re.IGNORECASE):
        yield run.interrupt("You told me to ask. Shall I go on?", name="wish", response_schema=_WISH)


def _thanks(answer: Any) -> str:
    if not answer.approved:
        return "Then I stop here."
    return f"Thank you, {answer.payload.get('name') or 'whoever you are'}. On I go, and that was it."


def _text(message: Any) -> str:
    """The text of a message whose content is text or a list of parts."""
    if isinstance(message.content, str):
        return message.content
    return " ".join(part.text for part in message.content or () if getattr(part, "text", None))
