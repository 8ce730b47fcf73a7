"""A peer's message: a new task, or the answer to what a task has asked."""

import asyncio
import re
from typing import Any

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.a2a.peer import VERSION, Wire, asking, call, echo, later, message, send, texts
from tests.house import WAIT_SECONDS, bearer, give_key, open_house, take_key

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


async def two(run: Any) -> Any:
    if not run.answers:
        yield run.interrupts(run.question("One?", id="one"), run.question("Two?", id="two", response_schema=SCHEMA))
    else:
        yield f"{run.answers['one'].status} {run.answers['two'].payload}"


async def strict(run: Any) -> Any:
    if not run.answers:
        yield run.interrupt("How much?", id="q", response_schema=SCHEMA)
    else:
        yield f"{run.answers['q'].payload}"


async def twice(run: Any) -> Any:
    asked = len(run.answers)
    yield f"{sorted(one.text for one in run.answers.values())}" if asked >= 4 else run.interrupt("Again?")


async def slow(run: Any) -> Any:
    yield "Thinking"
    await run.cancelled


async def parts(run: Any) -> Any:
    said = run.input.messages[-1]
    yield run.custom("seen", 1)
    yield run.state({"content": said.model_dump(by_alias=True, exclude_none=True)["content"], "noted": said.metadata,
                     "props": run.input.forwarded_props})  # fmt: skip


async def test_a_blocking_message_is_answered_with_the_task_that_it_became(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        task = await send(house, "echo", "hello", metadata={"team": "blue", "n": 3})
        again = (await call(house, "echo", "GetTask", id=task["id"]))["result"]
        run = (await house.client.get(f"/v1/runs/{task['id']}?include=messages")).json()
    assert task == again and task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert texts(task) == ["You said: hello"] and task["metadata"] == {"team": "blue", "n": 3}
    (sent,) = task["history"]
    assert (sent["messageId"], sent["role"], sent["parts"]) == ("m1", "ROLE_USER", [{"text": "hello"}])
    assert (sent["taskId"], sent["contextId"]) == (task["id"], task["contextId"]) == (run["id"], run["thread_id"])
    assert [one["role"] for one in run["messages"]] == ["user", "assistant"]


async def test_a_message_that_is_not_to_wait_is_answered_at_once_and_with_no_more_history_than_wanted(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, slow=slow) as house:
        task = await later(house, "slow")
        configuration = {"returnImmediately": True, "historyLength": 0}
        bare = await send(house, "slow", configuration=configuration)
    assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    assert len(task["history"]) == 1 and "history" not in bare


async def test_a_context_is_continued_and_each_task_has_its_own_history(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        first = await send(house, "echo", "one", contextId="my context")
        second = await send(house, "echo", "two", contextId="my context")
        thread = (await house.client.get("/v1/threads/my%20context/messages")).json()["messages"]
    assert first["contextId"] == second["contextId"] == "my context" and first["id"] != second["id"]
    assert [one["parts"] for one in second["history"]] == [[{"text": "two"}]] and texts(second) == ["You said: two"]
    assert [one["content"] for one in thread] == ["one", "You said: one", "two", "You said: two"]


async def test_a_context_with_a_task_at_work_takes_no_second_one_and_names_the_first(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, slow=slow) as house:
        task = await later(house, "slow", contextId="c")
        refused = (await call(house, "slow", "SendMessage", **message(contextId="c")))["error"]
        told = (await call(house, "slow", "SendMessage", **message(taskId=task["id"])))["error"]
    assert refused["code"] == -32004 and refused["data"][0]["metadata"]["taskId"] == task["id"]
    assert told["code"] == -32004 and "at work" in told["message"]


async def test_a_question_is_shown_to_people_and_programs_and_answered_by_the_next_message(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        task = await send(house, "asking")
        asked = task["status"]["message"]
        wrong = (await call(house, "asking", "SendMessage", **message(taskId=task["id"], contextId="other")))["error"]
        done = await send(house, "asking", "sure", taskId=task["id"], messageId="m2")
        over = (await call(house, "asking", "SendMessage", **message(taskId=task["id"])))["error"]
        audit = (await house.client.get(f"/v1/runs/{task['id']}/audit")).json()["audit"]
    assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED" and texts(task) == ["Well. "]
    text, data = asked["parts"]
    assert text == {"text": "Really?"} and data["data"]["interrupts"][0]["reason"] == "confirmation"
    assert wrong["code"] == -32602 and "contextId" in wrong["message"]
    assert done["id"] == task["id"] and done["contextId"] == task["contextId"]
    assert texts(done) == ["Well. ", "'sure'"] and done["status"]["state"] == "TASK_STATE_COMPLETED"
    roles = [(one["messageId"], one["role"]) for one in done["history"]]
    assert roles == [("m1", "ROLE_USER"), (asked["messageId"], "ROLE_AGENT"), ("m2", "ROLE_USER")]
    assert over["code"] == -32004
    assert [(one["what"], one["face"]) for one in audit if one["what"] == "answered"] == [("answered", "a2a")]


async def test_an_answer_is_data_or_text_or_json_as_its_schema_takes_it(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, strict=strict) as house:
        told = []
        for given in (
            [{"data": {"amount": 5}}],
            [{"text": '{"amount": 6}'}],
            [{"text": "Here"}, {"data": {"amount": 7}}],
        ):
            task = await send(house, "strict")
            told += texts(await send(house, "strict", taskId=task["id"], parts=given))
        task = await send(house, "strict")
        refused = [
            (await call(house, "strict", "SendMessage", **message(taskId=task["id"], parts=given)))["error"]
            for given in ([{"text": "five"}], [{"data": {"amount": "five"}}], [{"text": "[1]"}], [{"url": "http://x"}],
                          [{"data": {"amount": 1}}, {"data": {"amount": 2}}])
        ]  # fmt: skip
        still = (await call(house, "strict", "GetTask", id=task["id"]))["result"]
    assert told == ["{'amount': 5}", "{'amount': 6}", "{'amount': 7}"]
    assert [one["code"] for one in refused] == [-32602] * 5
    (field,) = refused[1]["data"][1]["fieldViolations"]
    assert field["field"] == "q/amount" and "integer" in field["description"]
    assert still["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"


async def test_several_questions_are_answered_by_name(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, two=two) as house:
        task = await send(house, "two")
        one = {"interruptId": "one", "status": "cancelled"}
        both = [one, {"interruptId": "two", "payload": {"amount": 1}}]
        bad: list[Any] = [[{"text": "yes"}], [{"data": {"answers": [one]}}], [{"data": {"answers": []}}],
                          [{"data": {"answers": [{"interruptId": 5}]}}],
                          [{"data": {"answers": [{**one, "status": "x"}]}}]]  # fmt: skip
        refused = [
            (await call(house, "two", "SendMessage", **message(taskId=task["id"], parts=given)))["error"]
            for given in bad
        ]
        done = await send(house, "two", taskId=task["id"], parts=[{"data": {"answers": both}}])
    assert [one["code"] for one in refused] == [-32602] * 5
    assert "'one', 'two'" in refused[0]["message"] and "'two'" in refused[1]["message"]
    assert texts(done) == ["cancelled {'amount': 1}"]


async def test_of_racing_answers_one_is_taken_and_the_others_are_told_who_gave_it(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, asking=asking) as house:
        task = await send(house, "asking")
        told = await asyncio.gather(
            *(call(house, "asking", "SendMessage", **message(f"{n}", taskId=task["id"])) for n in range(20))
        )
    won = [one["result"]["task"] for one in told if "result" in one]
    lost = [one["error"] for one in told if "error" in one]
    assert len(won) == 1 and len(lost) == 19 and {one["code"] for one in lost} == {-32004}


async def test_a_key_makes_a_repeated_message_the_same_one_and_nothing_else_does(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo, twice=twice) as house:
        key = {"idempotency-key": "k1"}
        first, second = await asyncio.gather(*(send(house, "echo", headers=key) for _ in range(2)))
        other = (await call(house, "echo", "SendMessage", key, **message("other")))["error"]
        plain = [await send(house, "echo") for _ in range(2)]
        task = await send(house, "twice")
        for number in range(2):
            for _ in range(3):  # the second and the third are the first again, though the task asks anew by then
                task = await send(
                    house, "twice", f"{number}", taskId=task["id"], headers={"idempotency-key": f"a{number}"}
                )
    assert first["id"] == second["id"] and other["code"] == -32602
    assert len({one["id"] for one in plain} | {first["id"]}) == 3
    assert [one["parts"][0]["text"] for one in task["history"] if one["role"] == "ROLE_USER"] == ["hi", "0", "1"]


async def test_what_a_message_holds_reaches_the_agent_and_comes_back_in_the_history(
    nats: EmbeddedServer, settings: Settings
) -> None:
    given: list[Wire] = [
        {"text": "look"},
        {"text": "# T", "mediaType": "text/markdown", "metadata": {"a": 1}},
        {"raw": "aGk=", "mediaType": "image/png", "filename": "x.png"},
        {"raw": "aGk="},
        {"url": "https://example.com/a.mp4", "mediaType": "video/mp4"},
        {"url": "https://example.com/a"},
        {"data": {"n": [1, 2.5, None, "ü"]}},
    ]
    async with open_house(nats, settings, parts=parts) as house:
        more = {"extensions": ["urn:x"], "referenceTaskIds": ["t0"], "messageId": "mine"}
        configuration = {"acceptedOutputModes": ["text/plain"]}
        task = await send(house, "parts", parts=given, configuration=configuration, **more)
    (state,) = (one["parts"][0]["data"] for one in task["artifacts"] if one["artifactId"] == "state")
    kinds = [one["type"] for one in state["content"]]
    assert kinds == ["text", "text", "image", "document", "video", "document", "text"]
    assert state["content"][2]["source"] == {"type": "data", "value": "aGk=", "mimeType": "image/png"}
    assert state["noted"]["a2a"] == more | {"messageId": "mine"}
    assert state["props"]["a2a"]["acceptedOutputModes"] == ["text/plain"]
    (sent,) = task["history"]
    given[3]["mediaType"] = "application/octet-stream"
    assert sent["parts"] == given
    assert {name: sent[name] for name in more} == more


async def test_an_agent_may_reject_answer_with_a_message_ask_for_a_credential_or_fail(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def rejects(run: Any) -> Any:
        yield {"type": "RUN_ERROR", "code": "REJECTED", "message": "Not this."}

    async def replies(run: Any) -> Any:
        yield {"type": "RUN_FINISHED", "result": {"a2aMessage": {"parts": [{"text": "Direct"}]}}}

    async def logs_in(run: Any) -> Any:
        yield run.interrupt("Who are you?", reason="auth_required")

    async def fails(run: Any) -> Any:
        yield "Oh"
        raise RuntimeError("secret")

    agents = {"rejects": rejects, "replies": replies, "logs_in": logs_in, "fails": fails}
    async with open_house(nats, settings, **agents) as house:
        rejected, login, failed = [await send(house, name) for name in ("rejects", "logs_in", "fails")]
        reply = (await call(house, "replies", "SendMessage", **message()))["result"]
        listed = (await call(house, "rejects", "ListTasks", status="TASK_STATE_REJECTED"))["result"]["tasks"]
        none = (await call(house, "rejects", "ListTasks", status="TASK_STATE_FAILED"))["result"]["tasks"]
    assert rejected["status"]["state"] == "TASK_STATE_REJECTED"
    assert rejected["status"]["message"]["parts"] == [{"text": "Not this."}]
    assert reply["message"]["parts"] == [{"text": "Direct"}] and reply["message"]["role"] == "ROLE_AGENT"
    assert login["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
    assert failed["status"]["state"] == "TASK_STATE_FAILED" and "secret" not in f"{failed}" and texts(failed) == ["Oh"]
    assert [one["id"] for one in listed] == [rejected["id"]] and none == []


async def test_an_agent_that_declares_its_input_modes_is_sent_nothing_else(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async def reader(run: Any) -> Any:
        yield "ok"

    reader.hocket = {"input_modes": ["text/plain"]}  # type: ignore[attr-defined]
    async with open_house(nats, settings, reader=reader) as house:
        refused = await call(
            house, "reader", "SendMessage", **message(parts=[{"raw": "aGk=", "mediaType": "image/png"}])
        )
        taken = await send(house, "reader", parts=[{"text": "x", "mediaType": "text/plain"}])
    assert refused["error"]["code"] == -32005 and "image/png" in refused["error"]["message"]
    assert texts(taken) == ["ok"]


async def test_a_cancel_ends_the_run_and_a_second_one_is_told_so(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, slow=slow, asking=asking) as house:
        task, waiting = await later(house, "slow"), await send(house, "asking")
        for agent, one in (("slow", task), ("asking", waiting)):
            told = (await call(house, agent, "CancelTask", id=one["id"]))["result"]
            assert (told["id"], told["status"]["state"]) == (one["id"], "TASK_STATE_CANCELED")
            run = (await house.client.get(f"/v1/runs/{one['id']}")).json()
            assert run["status"] == "cancelled"
            assert (await call(house, agent, "CancelTask", id=one["id"]))["error"]["code"] == -32002


async def test_who_waits_with_a_key_that_is_revoked_meanwhile_is_told_nothing_of_the_task(
    nats: EmbeddedServer, settings: Settings
) -> None:
    gate = asyncio.Event()

    async def patient(run: Any) -> Any:
        await gate.wait()
        yield "secret"

    async with open_house(nats, settings, patient=patient) as house:
        key, watcher = await give_key(house), bearer(await give_key(house))
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message()}
        headers = VERSION | bearer(key)
        waiting = asyncio.create_task(house.client.post("/a2a/patient", json=body, headers=headers))
        async with asyncio.timeout(WAIT_SECONDS):
            while not (await house.client.get("/v1/runs", headers=watcher)).json()["runs"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await take_key(house, key)
        gate.set()
        answer = await waiting
    assert answer.status_code == 401 and "secret" not in answer.text


async def test_a_poll_is_written_as_the_stream_is(nats: EmbeddedServer, settings: Settings) -> None:
    async def counts(run: Any) -> Any:
        yield run.artifact({"data": {"sum": 3, "part": 0.5, "large": 2**53 + 1}})

    async with open_house(nats, settings, counts=counts) as house:
        task = await send(house, "counts")
        got = await house.client.get(f"/a2a/counts/tasks/{task['id']}", headers=VERSION)
        plain = await house.client.get(
            f"/a2a/counts/tasks/{task['id']}", headers=VERSION | {"content-type": "application/json"}
        )
        listed = await house.client.get("/a2a/counts/tasks?includeArtifacts=true", headers=VERSION)
    assert got.json() == task == listed.json()["tasks"][0] | {"history": task["history"]}
    assert all('"sum":3,"part":0.5,"large":9007199254740993' in answer.text for answer in (got, plain, listed))
    assert re.fullmatch(r".+T\d\d:\d\d:\d\d\.\d{3}Z", task["status"]["timestamp"])
    assert [answer.headers["content-type"] for answer in (got, plain)] == ["application/a2a+json", "application/json"]
