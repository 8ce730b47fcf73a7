"""Runs the official A2A TCK against a fresh hocket and holds its result against the waivers.

    python -m conformance.a2a.tck --tck FOLDER [--python PYTHON] [--reports FOLDER]

The TCK runs twice, for what an agent offers decides which of its tests run: with every capability on, and with none.
Ends with 0 where each failure is one that `tck_waivers.toml` names for that profile and each waiver was needed.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.started import started

HERE = Path(__file__).resolve().parent
AGENT = HERE / "sut_agent.py"
TRANSPORTS = "jsonrpc,http_json"
RUN_SECONDS = 900.0
PROFILES = {"on": "streaming,push,extended_card", "off": "none"}
"""HOCKET_A2A_CAPABILITIES by the profile's name."""
RAN = ("PASS", "FAIL")


@dataclass(frozen=True, slots=True)
class Waiver:
    """A failure that is the TCK's own: of the requirement `id`, where `profiles` say, and of the tests whose names
    contain one of `tests`."""

    id: str
    profiles: tuple[str, ...]
    tests: tuple[str, ...]
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of the TCK has found: its report by requirement, and the tests that failed, by name."""

    profile: str
    requirements: dict[str, dict[str, Any]]
    transports: dict[str, dict[str, int]]
    failed_tests: list[str]
    counts: Counter[str]


def waivers() -> list[Waiver]:
    told = tomllib.loads((HERE / "tck_waivers.toml").read_text()).get("waiver", [])
    return [
        Waiver(one["id"], tuple(one["profiles"]), tuple(one.get("tests", ())), one["reason"], one["source"])
        for one in told
    ]


def run(tck: Path, python: str, profile: str, reports: Path) -> Result:
    """One run against a hocket of its own."""
    folder = reports / profile
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"HOCKET_A2A_CAPABILITIES": PROFILES[profile], "HOCKET_PUSH_LOOPBACK_ENABLED": "true"}
    with started(folder, {"tck": f"{AGENT}:tck"}, **settings) as url:
        wanted = [
            python, "-m", "pytest", "tests/compatibility/", f"--sut-host={url}", f"--transport={TRANSPORTS}", "-q",
            "--tb=short", "-p", "no:cacheprovider", f"--compatibility-report={folder / 'compatibility'}",
            f"--junitxml={folder / 'junit.xml'}",
        ]  # fmt: skip
        with (folder / "tck.txt").open("wb") as output:
            subprocess.run(wanted, cwd=tck, stdout=output, stderr=subprocess.STDOUT, timeout=RUN_SECONDS, check=False)
    report = folder / "compatibility.json"
    if not report.exists():
        raise SystemExit(f"The TCK has written no report:\n{(folder / 'tck.txt').read_text()}")
    told = json.loads(report.read_text())
    failed, counts = read_tests(folder / "junit.xml")
    return Result(profile, told["per_requirement"], told["per_transport"], failed, counts)


def read_tests(path: Path) -> tuple[list[str], Counter[str]]:
    """The tests that failed, and how many passed, failed and were skipped. An expected failure counts as skipped."""
    failed, counts = [], Counter[str]()
    for case in ET.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        counts[kind] += 1
        if kind == "failed":
            failed.append(f"{case.get('classname')}::{case.get('name')}")
    return failed, counts


def judge(result: Result, known: list[Waiver]) -> list[str]:
    """What is wrong with a result: failures that nothing waives, and waivers that nothing needs."""
    mine = [one for one in known if result.profile in one.profiles]
    failed = {id_ for id_, one in result.requirements.items() if one["status"] == "FAIL"}
    faults = [f"{id_} failed" for id_ in sorted(failed - {one.id for one in mine})]
    patterns = [pattern for one in mine for pattern in one.tests]
    faults += [f"{name} failed" for name in result.failed_tests if not any(one in name for one in patterns)]
    for one in mine:
        used = one.id in failed or any(pattern in name for pattern in one.tests for name in result.failed_tests)
        if not used:
            faults.append(f"the waiver of {one.id} is no longer needed")
    return faults


def table(result: Result, known: list[Waiver]) -> Iterator[str]:
    """The result for people, a line a requirement."""
    waived = {one.id: one.reason for one in known if result.profile in one.profiles}
    yield f"== capabilities {result.profile}: {', '.join(f'{n} {kind}' for kind, n in sorted(result.counts.items()))}"
    for id_, one in sorted(result.requirements.items()):
        where = " ".join(f"{name}={status}" for name, status in sorted(one["transports"].items()))
        note = f"  waived: {waived[id_]}" if id_ in waived and one["status"] == "FAIL" else ""
        yield f"{one['level']:7}{id_:24}{one['status']:11}{where}{note}"
    for level in ("MUST", "SHOULD", "MAY"):
        ran = [one["status"] for one in result.requirements.values() if one["level"] == level and one["status"] in RAN]
        passed, waived_too = ran.count("PASS"), sum(
            one["status"] == "FAIL" and id_ in waived and one["level"] == level
            for id_, one in result.requirements.items()
        )  # fmt: skip
        if ran:
            yield (
                f"{level}: {passed} of {len(ran)} passed ({100 * passed / len(ran):.1f} %), "
                f"{waived_too} waived ({100 * (passed + waived_too) / len(ran):.1f} % with these)"
            )
    for name, one in sorted(result.transports.items()):
        yield f"{name}: {one['passed']} passed, {one['failed']} failed, {one['skipped']} skipped"


def main() -> int:
    asked = argparse.ArgumentParser(description="Runs the A2A TCK against a fresh hocket.")
    asked.add_argument("--tck", type=Path, required=True, help="a checkout of a2aproject/a2a-tck")
    asked.add_argument("--python", help="a Python that has the TCK's requirements; its own .venv where not given")
    asked.add_argument("--reports", type=Path, help="where the TCK's reports are kept; nowhere where not given")
    given = asked.parse_args()
    tck = given.tck.resolve()
    python = given.python or str(tck / ".venv" / "bin" / "python")
    if not (tck / "tests" / "compatibility").is_dir() or not Path(python).exists():
        raise SystemExit(f"{tck} is no checkout of the TCK with a .venv: name another, or the Python to run it with.")
    known, faults = waivers(), list[str]()
    with contextlib.ExitStack() as stack:
        reports = given.reports or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for profile in PROFILES:
            result = run(tck, python, profile, reports.resolve())
            print("\n".join(table(result, known)), flush=True)  # noqa: T201
            faults += [f"capabilities {profile}: {fault}" for fault in judge(result, known)]
    print("\n".join(faults) if faults else "Every failure is waived, and every waiver is needed.")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
