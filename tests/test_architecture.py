"""The rules of the house that a test can hold, read from the source itself."""

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = {"protocol": 0, "runtime": 1, "gateway": 2}
"""A package may import itself and those below it."""

IMPURE = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid"}
MAY_IMPORT_NATS = {"runtime.layout", "runtime.log", "runtime.nats_server"}
MAY_READ_ENVIRONMENT = {"runtime.settings"}
FACES = {
    "gateway.a2a.routes",
    "gateway.agui",
    "gateway.copilotkit",
    "gateway.mcp.face",
    "gateway.page.routes",
    "gateway.rest",
    "gateway.rest_triggers",
    "gateway.rest_webhooks",
    "gateway.dialects.arkloop",
    "gateway.dialects.cinatra",
    "gateway.dialects.operativus",
    "gateway.dialects.veryfront",
    "gateway.dialects.middesk",
}
MAY_IMPORT_THE_LOG = {"gateway.app", "gateway.roles"}
"""The composition root, and the worker's process, which has no engine."""

NO_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
LINES_MAX = 400
OURS = {".py", ".js", ".css", ".html"}
PAGE = ROOT / "gateway" / "page"


def sources() -> dict[str, ast.Module]:
    """Every module of the product by its dotted name."""
    found = {}
    for path in sorted(file for package in LAYERS for file in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


SOURCES = sources()
PACKAGES = {name for name in SOURCES if any(other.startswith(f"{name}.") for other in SOURCES)}


def imported(name: str) -> Iterator[str]:
    """What a module imports, in full; imports for types alone and imports inside functions are imports too."""
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name if name in PACKAGES else name.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            origin = ".".join(part for part in (package if node.level else "", node.module or "") if part)
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                yield whole if whole in SOURCES else origin


def inside(name: str) -> set[str]:
    return {other for other in imported(name) if other in SOURCES and other != name}


def top(name: str) -> str:
    return name.partition(".")[0]


def test_the_source_is_read_at_all() -> None:
    assert {"protocol.run", "runtime.engine", "gateway.app"} <= SOURCES.keys()
    assert "protocol.errors" in inside("runtime.log") and "runtime.nats_server" in inside("runtime.log")


def test_imports_go_down_the_layers() -> None:
    upward = {
        (name, other) for name in SOURCES for other in inside(name) if LAYERS[top(other)] > LAYERS[top(name)]
    }  # fmt: skip
    assert upward == set()


def test_the_product_imports_neither_its_tests_nor_its_conformance() -> None:
    assert {
        (name, other) for name in SOURCES for other in imported(name) if top(other) in ("tests", "conformance")
    } == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: inside(name) - PACKAGES for name in SOURCES}

    def reaches(start: str) -> bool:
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            name = ahead.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                ahead += graph.get(name, ())
        return False

    assert [name for name in graph if reaches(name)] == []


def test_imports_are_relative_inside_a_package_and_absolute_across() -> None:
    def absolute(name: str) -> bool:
        froms = [node for node in ast.walk(SOURCES[name]) if isinstance(node, ast.ImportFrom) and not node.level]
        return any(top(node.module or "") == top(name) for node in froms)

    assert [name for name in SOURCES if absolute(name)] == []


def test_protocol_has_no_async_clock_randomness_or_environment() -> None:
    for name in SOURCES:
        if top(name) == "protocol":
            assert IMPURE & {top(other) for other in imported(name)} == set(), name
            clocks = {"now", "today", "utcnow"}  # datetime alone is the calendar
            assert not any(isinstance(node, ast.Attribute) and node.attr in clocks for node in ast.walk(SOURCES[name]))
            awaits = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
            assert not any(isinstance(node, awaits) for node in ast.walk(SOURCES[name])), name


def test_only_the_log_its_layout_and_the_server_import_nats() -> None:
    assert {name for name in SOURCES if "nats" in map(top, imported(name))} == MAY_IMPORT_NATS


def test_runtime_knows_no_http_server() -> None:
    servers = {"starlette", "uvicorn", "fastapi", "mcp", "click"}
    assert {name for name in SOURCES if top(name) != "gateway" and servers & set(map(top, imported(name)))} == set()


def test_only_the_settings_read_the_environment() -> None:
    readers = set()
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            named = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
            if named in ("environ", "environb", "getenv", "getenvb"):
                readers.add(name)
    assert readers == MAY_READ_ENVIRONMENT


def test_faces_do_not_import_each_other() -> None:
    assert FACES <= SOURCES.keys()
    assert {(face, other) for face in FACES for other in inside(face) & FACES} == set()


def test_the_gateway_reaches_the_log_only_through_the_engine() -> None:
    users = {name for name in SOURCES if top(name) == "gateway" and "runtime.log" in inside(name)}
    assert users <= MAY_IMPORT_THE_LOG


def test_the_agents_are_what_the_gateway_must_not_know() -> None:
    """Only the process that is a worker loads agents."""
    users = {
        name for name in SOURCES if top(name) == "gateway" and any("runtime.agents" in one for one in inside(name))
    }
    assert users <= {"gateway.cli", "gateway.roles"}


def files() -> list[Path]:
    folders = [*LAYERS, "tests", "conformance"]
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in OURS]
    return [path for path in found if not {"node_modules", "vendor"} & set(path.parts)]


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files()}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_a_file_is_named_for_what_it_is() -> None:
    assert [path.name for path in files() if path.stem in NO_NAMES or re.search(r"_v\d+$", path.stem)] == []


def test_every_module_says_what_it_is_in_one_to_four_lines() -> None:
    """A drawing below the first paragraphs does not count."""
    for name, tree in SOURCES.items():
        assert ast.get_docstring(tree), name


def test_each_package_carries_the_mark_that_the_guard_looks_for() -> None:
    for package in LAYERS:
        assert '__product__ = "hocket"' in (ROOT / package / "__init__.py").read_text()


def test_no_package_stands_under_tests() -> None:
    """An `__init__.py` there would hide the package of the same name."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    with zipfile.ZipFile(tmp_path / made.stdout.split()[-1]) as wheel:
        names = wheel.namelist()
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "hocket = gateway.guard:main" in wheel.read(entry_points).decode()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(LAYERS)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    page = {path.name for path in PAGE.iterdir() if path.suffix in OURS}
    assert {f"gateway/page/{name}" for name in page} <= set(names)
    assert {"gateway/page/vendor/jsoneditor.js", "gateway/page/vendor/jsoneditor.LICENSE"} <= set(names)


def test_every_module_and_sheet_of_the_run_page_is_served_and_stands_in_the_page_or_a_module() -> None:
    served = (PAGE / "routes.py").read_text()
    told = {path.name: path.read_text() for path in PAGE.iterdir() if path.suffix in OURS - {".py"}}
    for name in told.keys() - {"page.html"}:
        assert f'"{name}"' in served, name
        assert any(name in text for other, text in told.items() if other != name), name


def test_nothing_of_others_is_kept_in_the_repository() -> None:
    """The form library comes from npm while hocket is built."""
    kept = subprocess.run(["git", "ls-files", "gateway/page"], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert not any("vendor" in name for name in kept.stdout.splitlines())
