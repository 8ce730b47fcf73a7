"""What an agent nests as deep as it may is told by every face, and what it nests deeper ends its run."""

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol import depth
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.every_face import every_face
from tests.house import House, open_house

pytestmark = pytest.mark.anyio


def nested(levels: int) -> Any:
    return functools.reduce(lambda inner, _: {"a": [inner]}, range(levels // 2), [1] if levels % 2 else 1)


async def deep(run: Any) -> AsyncIterator[Any]:
    """Says of the kind that it is asked for something nested as deep as it is told."""
    kind, levels = run.input.messages[-1].content.split()

    def inner(around: int) -> Any:
        return nested(int(levels) - around)

    if kind == "state":
        yield run.state(inner(1))
    elif kind == "artifact":
        yield run.artifact({"data": inner(4)})
    elif kind == "activity":
        yield {"type": "ACTIVITY_SNAPSHOT", "messageId": "a", "activityType": "PLAN", "content": {"a": inner(2)}}
    elif kind == "custom":
        yield run.custom("x", inner(1))
    elif kind == "snapshot":
        part = {"type": "text", "text": "x", "metadata": inner(5)}
        yield {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "u", "role": "user", "content": [part]}]}
    elif kind == "call":
        text = "[" * int(levels) * 3 + "]" * int(levels) * 3
        yield {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t"}
        yield {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": text}
        yield {"type": "TOOL_CALL_END", "toolCallId": "c"}
        yield {"type": "TOOL_CALL_RESULT", "toolCallId": "c", "messageId": "r", "content": text}
    elif kind == "result":
        yield {"type": "RUN_FINISHED", "result": inner(1)}
    elif kind == "question" and not run.answers:
        yield run.interrupt("Well?", metadata={"a": inner(5)})


async def begun(house: House, kind: str, levels: int) -> Any:
    asked = {"agent": "deep", "input": f"{kind} {levels}", "thread_id": f"{kind}-{levels}"}
    return (await house.client.post("/v1/runs", json=asked, headers={"Prefer": "wait=5"})).json()


KINDS = ["state", "artifact", "activity", "custom", "snapshot", "call", "result", "question"]


async def test_what_is_nested_as_deep_as_it_may_be_is_told_by_every_face(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, deep=deep) as house:
        for kind in KINDS:
            run = await begun(house, kind, depth.SAID)
            assert run["status"] == ("waiting" if kind == "question" else "completed"), (kind, run)
            if kind == "question":
                answers = [{"interrupt_id": run["interrupts"][0]["id"], "payload": nested(20)}]
                seq = (await house.client.post(f"/v1/runs/{run['id']}/resume", json={"answers": answers})).json()["seq"]
                ended = await house.client.get(f"/v1/runs/{run['id']}?wait=5&after_seq={seq}")
                assert ended.json()["status"] == "completed", ended.text
            for path, told in (await every_face(house, run["id"], run["thread_id"], "deep")).items():
                assert not told.startswith("wrong"), (kind, path, told[:300])
            again = {"agent": "deep", "input": "none 0", "thread_id": run["thread_id"]}
            after = await house.client.post("/v1/runs", json=again, headers={"Prefer": "wait=5"})
            assert after.json()["status"] == "completed", (kind, after.text)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "call"])
async def test_what_is_nested_deeper_ends_the_run(kind: str, nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, deep=deep) as house:
        run = await begun(house, kind, depth.SAID + 1)
        listed = await house.client.get("/v1/runs")
    assert (run["status"], run["error"]["code"]) == ("failed", "ILLEGAL_EVENT"), run
    assert "deeper than 90 levels" in run["error"]["message"]
    assert listed.status_code == 200
