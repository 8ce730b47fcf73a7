"""A hocket with keys: who is let in, as whom, and to what."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from conformance import scenario as s
from conformance.keyed import SECONDS, Keyed, served

Fresh = Callable[..., contextlib.AbstractContextManager[str]]
RESUME, GONE = "/api/a2a/resume", {"error": "Review task not found or already resolved"}


@pytest.fixture
def keyed(fresh: Fresh, tmp_path: Path) -> Iterator[Keyed]:
    with fresh(HOCKET_AGUI_EXTERNAL_ENABLED="true") as url:
        yield Keyed(url, tmp_path / "data")


def ask(client: httpx.Client, name: str) -> str:
    """A run that waits; its gate."""
    want = {"agent": "interrupting", "input": "hi", "run_id": name, "thread_id": name}
    run = client.post("/v1/runs", json=want, headers={"prefer": "wait=10"}).json()
    assert run["status"] == "waiting", run
    return str(run["interrupts"][0]["metadata"]["hocket"]["gate"])


def answers(name: str) -> s.Json:
    return {"answers": [{"interrupt_id": f"{name}-i", "status": "resolved", "payload": {"approved": True}}]}


@pytest.mark.requirement("keys.required")
def test_without_a_good_key_each_face_refuses_in_its_own_form(keyed: Keyed, name: str) -> None:
    with keyed.of(None) as before:
        assert before.get("/v1/agents").status_code == 200
    key = keyed.key("alice")
    assert re.fullmatch(r"hk_[\w-]{43}", key)
    with keyed.of(key) as alice:
        assert served(alice).status_code == 200
        ask(alice, name)
    for bad in (None, "wrong", key[:-1]):
        with keyed.of(bad) as nobody:
            rest, agui = nobody.get(f"/v1/runs/{name}"), nobody.post("/agui/plain", json=s.agui_input(name, "x"))
            copilot, cinatra = nobody.get("/copilotkit/info"), nobody.get(f"/api/a2a?taskId={name}")
            assert (rest.status_code, rest.json()["code"]) == (401, "unauthorized")
            assert (agui.status_code, agui.json()["error"]) == (401, "unauthorized")
            assert (copilot.status_code, copilot.json()["error"]) == (401, "Unauthorized")
            assert (cinatra.status_code, cinatra.json()) == (401, {"error": "unauthorized"})
            assert all("bearer" in one.headers["www-authenticate"].lower() for one in (rest, agui, copilot, cinatra))
            assert nobody.get("/healthz").status_code == 200 and name not in nobody.get(f"/agents/status/{name}").text


@pytest.mark.requirement(
    "keys.scopes", "cinatra.resume-forbidden", "cinatra.resume-tenant", "keys.tenants", "keys.identity"
)
def test_a_key_does_what_its_scopes_and_its_tenant_allow_and_is_recorded_as_its_principal(
    keyed: Keyed, name: str
) -> None:
    keys = keyed.key("alice"), keyed.key("carl", "runs:read"), keyed.key("mallory", tenant="other"), keyed.key("bob")
    with contextlib.ExitStack() as stack:
        alice, carl, mallory, bob = (stack.enter_context(keyed.of(key)) for key in keys)
        for client in (alice, carl, mallory, bob):
            assert served(client).status_code == 200
        gate = ask(alice, name)
        body = {"reviewTaskId": gate, "values": {"approved": True, "by": "alice"}}
        rest, agui = (
            carl.post(f"/v1/runs/{name}/resume", json=answers(name)),
            carl.post("/agui/plain", json=s.agui_input("t", "x")),
        )
        assert (rest.status_code, rest.json()["code"]) == (403, "forbidden")
        assert (agui.status_code, agui.json()["error"]) == (403, "forbidden")
        cinatra = carl.post(RESUME, json=body)
        assert (cinatra.status_code, cinatra.json()) == (403, {"error": "forbidden"})
        hidden, unknown = mallory.post(RESUME, json=body), alice.post(RESUME, json={"reviewTaskId": "g-none-0"})
        assert hidden.status_code == unknown.status_code == 404 and hidden.content == unknown.content
        for path in ("/v1/runs/{}", "/v1/runs/{}/events", "/v1/runs/{}/audit", "/api/agents/runs/{}"):
            theirs, nobodys = mallory.get(path.format(name)), alice.get(path.format(name[::-1] + "x"))
            assert theirs.status_code == nobodys.status_code == 404
            assert theirs.text.replace(name, "") == nobodys.text.replace(name[::-1] + "x", "")
        assert bob.post(RESUME, json=body).json() == {"ok": True}
        assert carl.post(RESUME, json=body).json() == GONE
        record = carl.get(f"/v1/runs/{name}/audit").json()["audit"]
    assert [(one["what"], (one["by"] or {}).get("id")) for one in record] == [
        ("started", "alice"), ("waiting", None), ("answered", "bob")]  # fmt: skip


@pytest.mark.requirement("keys.page-token", "keys.revoked", "cinatra.page-form", "cinatra.page-json")
def test_a_pages_token_is_good_for_its_run_until_its_key_is_revoked(keyed: Keyed, name: str) -> None:
    key = keyed.key("alice")
    with keyed.of(key) as alice:
        assert served(alice).status_code == 200
        gate = ask(alice, name)
        other = f"{name}-2"
        ask(alice, other)
        made = alice.post(f"/v1/runs/{name}/token", json={}).json()
        snapshot = alice.get(f"/agents/status/{name}", headers={"accept": "application/json"}).json()
        assert key not in made["page"] and snapshot["hitlContext"]["reviewTaskId"] == gate
        with keyed.of(made["token"]) as page, keyed.of(None) as anyone:
            assert page.get(f"/v1/runs/{name}").status_code == 200
            assert page.get(f"/v1/runs/{other}").status_code == 404
            assert page.get("/v1/runs").status_code == 403
            form = {"reviewTaskId": gate, "values": '{"approved": true}'}
            assert anyone.post(f"/agents/status/{name}", data=form).status_code == 401
            sent = anyone.post(f"/agents/status/{name}", data=form | {"token": made["token"]})
            assert (sent.status_code, sent.headers["location"]) == (303, f"/agents/status/{name}")
            decided = page.get(f"/v1/runs/{name}").json()["decisions"][0]
            assert (decided["by"]["id"], decided["face"]) == ("alice", "page")
            shown = next(line for line in keyed.hocket("list").splitlines() if "alice" in line)
            keyed.hocket("revoke", shown.split()[0])
            end = time.monotonic() + SECONDS
            while page.get(f"/v1/runs/{name}").status_code == 200 and time.monotonic() < end:
                time.sleep(0.05)
            assert page.get(f"/v1/runs/{name}").status_code == 401
        assert alice.get("/v1/agents").status_code == 401
