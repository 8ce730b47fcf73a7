"""The five run APIs and what they must not do: trust a body, tell of another tenant, fail."""

import contextlib
import json
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.conftest import _fresh
from conformance.dialects.scene import (
    NAMES,
    Clients,
    became,
    clients,
)
from conformance.keyed import Keyed, served


@pytest.fixture(scope="module")
def keyed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    if request.config.getoption("--base-url"):
        pytest.skip("this starts a hocket of its own, to give it keys")
    folder: Path = tmp_path_factory.mktemp("dialects")
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_fresh(folder, HOCKET_AGUI_EXTERNAL_ENABLED="true"))
        yield Keyed(url, folder / "data")


@pytest.mark.requirement("DIA-003")
def test_who_asked_and_who_answered_come_from_credentials_alone(keyed: Keyed) -> None:
    alice, bob = keyed.key("user:alice"), keyed.key("user:bob")
    with keyed.of(bob) as http:
        assert served(http).status_code == 200
        with clients(keyed.url, alice) as asking, clients(keyed.url, bob) as answering:
            for name in NAMES:
                run = asking[name].start("reviewing", "hi")
                became(http, run, "waiting")
                claimed = {"approved": True, "userId": "user:mallory", "resumedBy": "user:mallory"}
                assert answering[name].answer(run, claimed).status_code == 200, name
                became(http, run, "completed")
                audit = http.get(f"/v1/runs/{run}/audit").json()["audit"]
                who = {one["what"]: one["by"]["id"] for one in audit if one["by"] is not None}
                assert (who["started"], who["answered"]) == ("user:alice", "user:bob"), name


POLLS: dict[str, tuple[str, str]] = {
    "operativus": ("GET", "/operativus/api/v1/runs/{run}"),
    "operativus status": ("GET", "/operativus/api/agents/reviewing/runs/{run}/status"),
    "operativus continue": ("POST", "/operativus/api/agents/reviewing/runs/{run}/continue"),
    "operativus cancel": ("DELETE", "/operativus/api/agents/reviewing/runs/{run}"),
    "operativus events": ("GET", "/operativus/api/v1/runs/{run}/events"),
    "veryfront": ("GET", "/veryfront/runs/{run}"),
    "veryfront read": ("GET", "/veryfront/conversations/{thread}/runs/{run}"),
    "veryfront stream": ("GET", "/veryfront/conversations/{thread}/runs/{run}/stream"),
    "veryfront events": ("GET", "/veryfront/runs/{run}/events"),
    "veryfront resume": ("POST", "/veryfront/runs/{run}/resume"),
    "veryfront cancel": ("POST", "/veryfront/runs/{run}/cancel"),
    "middesk": ("GET", "/middesk/v1/runs/{run}"),
    "middesk stream": ("GET", "/middesk/v1/runs/{run}/stream"),
    "middesk resume": ("POST", "/middesk/v1/runs/{run}/resume"),
    "middesk thread": ("GET", "/middesk/v1/threads/{thread}"),
    "arkloop": ("GET", "/arkloop/v1/runs/{run}"),
    "arkloop events": ("GET", "/arkloop/v1/runs/{run}/events"),
    "arkloop input": ("POST", "/arkloop/v1/runs/{run}/input"),
    "arkloop cancel": ("POST", "/arkloop/v1/runs/{run}:cancel"),
    "arkloop thread": ("GET", "/arkloop/v1/threads/{thread}"),
    "arkloop runs": ("GET", "/arkloop/v1/threads/{thread}/runs"),
    "cinatra stream": ("GET", "/cinatra/api/a2a?taskId={run}"),
    "cinatra": ("GET", "/cinatra/api/agents/runs/{run}"),
}
BODIES: dict[str, Any] = {
    "operativus continue": {"action": "APPROVE"},
    "veryfront resume": {"type": "tool_result", "tool_call_id": "c", "result": 1, "is_error": False},
    "middesk resume": {"interrupt_id": "x", "input": 1},
    "arkloop input": {"content": "x"},
}


@pytest.mark.requirement("DIA-004")
def test_the_run_of_another_tenant_is_one_that_there_is_not(keyed: Keyed) -> None:
    ours, theirs = keyed.key("user:ours"), keyed.key("user:theirs", tenant="other")
    with keyed.of(theirs) as http, keyed.of(ours) as owner, clients(keyed.url, ours) as dialects:
        assert served(http).status_code == served(owner).status_code == 200
        run = dialects["arkloop"].start("reviewing", "hi")
        thread = became(owner, run, "waiting")["thread_id"]
        missing = {"run": str(uuid.uuid4()), "thread": str(uuid.uuid4())}
        for what, (method, path) in POLLS.items():
            body = BODIES.get(what)
            there, not_there = (
                http.request(method, path.format(**ids), json=body if method == "POST" else None)
                for ids in ({"run": run, "thread": thread}, missing)
            )
            assert there.status_code == not_there.status_code == 404, (what, there.status_code, there.text)
            assert _bare(there, run, thread) == _bare(not_there, *missing.values()), what
        assert became(owner, run, "waiting")


def _bare(answer: httpx.Response, run: str, thread: str) -> str:
    """An answer without the ids asked for and without the trace."""
    return re.sub(r'"trace_id":"[0-9a-f]+"', "", answer.text.replace(run, "RUN").replace(thread, "THREAD"))


@pytest.mark.requirement("DIA-008")
def test_no_garbage_is_answered_with_a_fault_of_the_server(http: httpx.Client, dialects: Clients) -> None:
    rubbish = random.Random(7)
    run = dialects["arkloop"].start("reviewing", "hi")
    thread = became(http, run, "waiting")["thread_id"]
    values = [None, True, -1, 10**30, 1.5, "", "x", "\u0000", "é" * 300, [], [[]], {}, {"a": {"b": []}}, run, thread]
    fields = """message sessionId options media action approvalId kind owner request content public_id tool_call_id
        result type interrupt_id input id thread_id persona_id route_id last_seen_seq title reviewTaskId values decision
        payload""".split()
    starts = [("POST", "/operativus/api/agents/reviewing/runs/background"), ("POST", "/veryfront/runs"),
              ("POST", "/middesk/v1/runs"), ("POST", "/middesk/v1/threads"), ("POST", "/arkloop/v1/threads"),
              ("POST", f"/arkloop/v1/threads/{thread}/messages"), ("POST", "/cinatra/api/a2a/resume"),
              ("GET", "/arkloop/v1/runs"), ("GET", "/middesk/v1/runs"), ("GET", "/operativus/api/v1/runs")]  # fmt: skip
    routes = [
        one
        for what, one in POLLS.items()
        if "stream" not in what and what not in ("operativus events", "arkloop events")
    ]
    for _ in range(400):
        method, path = rubbish.choice([*starts, *routes])
        ids = {"run": rubbish.choice([run, "x", "%00", "run_" + run, "%F0%9F%8E%B6"]), "thread": thread}
        body = {rubbish.choice(fields): rubbish.choice(values) for _ in range(rubbish.randint(0, 4))}
        raw = rubbish.choice([json.dumps(body), json.dumps(rubbish.choice(values)), "{", "\x00", ""])
        query = {rubbish.choice(["limit", "page", "size", "status", "before", "offset", "after_event_id", "per_page"]):
                 rubbish.choice(["", "-1", "x", "1e9", "99999999999999999999", "\u0000"])}  # fmt: skip
        answer = http.request(
            rubbish.choice([method, method, "PUT"]), path.format(**ids), content=raw if method == "POST" else None,
            params=query if "?" not in path else None, headers={"content-type": "application/json"},
        )  # fmt: skip
        assert answer.status_code < 500, (method, path, raw, query, answer.text)
