"""The reference for A2A: the SDK's own server in one process, its handler and task store in memory.

`python a2a_reference.py PORT` serves JSON-RPC at `/`. The agents are the bench's: what they yield becomes an update.
"""

import sys
from pathlib import Path
from typing import Any

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part, Task, TaskState, TaskStatus
from starlette.applications import Starlette

sys.path.append(str(Path(__file__).parent))
import agents


class _Message:
    def __init__(self, content: str) -> None:
        self.content = content


class _Input:
    def __init__(self, text: str) -> None:
        self.messages = [_Message(text)]


class _Run:
    def __init__(self, text: str) -> None:
        self.input = _Input(text)


class _Executor(AgentExecutor):
    """The user's text is the name of an agent and what it is told."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        name, _, text = context.get_user_input().partition(" ")
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        await event_queue.enqueue_event(Task(id=context.task_id, context_id=context.context_id, status=status))
        task = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        await task.start_work()
        said = False
        async for delta in getattr(agents, name)(_Run(text)):
            await task.add_artifact([Part(text=delta)], artifact_id="a", append=said)
            said = True
        await task.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def main() -> None:
    port = int(sys.argv[1])
    url = f"http://127.0.0.1:{port}/"
    card = AgentCard(
        name="bench", description="bench", version="1", capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"], default_output_modes=["text/plain"],
        supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
        skills=[AgentSkill(id="bench", name="bench", description="bench", tags=["bench"])],
    )  # fmt: skip
    handler: Any = DefaultRequestHandler(agent_executor=_Executor(), task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(routes=create_jsonrpc_routes(handler, "/"))
    uvicorn.run(app, port=port, log_level="warning", access_log=False, http="httptools", loop="uvloop")


if __name__ == "__main__":
    main()
