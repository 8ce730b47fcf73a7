"""What an A2A peer is told of a run, in ProtoJSON."""

from typing import Any

from .state import RunState


def pushed(state: RunState, event: dict[str, Any]) -> dict[str, Any] | None:
    """The StreamResponse that a webhook is sent for `event` of the life lane, after which the run is `state`; None if
    there is nothing to tell."""
    ids = {"taskId": state.id, "contextId": state.thread_id}
    if event["type"] == "RUN_STARTED":
        return {"statusUpdate": {**ids, "status": {"state": "TASK_STATE_WORKING"}}}
    if event["type"] in ("RUN_FINISHED", "RUN_ERROR"):
        waiting = (event.get("outcome") or {}).get("type") == "interrupt"
        told = "INPUT_REQUIRED" if waiting else state.status.value.replace("cancelled", "canceled").upper()
        return {"task": {"id": state.id, "contextId": state.thread_id, "status": {"state": f"TASK_STATE_{told}"}}}
    return None


pushed_v03 = pushed
