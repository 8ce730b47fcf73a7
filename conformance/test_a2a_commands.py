"""Two command line clients of A2A that are not ours: a2a-handler and a2a-proof."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.a2a.peer import Json, Peer, text_of

CLIENTS = Path(__file__).parents[1] / ".clients" / "bin"
SECONDS = 60.0


def command(folder: Path, *words: str) -> str:
    """What a client prints, which must end with 0; it keeps what it remembers in the folder."""
    assert CLIENTS.is_dir(), "the clients are not installed: conformance/install.sh does it"
    own = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder), "NO_COLOR": "1"}
    done = subprocess.run(
        [str(CLIENTS / words[0]), *words[1:]], cwd=folder, env={**os.environ, **own}, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def handler(folder: Path, *words: str) -> Any:
    return json.loads(command(folder, "handler", "--output", "json", *words))


@pytest.mark.requirement("A2A-112")
def test_handler_takes_the_card_for_valid(base_url: str, tmp_path: Path) -> None:
    for agent in ("/a2a/plain", "/a2a/picky", ""):
        assert handler(tmp_path, "card", "validate", "--url", base_url + agent)["valid"] is True


@pytest.mark.requirement("A2A-112")
def test_handler_sends_answers_gets_lists_and_cancels(base_url: str, tmp_path: Path, name: str) -> None:
    at = ("--url", f"{base_url}/a2a/reviewing")
    task = handler(tmp_path, "message", "send", *at, "--text", "check", "--context-id", name)
    assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED" and task["contextId"] == name
    answered = handler(tmp_path, "message", "send", *at, "--data", '{"approved": true}', "--task-id", task["id"])
    assert answered["status"]["state"] == "TASK_STATE_COMPLETED" and '"approved": true' in text_of(answered)
    assert handler(tmp_path, "task", "get", task["id"], *at)["status"] == answered["status"]
    streamed = handler(tmp_path, "message", "stream", *at, "--text", "check")
    assert streamed["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    cancelled = handler(tmp_path, "task", "cancel", streamed["id"], *at)
    assert cancelled["status"]["state"] == "TASK_STATE_CANCELED"
    listed = handler(tmp_path, "task", "list", *at)["tasks"]
    assert {task["id"], streamed["id"]} <= {one["id"] for one in listed}


@pytest.mark.requirement("A2A-112")
def test_handler_subscribes_to_a_task_until_its_end(base_url: str, rpc: Peer, tmp_path: Path) -> None:
    task = rpc.to("hurried").send(request_metadata={"on_expiry": "answer", "seconds": 6})
    assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    told = handler(tmp_path, "task", "resubscribe", task["id"], "--url", f"{base_url}/a2a/hurried")
    assert told["status"]["state"] == "TASK_STATE_COMPLETED" and text_of(told) == "I was told: expired"


def contract(folder: Path, url: str, transport: str, scenarios: list[Json]) -> None:
    told = {"version": 1, "agent": {"url": url, "transport": transport}, "scenarios": scenarios}
    (folder / "proof.yaml").write_text(json.dumps(told))
    command(folder, "a2a-proof", "run", "proof.yaml")


@pytest.mark.requirement("A2A-113")
@pytest.mark.parametrize("transport", ["JSONRPC", "HTTP+JSON"])
def test_proof_finds_its_contracts_kept(base_url: str, http: httpx.Client, tmp_path: Path, transport: str) -> None:
    contract(
        tmp_path, f"{base_url}/a2a/plain", transport,
        [{"name": "echo", "message": "Hello", "expect": {"state": "completed", "text": {"contains": ["said: Hello"]}}}],
    )  # fmt: skip
    contract(
        tmp_path, f"{base_url}/a2a/reviewing", transport,
        [
            {"name": "decide", "turns": [
                {"message": "check", "expect": {"state": "input-required"}},
                {"data": [{"approved": True}], "expect": {"state": "completed"}},
                {"action": "get_task", "expect": {"state": "completed"}},
            ]},
            {"name": "cancel", "turns": [
                {"message": "check", "expect": {"state": "input-required"}},
                {"action": "cancel", "expect": {"state": "canceled"}},
            ]},
        ],
    )  # fmt: skip
    file = {"source": "artifact", "filename": "hi.txt", "media_type": "text/plain", "kind": "raw", "size_bytes": 2}
    data = {"path": "/count", "equals": 42}
    contract(
        tmp_path, f"{base_url}/a2a/doing", transport,
        [
            {"name": "make", "message": "make", "expect": {"state": "completed", "files": [file], "data": [data]}},
            {"name": "reject", "message": "reject", "expect": {"state": "rejected"}},
            {"name": "reply", "message": "reply", "expect": {"text": {"equals": "Just this."}}},
        ],
    )  # fmt: skip
