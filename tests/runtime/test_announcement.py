"""What a worker tells of its agents."""

from typing import Any

import orjson
import pytest

from protocol.errors import Refused
from protocol.subjects import encode_token
from runtime.agents.python import PythonAgent
from runtime.announcement import SOURCE_CHARS_MAX, announce
from runtime.layout import AGENTS
from runtime.log import Log

pytestmark = pytest.mark.anyio


def agent(**declared: Any) -> PythonAgent:
    async def called(run: Any) -> Any:
        """Says its name."""
        yield "called"

    called.hocket = declared  # type: ignore[attr-defined]
    return PythonAgent("mine", called)


async def announced(log: Log) -> dict[str, Any]:
    held = await log.get(AGENTS, encode_token("mine"))
    assert held is not None
    told: dict[str, Any] = orjson.loads(held.body)
    return told


async def test_the_time_of_the_first_announcement_stays_and_the_rest_is_the_latest(log: Log) -> None:
    await announce(log, agent(title="One"), 1_000)
    await announce(log, agent(title="Two", version="2"), 2_000)
    told = await announced(log)
    assert (told["created_at_ms"], told["title"], told["version"], told["name"]) == (1_000, "Two", "2", "mine")
    assert told["description"] == "Says its name."


async def test_the_source_is_told_only_where_the_agent_says_so(log: Log) -> None:
    await announce(log, agent(), 1)
    assert (await announced(log))["source"] == ""
    await announce(log, agent(source=True), 1)
    source = (await announced(log))["source"]
    assert source.lstrip().startswith("async def called(") and len(source) < SOURCE_CHARS_MAX


async def test_an_agent_that_was_withdrawn_is_announced_anew(log: Log) -> None:
    await log.put(AGENTS, encode_token("mine"), b"")
    await announce(log, agent(), 3_000)
    assert (await announced(log))["created_at_ms"] == 3_000


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "http://127.0.0.1/x"}])
def test_parameters_whose_schema_is_none_are_refused_with_a_sentence(schema: Any) -> None:
    with pytest.raises(Refused, match="input_schema is no JSON Schema"):
        agent(input_schema=schema)
