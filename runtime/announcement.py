"""What a worker tells of its agents, so that every gateway can show and start them."""

from typing import Any

import orjson

from protocol.subjects import encode_token

from .agents.contract import Agent
from .layout import AGENTS
from .log import Log

SOURCE_CHARS_MAX = 200_000


async def announce(log: Log, agent: Agent, at_ms: int) -> None:
    """Writes the agent's options under its name, with its source if it lets that be read. `created_at_ms` is when
    an agent of that name was first announced. Raises Unavailable."""
    key = encode_token(agent.name)
    held = await log.get(AGENTS, key)
    before: dict[str, Any] = orjson.loads(held.body) if held is not None and held.body else {}
    source: str = getattr(agent, "source", "") if agent.options.source else ""
    told = agent.options.model_dump() | {
        "name": agent.name,
        "created_at_ms": before.get("created_at_ms", at_ms),
        "source": source[:SOURCE_CHARS_MAX],
    }
    await log.put(AGENTS, key, orjson.dumps(told))
