"""How a run stands, as the tools that wait and the tasks tell it: what it came to, and what to do now."""

import mcp_types as types
from pydantic import Field

from protocol.spoken import output
from protocol.state import RunState, Status

from ..dialects.cinatra_snapshot import STATUS, contexts
from ..resource import segment
from .cinatra_forms import Hitl, Out, RunStatus
from .tool import Told


class Waited(Out):
    """How a run stands after the wait."""

    runId: str
    agent: str
    status: RunStatus
    output: str | None = Field(description="What a completed run came to.")
    error: str | None = Field(description="Why it failed.")
    hitlContext: Hitl | None = Field(description="The oldest question that it waits with.")
    statusUrl: str
    next: str = Field(description="What to do now.")


def stands(state: RunState, url: str) -> Told:
    """How the run stands, and what to do now."""
    asked = contexts(state)
    answer = {
        "runId": state.id,
        "agent": state.agent,
        "status": STATUS[state.status],
        "output": output(state),
        "error": state.error["message"] if state.error is not None else None,
        "hitlContext": asked[0] if asked else None,
        "statusUrl": url,
        "next": _next(state),
    }
    return Told(answer, links=[transcript_link(state)])


def transcript_link(state: RunState) -> types.ResourceLink:
    return types.ResourceLink(
        name=f"transcript of {state.id}", uri=f"hocket://runs/{segment(state.id)}/transcript",
        description="All messages of the run.", mime_type="application/json",
    )  # fmt: skip


def _next(state: RunState) -> str:
    if state.status is Status.WAITING:
        return "A person must decide. Ask them, then call agent_run_resume; or send them to statusUrl."
    if state.terminal:
        return "The run has ended. agent_run_messages_list has all that was said."
    return "The run goes on. Call agent_run_wait with this runId to wait on, or agent_run_stop to end it."
