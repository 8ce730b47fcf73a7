"""Fixtures: a nats-server, a log and settings of its own for every test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol.entries import Principal
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings, load


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def by() -> Principal:
    return Principal("default", "tester", "development", "Tester")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({}, data=tmp_path / "data", ack_wait_s=2.0, append_timeout_s=10.0)


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "nats")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def log(nats: EmbeddedServer) -> AsyncIterator[Log]:
    opened = await Log.open(nats.url, "test", append_timeout_s=10.0)
    yield opened
    await opened.close()
