"""Agents for the tests of the MCP face."""

import asyncio
import json
from typing import Any

REVIEW = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}
ORDER = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer", "minimum": 1}},
         "additionalProperties": False}  # fmt: skip


async def echo(run: Any) -> Any:
    """Says its user's words back."""
    yield run.tool_call("look", {"at": "it"}, {"seen": True})
    yield f"You said {run.input.messages[-1].content}"


async def review(run: Any) -> Any:
    """Asks for a review."""
    if not run.answers:
        yield "Checked."
        yield run.interrupt("OK?", name="ok", response_schema=REVIEW, renderer="acme:review", values={"amount": 120})
    told = run.answers["ok"]
    yield json.dumps({"payload": told.payload, "text": told.text})


async def free(run: Any) -> Any:
    """Asks without a schema, and says what it was told."""
    if not run.answers:
        yield run.interrupt("And?", name="ok")
    told = run.answers["ok"]
    yield json.dumps({"payload": told.payload, "text": told.text})


async def both(run: Any) -> Any:
    """Asks two questions at once."""
    if not run.answers:
        yield run.interrupts(run.question("A?", name="a"), run.question("B?", name="b"))
    yield json.dumps([run.answers["a"].payload, run.answers["b"].payload])


async def failing(run: Any) -> Any:
    """Fails."""
    yield "So far so "
    raise RuntimeError("password=hunter2")


async def silent(run: Any) -> Any:
    """Says nothing, and never ends by itself."""
    await asyncio.Event().wait()
    yield "never"


async def counting(run: Any) -> Any:
    """Counts up to ten, slowly."""
    for number in range(10):
        yield f"{number} "
        await asyncio.sleep(0.12)


async def ordered(run: Any) -> Any:
    """Takes an amount, and finishes with a result."""
    amount = run.input.forwarded_props["amount"]
    yield {"type": "RUN_FINISHED", "result": {"amount": amount}}


ordered.hocket = {  # type: ignore[attr-defined]
    "title": "Orders", "version": "1.2.0", "input_schema": ORDER, "source": True,
    "screens": [{"id": "approve", "renderer": "acme:approve", "response_schema": REVIEW}],
}  # fmt: skip

ALL = {"echo": echo, "review": review, "free": free, "both": both, "failing": failing, "silent": silent,
       "counting": counting, "ordered": ordered}  # fmt: skip
