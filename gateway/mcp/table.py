"""The one table of tools, in the order in which clients are shown them, and which of them each endpoint serves."""

from . import cinatra_agents, cinatra_decisions, cinatra_runs, cinatra_triggers, veryfront, waiting
from .tool import Tool

CINATRA: tuple[Tool, ...] = (
    *cinatra_agents.TOOLS, *cinatra_runs.TOOLS, *cinatra_decisions.TOOLS, *cinatra_triggers.TOOLS,
)  # fmt: skip
VERYFRONT: tuple[Tool, ...] = veryfront.TOOLS
ALL: tuple[Tool, ...] = (*CINATRA, *waiting.TOOLS, *VERYFRONT)

INSTRUCTIONS = (
    "hocket runs agents. List them with agent_list, read one with agent_source_read, start it with agent_run, then let "
    "agent_run_wait wait for it, or look at it with agent_run_get, until it is completed, failed or pending_approval, "
    "and read what it said with agent_run_messages_list. A run in pending_approval waits for a person, for as long as "
    "it takes: let the person decide, then answer with agent_run_resume. A run goes on when you leave: its runId is "
    "all that you need to come back to it."
)
