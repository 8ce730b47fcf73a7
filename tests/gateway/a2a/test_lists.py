"""An agent's tasks: whose, in which order, page by page."""

from typing import Any

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.a2a.peer import Wire, asking, call, echo, send
from tests.house import House, bearer, give_key, open_house

pytestmark = pytest.mark.anyio


async def listed(house: House, agent: str, **params: Any) -> Wire:
    told: Wire = (await call(house, agent, "ListTasks", **params))["result"]
    return told


async def test_tasks_are_told_page_by_page_those_first_that_changed_last(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo, asking=asking) as house:
        tasks = [await send(house, "asking", contextId=f"c{number % 2}") for number in (0, 1)]
        tasks += [await send(house, "asking") for _ in range(3)]
        await send(house, "echo")
        done = await send(house, "asking", "yes", taskId=tasks[1]["id"])  # now it is the one that changed last
        pages, token = [], ""
        while not pages or token:
            pages.append(await listed(house, "asking", pageSize=2, pageToken=token))
            token = pages[-1]["nextPageToken"]
        whole = await listed(house, "asking")
        rest = (await house.client.get("/a2a/asking/tasks?pageSize=5", headers={"a2a-version": "1.0"})).json()
    told = [task["id"] for page in pages for task in page["tasks"]]
    assert told == [done["id"], *(tasks[number]["id"] for number in (4, 3, 2, 0))]
    assert [len(page["tasks"]) for page in pages] == [2, 2, 1]
    assert {page["totalSize"] for page in pages} == {5} and {page["pageSize"] for page in pages} == {2}
    assert [task["id"] for task in whole["tasks"]] == told and whole["pageSize"] == 50 and whole["nextPageToken"] == ""
    assert rest["tasks"] == whole["tasks"]


async def test_a_list_tells_no_more_of_a_task_than_is_asked_for(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        task = await send(house, "asking")
        (bare,) = (await listed(house, "asking"))["tasks"]
        (full,) = (await listed(house, "asking", includeArtifacts=True, historyLength=5))["tasks"]
    assert "artifacts" not in bare and not bare.get("history")
    assert bare["status"]["state"] == task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert [one["artifactId"] for one in full["artifacts"]] == [one["artifactId"] for one in task["artifacts"]]
    assert [one["messageId"] for one in full["history"]] == ["m1"]


async def test_tasks_are_found_by_context_state_and_the_time_of_their_last_change(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        first, second = await send(house, "asking"), await send(house, "asking", contextId="mine")
        done = await send(house, "asking", "yes", taskId=first["id"])
        wanted: list[Wire] = [
            {"contextId": "mine"}, {"status": "TASK_STATE_INPUT_REQUIRED"}, {"status": "TASK_STATE_FAILED"},
            {"statusTimestampAfter": done["status"]["timestamp"]}, {"contextId": "none"},
        ]  # fmt: skip
        by = [(await listed(house, "asking", **asked))["tasks"] for asked in wanted]
    found = [[task["id"] for task in tasks] for tasks in by]
    assert found == [[second["id"]], [second["id"]], [], [first["id"]], []]


async def test_a_page_that_cannot_be_is_refused(nats: EmbeddedServer, settings: Settings) -> None:
    bad: list[Wire] = [
        {"pageSize": 0}, {"pageSize": 101}, {"pageSize": -1}, {"pageToken": "x"}, {"pageToken": "ü"},
        {"historyLength": -1}, {"status": "TASK_STATE_NONE"}, {"status": 99}, {"statusTimestampAfter": "yesterday"},
        {"pageSize": "many"}, {"pageToken": "eyJ0cyI6bnVsbCwiaWQiOiJ4In0"},
    ]  # fmt: skip
    async with open_house(nats, settings, echo=echo) as house:
        told = [(await call(house, "echo", "ListTasks", **one))["error"] for one in bad]
        queries = [
            "pageSize=0",
            "pageSize=x",
            "status=NONE",
            "pageToken=%00",
            "historyLength=-1",
        ]
        rest = [await house.client.get(f"/a2a/echo/tasks?{one}", headers={"a2a-version": "1.0"}) for one in queries]
    assert [one["code"] for one in told] == [-32602] * len(bad)
    assert [one.status_code for one in rest] == [400] * len(queries)
    assert {one.json()["error"]["details"][0]["reason"] for one in rest} == {"INVALID_PARAMS"}


async def test_a_task_of_another_tenant_or_agent_is_no_task(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo, asking=asking) as house:
        acme, other = [bearer(await give_key(house, tenant=name)) for name in ("acme", "other")]
        task = await send(house, "asking", headers=acme)
        methods = ("GetTask", "CancelTask", "SubscribeToTask")
        told = [(await call(house, "asking", method, other, id=task["id"]))["error"] for method in methods]
        told += [(await call(house, "echo", method, acme, id=task["id"]))["error"] for method in methods]
        none = [(await call(house, "asking", method, other, id="nothing"))["error"] for method in methods]
        lists = [(await call(house, "asking", "ListTasks", key))["result"]["totalSize"] for key in (acme, other)]
        claimed = (await call(house, "asking", "ListTasks", other, tenant="acme"))["error"]
        own = (await call(house, "asking", "ListTasks", acme, tenant="acme"))["result"]
    assert {one["code"] for one in [*told, *none]} == {-32001}
    assert told[0]["message"].replace(task["id"], "nothing") == none[0]["message"]
    assert lists == [1, 0] and claimed["code"] == -32602 and own["totalSize"] == 1
