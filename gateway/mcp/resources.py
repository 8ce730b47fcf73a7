"""What can be read beside the tools: a run's transcript, an agent's definition and its source; and one prompt."""

import re
from typing import Any
from urllib.parse import unquote

import mcp_types as types
import orjson
from mcp import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from protocol.errors import AgentNotFound, HocketError
from runtime.engine import Engine

from ..dialects.cinatra_snapshot import STATUS
from ..resource import segment
from . import definitions
from .calls import Context, away_is_http, ticket_of

LISTED_MAX = 500
TRANSCRIPT_BYTES_MAX = 4 << 20
_URI = re.compile(r"hocket://(?:runs/(?P<run>[^/]+)/transcript|agents/(?P<agent>[^/]+)(?P<source>/source)?)")
_NOT_FOUND_LEGACY = -32002
_JSON, _TEXT = "application/json", "text/x-python"

TEMPLATES = [
    types.ResourceTemplate(
        name="run_transcript", title="Transcript of a run", uri_template="hocket://runs/{runId}/transcript",
        description="All messages of a run in AG-UI's form, tool calls among them, with its thread's before it.",
        mime_type=_JSON,
    ),
    types.ResourceTemplate(
        name="agent_definition", title="Definition of an agent", uri_template="hocket://agents/{name}",
        description="What agent_source_read tells: the schema of its parameters, and what it may ask.", mime_type=_JSON,
    ),
    types.ResourceTemplate(
        name="agent_source", title="Source of an agent", uri_template="hocket://agents/{name}/source",
        description="The text of an agent that lets it be read.", mime_type=_TEXT,
    ),
]  # fmt: skip

PROMPT = types.Prompt(
    name="run_agent", title="Run an agent",
    description="How to run one of the agents to its end, and what to do when it asks a person.",
    arguments=[
        types.PromptArgument(name="agent", description="The agent's id.", required=True),
        types.PromptArgument(name="task", description="What it is to do.", required=True),
    ],
)  # fmt: skip


class Library:
    """The resources and the prompt of `/mcp`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list_resources(self, context: Context, _: Any) -> types.ListResourcesResult:
        known = await away_is_http(context, self._engine.agents())
        found = [one for agent in list(known.values())[:LISTED_MAX] for one in _listed(agent)]
        return types.ListResourcesResult(resources=found, ttl_ms=5_000, cache_scope="private")

    async def list_templates(self, context: Context, _: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=TEMPLATES, ttl_ms=300_000, cache_scope="private")

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        found = _URI.fullmatch(params.uri)
        try:
            if found is not None and found["run"] is not None:
                text, kind = await self._transcript(context, unquote(found["run"])), _JSON
            elif found is not None:
                text, kind = await self._agent(context, unquote(found["agent"]), bool(found["source"]))
            else:
                raise _missing(context, params.uri)
        except HocketError:
            raise _missing(context, params.uri) from None
        contents = types.TextResourceContents(uri=params.uri, mime_type=kind, text=text)
        return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")

    async def _transcript(self, context: Context, run_id: str) -> str:
        """The newest messages that fit; `omitted` counts the older ones."""
        by = ticket_of(context).by
        state, messages = await away_is_http(context, self._engine.snapshot(run_id, by))
        kept: list[bytes] = []
        size = 0
        for message in reversed(messages):
            told = orjson.dumps(message)
            size += len(told)
            if size > TRANSCRIPT_BYTES_MAX and kept:
                break
            kept.append(told)
        head = {"runId": state.id, "agent": state.agent, "status": STATUS[state.status],
                "omitted": len(messages) - len(kept)}  # fmt: skip
        return (orjson.dumps(head)[:-1] + b',"messages":[' + b",".join(reversed(kept)) + b"]}").decode()

    async def _agent(self, context: Context, name: str, source: bool) -> tuple[str, str]:
        agent = await away_is_http(context, self._engine.agent(name))
        if not source:
            return orjson.dumps(definitions.definition(agent)).decode(), _JSON
        if not agent.get("source"):
            raise AgentNotFound(name, [])
        return agent["source"], _TEXT


async def list_prompts(_: Context, __: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=[PROMPT], ttl_ms=300_000, cache_scope="private")


async def get_prompt(_: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    given = params.arguments or {}
    missing = [one.name for one in PROMPT.arguments or () if not given.get(one.name)]
    if params.name != PROMPT.name or missing:
        what = f"Arguments are missing: {', '.join(missing)}." if params.name == PROMPT.name else "No such prompt."
        raise MCPError(types.INVALID_PARAMS, what)
    text = (
        f"Run the agent {given['agent']} for this task: {given['task']}\n\n"
        "Read its definition with agent_source_read, start it with agent_run, and let agent_run_wait wait for it. If "
        "it is pending_approval, show me what it asks and answer with agent_run_resume only once I have decided. When "
        "it is completed, tell me what it came to; when it failed, tell me why."
    )
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))]
    )


def _listed(agent: definitions.Agent) -> list[types.Resource]:
    name = str(agent["name"])
    base = f"hocket://agents/{segment(name)}"
    told = [types.Resource(name=name, title=definitions.title(agent), uri=base, mime_type=_JSON,
                           description=agent["description"] or "An agent's definition.")]  # fmt: skip
    if agent.get("source"):
        told.append(types.Resource(name=f"{name} source", uri=f"{base}/source", mime_type=_TEXT))
    return told


def _missing(context: Context, uri: str) -> MCPError:
    """One answer for what there is not and what the caller may not see; its code is the era's."""
    code = types.INVALID_PARAMS if context.protocol_version in MODERN_PROTOCOL_VERSIONS else _NOT_FOUND_LEGACY
    return MCPError(code, "Resource not found", {"uri": uri})
