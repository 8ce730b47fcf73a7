"""Agents as tools show them: what is announced of each, and what a run of it may be started with."""

import re
from itertools import islice
from typing import Any

from protocol import schema
from protocol.errors import Invalid

from ..run_object import rfc3339

Agent = dict[str, Any]
"""What a worker has announced."""
Json = dict[str, Any]

TEXT_INPUT: Json = {
    "type": "object",
    "properties": {"message": {"type": "string", "description": "What the user says to the agent."}},
}
"""The parameters of an agent that declares none."""
AGENT_PREFIX = "run_"
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_TOOL_NAME_CHARS_MAX = 64
FAULTS_MAX = 3


def item(agent: Agent) -> Json:
    """An item of agent_list."""
    return {
        "id": agent["name"],
        "name": title(agent),
        "description": agent["description"],
        "status": "published",
        "packageName": agent["name"],
        "createdAt": rfc3339(agent.get("created_at_ms")),
    }


def source_item(agent: Agent) -> Json:
    """An item of agent_source_list."""
    return {
        "path": path(agent),
        "packageName": agent["name"],
        "packageVersion": agent.get("version", ""),
        "name": title(agent),
        "description": agent["description"],
    }


def definition(agent: Agent) -> Json:
    """What agent_source_read tells: how to start a run and what it may ask."""
    content = {
        "packageName": agent["name"],
        "version": agent.get("version", ""),
        "name": title(agent),
        "description": agent["description"],
        "inputSchema": input_schema(agent),
        "hitlScreens": [
            {"id": one["id"], "xRenderer": one["renderer"] or "hocket:generic", "schema": one["response_schema"]}
            for one in agent.get("screens", ())
        ],
    }
    return {"content": content, "path": path(agent)}


def title(agent: Agent) -> str:
    return str(agent.get("title") or agent["name"])


def path(agent: Agent) -> str:
    return f"agents/{agent['name']}"


def input_schema(agent: Agent) -> Json:
    declared = agent.get("input_schema")
    return declared if isinstance(declared, dict) else TEXT_INPUT


def check_parameters(wanted: Json, given: Json, what: str = "inputParams") -> None:
    """Raises Invalid with the first three faults: where, and what was expected."""
    faults = list(islice(schema.faults(wanted, given), FAULTS_MAX))
    if faults:
        told = " ".join(f"{what}{fault.path}: {fault.message}." for fault in faults)
        raise Invalid(f"{told} agent_source_read tells the schema.")


def tool_name(agent: str) -> str:
    """What the agent's own tool is called."""
    return f"{AGENT_PREFIX}{_NOT_A_NAME.sub('_', agent)}"[:_TOOL_NAME_CHARS_MAX]


def tool_input(agent: Agent) -> Json:
    """The input schema of the agent's own tool; one that takes text takes nothing else there."""
    if isinstance(agent.get("input_schema"), dict):
        return {**input_schema(agent), "type": "object"}
    return {**TEXT_INPUT, "required": ["message"], "additionalProperties": False}
