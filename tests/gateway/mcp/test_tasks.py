"""The Tasks extension: a run under the name of a task, for clients that declare it."""

import asyncio
from typing import Any

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import Json, polled, post
from tests.house import WAIT_SECONDS, House, open_house

pytestmark = pytest.mark.anyio
EXTENSION = "io.modelcontextprotocol/tasks"


async def ask(house: House, method: str, named: str, declares: bool = True, /, **params: Any) -> tuple[int, Json]:
    """The status and the result or error of a modern request."""
    capabilities = {"extensions": {EXTENSION: {}}} if declares else {}
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": capabilities}  # fmt: skip
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method, "mcp-name": named,
               "accept": "application/json, text/event-stream"}  # fmt: skip
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    answer = await house.client.post("/mcp", json=body, headers=headers)
    told = answer.json()
    return answer.status_code, told.get("result") or told["error"]


async def begin(house: House, agent: str, **arguments: Any) -> Json:
    name = f"run_{agent}"
    _, task = await ask(house, "tools/call", name, name=name, arguments=arguments or {"message": "hi"})
    assert task["resultType"] == "task" and task["ttlMs"] is None and task["pollIntervalMs"] > 0, task
    assert task["createdAt"] <= task["lastUpdatedAt"] and "result" not in task
    return task


async def reached(house: House, task_id: str, status: str) -> Json:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            _, task = await ask(house, "tasks/get", task_id, taskId=task_id)
            assert task["resultType"] == "complete" and task["taskId"] == task_id
            if task["status"] == status:
                return task
            await asyncio.sleep(0.02)


async def test_a_run_is_a_task_from_working_to_completed_with_the_tools_own_result(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        task = await begin(house, "echo")
        done = await reached(house, task["taskId"], "completed")
        assert done["result"]["structuredContent"]["output"] == "You said hi" and "isError" not in done["result"]
        assert (await polled(house, task["taskId"], "completed"))["streamedText"] == "You said hi"
        failed = await reached(house, (await begin(house, "failing"))["taskId"], "completed")
        assert failed["result"]["isError"] is True


async def test_a_question_is_answered_by_update_once_and_other_answers_are_passed_over(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        task_id = (await begin(house, "review"))["taskId"]
        waits = await reached(house, task_id, "input_required")
        ((gate, asked),) = waits["inputRequests"].items()
        assert asked["method"] == "elicitation/create" and asked["params"]["message"] == "OK?"
        answers = {gate: {"action": "accept", "content": {"approved": True}}, "other": {"action": "accept"}}
        for _ in range(2):
            status, told = await ask(house, "tasks/update", task_id, taskId=task_id, inputResponses=answers)
            assert status == 200 and told["resultType"] == "complete"
        done = await reached(house, task_id, "completed")
        assert '"approved": true' in done["result"]["structuredContent"]["output"]


async def test_a_task_is_cancelled_cooperatively_and_a_repeat_is_harmless(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        task_id = (await begin(house, "silent"))["taskId"]
        await reached(house, task_id, "working")
        for _ in range(2):
            assert (await ask(house, "tasks/cancel", task_id, taskId=task_id))[0] == 200
        await reached(house, task_id, "cancelled")


async def test_a_question_that_is_no_form_leaves_the_task_working_and_says_where_to_answer(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def odd(run: Any) -> Any:
        """Asks for a list."""
        yield run.interrupt("Which?", response_schema={"type": "array"})

    async with open_house(nats, settings, odd=odd) as house:
        task_id = (await begin(house, "odd"))["taskId"]
        await polled(house, task_id, "pending_approval")
        task = await reached(house, task_id, "working")
        assert task["statusMessage"].endswith(f"/agents/status/{task_id}")


async def test_only_clients_that_declare_the_extension_are_handed_tasks(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        _, told = await ask(house, "tools/call", "run_echo", False, name="run_echo", arguments={"message": "hi"})
        assert told["resultType"] == "complete" and told["structuredContent"]["status"] == "completed"
        run_id = told["structuredContent"]["runId"]
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            status, error = await ask(house, method, run_id, False, taskId=run_id)
            assert (status, error["code"]) == (400, -32021)
            assert EXTENSION in error["data"]["requiredCapabilities"]["extensions"]
            legacy = await post(house, method, {"taskId": run_id})
            assert legacy.json()["error"]["code"] == -32601
            status, error = await ask(house, method, "other", taskId=run_id)
            assert (status, error["code"]) == (400, -32020)
            status, error = await ask(house, method, "nope", taskId="nope")
            assert (status, error["code"]) == (400, -32602)
        _, listed = await ask(house, "server/discover", "")
        assert EXTENSION in listed["capabilities"]["extensions"]
