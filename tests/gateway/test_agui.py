"""The AG-UI face over HTTP."""

import json
from typing import Any

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import agui_input, open_house

pytestmark = pytest.mark.anyio


async def greeter(run: Any) -> Any:
    yield "Hello, "
    yield "you"


def data_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def test_a_run_streams_its_events_and_ends(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, greeter=greeter) as house:
        answer = await house.client.post("/agui/greeter", json=agui_input())
    assert answer.status_code == 200
    assert [event["type"] for event in data_of(answer.text)] == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
