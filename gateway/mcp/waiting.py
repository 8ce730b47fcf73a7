"""Tools that wait: for a run to end or to ask, and an agent as a tool of its own. The run is started durably before
anything waits for it, so a call that is dropped loses nothing but its answer."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, JsonValue, RootModel

from protocol.errors import (
    AlreadyResolved,
    Invalid,
    InvalidAnswer,
    NotWaiting,
    Unauthorized,
)
from protocol.spoken import spoken
from protocol.state import RunState, Status
from runtime.engine import Engine

from . import definitions, elicitation, tasks
from .cinatra_forms import RunIdForm
from .cinatra_runs import status_url
from .standing import Waited, stands
from .starting import start
from .tool import READS, STARTS, Call, Reply, Tool, closed, misread, problem

SECONDS_MAX, SECONDS = 300, 50
AGENT_TOOLS_MAX = 100
_PROGRESS_SECONDS = 0.5
_PROGRESS_CHARS = 200
_SPACE = re.compile(r"\s+")


class WaitForm(RunIdForm):
    """Which run, and for how long."""

    seconds: int = Field(SECONDS, ge=1, le=SECONDS_MAX, description="Longest to wait. The run goes on in any case.")


class Parameters(RootModel[dict[str, JsonValue]]):
    """An agent's parameters, which its own schema judges."""


async def agent_run_wait(call: Call, form: WaitForm) -> Reply:
    return await _answered(call, form.runId, form.seconds)


async def run_agent(call: Call, form: Parameters, agent: str, takes: definitions.Json) -> Reply:
    """A repeated call that brings answers goes on with the run that it names, and starts none."""
    known = call.params.request_state
    if known is not None:
        if (await call.engine.state(known, call.by)).agent != agent:
            raise Invalid("requestState: it names a run of another agent.")
        return await _answered(call, known, SECONDS)
    definitions.check_parameters(takes, form.root, "arguments")
    begun = await start(call, agent, form.root)
    if tasks.wanted(call.context):
        return tasks.created(await call.engine.state(begun.run_id, call.by), call.request)
    return await _answered(call, begun.run_id, SECONDS)


async def _answered(call: Call, run_id: str, seconds: float) -> Reply:
    fault = ""
    given = call.params.input_responses
    if given:
        try:
            await elicitation.take_answers(call, run_id, given)
        except (AlreadyResolved, NotWaiting):
            pass  # somebody else has decided: how the run stands now says so
        except InvalidAnswer as bad:
            fault = bad.message
    state = await wait(call, run_id, seconds)
    declined = bool(given) and not fault and any(gate.id in (given or {}) for gate in state.open_gates)
    if state.status is Status.WAITING and elicitation.can_ask(call.context) and not declined:
        if elicitation.questions(state):
            return elicitation.required(state, fault)
    return stands(state, status_url(call.request, state.id))


async def wait(call: Call, run_id: str, seconds: float) -> RunState:
    """The run once it has ended or asks something, or as it is after so long; the gateway's stop ends the wait too.

    Raises RunNotFound, Unauthorized if the credential has ended meanwhile.
    """
    doing = asyncio.ensure_future(_settled(call, run_id, seconds))
    stopping = asyncio.ensure_future(call.streams.stopping.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
    finally:
        for task in (doing, stopping):
            task.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)
    if not call.holds():
        raise Unauthorized("The credential of this call is not good any more. The run goes on.")
    return await call.engine.state(run_id, call.by)


async def _settled(call: Call, run_id: str, seconds: float) -> None:
    state = await call.engine.state(run_id, call.by)
    if _rests(state):
        return
    follow = await call.engine.follow(run_id, call.by, state.seq)
    loop = asyncio.get_running_loop()
    told_at = loop.time()
    try:
        await call.context.session.report_progress(state.seq, None, _doing(state))
        async with asyncio.timeout(seconds):
            async for pieces in follow:
                only_words = all(piece.lane == "flow" for piece in pieces)
                if only_words and loop.time() - told_at < _PROGRESS_SECONDS:
                    continue
                state = await call.engine.state(run_id, call.by)
                if _rests(state):
                    return
                if loop.time() - told_at >= _PROGRESS_SECONDS:
                    told_at = loop.time()
                    if not call.holds():
                        return
                    await call.context.session.report_progress(state.seq, None, _doing(state))
    except TimeoutError:
        pass
    finally:
        follow.close()


def _rests(state: RunState) -> bool:
    return state.terminal or state.status is Status.WAITING


def _doing(state: RunState) -> str:
    """What the run is at, in a line: a tool, a step, or its last words."""
    for part in reversed(list(state.open.values())):
        if part.kind == "tool":
            return f"calls {part.event.get('toolCallName', 'a tool')}"
        if part.kind == "step":
            return f"step {part.id}"
    words = _SPACE.sub(" ", spoken(state, _PROGRESS_CHARS)).strip()
    return words or state.status.value


TOOLS = (
    Tool(
        "agent_run_wait", "Wait for a run",
        "Waits until a run ends or asks a person something, at most `seconds`, and tells of its progress meanwhile. "
        "Use it instead of polling agent_run_get. The run does not depend on the wait: if the call is cut off, or the "
        "time is over, call again with the same runId.",
        WaitForm, closed(Waited), agent_run_wait, READS, problem, misread, quick=False,
    ),
)  # fmt: skip


class AgentTools:
    """Each agent as a tool of its own, as the agents come and go; the first hundred by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: Mapping[str, Any] = {}
        self._tools: dict[str, Tool] = {}

    async def __call__(self) -> Mapping[str, Tool]:
        known = await self._engine.agents()
        if known is not self._seen and known != self._seen:
            made = [_tool(agent) for agent in list(known.values())[:AGENT_TOOLS_MAX]]
            self._tools = {tool.name: tool for tool in reversed(made)}  # of two with one name the first is kept
            self._tools = dict(reversed(self._tools.items()))
        self._seen = known
        return self._tools


def _tool(agent: definitions.Agent) -> Tool:
    name = str(agent["name"])

    takes = definitions.tool_input(agent)

    async def call(one: Call, form: Parameters) -> Reply:
        return await run_agent(one, form, name, takes)

    about = agent["description"] or f"Runs the agent {name}."
    return Tool(
        definitions.tool_name(name), definitions.title(agent),
        f"{about} Starts a run of the agent {name} and waits for it, at most {SECONDS} seconds; `next` says how to go "
        "on with a run that takes longer or asks a person.",
        Parameters, closed(Waited), call, STARTS, problem, misread, takes, quick=False,
    )  # fmt: skip
