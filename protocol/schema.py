"""JSON Schema 2020-12 for the answers to a question, by its library.

A schema may not refer to anything outside itself, and its expressions take bounded time: neither an agent's schema
nor an answer to it can make a gateway fetch or hang.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema_rs

BACKTRACKS_MAX = 100_000
MESSAGE_CHARS_MAX = 300


class Fault(NamedTuple):
    """Where an answer does not fit, as a JSON pointer into it, and how."""

    path: str
    message: str


def fault_of(schema: Any) -> str | None:
    """Why `schema` is none, None if it is one."""
    if not isinstance(schema, dict):
        return "it is no object"
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as bad:
        return str(bad).partition("\n")[0][:MESSAGE_CHARS_MAX]
    return None


def faults(schema: dict[str, Any], answer: Any) -> Iterator[Fault]:
    """Everything in which `answer` does not fit `schema`, which is one."""
    for fault in _validator(schema).iter_errors(answer):
        path = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in fault.instance_path)
        yield Fault(path, fault.message[:MESSAGE_CHARS_MAX])


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {key: value for key, value in schema.items() if key != "$schema"},
        validate_formats=True,
        retriever=_refuse,
        pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS_MAX),
    )


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} lies outside the schema")
