"""Cinatra's tools about agents: what there is, and what a run of each takes and may ask."""

import base64
import binascii
from typing import Any

from protocol.errors import AgentNotFound, HocketError, Invalid

from . import definitions
from .cinatra_forms import AgentListForm, AgentPage, NoForm, SourceDocument, SourceForm, SourceList
from .tool import READS, Call, Told, Tool, closed, closed_or_error
from .words import misread, refuse


async def agent_list(call: Call, form: AgentListForm) -> Told:
    known = [agent for agent in (await call.engine.agents()).values() if _wanted(agent, form)]
    begin = _offset(form.cursor) if form.cursor is not None else form.offset
    page = known[begin : begin + form.limit]
    told: dict[str, Any] = {"items": [definitions.item(agent) for agent in page], "total": len(known)}
    if begin + len(page) < len(known) and page:
        told["nextCursor"] = _cursor(begin + len(page))
    return Told(told)


async def agent_source_list(call: Call, form: NoForm) -> Told:
    known = await call.engine.agents()
    return Told({"items": [definitions.source_item(agent) for agent in known.values()], "total": len(known)})


async def agent_source_read(call: Call, form: SourceForm) -> Told:
    name = exactly_one(packageName=form.packageName, packageSlug=form.packageSlug)
    if ".." in name and form.packageSlug is not None:
        raise Invalid("packageSlug: no `..`.")
    return Told(definitions.definition(await call.engine.agent(name)))


def exactly_one(**given: str | None) -> str:
    """The one argument that there must be. Raises Invalid."""
    found = [value for value in given.values() if value is not None]
    if len(found) != 1:
        raise Invalid(f"Give exactly one of {' and '.join(given)}; {len(found)} of them are given.")
    return found[0]


def unavailable(error: HocketError, form: Any) -> Told:
    """As `refuse`, with Cinatra's code for an agent that cannot be had."""
    told = refuse(error, form)
    return Told(told.told | {"code": "AGENT_UNAVAILABLE"}) if isinstance(error, AgentNotFound) else told


def _wanted(agent: definitions.Agent, form: AgentListForm) -> bool:
    if form.status not in (None, "published") or form.packageName not in (None, agent["name"]):
        return False
    told = f"{agent['name']}\n{definitions.title(agent)}\n{agent['description']}".casefold()
    return form.query is None or form.query.casefold() in told


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).rstrip(b"=").decode()


def _offset(cursor: str) -> int:
    """A malformed cursor is the first page."""
    try:
        told = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return 0
    return int(told) if told.isdigit() and len(told) <= 9 else 0


TOOLS = (
    Tool(
        "agent_list", "List agents",
        "Lists the agents that can be run, by name. Start here: `id` is the templateId that agent_run takes, and "
        "agent_source_read tells which inputParams an agent expects.",
        AgentListForm, closed(AgentPage), agent_list, READS, refuse, misread,
    ),
    Tool(
        "agent_source_list", "List agent definitions",
        "Lists the same agents as definitions, with path and version; read one with agent_source_read.",
        NoForm, closed(SourceList), agent_source_list, READS, refuse, misread,
    ),
    Tool(
        "agent_source_read", "Read an agent's definition",
        "Reads one agent's definition before you run it: the JSON Schema of its inputParams, and the screens with "
        "which it may ask a person. Give packageName or packageSlug, not both.",
        SourceForm, closed_or_error(SourceDocument), agent_source_read, READS, refuse, misread,
    ),
)  # fmt: skip
