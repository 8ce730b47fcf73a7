"""Requirements and tests name each other: every requirement has a test, and every test a requirement."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONTRACTED = re.compile(r"[A-Z][A-Z0-9]*-\d{3}")
"""An id that another system's contract has given."""

REQUIREMENTS = [
    (path.stem, requirement)
    for path in sorted((HERE / "requirements").glob("*.toml"))
    for requirement in tomllib.loads(path.read_text())["requirement"]
]


def _shown() -> dict[str, set[str]]:
    """The requirements that each test names, by the test's place."""
    shown: dict[str, set[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        if path != Path(__file__):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    shown[f"{path.name}::{node.name}"] = _named(node)
    return shown


def _named(test: ast.FunctionDef) -> set[str]:
    marks = [mark for mark in test.decorator_list if isinstance(mark, ast.Call)]
    return {
        argument.value
        for mark in marks
        if ast.unparse(mark.func) == "pytest.mark.requirement"
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def test_each_requirement_says_where_it_comes_from_and_what_it_is() -> None:
    for face, requirement in REQUIREMENTS:
        assert set(requirement) - {"gap"} == {"id", "source", "sentence"}, requirement
        own = requirement["id"].split(".")[0] in (face, "suite")
        assert own or CONTRACTED.fullmatch(requirement["id"]), requirement["id"]
        for text in requirement.values():
            assert isinstance(text, str) and text.strip() == text != ""
        assert requirement["sentence"].endswith(".")
    ids = [requirement["id"] for _, requirement in REQUIREMENTS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("id_", [requirement["id"] for _, requirement in REQUIREMENTS])
def test_the_requirement_has_a_test(id_: str) -> None:
    assert any(id_ in named for named in _shown().values())


def test_every_test_names_requirements_that_there_are() -> None:
    known = {requirement["id"] for _, requirement in REQUIREMENTS}
    for place, named in _shown().items():
        assert named, f"{place} names no requirement"
        assert named <= known, f"{place} names {sorted(named - known)}"
