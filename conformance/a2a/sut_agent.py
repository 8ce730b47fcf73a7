"""The agent under the A2A TCK: it does what the prefix of the user's messageId asks for.

    hocket dev --agent tck=conformance/a2a/sut_agent.py:tck

Reference: the TCK's `scenarios/*.feature`. It knows nothing of hocket's but what every agent is given.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

FILE = {"filename": "output.txt", "mediaType": "text/plain"}
RAW = {"raw": base64.b64encode(b"tck").decode(), **FILE}
URL = {"url": "https://example.com/output.txt", **FILE}
DATA = {"data": {"key": "value", "count": 42}}
STREAM_SECONDS = 2.0
"""What the TCK calls its streaming timeout."""


def _artifact(*parts: dict[str, Any]) -> Callable[[Any], list[dict[str, Any]]]:
    return lambda run: [run.artifact(*parts)]


def _chunked(run: Any) -> list[dict[str, Any]]:
    """Text that comes in deltas is an artifact that is appended to, and whose last chunk is marked as such."""
    text = {"messageId": f"{run.input.run_id}-chunks"}
    return [
        {"type": "TEXT_MESSAGE_START", "role": "assistant", **text},
        {"type": "TEXT_MESSAGE_CONTENT", "delta": "chunk-1 ", **text},
        {"type": "TEXT_MESSAGE_CONTENT", "delta": "chunk-2", **text},
        {"type": "TEXT_MESSAGE_END", **text},
    ]


def _message(_: Any) -> list[dict[str, Any]]:
    reply = {"a2aMessage": {"parts": [{"text": "Direct message response"}]}}
    return [{"type": "RUN_FINISHED", "result": reply}]


def _rejected(_: Any) -> list[dict[str, Any]]:
    return [{"type": "RUN_ERROR", "code": "REJECTED", "message": "rejected"}]


SAID: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
    "tck-input-required": lambda run: [run.interrupt("What else?")],
    "tck-reject-task": _rejected,
    "tck-message-response": _message,
    "tck-artifact-text": _artifact({"text": "Generated text content"}),
    "tck-artifact-file-url": _artifact(URL),
    "tck-artifact-file": _artifact(RAW),
    "tck-artifact-data": _artifact(DATA),
    "tck-stream-001": _artifact({"text": "Stream hello from TCK"}),
    "tck-stream-002": lambda _: [],
    "tck-stream-003": _artifact({"text": "Stream task lifecycle"}),
    "tck-stream-ordering-001": _artifact({"text": "Ordered output"}),
    "tck-stream-artifact-text": _artifact({"text": "Streamed text content"}),
    "tck-stream-artifact-file": _artifact(RAW),
    "tck-stream-artifact-chunked": _chunked,
    "test-resubscribe-message-id": lambda _: [],
}
_LONGEST_FIRST = sorted(SAID, key=len, reverse=True)


def message_id(run: Any) -> str:
    """The messageId of the message that opened this leg."""
    asked = [message for message in run.input.messages if message.role == "user"]
    metadata = (getattr(asked[-1], "metadata", None) or {}) if asked else {}
    return str(metadata.get("a2a", {}).get("messageId", ""))


async def tck(run: Any) -> AsyncIterator[Any]:
    """Honours the messageId prefixes of the A2A TCK; any other message is answered with a greeting."""
    prefix = next((one for one in _LONGEST_FIRST if message_id(run).startswith(one)), None)
    if prefix is None:
        yield "Hello from TCK"
        return
    if prefix == "test-resubscribe-message-id":
        await asyncio.sleep(2 * STREAM_SECONDS)
    yield SAID[prefix](run)
