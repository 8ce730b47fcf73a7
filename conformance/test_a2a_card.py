"""Agent cards: what a peer learns before it speaks to an agent."""

import contextlib
import json
import subprocess
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from a2a.types import AgentCard
from a2a.utils.signing import create_signature_verifier
from google.protobuf.json_format import ParseDict
from jwt import PyJWK

from conformance.a2a.peer import CURSOR, IDEMPOTENCY, Json, Peer

Fresh = Callable[..., contextlib.AbstractContextManager[str]]
CARD = "/.well-known/agent-card.json"
REQUIRED = {"name", "description", "supportedInterfaces", "version", "capabilities", "defaultInputModes",
            "defaultOutputModes", "skills"}  # fmt: skip
LEGACY = {"url", "protocolVersion", "preferredTransport", "supportsAuthenticatedExtendedCard"}


def card(http: httpx.Client, agent: str) -> Json:
    answer = http.get(f"/a2a/{agent}{CARD}", headers={"a2a-version": "1.0"})
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


@pytest.mark.requirement("A2A-001")
def test_each_agent_has_a_card_and_so_has_the_default_one(http: httpx.Client) -> None:
    told = card(http, "picky")
    assert REQUIRED <= set(told) and (told["name"], told["version"], told["description"]) == ("picky", "7.1", "Picky")
    assert told["defaultInputModes"] == told["defaultOutputModes"] == ["text/plain"]
    capabilities = told["capabilities"]
    assert capabilities["streaming"] is capabilities["pushNotifications"] is capabilities["extendedAgentCard"] is True
    assert {one["uri"] for one in capabilities["extensions"]} == {CURSOR, IDEMPOTENCY}
    default = http.get(CARD, headers={"a2a-version": "1.0"}).json()
    first = min(agent["name"] for agent in http.get("/v1/agents").json()["agents"])
    assert default["name"] == first and http.get("/a2a" + CARD).status_code == 404
    assert {one["url"] for one in default["supportedInterfaces"]} == {f"{http.base_url}/a2a".replace("//a2a", "/a2a")}


@pytest.mark.requirement("A2A-001")
def test_an_agent_that_declares_nothing_has_a_whole_card_too(http: httpx.Client) -> None:
    told = card(http, "plain")
    assert REQUIRED <= set(told) and told["description"].startswith("Says its user's words back")
    (skill,) = told["skills"]
    assert skill["id"] and skill["name"] and skill["description"] and skill["tags"]


@pytest.mark.requirement("A2A-002")
def test_what_a_card_names_can_be_spoken_to(http: httpx.Client) -> None:
    interfaces = card(http, "plain")["supportedInterfaces"]
    assert [(one["protocolBinding"], one["protocolVersion"]) for one in interfaces] == [
        ("JSONRPC", "1.0"), ("HTTP+JSON", "1.0")]  # fmt: skip
    for one in interfaces:
        assert one["url"].startswith(str(http.base_url).rstrip("/"))
        path = one["url"].removeprefix(str(http.base_url).rstrip("/"))
        agent = path.removeprefix("/a2a/")
        assert Peer(http, agent, one["protocolBinding"]).send("hi")["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.requirement("A2A-003")
def test_a_card_is_cached_by_its_etag_or_its_date(http: httpx.Client) -> None:
    path = f"/a2a/plain{CARD}"
    first = http.get(path)
    assert first.headers["content-type"].startswith("application/json")
    assert "max-age=" in first.headers["cache-control"]
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    assert parsedate_to_datetime(modified)
    assert http.get(path).content == first.content
    for held in ({"if-none-match": etag}, {"if-none-match": f'"x", {etag}'}, {"if-modified-since": modified}):
        same = http.get(path, headers=held)
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert http.get(path, headers={"if-none-match": '"another"'}).status_code == 200
    other = http.get(f"/a2a/picky{CARD}").headers["etag"]
    assert other != etag


@pytest.mark.requirement("A2A-004")
def test_skills_that_are_for_some_stand_on_the_extended_card_alone(http: httpx.Client, peer: Peer) -> None:
    assert [skill["id"] for skill in card(http, "picky")["skills"]] == ["open"]
    extended = peer.to("picky").call("GetExtendedAgentCard")
    assert [skill["id"] for skill in extended["skills"]] == ["open", "hidden"] and extended["name"] == "picky"
    assert extended["skills"][0]["examples"] == ["Say so"]


@pytest.mark.requirement("A2A-005")
def test_an_agent_that_there_is_not_has_no_card_and_takes_no_call(http: httpx.Client) -> None:
    for answer in (
        http.get(f"/a2a/nobody{CARD}"),
        http.post("/a2a/nobody", json={"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}),
        http.get("/a2a/nobody/tasks", headers={"a2a-version": "1.0"}),
    ):
        assert answer.status_code == 404 and "nobody" in answer.json()["error"]["message"]


@pytest.mark.requirement("A2A-006")
def test_what_is_switched_off_is_not_offered_and_is_refused_as_such(fresh: Fresh) -> None:
    with fresh(HOCKET_A2A_CAPABILITIES="none") as url, httpx.Client(base_url=url, timeout=20) as http:
        capabilities = card(http, "plain")["capabilities"]
        assert not any(capabilities.get(name) for name in ("streaming", "pushNotifications", "extendedAgentCard"))
        for binding in ("JSONRPC", "HTTP+JSON"):
            peer = Peer(http, "plain", binding)
            task = peer.send("hi")
            assert task["status"]["state"] == "TASK_STATE_COMPLETED"
            message = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}
            hook = {"taskId": task["id"], "url": "https://example.com/hook"}
            for operation, params, reason in (
                ("SendStreamingMessage", message, "UNSUPPORTED_OPERATION"),
                ("SubscribeToTask", {"id": task["id"]}, "UNSUPPORTED_OPERATION"),
                ("GetExtendedAgentCard", {}, "UNSUPPORTED_OPERATION"),
                ("CreateTaskPushNotificationConfig", hook, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
                ("ListTaskPushNotificationConfigs", {"taskId": task["id"]}, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
            ):
                assert peer.refused(operation, params).reason == reason
        before = len(peer.call("ListTasks")["tasks"])
        pushed = message | {"configuration": {"taskPushNotificationConfig": {"url": hook["url"]}}}
        assert peer.refused("SendMessage", pushed).reason == "PUSH_NOTIFICATION_NOT_SUPPORTED"
        assert len(peer.call("ListTasks")["tasks"]) == before


@pytest.mark.requirement("A2A-007")
def test_a_card_is_signed_by_the_gateways_key(fresh: Fresh, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    made = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)]
    subprocess.run(made, check=True, capture_output=True)
    with fresh(HOCKET_A2A_SIGNING_KEY=str(key)) as url, httpx.Client(base_url=url, timeout=20) as http:
        told = card(http, "plain")
        published = http.get("/.well-known/jwks.json").json()["keys"]
        assert all("d" not in one for one in published)
        keys = {one["kid"]: PyJWK(one) for one in published}
        verify = create_signature_verifier(lambda kid, _jku: keys[kid or ""], ["ES256"])
        verify(ParseDict(told, AgentCard(), ignore_unknown_fields=True))
        changed = json.loads(json.dumps(told)) | {"description": "Another"}
        with pytest.raises(Exception, match="(?i)signature"):
            verify(ParseDict(changed, AgentCard(), ignore_unknown_fields=True))
        extended = Peer(http, "plain", "JSONRPC").call("GetExtendedAgentCard")
        verify(ParseDict(extended, AgentCard(), ignore_unknown_fields=True))


@pytest.mark.requirement("A2A-008")
def test_fields_of_a_card_of_0_3_are_there_for_who_names_no_version_where_0_3_is_offered(
    http: httpx.Client, fresh: Fresh
) -> None:
    told = http.get(f"/a2a/plain{CARD}").json()
    assert not LEGACY & set(card(http, "plain"))
    with fresh(HOCKET_A2A_CAPABILITIES="streaming,push,extended_card") as url:
        assert not LEGACY & set(httpx.get(f"{url}/a2a/plain{CARD}").json())
    assert LEGACY <= set(told) and told["url"].endswith("/a2a/plain") and told["protocolVersion"].startswith("0.3")
    assert "0.3" in {one["protocolVersion"] for one in told["supportedInterfaces"]}
