"""The Python SDK's own client, in both bindings."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientCallContext, ClientConfig, create_client
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError, UnsupportedOperationError
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from conformance.a2a.peer import BINDINGS, CURSOR, Json, joined, text_of, told_by

SECONDS = 30.0
Act = Callable[[Client], Awaitable[None]]


@asynccontextmanager
async def client(url: str, agent: str, binding: str, streaming: bool = True) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(timeout=SECONDS) as http:
        config = ClientConfig(
            streaming=streaming, httpx_client=http, supported_protocol_bindings=[binding], use_client_preference=True
        )
        yield await create_client(f"{url}/a2a/{agent}", config)


def asked(text: str | None = "hi", metadata: Json | None = None, data: Any = None, **more: Any) -> SendMessageRequest:
    part = Part(text=text) if data is None else Part(data=ParseDict(data, Value()))
    request = SendMessageRequest(message=Message(message_id="m1", role=Role.ROLE_USER, parts=[part], **more))
    request.metadata.update(metadata or {})
    return request


def wire(update: StreamResponse) -> Json:
    told: Json = MessageToDict(update)
    return told


async def sent(speaking: Client, request: SendMessageRequest) -> Task:
    """The task in the end, whether the client streams or waits."""
    told = [wire(update) async for update in speaking.send_message(request)]
    return ParseDict(told_by(told), Task())


def play(act: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await act()

    asyncio.run(bounded())


@pytest.fixture(params=BINDINGS)
def binding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def release(url: str, gate: str) -> None:
    async with client(url, "release", "JSONRPC", streaming=False) as opening:
        await sent(opening, asked(gate))


@pytest.mark.requirement("A2A-110")
@pytest.mark.parametrize("streaming", [True, False])
def test_the_python_client_sends_answers_gets_and_cancels(base_url: str, binding: str, streaming: bool) -> None:
    async def act() -> None:
        async with client(base_url, "reviewing", binding, streaming) as speaking:
            task = await sent(speaking, asked("check"))
            assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
            done = await sent(speaking, asked(data={"approved": True}, task_id=task.id))
            assert done.id == task.id and done.status.state == TaskState.TASK_STATE_COMPLETED
            polled = await speaking.get_task(GetTaskRequest(id=task.id))
            assert joined(MessageToDict(polled)) == joined(MessageToDict(done))
            assert len((await speaking.get_task(GetTaskRequest(id=task.id, history_length=1))).history) == 1
            other = await sent(speaking, asked("check"))
            cancelled = await speaking.cancel_task(CancelTaskRequest(id=other.id))
            assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
            with pytest.raises(TaskNotCancelableError):
                await speaking.cancel_task(CancelTaskRequest(id=other.id))
            with pytest.raises(TaskNotFoundError):
                await speaking.get_task(GetTaskRequest(id="no-such-task"))
            with pytest.raises(UnsupportedOperationError):
                await sent(speaking, asked("late", task_id=task.id))

    play(act)


@pytest.mark.requirement("A2A-110", "A2A-044")
def test_the_python_client_leaves_in_mid_stream_and_subscribes_again(base_url: str, binding: str, name: str) -> None:
    async def act() -> None:
        async with client(base_url, "halved", binding) as speaking:
            request = asked(metadata={"first": f"{name}-1", "gate": name, "count": 300})
            stream = speaking.send_message(request)
            task_id = wire(await anext(stream))["task"]["id"]
            await release(base_url, f"{name}-1")
            for _ in range(5):
                await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
            told = []
            async for update in speaking.subscribe(SubscribeToTaskRequest(id=task_id)):
                if not told:
                    await release(base_url, name)
                told.append(wire(update))
            task = told_by(told)
            assert text_of(task) == "".join(f"{number} " for number in range(600))
            polled = await speaking.get_task(GetTaskRequest(id=task_id))
            assert joined(task) == joined(MessageToDict(polled))

    play(act)


@pytest.mark.requirement("A2A-110", "A2A-045")
def test_the_python_client_goes_on_from_a_cursor(base_url: str, binding: str, name: str) -> None:
    async def act() -> None:
        async with client(base_url, "halved", binding) as speaking:
            numbered = ClientCallContext(service_parameters={"A2A-Extensions": CURSOR})
            request = asked(metadata={"first": f"{name}-1", "gate": name, "count": 300})
            stream = speaking.send_message(request, context=numbered)
            told = [wire(await anext(stream))]
            await release(base_url, f"{name}-1")
            told += [wire(await anext(stream)) for _ in range(7)]
            await stream.aclose()  # type: ignore[attr-defined]
            seq = int(next(iter(told[-1].values()))["metadata"][CURSOR]["seq"])
            await release(base_url, name)
            after = ClientCallContext(service_parameters={"A2A-Extensions": CURSOR, "Last-Event-ID": str(seq)})
            task = SubscribeToTaskRequest(id=told[0]["task"]["id"])
            told += [wire(update) async for update in speaking.subscribe(task, context=after)]
            assert text_of(told_by(told)) == "".join(f"{number} " for number in range(600))

    play(act)


@pytest.mark.requirement("A2A-110", "A2A-061", "A2A-062")
def test_the_python_client_lists_page_by_page(base_url: str, binding: str, name: str) -> None:
    async def act() -> None:
        async with client(base_url, "plain", binding, streaming=False) as speaking:
            ids = [(await sent(speaking, asked(str(n), context_id=name))).id for n in range(5)]
            listed: list[str] = []
            token = ""
            while True:
                request = ListTasksRequest(context_id=name, page_size=2, page_token=token)
                page = await speaking.list_tasks(request)
                assert page.total_size == 5
                listed += [task.id for task in page.tasks]
                token = page.next_page_token
                if not token:
                    break
            assert listed == ids[::-1]
            none = ListTasksRequest(context_id=name, status=TaskState.TASK_STATE_FAILED)
            assert not (await speaking.list_tasks(none)).tasks
            whole = ListTasksRequest(context_id=name, include_artifacts=True, page_size=1)
            assert (await speaking.list_tasks(whole)).tasks[0].artifacts

    play(act)


@pytest.mark.requirement("A2A-110", "A2A-022")
def test_the_python_client_may_not_wait(base_url: str, binding: str, name: str) -> None:
    async def act() -> None:
        async with client(base_url, "halved", binding, streaming=False) as speaking:
            request = asked(metadata={"gate": name, "count": 1})
            request.configuration.CopyFrom(SendMessageConfiguration(return_immediately=True))
            task = await sent(speaking, request)
            assert task.status.state in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
            await speaking.cancel_task(CancelTaskRequest(id=task.id))

    play(act)


@pytest.mark.requirement("A2A-110", "A2A-004")
def test_the_python_client_reads_the_extended_card(base_url: str, binding: str) -> None:
    from a2a.types import GetExtendedAgentCardRequest

    async def act() -> None:
        async with client(base_url, "picky", binding) as speaking:
            card = await speaking.get_extended_agent_card(GetExtendedAgentCardRequest())
            assert [skill.id for skill in card.skills] == ["open", "hidden"]

    play(act)


@pytest.mark.requirement("A2A-072", "A2A-110")
def test_the_python_client_of_0_3_is_served(base_url: str, name: str) -> None:
    """Where a card offers nothing but 0.3, the SDK's client speaks 0.3."""
    from a2a.client import ClientFactory
    from a2a.types import AgentCard

    async def act(url: str) -> None:
        async with httpx.AsyncClient(timeout=SECONDS) as http:
            told = (await http.get(f"{url}/a2a/halved/.well-known/agent-card.json")).json()
            only = [one for one in told["supportedInterfaces"] if one["protocolVersion"] == "0.3"]
            card = ParseDict({**told, "supportedInterfaces": only}, AgentCard(), ignore_unknown_fields=True)
            for streaming in (True, False):
                speaking = ClientFactory(ClientConfig(streaming=streaming, httpx_client=http)).create(card)
                assert "compat" in type(speaking._transport).__module__  # type: ignore[attr-defined]
                gate = f"{name}-{streaming}"
                await release(url, gate)
                task = await sent(speaking, asked(metadata={"gate": gate, "count": 3}))
                assert text_of(MessageToDict(task)) == "0 1 2 3 4 5 "
                assert (await speaking.get_task(GetTaskRequest(id=task.id))).status.state == task.status.state

    play(lambda: act(base_url))
