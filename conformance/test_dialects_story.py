"""One run watched through every face at once is one story, wherever a stream is cut."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conformance import story
from conformance.dialects.scene import (
    APPROVED,
    NAMES,
    SECONDS,
    STREAMS,
    Clients,
    became,
    release,
    shown,
    until,
)
from conformance.mcp_clients import post
from conformance.story import Fact, read


@pytest.mark.requirement("DIA-006")
def test_a_stream_cut_anywhere_and_taken_up_again_is_the_uncut_one(
    http: httpx.Client, dialects: Clients, name: str
) -> None:
    run, thread = _narrated(http, dialects, name)
    for dialect, path in STREAMS.items():
        where = path.format(run=run, thread=thread)
        whole = _raw(http, where)
        ids = [id_ for id_, _ in whole if id_ is not None]
        assert ids and whole[-1][0] is not None, dialect
        for cut in ids:
            place = next(number for number, (id_, _) in enumerate(whole) if id_ == cut)
            assert _raw(http, where, cut) == whole[place + 1 :], (dialect, cut)


def _raw(http: httpx.Client, path: str, after: str | None = None) -> list[tuple[str | None, str]]:
    """The blocks of an ended run's stream with their ids, without comments and retry."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
    told = http.get(path, headers=headers)
    assert told.status_code == 200, told.text
    blocks = [one for one in told.text.split("\n\n") if re.search("^data: ", one, re.MULTILINE)]
    found = [re.search("^id: (.*)$", one, re.MULTILINE) for one in blocks]
    return [(id_[1] if id_ else None, block) for id_, block in zip(found, blocks, strict=True)]


def _narrated(http: httpx.Client, dialects: Clients, name: str) -> tuple[str, str]:
    """A run that has said, called, asked and been answered."""
    run = dialects["operativus"].start("narrating", name)
    release(http, name)
    thread = became(http, run, "waiting")["thread_id"]
    assert dialects["middesk"].answer(run, APPROVED).status_code == 200
    became(http, run, "completed")
    return run, thread


@pytest.mark.requirement("dialects.story")
def test_all_faces_tell_one_story_of_a_run(http: httpx.Client, base_url: str, dialects: Clients, name: str) -> None:
    run = dialects["arkloop"].start("narrating", name)
    thread = became(http, run, "running")["thread_id"]
    paths = {face: path.format(run=run, thread=thread) for face, path in STREAMS.items()} | {
        "rest": f"/v1/runs/{run}/events"
    }
    with ThreadPoolExecutor(len(paths) + 3) as pool:
        watching = {face: pool.submit(_watch, base_url, path) for face, path in paths.items()}
        task = pool.submit(_task, base_url, run)
        _stands(http, dialects, run, thread, "running", None, ["get_invoice"], "Let me see.")
        release(http, name)
        became(http, run, "waiting")
        gate = dialects["veryfront"].gate(run) and dialects["cinatra"].gate(run)
        _stands(http, dialects, run, thread, "waiting", gate, ["get_invoice"], "Let me see.")
        waited = post(http, "tools/call", {"name": "agent_run_wait", "arguments": {"runId": run}}, "/mcp").json()
        assert waited["result"]["structuredContent"]["hitlContext"]["reviewTaskId"] == gate
        assert dialects["arkloop"].answer(run, APPROVED).status_code == 200
        became(http, run, "completed")
        _stands(http, dialects, run, thread, "completed", None, ["get_invoice", "send"], "Total is 120.00.")
        frames = {face: future.result(SECONDS) for face, future in watching.items()}
        frames["a2a"] = task.result(SECONDS)
    agui = _legs(base_url, "narrating", run, thread)
    facts: dict[str, list[Fact]] = {face: list(story.TELLERS[face](told)) for face, told in frames.items()}
    facts["agui"] = list(story.TELLERS["agui"](agui))
    kinds = {one.kind for told in facts.values() for one in told}
    assert kinds == {"said", "called", "result", "asked", "answered", "end"}
    story.check_same(facts)


def _watch(base_url: str, path: str) -> list[story.Frame]:
    with httpx.Client(base_url=base_url, timeout=SECONDS) as http:
        return read(http, path)


def _legs(base_url: str, agent: str, run: str, thread: str) -> list[story.Frame]:
    """The run as AG-UI has it: each leg is a stream of its own."""
    body = {"threadId": thread, "runId": run, "protocolVersion": "1.0", "messages": [], "state": {}, "tools": [],
            "context": [], "forwardedProps": {}}  # fmt: skip
    told = [story.Frame(1, "message", {"type": "ask"})]
    with httpx.Client(base_url=base_url, timeout=SECONDS) as http:
        while told[-1].data["type"] not in ("RUN_FINISHED", "RUN_ERROR") or _asks(told[-1]):
            told += read(http, f"/agui/{agent}?after_seq={told[-1].seq}", json=body)
    return told


def _asks(end: story.Frame) -> bool:
    return bool(end.data.get("outcome", {}).get("type") == "interrupt")


@pytest.mark.requirement("dialects.story")
@pytest.mark.parametrize(
    ("agent", "end"), [("raising", "failed"), ("reviewing", "cancelled"), ("endless", "cancelled")]
)
def test_all_faces_tell_the_same_end(
    http: httpx.Client, base_url: str, dialects: Clients, agent: str, end: str
) -> None:
    run = dialects["middesk"].start(agent, "hi")
    thread = became(http, run, "failed", "waiting", "running")["thread_id"]
    if agent == "endless":
        until(lambda: "And on" in http.get(f"/v1/runs/{run}", params={"include": "messages"}).text)
    dialects["veryfront"].cancel(run)
    became(http, run, end)
    paths = {face: path.format(run=run, thread=thread) for face, path in STREAMS.items()}
    frames = {face: read(http, path) for face, path in (paths | {"rest": f"/v1/runs/{run}/events"}).items()}
    frames["agui"] = _legs(base_url, agent, run, thread)
    facts = {face: list(story.TELLERS[face](told)) for face, told in frames.items()}
    assert {face: told[-1].what for face, told in facts.items()} == dict.fromkeys(facts, end)
    assert len({told[-1].seq for told in facts.values()}) == 1
    assert shown(dialects, run, end)


def _task(base_url: str, run: str) -> list[story.Frame]:
    with httpx.Client(base_url=base_url, timeout=SECONDS, headers={"a2a-version": "1.0"}) as http:
        return read(http, f"/a2a/narrating/tasks/{run}:subscribe", "0", json={})


def _stands(
    http: httpx.Client,
    dialects: Clients,
    run: str,
    thread: str,
    status: str,
    gate: str | None,
    results: list[str],
    last: str,
) -> None:
    """Polled through every face, the run is the same: status, gate, tool calls, last words, place in the log."""
    until(lambda: last in http.get(f"/v1/runs/{run}", params={"include": "messages"}).text)
    until(lambda: shown(dialects, run, status))
    told = http.get(f"/v1/runs/{run}", params={"include": "messages"}).json()
    assert [dialects[name].gate(run) is not None for name in NAMES] == [gate is not None] * len(NAMES)
    assert {dialects[name].gate(run) for name in ("cinatra", "operativus", "middesk", "arkloop")} == {gate}
    mcp = post(http, "tools/call", {"name": "get_agent_run", "arguments": {"conversation_id": thread, "run_id": run}},
               "/veryfront/mcp").json()["result"]["structuredContent"]  # fmt: skip
    rest = http.get(f"/veryfront/conversations/{thread}/runs/{run}").json()
    assert mcp["latest_event_id"] == rest["latest_event_id"] == told["seq"]
    assert all(rest[key] == value for key, value in mcp.items())
    calls = {one["id"]: one["function"]["name"] for message in told["messages"] for one in message.get("toolCalls", ())}
    done = [calls[one["toolCallId"]] for one in told["messages"] if one["role"] == "tool"]
    steps = http.get(f"/middesk/v1/runs/{run}", params={"include": "steps"}).json()["steps"]
    assert done == results
    finished = [one["name"] for one in steps if one["type"] == "activity" and one["status"] == "completed"]
    assert finished == results
    task = http.get(f"/a2a/narrating/tasks/{run}", headers={"a2a-version": "1.0"}).json()
    states = {
        "running": "TASK_STATE_WORKING",
        "waiting": "TASK_STATE_INPUT_REQUIRED",
        "completed": "TASK_STATE_COMPLETED",
    }
    assert task["status"]["state"] == states[status]
    record = dialects["cinatra"].tool("agent_run_get", runId=run)
    assert record["streamedText"].endswith(last)
