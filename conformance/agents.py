"""The agents under test: plain callables that know nothing of what serves them.

One worker must serve them all. An agent that waits does so at a gate, which a run of `release` opens; so a test
decides, over HTTP alone, how far another run has got. What an agent should do beyond its name stands in the run's
`forwardedProps`.
"""

import asyncio
import json
import sys
from types import ModuleType
from typing import Any

WAIT_SECONDS = 30.0

_gates: dict[str, asyncio.Event] = sys.modules.setdefault("conformance_gates", ModuleType("conformance_gates")).__dict__
"""Shared by all agents of this file, though each may be loaded from it separately."""


def _asked(run: Any, name: str, default: Any = None) -> Any:
    """Of what the caller has sent along: AG-UI's `forwardedProps`, an A2A request's metadata, Middesk's `input`."""
    given = run.input.forwarded_props
    if not isinstance(given, dict):
        return default
    more = given.get("input")
    return {**given, **given.get("a2a", {}).get("metadata", {}), **(more if isinstance(more, dict) else {})}.get(
        name, default
    )


def _text_of(run: Any) -> str:
    said = [message for message in run.input.messages if message.role == "user"]
    return str(said[-1].content) if said else ""


async def _gate(name: str) -> None:
    """Waits until `release` is run with that name."""
    await asyncio.wait_for(_gates.setdefault(name, asyncio.Event()).wait(), WAIT_SECONDS)


async def release(run: Any) -> Any:
    """Opens the gate that the user's message names."""
    _gates.setdefault(_text_of(run), asyncio.Event()).set()
    yield "released"


def _text(message_id: str, *deltas: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant", **more},
        *({"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta, **more} for delta in deltas),
        {"type": "TEXT_MESSAGE_END", "messageId": message_id, **more},
    ]


async def plain(run: Any) -> Any:
    """Says its user's words back, in text deltas."""
    yield "You said: "
    yield _text_of(run)
    yield ". Übung, 日本語, 🎶"


def everything(run: Any) -> Any:
    """Everything that AG-UI has, interleaved."""
    n = run.input.run_id
    yield {"type": "STATE_SNAPSHOT", "snapshot": {"count": 1, "list": ["a"], "none": None}}
    yield {"type": "STEP_STARTED", "stepName": "think"}
    yield {"type": "REASONING_START", "messageId": f"{n}-span"}
    yield {"type": "REASONING_MESSAGE_START", "messageId": f"{n}-why", "role": "reasoning"}
    yield {"type": "REASONING_MESSAGE_CONTENT", "messageId": f"{n}-why", "delta": "Because "}
    yield {"type": "TEXT_MESSAGE_START", "messageId": f"{n}-text", "role": "assistant", "metadata": {"app": {"k": 1}}}
    yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": f"{n}-text", "delta": "Look"}
    yield {"type": "REASONING_MESSAGE_CONTENT", "messageId": f"{n}-why", "delta": "of that."}
    yield {"type": "TOOL_CALL_START", "toolCallId": f"{n}-call", "toolCallName": "find",
           "parentMessageId": f"{n}-text"}  # fmt: skip
    yield {"type": "TOOL_CALL_ARGS", "toolCallId": f"{n}-call", "delta": '{"q":'}
    yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": f"{n}-text", "delta": "ing."}
    yield {"type": "TOOL_CALL_ARGS", "toolCallId": f"{n}-call", "delta": '"x"}'}
    yield {"type": "REASONING_MESSAGE_END", "messageId": f"{n}-why"}
    yield {"type": "REASONING_END", "messageId": f"{n}-span"}
    yield {"type": "STEP_FINISHED", "stepName": "think"}
    yield {"type": "TOOL_CALL_END", "toolCallId": f"{n}-call"}
    yield {"type": "TEXT_MESSAGE_END", "messageId": f"{n}-text"}
    yield {"type": "TOOL_CALL_RESULT", "messageId": f"{n}-result", "toolCallId": f"{n}-call", "role": "tool",
           "content": "found"}  # fmt: skip
    yield {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/count", "value": 2},
                                            {"op": "add", "path": "/list/-", "value": "b"}]}  # fmt: skip
    yield {"type": "ACTIVITY_SNAPSHOT", "messageId": f"{n}-plan", "activityType": "PLAN", "content": {"todo": ["one"]}}
    yield {"type": "ACTIVITY_DELTA", "messageId": f"{n}-plan", "activityType": "PLAN",
           "patch": [{"op": "add", "path": "/todo/-", "value": "two"}]}  # fmt: skip
    yield {"type": "SUBAGENT_STARTED", "subagentRunId": f"{n}-sub", "name": "helper"}
    yield _text(f"{n}-subtext", "From ", "below.", subagentRunId=f"{n}-sub")
    yield {"type": "SUBAGENT_FINISHED", "subagentRunId": f"{n}-sub"}
    yield {"type": "CUSTOM", "name": "note", "value": None}
    yield {"type": "RAW", "event": {"any": ["thing"]}, "source": "elsewhere"}
    yield {"type": "REASONING_ENCRYPTED_VALUE", "subtype": "message", "entityId": f"{n}-why", "encryptedValue": "xyz"}
    yield _text(f"{n}-end", "Done.")


_OPEN: dict[str, Any] = {
    "text": lambda n: (
        [{"type": "TEXT_MESSAGE_START", "messageId": f"{n}-t", "role": "assistant"},
         {"type": "TEXT_MESSAGE_CONTENT", "messageId": f"{n}-t", "delta": "Hel"}],
        [{"type": "TEXT_MESSAGE_CONTENT", "messageId": f"{n}-t", "delta": "lo"},
         {"type": "TEXT_MESSAGE_END", "messageId": f"{n}-t"}],
    ),
    "tool": lambda n: (
        [{"type": "TOOL_CALL_START", "toolCallId": f"{n}-c", "toolCallName": "find"},
         {"type": "TOOL_CALL_ARGS", "toolCallId": f"{n}-c", "delta": '{"a":'}],
        [{"type": "TOOL_CALL_ARGS", "toolCallId": f"{n}-c", "delta": "1}"},
         {"type": "TOOL_CALL_END", "toolCallId": f"{n}-c"},
         {"type": "TOOL_CALL_RESULT", "messageId": f"{n}-r", "toolCallId": f"{n}-c", "role": "tool", "content": "ok"}],
    ),
    "reasoning": lambda n: (
        [{"type": "REASONING_START", "messageId": f"{n}-s"},
         {"type": "REASONING_MESSAGE_START", "messageId": f"{n}-w", "role": "reasoning"},
         {"type": "REASONING_MESSAGE_CONTENT", "messageId": f"{n}-w", "delta": "thi"}],
        [{"type": "REASONING_MESSAGE_CONTENT", "messageId": f"{n}-w", "delta": "nk"},
         {"type": "REASONING_MESSAGE_END", "messageId": f"{n}-w"},
         {"type": "REASONING_END", "messageId": f"{n}-s"}],
    ),
    "step": lambda n: (
        [{"type": "STEP_STARTED", "stepName": "work"}],
        [{"type": "STEP_FINISHED", "stepName": "work"}],
    ),
    "state": lambda n: (
        [{"type": "STATE_SNAPSHOT", "snapshot": {"n": 1}}],
        [{"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/n", "value": 2}]}],
    ),
    "activity": lambda n: (
        [{"type": "ACTIVITY_SNAPSHOT", "messageId": f"{n}-a", "activityType": "PLAN", "content": {"done": []}}],
        [{"type": "ACTIVITY_DELTA", "messageId": f"{n}-a", "activityType": "PLAN",
          "patch": [{"op": "add", "path": "/done/-", "value": 1}]}],
    ),
    "subagent": lambda n: (
        [{"type": "SUBAGENT_STARTED", "subagentRunId": f"{n}-sub", "name": "helper"},
         {"type": "STEP_STARTED", "stepName": "below", "subagentRunId": f"{n}-sub"},
         {"type": "TEXT_MESSAGE_START", "messageId": f"{n}-st", "role": "assistant", "subagentRunId": f"{n}-sub"},
         {"type": "TEXT_MESSAGE_CONTENT", "messageId": f"{n}-st", "delta": "un", "subagentRunId": f"{n}-sub"}],
        [{"type": "TEXT_MESSAGE_CONTENT", "messageId": f"{n}-st", "delta": "der", "subagentRunId": f"{n}-sub"},
         {"type": "TEXT_MESSAGE_END", "messageId": f"{n}-st", "subagentRunId": f"{n}-sub"},
         {"type": "STEP_FINISHED", "stepName": "below", "subagentRunId": f"{n}-sub"},
         {"type": "SUBAGENT_FINISHED", "subagentRunId": f"{n}-sub"}],
    ),
}  # fmt: skip


async def held(run: Any) -> Any:
    """Stops at the gate `forwardedProps.gate` with each part of `forwardedProps.open` half told, then ends them."""
    halves = [_OPEN[kind](run.input.run_id) for kind in _asked(run, "open", ["text"])]
    for before, _ in halves:
        yield before
    yield {"type": "CUSTOM", "name": "at-the-gate", "value": _asked(run, "gate")}
    await _gate(_asked(run, "gate"))
    for _, after in halves:
        yield after
    yield _text(f"{run.input.run_id}-last", "The end.")


async def silent_at_first(run: Any) -> Any:
    """Says nothing at all before the gate is open, which its words name where nothing else does."""
    await _gate(_asked(run, "gate", _text_of(run)))
    yield "At last."


async def raising(run: Any) -> Any:
    """Raises in mid-message, with a secret in the exception's text."""
    yield "So far so "
    raise RuntimeError("password=hunter2")


async def rubbish(run: Any) -> Any:
    """Yields what the user's message holds as JSON: anything."""
    yield {"type": "TEXT_MESSAGE_START", "messageId": f"{run.input.run_id}-m", "role": "assistant"}
    yield json.loads(_text_of(run))
    yield {"type": "TEXT_MESSAGE_END", "messageId": f"{run.input.run_id}-m"}


async def interrupting(run: Any) -> Any:
    """Asks for a decision and says what it was; `forwardedProps` name what else it asks, and whether it then fails."""
    if run.answers:
        told = next(iter(run.answers.values()))
        if _asked(run, "fails"):
            raise RuntimeError("after the answer")
        call = next(call.id for message in run.input.messages for call in getattr(message, "tool_calls", None) or ())
        yield run.tool_call("send", {"to": "you"}, {"sent": told.approved}, id=call)
        yield f"{told.status}: {told.text}"
        return
    n = run.input.run_id
    yield [
        {"type": "TOOL_CALL_START", "toolCallId": f"{n}-c", "toolCallName": "send"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": f"{n}-c", "delta": '{"to":"you"}'},
        {"type": "TOOL_CALL_END", "toolCallId": f"{n}-c"},
    ]
    asked = {
        "id": f"{n}-i",
        "reason": "tool_call",
        "toolCallId": f"{n}-c",
        "message": "Send it?",
        **_asked(run, "ask", {}),
    }
    more = [{"id": f"{n}-{name}", "reason": "confirmation"} for name in _asked(run, "also", ())]
    yield {"type": "RUN_FINISHED", "outcome": {"interrupts": [asked, *more], "type": "interrupt"}}


REVIEW = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}


async def reviewing(run: Any) -> Any:
    """Asks for a review with a schema, a renderer and values, and says what it was told."""
    if not run.answers:
        yield "Checked."
        yield run.interrupt("OK?", name="ok", response_schema=REVIEW, renderer="acme:review", values={"amount": 120})
    told = run.answers["ok"]
    yield json.dumps({"status": told.status, "payload": told.payload, "text": told.text})


async def hurried(run: Any) -> Any:
    """Asks for 0.3 seconds, or as many as `seconds` says; `on_expiry` is what becomes of it then. Says that it was
    told."""
    if not run.answers:
        outcome = _asked(run, "on_expiry", "cancel")
        default = {"approved": False} if outcome == "answer" else None
        yield run.interrupt(
            "Quick?", name="ok", expires_in_s=_asked(run, "seconds", 0.3), on_expiry=outcome, default=default
        )
    yield f"I was told: {run.answers['ok'].status}"


async def twofold(run: Any) -> Any:
    """Asks two questions at once, without schemas, and says what it was told."""
    if not run.answers:
        yield run.interrupts(run.question("A?", name="a"), run.question("B?", name="b"))
    yield json.dumps([run.answers["a"].payload, run.answers["b"].payload])


async def large(run: Any) -> Any:
    """States and texts of several megabytes in all, none of them plain ASCII."""
    for number in range(8):
        yield {"type": "STATE_SNAPSHOT", "snapshot": {"number": number, "blob": "日本語🎶" * 30_000}}
    for _ in range(40):
        yield "Ünïcödé 日本語 🎶 " * 1_000


async def counting(run: Any) -> Any:
    """Says the whole numbers below `forwardedProps.count`, one delta each, as fast as it can."""
    for number in range(_asked(run, "count", 100)):
        yield f"{number} "


async def telling(run: Any) -> Any:
    """Says what it was given: the roles and ids of the messages, as JSON."""
    yield json.dumps([[message.role, message.id] for message in run.input.messages])


async def private(run: Any) -> Any:
    """Says an event of a type that AG-UI does not define, and a tool's result in parts."""
    n = run.input.run_id
    yield {"type": "X_PRIVATE", "detail": 1}
    yield [
        {"type": "TOOL_CALL_START", "toolCallId": f"{n}-c", "toolCallName": "look"},
        {"type": "TOOL_CALL_END", "toolCallId": f"{n}-c"},
        {"type": "TOOL_CALL_RESULT", "messageId": f"{n}-r", "toolCallId": f"{n}-c", "role": "tool",
         "content": [{"type": "text", "text": "seen"}]},
    ]  # fmt: skip
    yield "after it"


async def halved(run: Any) -> Any:
    """Says the whole numbers below `count`, one delta each, waits at `gate`, and says as many again; all of it once
    the gate `first` is open, if there is one."""
    count = _asked(run, "count", 100)
    if _asked(run, "first"):
        await _gate(_asked(run, "first"))
    for number in range(count):
        yield f"{number} "
    yield {"type": "CUSTOM", "name": "at-the-gate", "value": _asked(run, "gate")}
    await _gate(_asked(run, "gate"))
    for number in range(count, 2 * count):
        yield f"{number} "


def _made(run: Any) -> Any:
    """Artifacts of every kind of part, one of which grows."""
    n = run.input.run_id
    yield run.artifact({"text": "first"}, name="notes", description="What was noted", id=f"{n}-notes")
    grown = [{"op": "add", "path": "/parts/-", "value": {"text": "second"}}]
    yield {"type": "ACTIVITY_DELTA", "messageId": f"{n}-notes", "activityType": "artifact", "patch": grown}
    yield run.artifact({"raw": "aGk=", "filename": "hi.txt", "mediaType": "text/plain"}, id=f"{n}-raw")
    yield run.artifact({"url": "https://example.com/a.png", "mediaType": "image/png"}, id=f"{n}-url")
    yield run.artifact({"data": {"key": "value", "count": 42}}, id=f"{n}-data")


def _heard(run: Any) -> Any:
    """What it was sent, as AG-UI's content, and what came with it."""
    asked = [message for message in run.input.messages if message.role == "user"]
    content = asked[-1].content
    if not isinstance(content, str):
        content = [json.loads(item.model_dump_json(exclude_none=True, by_alias=True)) for item in content]
    yield json.dumps({"content": content, "forwarded": run.input.forwarded_props["a2a"]["metadata"]})


_DEEDS: dict[str, Any] = {
    "make": _made,
    "hear": _heard,
    "reply": lambda run: [{"type": "RUN_FINISHED", "result": {"a2aMessage": {"parts": [{"text": "Just this."}]}}}],
    "reject": lambda run: [{"type": "RUN_ERROR", "code": "REJECTED", "message": "Not this one."}],
    "fail": lambda run: [{"type": "RUN_ERROR", "code": "ODD", "message": "It went wrong."}],
    "result": lambda run: ["Done.", {"type": "RUN_FINISHED", "result": {"sum": 3}}],
    "sign-in": lambda run: [run.interrupt("Sign in first.", reason="auth_required")] if not run.answers else ["In."],
}


async def doing(run: Any) -> Any:
    """Does what the request's metadata `do`, or else its text, names of `_DEEDS`."""
    named = _asked(run, "do", _text_of(run))
    for item in _DEEDS.get(named, _heard)(run):
        yield item


async def picky(run: Any) -> Any:
    """Takes plain text alone, and has a skill for callers with a credential."""
    yield _text_of(run)


picky.hocket = {  # type: ignore[attr-defined]
    "description": "Picky",
    "version": "7.1",
    "input_modes": ["text/plain"],
    "output_modes": ["text/plain"],
    "skills": [
        {"id": "open", "name": "Open", "description": "For all.", "tags": ["a"], "examples": ["Say so"]},
        {"id": "hidden", "name": "Hidden", "description": "For some.", "tags": ["b"], "extended": True},
    ],
}


async def clerk(run: Any) -> Any:
    """Calls a tool for each word that it is sent, as far as a person approves of it, says what it has done, and what
    that took."""
    asked = [message for message in run.input.messages if message.role == "user"][-1]
    done = {message.tool_call_id for message in run.input.messages if message.role == "tool"}
    if not run.answers:
        yield run.reasoning(f"I was asked to {asked.content}.")
    for word in asked.content.split():
        call = f"{asked.id}-{word}"
        if word not in run.answers:
            yield [
                {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": word},
                {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": '{"all":true}'},
                {"type": "TOOL_CALL_END", "toolCallId": call},
            ]
            yield run.interrupt(f"{word}?", name=word, tool_call_id=call)
        if run.answers[word].approved and call not in done:
            told = {"messageId": f"{call}-result", "toolCallId": call, "role": "tool", "content": f"{word}: done"}
            yield {"type": "TOOL_CALL_RESULT", **told}
    yield "Did: " + " ".join(word for word in asked.content.split() if run.answers[word].approved)
    yield {"type": "RUN_FINISHED", "usage": [{"model": "acme-large", "inputTokens": 800, "outputTokens": 64}]}


async def endless(run: Any) -> Any:
    """Never ends by itself, and waits for nothing that could come."""
    yield _text(f"{run.input.run_id}-first", "Here I am.")
    yield {"type": "TOOL_CALL_START", "toolCallId": f"{run.input.run_id}-c", "toolCallName": "dig"}
    yield {"type": "TEXT_MESSAGE_START", "messageId": f"{run.input.run_id}-t", "role": "assistant"}
    yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": f"{run.input.run_id}-t", "delta": "And on"}
    yield {"type": "CUSTOM", "name": "at-the-gate", "value": None}
    await asyncio.Event().wait()


async def narrating(run: Any) -> Any:
    """Thinks, says something, looks something up, and waits at the gate that the user's text names; then asks whether
    to call another tool, and says what came of it. It tells what it has cost."""
    n = run.input.run_id
    call = f"{n.partition('~')[0]}-send"
    if not run.answers:
        yield run.reasoning("I need the invoice first.")
        yield _text(f"{n}-a", "Let me ", "see.")
        yield run.tool_call("get_invoice", {"id": "A-17"}, "120.00")
        yield {"type": "CUSTOM", "name": "at-the-gate", "value": None}
        await _gate(_text_of(run))
        yield [
            {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": "send"},
            {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": '{"to":"bob"}'},
            {"type": "TOOL_CALL_END", "toolCallId": call},
        ]
        yield run.interrupt("Send it?", name="ok", tool_call_id=call, response_schema=REVIEW)
        return
    asked = next(one.id for message in run.input.messages for one in getattr(message, "tool_calls", None) or ()
                 if one.function.name == "send")  # fmt: skip
    yield run.tool_call("send", {"to": "bob"}, {"sent": run.answers["ok"].approved}, id=asked)
    yield "Total is 120.00."
    cost = {"model": "acme-large", "inputTokens": 812, "outputTokens": 64, "costUsd": 0.0021}
    yield {"type": "RUN_FINISHED", "usage": [cost]}


NAMES = ("plain", "everything", "held", "silent_at_first", "raising", "rubbish", "interrupting", "large", "counting",
         "telling", "private", "endless", "release", "reviewing", "hurried", "twofold", "halved", "doing",
         "picky", "clerk", "narrating")  # fmt: skip
"""The agents by the names under which they are served."""
