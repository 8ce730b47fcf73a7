"""A run as Cinatra shows it in one answer: its status in Cinatra's words, and each open question as a screen."""

from typing import Any, NamedTuple

from protocol.interrupts import expiry_ms
from protocol.state import RunState, Status, own_metadata

from ..run_object import rfc3339

STATUS = {
    Status.QUEUED: "queued",
    Status.RUNNING: "running",
    Status.WAITING: "pending_approval",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "stopped",
}
GENERIC = "hocket:generic"
"""The renderer of a question that names none."""


class Screen(NamedTuple):
    """What it takes to draw a question: its gate, who draws it, the schema of its answer, what its form begins with."""

    review_task_id: str
    renderer: str
    schema: dict[str, Any]
    values: Any
    field_name: str | None
    expires_at: str | None


def screen(interrupt: dict[str, Any]) -> Screen:
    """The screen that an interrupt's agent has declared."""
    metadata = interrupt.get("metadata") or {}
    values, schema = metadata.get("values"), interrupt.get("responseSchema")
    return Screen(
        review_task_id=str(own_metadata(interrupt).get("gate", "")),
        renderer=_text(metadata.get("renderer")) or _text(metadata.get("xRenderer")) or GENERIC,
        schema={} if schema is None else schema,
        values={} if values is None else values,
        field_name=_text(metadata.get("fieldName")),
        expires_at=rfc3339(expiry_ms(interrupt)),
    )


def snapshot(state: RunState, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The run as it is now; `messages` is its transcript in AG-UI's form."""
    given = state.input.get("forwardedProps")
    asked = contexts(state)
    told = {
        "status": STATUS[state.status],
        "error": state.error["message"] if state.error is not None else None,
        "inputParams": given if isinstance(given, dict) else {},
        "startedAt": rfc3339(state.started_at_ms),
        "completedAt": rfc3339(state.ended_at_ms),
        "templateId": state.agent,
        "agentPackageName": state.agent,
        "agUiEnabled": True,
        "taskId": state.id,
        "traceId": None,
        "messages": messages,
        "hitlContext": asked[0] if asked else None,
    }
    return told | ({"hitlContexts": asked} if len(asked) > 1 else {})


def contexts(state: RunState) -> list[dict[str, Any]]:
    """The screens of the open questions, the oldest first."""
    return [_context(interrupt) for interrupt in state.interrupts]


def _context(interrupt: dict[str, Any]) -> dict[str, Any]:
    shown = screen(interrupt)
    return {
        "xRenderer": shown.renderer,
        "childRunId": None,
        "reviewTaskId": shown.review_task_id,
        "inputSchema": shown.schema,
        "currentValues": shown.values,
        "expiresAt": shown.expires_at,
    }


def _text(given: Any) -> str | None:
    return given if isinstance(given, str) and given else None
