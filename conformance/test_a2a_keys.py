"""A2A with keys: who is let in, and what another tenant can learn."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from conformance.a2a.peer import BINDINGS, Json, Peer, Refused, message
from conformance.keyed import Keyed, served

Fresh = Callable[..., contextlib.AbstractContextManager[str]]
CARD = "/a2a/plain/.well-known/agent-card.json"


@pytest.fixture
def keyed(fresh: Fresh, tmp_path: Path) -> Iterator[Keyed]:
    with fresh() as url:
        yield Keyed(url, tmp_path / "data")


def denied(peer: Peer, operation: str, params: Json) -> Refused:
    try:
        told = peer.call(operation, params)
    except Refused as refusal:
        return refusal
    raise AssertionError(told)


@pytest.mark.requirement("A2A-090", "A2A-091", "A2A-092")
def test_a_key_is_asked_for_and_does_what_its_scopes_and_its_tenant_allow(keyed: Keyed, name: str) -> None:
    keys = keyed.key("alice"), keyed.key("carl", "runs:read"), keyed.key("mallory", tenant="other")
    with contextlib.ExitStack() as stack:
        alice, carl, mallory = (stack.enter_context(keyed.of(key)) for key in keys)
        nobody, wrong = (stack.enter_context(keyed.of(key)) for key in (None, "wrong"))
        for client in (alice, carl, mallory):
            assert served(client).status_code == 200
        told = nobody.get(CARD).json()  # for anyone: it says what credential is needed
        assert told["securitySchemes"] and told["securityRequirements"]
        for binding in BINDINGS:
            mine, reading, theirs = (Peer(one, "reviewing", binding) for one in (alice, carl, mallory))
            task = mine.send("check", contextId=f"{name}-{binding[0]}")
            for other in (nobody, wrong):
                for operation, params in (
                    ("SendMessage", message("hi")), ("GetTask", {"id": task["id"]}), ("ListTasks", {}),
                    ("GetExtendedAgentCard", {}),
                ):  # fmt: skip
                    refusal = denied(Peer(other, "reviewing", binding), operation, params)
                    assert refusal.status == 401, (operation, refusal)
            assert reading.get(task["id"])["id"] == task["id"]
            approved = message(None, [{"data": {"approved": True}}], taskId=task["id"])
            for operation, params in (
                ("SendMessage", message("hi")), ("SendMessage", approved), ("SendStreamingMessage", message("hi")),
                ("CancelTask", {"id": task["id"]}),
            ):  # fmt: skip
                refusal = denied(reading, operation, params)
                assert refusal.status == 403, (operation, refusal)
            for operation in ("GetTask", "CancelTask", "SubscribeToTask"):
                hidden, unknown = (
                    theirs.refused(operation, {"id": task["id"]}),
                    theirs.refused(operation, {"id": "none"}),
                )
                assert hidden.reason == unknown.reason == "TASK_NOT_FOUND"
                assert str(hidden.body).replace(task["id"], "") == str(unknown.body).replace("none", "")
            assert theirs.refused("SendMessage", approved).reason == "TASK_NOT_FOUND"
            listed = theirs.call("ListTasks")
            assert task["id"] not in [one["id"] for one in listed["tasks"]] and listed["totalSize"] == len(
                listed["tasks"]
            )
            assert "tenant" in theirs.refused("GetTask", {"id": task["id"], "tenant": "acme"}).message
            assert theirs.send("mine", contextId=task["contextId"])["contextId"] == task["contextId"]
            done = mine.call("SendMessage", approved)["task"]
            assert done["status"]["state"] == "TASK_STATE_COMPLETED"
            record = alice.get(f"/v1/runs/{task['id']}/audit").json()["audit"]
            assert [(one["by"] or {}).get("id") for one in record] == ["alice", None, "alice"]


@pytest.mark.requirement("A2A-075", "A2A-091")
def test_the_same_key_of_idempotency_of_another_caller_is_another_task(keyed: Keyed, name: str) -> None:
    keys = keyed.key("alice"), keyed.key("bob"), keyed.key("mallory", tenant="other")
    with contextlib.ExitStack() as stack:
        clients: list[httpx.Client] = [stack.enter_context(keyed.of(key)) for key in keys]
        for client in clients:
            assert served(client).status_code == 200
        peers = [Peer(one, "plain", "JSONRPC").with_headers(idempotency_key=name) for one in clients]
        assert len({peer.send("once")["id"] for peer in peers for _ in range(2)}) == 3
