"""How Cinatra's tools say that something was refused: an ordinary result with one text."""

from typing import Any

import mcp_types as types

from protocol.errors import AlreadyResolved, Forbidden, HocketError, InterruptExpired, NotWaiting, RunNotFound

from .tool import Told


def refuse(error: HocketError, form: Any) -> Told:
    """`{"error": text}`; the two texts that Cinatra fixes are given as they are."""
    if isinstance(error, RunNotFound):
        return Told({"error": f"Run not found: {getattr(form, 'runId', '')}"})
    if isinstance(error, Forbidden):
        return Told({"error": "Run access denied."})
    return Told({"error": error.message})


def late(error: NotWaiting | AlreadyResolved | InterruptExpired, status: str) -> Told:
    """An answer that comes too late, or to nothing, is told what the run is now."""
    return Told({"error": f"The run is {status}. {error.message}"})


def misread(told: str) -> types.CallToolResult:
    """Arguments that break the schema."""
    text = f"Invalid arguments: {told}"
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
