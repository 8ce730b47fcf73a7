"""The stage of every test of the run page."""

import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.page.stage import OpenStage


@pytest.fixture
def open_stage(nats: EmbeddedServer, settings: Settings) -> OpenStage:
    return OpenStage(nats, settings)
