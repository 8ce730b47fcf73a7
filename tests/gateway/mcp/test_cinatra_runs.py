"""Starting runs, looking at them and listing them, as a client of Cinatra's tools does."""

import asyncio

import pytest

from gateway.auth import DEVELOPMENT
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import begun, polled, result, told
from tests.house import House, open_house

pytestmark = pytest.mark.anyio


async def messages(house: House, run_id: str, **more: str) -> list[tuple[str, str, str]]:
    listed = await told(house, "agent_run_messages_list", runId=run_id, **more)
    assert listed["total"] == len(listed["items"]) and listed["hasMore"] is False and listed["runId"] == run_id
    return [(one["role"], one["messageType"], one["body"]) for one in listed["items"]]


async def test_a_run_goes_from_queued_to_completed_and_its_messages_end_with_its_output(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "echo", message="hello")
        run = await polled(house, run_id, "completed")
        assert (run["streamedText"], run["error"], run["sourceType"]) == ("You said hello", None, "mcp")
        assert run["inputParams"] == {"message": "hello"} and run["statusUrl"].endswith(f"/agents/status/{run_id}")
        assert run["audit"]["summary"] == "started by development" and run["hitlContext"] is None
        assert run["createdAt"] <= run["startedAt"] <= run["completedAt"]
        assert await messages(house, run_id) == [
            ("user", "user", "hello"),
            ("assistant", "assistant", '[{"name":"look","arguments":"{\\"at\\":\\"it\\"}"}]'),
            ("tool", "tool", '{"seen":true}'),
            ("assistant", "final", "You said hello"),
        ]
        assert await messages(house, run_id, messageType="tool") == [("tool", "tool", '{"seen":true}')]


async def test_a_failed_run_ends_with_its_error_and_tells_no_secret(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        run_id = await begun(house, "failing")
        run = await polled(house, run_id, "failed")
        assert run["error"] == "The agent failed with RuntimeError."
        assert (await messages(house, run_id))[-1] == ("assistant", "final", run["error"])


async def test_a_result_is_the_final_message_and_parameters_are_held_to_their_schema(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        for given in ({"amount": 0}, {"amount": 1, "more": 2}, {}, "{", "[]", '{"amount":"x"}'):
            refused = await told(house, "agent_run", templateId="ordered", inputParams=given)
            assert list(refused) == ["error"] and "inputParams" in refused["error"], given
        run = await told(house, "agent_run", packageName="ordered", inputParams='{"amount":3}')
        record = await polled(house, run["runId"], "completed")
        assert record["packageVersion"] == "1.2.0" and record["inputParams"] == {"amount": 3}
        assert (await messages(house, run["runId"]))[-1] == ("assistant", "final", '{"amount":3}')
        assert (await told(house, "agent_run_list"))["total"] == 1


async def test_a_start_is_refused_as_an_ordinary_result_where_its_target_is_not_one_agent(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        for given in ({}, {"templateId": "echo", "packageName": "echo"}):
            assert "exactly one" in (await told(house, "agent_run", **given))["error"]
        unknown = await told(house, "agent_run", templateId="nobody")
        assert unknown["code"] == "AGENT_UNAVAILABLE" and "nobody" in unknown["error"]
        large = await told(house, "agent_run", templateId="echo", inputParams={"message": "x" * 70_000})
        assert "65536" in large["error"]


async def test_a_start_sent_twice_under_one_key_is_one_run(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        key = {"idempotency-key": "k1"}
        want = {"templateId": "echo", "inputParams": {"message": "a"}}
        first, again = [await result(house, "agent_run", want, **key) for _ in range(2)]
        other = await result(house, "agent_run", want | {"inputParams": {"message": "b"}}, **key)
        assert first["structuredContent"] == again["structuredContent"]
        assert "belongs to another request" in other["structuredContent"]["error"]


async def test_working_time_is_bounded_and_stands_still_while_the_run_waits(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        late = await told(house, "agent_run", templateId="silent", timeoutSeconds=1)
        waits = await told(house, "agent_run", templateId="review", timeoutSeconds=1)
        run = await polled(house, late["runId"], "failed")
        assert run["timeoutSeconds"] == 1 and run["error"] == "The run took longer than 1 s."
        failed = await house.engine.state(late["runId"], DEVELOPMENT)
        assert failed.error is not None and failed.error["code"] == "timeout"
        assert (await told(house, "agent_run_get", runId=waits["runId"]))["status"] == "pending_approval"
        await told(house, "agent_run_resume", runId=waits["runId"])
        await polled(house, waits["runId"], "completed")


async def test_a_list_pages_through_120_runs_without_loss_and_filters_by_agent_status_and_time(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        ids: list[str] = []
        for _ in range(10):  # a dozen at a time: a busy machine must not let a client's patience run out
            ids += await asyncio.gather(*(begun(house, "review" if n % 3 else "echo") for n in range(12)))
        for run_id in ids:
            await polled(house, run_id, "completed", "pending_approval")
        seen: list[str] = []
        page = {"nextCursor": None}
        while "nextCursor" in page:
            more = {"cursor": page["nextCursor"]} if page["nextCursor"] else {}
            page = await told(house, "agent_run_list", limit=50, **more)
            assert page["total"] == 120
            seen += [one["id"] for one in page["items"]]
        assert len(seen) == 120 and set(seen) == set(ids)

        async def count(**wanted: object) -> int:
            return int((await told(house, "agent_run_list", limit=1, **wanted))["total"])

        assert await count(templateId="echo") == await count(status="completed") == 40
        assert await count(packageName="review", status="pending_approval") == 80
        assert await count(templateIds=["echo", "review"], templateId="nobody") == 120
        first = (await told(house, "agent_run_list", limit=200))["items"][-1]
        assert await count(createdAfter=first["createdAt"]) == 120
        assert await count(createdBefore=first["createdAt"]) == 0
        assert (await told(house, "agent_run_list", cursor="nonsense", limit=1))["items"][0]["id"] == seen[0]


async def test_a_list_shows_short_parameters_and_null_for_long_ones(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        await begun(house, "echo", message="short")
        await begun(house, "echo", message="x" * 5_000)
        listed = await told(house, "agent_run_list")
        assert [one["inputParams"] for one in listed["items"]] == [None, {"message": "short"}]


async def test_of_many_words_a_poll_tells_the_last_64_ki(nats: EmbeddedServer, settings: Settings) -> None:
    async def talking(run: object) -> object:
        for number in range(200):
            yield f"{number:04d}" * 250

    async with open_house(nats, settings, talking=talking) as house:
        run = await polled(house, await begun(house, "talking"), "completed")
        assert len(run["streamedText"]) == 65_536 and run["streamedText"].endswith("0199" * 250)
        assert len((await messages(house, run["runId"]))[-1][2]) == 200_000


async def test_an_unknown_run_is_told_in_the_fixed_words(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings) as house:
        for tool in ("agent_run_get", "agent_run_messages_list", "agent_run_resume", "agent_run_stop"):
            assert await told(house, tool, runId="nope") == {"error": "Run not found: nope"}
        assert "error" in await told(house, "agent_run_get", runId="é" * 200)
