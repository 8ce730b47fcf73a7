"""The official conformance suite of MCP in both eras: against the gateway, and against its endpoint with fixtures."""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.mcp_clients import fixture_server, suite

ERAS = ("2026-07-28", "2025-11-25")
EXPECTED = tomllib.loads((Path(__file__).parent / "mcp_expected.toml").read_text())["expected"]
PASSED_MIN = {("fixtures", "2026-07-28"): 161, ("fixtures", "2025-11-25"): 59,
              ("gateway", "2026-07-28"): 106, ("gateway", "2025-11-25"): 37}  # fmt: skip
"""Checks that are passed at least: a scenario may pass and still make fewer."""


@pytest.fixture(scope="session")
def fixtures_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = fixture_server(tmp_path_factory.mktemp("fixtures"))
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def check(server: str, era: str, url: str, folder: Path) -> None:
    found = suite(url, era, folder)
    failing = {name for name, verdict in found.items() if verdict.failed}
    expected = {
        name for one in EXPECTED if server in one["servers"] and era in one["eras"] for name in one["scenarios"]
    }
    assert failing == expected, f"not expected: {sorted(failing - expected)}; stale: {sorted(expected - failing)}"
    assert sum(verdict.passed for verdict in found.values()) >= PASSED_MIN[server, era]


@pytest.mark.requirement("mcp.suite")
@pytest.mark.parametrize("era", ERAS)
def test_the_gateway_passes_what_needs_no_fixture(era: str, base_url: str, tmp_path: Path) -> None:
    check("gateway", era, base_url, tmp_path)


@pytest.mark.requirement("mcp.suite", "mcp.fixtures")
@pytest.mark.parametrize("era", ERAS)
def test_the_same_endpoint_with_fixtures_passes_every_scored_scenario(
    era: str, fixtures_url: str, tmp_path: Path
) -> None:
    check("fixtures", era, fixtures_url, tmp_path)


@pytest.mark.requirement("mcp.suite")
def test_every_failure_that_is_expected_has_a_reason() -> None:
    for one in EXPECTED:
        assert set(one) == {"servers", "eras", "reason", "scenarios"} and one["reason"].endswith(".")
        assert set(one["servers"]) <= {"gateway", "fixtures"} and set(one["eras"]) <= set(ERAS)
