"""The run object of `/v1`, and what is shown of a run where it is asked for."""

from typing import Any

from protocol.run_object import rfc3339, run_object, told_decision
from protocol.state import RunState

__all__ = ["audit", "rfc3339", "run_object", "steps", "told_decision"]


def audit(state: RunState) -> list[dict[str, Any]]:
    """Who asked for what and who decided, in order."""
    return [
        {name: value for name, value in one.items() if name != "at_ms"} | {"at": rfc3339(one["at_ms"])}
        for one in state.audit
    ]


def steps(state: RunState) -> list[dict[str, Any]]:
    """The named steps in the order in which they were begun."""
    return [
        {"name": step.name, "started_at": rfc3339(step.started_at_ms), "ended_at": rfc3339(step.ended_at_ms)}
        for step in state.steps
    ]
