"""A2A under Cinatra's path."""

from typing import Any

import httpx
import pytest

from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.dialects.cinatra_client import Reviewing
from tests.house import open_house

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("prefix", ["", "/cinatra"])
async def test_a_peer_of_a2a_is_answered_here_too_and_its_task_carries_the_runs_id(
    prefix: str, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, bare=Reviewing().bare) as house:

        async def ask(method: str, headers: dict[str, str], **params: Any) -> httpx.Response:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return await house.client.post(f"{prefix}/api/a2a", json=body, headers=headers)

        modern = {"a2a-version": "1.0"}
        said: dict[str, Any] = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
        task = (await ask("SendMessage", modern, message=said)).json()["result"]["task"]
        streamed = (await ask("SendStreamingMessage", modern, message=said)).text
        old = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
        legacy = (await ask("message/send", {}, message=old)).json()["result"]
        refused = (await ask("Nonsense", modern)).json()
        rubbish = await house.client.post(
            f"{prefix}/api/a2a", content=b"{", headers={"content-type": "application/json"}
        )
        run = (await house.client.get(f"/v1/runs/{task['id']}/audit")).json()["audit"][0]
    assert task["metadata"] == {"cinatraRunId": task["id"]} and task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert legacy["metadata"] == {"cinatraRunId": legacy["id"]}
    assert '"cinatraRunId":' in streamed and "TASK_STATE_INPUT_REQUIRED" in streamed
    assert refused["error"]["code"] == -32601 and rubbish.json()["error"]["code"] == -32700
    assert run["face"] == "cinatra"
