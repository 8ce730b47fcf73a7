"""Where dialects stand: under their names, moved, or not at all."""

import pytest

from gateway.dialect import NAMES, places
from protocol.errors import Invalid
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import open_house


def test_each_dialect_stands_under_its_name_unless_it_is_moved() -> None:
    assert places(Settings().dialects) == {name: f"/{name}" for name in NAMES}
    assert places("arkloop=/other/runs, cinatra") == {"arkloop": "/other/runs", "cinatra": "/cinatra"}
    assert places("none") == {}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("acme", "'acme'; there are cinatra,"),
        ("cinatra,", "''; there are"),
        ("cinatra,cinatra=/c", "cinatra twice"),
        ("middesk=/v1", "puts middesk at '/v1'"),
        ("middesk=v", "puts middesk at 'v'"),
        ("middesk=/a//b", "puts middesk at '/a//b'"),
        ("middesk=/m,arkloop=/m", "where arkloop is"),
        ("middesk=/m,arkloop=/m/a", "where middesk is"),
    ],
)
def test_a_place_that_cannot_be_is_refused_by_name(setting: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        places(setting)


@pytest.mark.anyio
async def test_a_dialect_that_is_moved_or_off_leaves_nothing_behind(nats: EmbeddedServer, settings: Settings) -> None:
    moved = settings.model_copy(update={"dialects": "cinatra=/else/where"})
    async with open_house(nats, moved) as house:
        there = await house.client.get("/else/where/api/a2a")
        assert (there.status_code, there.json()) == (400, {"error": "taskId is missing: name the run to follow."})
        for gone in ("/cinatra/api/a2a", "/veryfront/mcp", "/arkloop/v1/runs"):
            assert (await house.client.get(gone)).status_code == 404, gone
        assert (await house.client.get("/else/where/nothing")).text == "Not Found"
        assert (await house.client.post("/else/where/api/mcp")).status_code == 415
    async with open_house(nats, settings.model_copy(update={"dialects": "none"})) as house:
        for gone in ("/api/a2a", "/api/mcp", "/cinatra/agents/status/r"):
            assert (await house.client.get(gone)).status_code == 404, gone
        assert (await house.client.get("/agents/status/r")).status_code == 200
