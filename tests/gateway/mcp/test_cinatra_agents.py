"""What agents there are and how they are described, as a client of Cinatra's tools reads it."""

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.mcp import people
from tests.gateway.mcp.desk import result, told
from tests.house import House, open_house

pytestmark = pytest.mark.anyio


async def ids(house: House, **wanted: object) -> list[str]:
    return [one["id"] for one in (await told(house, "agent_list", **wanted))["items"]]


async def test_agents_are_listed_filtered_and_paged_through(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        whole = await told(house, "agent_list")
        assert [one["id"] for one in whole["items"]] == sorted(people.ALL) and whole["total"] == len(people.ALL)
        assert "nextCursor" not in whole and all(one["createdAt"] for one in whole["items"])
        assert {one["packageName"]: one["name"] for one in whole["items"]}["ordered"] == "Orders"
        assert await ids(house, query="REVIEW") == ["review"] and await ids(house, packageName="free") == ["free"]
        assert await ids(house, status="published") == sorted(people.ALL) and await ids(house, status="draft") == []
        seen: list[str] = []
        page = {"nextCursor": "malformed"}  # a malformed cursor is the first page
        while "nextCursor" in page:
            page = await told(house, "agent_list", limit=3, cursor=page["nextCursor"])
            seen += [one["id"] for one in page["items"]]
        assert seen == sorted(people.ALL) and await ids(house, offset=6) == sorted(people.ALL)[6:]
        for bad in ({"limit": 0}, {"limit": 201}, {"status": "other"}, {"more": 1}):
            assert (await result(house, "agent_list", bad))["isError"]


async def test_a_definition_is_read_by_package_or_slug_and_by_one_of_them(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        listed = (await told(house, "agent_source_list"))["items"]
        assert {one["path"] for one in listed} == {f"agents/{name}" for name in people.ALL}
        definition = await told(house, "agent_source_read", packageName="ordered")
        assert definition == await told(house, "agent_source_read", packageSlug="ordered")
        assert definition["path"] == "agents/ordered" and definition["content"] == {
            "packageName": "ordered", "version": "1.2.0", "name": "Orders", "description": "Takes an amount, and "
            "finishes with a result.", "inputSchema": people.ORDER,
            "hitlScreens": [{"id": "approve", "xRenderer": "acme:approve", "schema": people.REVIEW}]}  # fmt: skip
        for bad in ({}, {"packageName": "echo", "packageSlug": "echo"}, {"packageName": "nobody"},
                    {"packageSlug": "..secret"}):  # fmt: skip
            assert list(await told(house, "agent_source_read", **bad)) == ["error"]
        assert (await result(house, "agent_source_read", {"packageSlug": "a/b"}))["isError"]


async def test_an_agent_keeps_the_time_at_which_it_was_first_announced(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, **people.ALL) as house:
        before = (await told(house, "agent_list", packageName="echo"))["items"]
    async with open_house(nats, settings, **people.ALL) as house:
        assert (await told(house, "agent_list", packageName="echo"))["items"] == before
