"""Whatever an agent or a client says, each face can tell the run: random events and messages, legal and not."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from protocol.errors import IllegalEvent
from protocol.events import FIELDS
from protocol.order import check
from runtime.intake import own_copy
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.drawn import drawn
from tests.gateway.every_face import every_face
from tests.house import House, open_house
from tests.strategies import Growing

pytestmark = pytest.mark.anyio

IDS = st.sampled_from(["a", "b", "", "a/b", "ü", "x" * 300, "0", "hocket.x"])
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 2**60), st.just(2**63), st.floats(-1e300, 1e300), IDS,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        st.sampled_from(["[1", '{"a": 1}', "\u2028\n\r", "\0"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(IDS | st.just("type"), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove"]), "path": st.sampled_from(["", "/a", "/parts/-", "/0"])},
    optional={"value": JSON},
)
NOTES = st.fixed_dictionaries({}, optional={"a2a": JSON, "hocket": JSON, "@ag-ui/client": JSON, "usage": JSON})
PARTS = st.lists(
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "image", "binary", "document"])},
            optional={"text": JSON, "source": JSON, "metadata": NOTES, "data": JSON, "mimeType": JSON},
        ),
        st.fixed_dictionaries({}, optional={"text": JSON, "raw": JSON, "url": JSON, "data": JSON, "mediaType": JSON}),
    ),
    max_size=3,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"id": IDS, "role": st.sampled_from(["user", "assistant", "tool", "system", "activity", "reasoning"])},
        optional={
            "content": JSON | PARTS,
            "metadata": NOTES | JSON,
            "toolCallId": IDS,
            "toolCalls": st.lists(
                st.fixed_dictionaries(
                    {"id": IDS, "type": st.just("function")},
                    optional={
                        "function": st.fixed_dictionaries({"name": IDS, "arguments": st.text(max_size=3) | JSON})
                    },
                ),
                max_size=2,
            ),
            "activityType": IDS,
        },
    ),
    max_size=3,
)
QUESTIONS = st.lists(
    st.fixed_dictionaries(
        {"id": IDS},
        optional={
            "reason": JSON, "message": JSON, "toolCallId": IDS, "expiresAt": JSON, "metadata": NOTES | JSON,
            "responseSchema": JSON | st.fixed_dictionaries({"type": JSON, "properties": JSON}),
        },
    ),
    max_size=2,
)  # fmt: skip
KINDS = st.sampled_from(["success", "interrupt", "cancelled", "x"])
OUTCOMES = JSON | st.fixed_dictionaries({"type": KINDS}, optional={"interrupts": QUESTIONS})
_OF = {
    "delta": IDS | st.lists(OPERATIONS, max_size=3), "patch": st.lists(OPERATIONS, max_size=3),
    "messages": MESSAGES, "content": st.one_of(st.fixed_dictionaries({"parts": PARTS}), JSON, PARTS),
    "metadata": NOTES, "usage": JSON, "outcome": OUTCOMES, "activityType": st.sampled_from(["artifact", "PLAN", ""]),
    "role": st.sampled_from(["assistant", "user", "tool", "reasoning", "x"]), "snapshot": JSON, "result": JSON,
    "subtype": st.sampled_from(["tool-call", "message"]), "timestamp": st.integers(-(2**53), 2**53) | JSON,
}  # fmt: skip
_MORE = ("metadata", "timestamp", "role", "parentMessageId", "subagentRunId", "rawEvent", "outcome", "result", "usage")
_NOT_ALONE = ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR", "TEXT_MESSAGE_CHUNK", "TOOL_CALL_CHUNK")
_NOT_ALONE += ("REASONING_MESSAGE_CHUNK",)


def event(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    needed = {name: _OF.get(name, JSON if FIELDS[kind][name] is object else IDS) for name in FIELDS[kind]}
    more = {name: _OF.get(name, IDS) for name in _MORE if name not in needed}
    return st.fixed_dictionaries({"type": st.just(kind), **needed}, optional=more)


EVENTS = st.one_of(*(event(kind) for kind in FIELDS))
SCRIPTS = st.lists(EVENTS | JSON.filter(lambda said: said is not None), min_size=1, max_size=12)
EXAMPLES = int(os.environ.get("HOCKET_TEST_EXAMPLES", "60"))


def allowed(script: list[Any]) -> list[Any]:
    """What an agent may say of it, one after the other, so that its run comes further."""
    growing, told = Growing("r", {"messages": []}), []
    growing.add({"type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 2})
    for said in script:
        if isinstance(said, dict) and said.get("type") not in _NOT_ALONE:
            with contextlib.suppress(IllegalEvent):
                check(growing.state, said)
                growing.add(own_copy(said, 1))
                told.append(said)
    return told + [said for said in script if isinstance(said, dict) and said.get("type") == "RUN_FINISHED"][:1]


@pytest.mark.parametrize("of", [list, allowed])
async def test_a_run_is_told_by_every_face_whatever_its_agent_has_said(
    of: Callable[[list[Any]], list[Any]], nats: EmbeddedServer, settings: Settings
) -> None:
    scripts = [of(script) for script in await drawn(SCRIPTS, EXAMPLES)]

    async def whatever(run: Any) -> AsyncIterator[Any]:
        if not run.answers:
            for said in scripts[int(run.input.messages[-1].content)]:
                yield said

    async with open_house(nats, settings, whatever=whatever) as house:
        for number, script in enumerate(scripts):
            asked = {"agent": "whatever", "input": f"{number}", "run_id": f"r{number}", "thread_id": f"t{number}"}
            run = (await house.client.post("/v1/runs", json=asked, headers={"Prefer": "wait=5"})).json()
            assert run["status"] in ("completed", "failed", "waiting", "cancelled"), (script, run)
            if run["status"] == "waiting":
                assert (await house.client.post(f"/v1/runs/{run['id']}/cancel")).status_code < 300
            await told_by_every_face(house, number, script)


SOURCES = st.fixed_dictionaries({"type": st.sampled_from(["data", "url"]), "value": IDS}, optional={"mimeType": IDS})
CONTENTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "text": IDS | st.just("[1]")}, optional={"metadata": NOTES}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["image", "audio", "document"]), "source": SOURCES}, optional={"metadata": NOTES}
        ),
    ),
    min_size=1,
    max_size=3,
)
_NOTED = {"metadata": NOTES, "name": IDS}
SENT = st.one_of(
    st.fixed_dictionaries({"role": st.just("user"), "content": IDS | CONTENTS}, optional=_NOTED),
    st.fixed_dictionaries({"role": st.sampled_from(["assistant", "system"]), "content": IDS}, optional=_NOTED),
    st.fixed_dictionaries({"role": st.just("tool"), "content": IDS, "toolCallId": IDS}, optional={"metadata": NOTES}),
)
INPUTS = st.fixed_dictionaries(
    {"messages": st.lists(SENT, min_size=1, max_size=4) | MESSAGES},
    optional={"state": JSON, "forwardedProps": JSON, "context": PARTS, "tools": PARTS, "resume": QUESTIONS, "x": JSON},
)


async def test_a_run_is_told_by_every_face_whatever_a_client_has_sent(nats: EmbeddedServer, settings: Settings) -> None:
    async def echo(run: Any) -> AsyncIterator[Any]:
        yield "Yes."

    bare = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
    async with open_house(nats, settings, whatever=echo) as house:
        taken = 0
        for number, given in enumerate(await drawn(INPUTS, EXAMPLES)):
            messages = [{"id": f"m{place}", **message} for place, message in enumerate(given["messages"])]
            asked = bare | given | {"messages": messages, "threadId": f"t{number}", "runId": f"r{number}"}
            answer = await house.client.post("/agui/whatever", json=asked)
            assert answer.status_code < 500, (answer.text, asked)
            if answer.status_code == 200 and (await house.client.get(f"/v1/runs/r{number}")).status_code == 200:
                taken += 1
                await told_by_every_face(house, number, asked)
    assert taken


async def told_by_every_face(house: House, number: int, said: Any) -> None:
    for path, told in (await every_face(house, f"r{number}", f"t{number}", "whatever")).items():
        assert not told.startswith("wrong"), (path, told[:200], said)
