"""Where the hocket under test is: at --base-url, or freshly started; and what speaks to it."""

import contextlib
import tomllib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from conformance import agents
from conformance.a2a.peer import BINDINGS, Peer
from conformance.dialects import arkloop
from conformance.dialects.scene import Clients, clients
from conformance.driver import Driver, open_driver
from conformance.started import started

WAIT_SECONDS = 20.0
_REQUIREMENTS = Path(__file__).parent / "requirements"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base-url", help="the gateway under test; without it a fresh `hocket dev` is started")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(id, ...): the requirements that a test shows")


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = request.config.getoption("--base-url")
    if given:
        yield given.rstrip("/")
        return
    settings = {"HOCKET_AGUI_EXTERNAL_ENABLED": "true", "HOCKET_PUSH_LOOPBACK_ENABLED": "true"}
    with _fresh(tmp_path_factory.mktemp("hocket"), **settings) as url:
        yield url


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> "Callable[..., contextlib.AbstractContextManager[str]]":
    """Starts another hocket with settings of its own, for what only a setting decides."""
    if request.config.getoption("--base-url"):
        pytest.skip("this starts a hocket with other settings, which a gateway that runs already cannot have")
    return lambda **settings: _fresh(tmp_path, **settings)


def _fresh(folder: Path, **settings: str) -> contextlib.AbstractContextManager[str]:
    """A hocket of its own, with the agents under test and these settings alone, on a free port."""
    source = Path(agents.__file__).resolve()
    return started(folder, {name: f"{source}:{name}" for name in agents.NAMES}, **settings)


@pytest.fixture(scope="session")
def agui(base_url: str) -> Iterator[Driver]:
    with open_driver("agui.mjs", base_url) as driver:
        yield driver


@pytest.fixture(scope="session")
def copilotkit(base_url: str) -> Iterator[Driver]:
    with open_driver("copilotkit.mjs", base_url) as driver:
        yield driver


@pytest.fixture(scope="session")
def http(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, timeout=WAIT_SECONDS) as client:
        yield client


@pytest.fixture(params=BINDINGS)
def peer(request: pytest.FixtureRequest, http: httpx.Client) -> Peer:
    """A peer of the agent `plain` in each of A2A's bindings; `to` makes it one of another agent's."""
    return Peer(http, "plain", request.param)


@pytest.fixture
def rpc(http: httpx.Client) -> Peer:
    """A peer over JSON-RPC alone, for what no binding changes."""
    return Peer(http, "plain", "JSONRPC")


@pytest.fixture(scope="session")
def dialects(base_url: str) -> Iterator[Clients]:
    """A client of each of the five run APIs."""
    with clients(base_url) as made:
        yield made


@pytest.fixture
def ark(base_url: str) -> arkloop.Client:
    return arkloop.Client(base_url)


@pytest.fixture
def name() -> str:
    """A name of this test's own for threads, runs and gates."""
    return uuid.uuid4().hex[:12]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of a known gap must fail, and says why; once it passes the gap must go."""
    gaps = {one["id"]: one["gap"] for path in _REQUIREMENTS.glob("*.toml") for one in _read(path) if "gap" in one}
    for item in items:
        for marker in item.iter_markers("requirement"):
            for requirement in marker.args:
                if requirement in gaps:
                    item.add_marker(pytest.mark.xfail(reason=gaps[requirement], strict=True))


def _read(path: Path) -> list[dict[str, str]]:
    requirements: list[dict[str, str]] = tomllib.loads(path.read_text())["requirement"]
    return requirements
