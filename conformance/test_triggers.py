"""Triggers over HTTP: each instant and each event starts one run."""

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from conformance.keyed import Keyed, served

Json = dict[str, Any]
Fresh = Callable[..., contextlib.AbstractContextManager[str]]
SECONDS = 20.0
CHAIN = 8


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def made(http: httpx.Client, name: str, agent: str = "plain", **more: Any) -> Json:
    answer = http.put(f"/v1/triggers/{name}", json={"agent": agent, "input": name, **more})
    assert answer.status_code in (200, 201), answer.text
    told: Json = answer.json()
    return told


def fired(http: httpx.Client, name: str, holds: Callable[[Json], Any] = lambda told: told["last"]) -> Json:
    """The trigger once `holds` of it."""
    end = time.monotonic() + SECONDS
    told: Json = {}
    while time.monotonic() < end:
        told = http.get(f"/v1/triggers/{name}").json()
        if holds(told):
            return told
        time.sleep(0.05)
    raise AssertionError(f"the trigger stays as it is: {told}")


def runs_of(http: httpx.Client, name: str, agent: str = "plain") -> list[Json]:
    found = http.get("/v1/runs", params={"agent": agent, "limit": 200}).json()["runs"]
    return [run for run in found if run["metadata"].get("trigger", {}).get("id") == name]


def ended(http: httpx.Client, run_id: str) -> Json:
    run: Json = {"seq": 0, "status": ""}
    end = time.monotonic() + SECONDS
    while run["status"] not in ("completed", "failed") and time.monotonic() < end:
        query = {"after_seq": run["seq"], "wait": 5, "include": "messages"}
        run = http.get(f"/v1/runs/{run_id}", params=query).json()
    return run


def the_next_has_fired(http: httpx.Client, name: str) -> None:
    """Once a trigger that was set after all others has fired: what was due before it has had its turn."""
    made(http, f"{name}-after", kind="at", at=soon(0.5))
    fired(http, f"{name}-after")


@pytest.mark.requirement("triggers.once")
def test_a_trigger_for_an_instant_starts_one_run_then(http: httpx.Client, name: str) -> None:
    due = soon(1.0)
    told = made(http, name, kind="at", at=due, metadata={"a": 1})
    assert told["next_at"] is not None and told["last"] is None
    told = fired(http, name)
    assert told["next_at"] is None and told["last"]["error"] is None
    run = ended(http, told["last_run_id"])
    assert run["messages"][-1]["content"].startswith(f"You said: {name}")
    assert datetime.fromisoformat(run["created_at"]) >= datetime.fromisoformat(due) - timedelta(milliseconds=1)
    assert run["metadata"]["a"] == 1 and run["thread_id"] != name
    the_next_has_fired(http, name)
    assert [one["id"] for one in runs_of(http, name)] == [told["last_run_id"]]
    (asked, *_) = http.get(f"/v1/runs/{run['id']}/audit").json()["audit"]
    assert asked["by"]["kind"] == "trigger" and name in asked["by"]["name"]


@pytest.mark.requirement("triggers.cron")
def test_a_cron_trigger_shows_its_next_tick_in_its_zone(http: httpx.Client, name: str) -> None:
    for zone in ("Europe/Berlin", "Asia/Kolkata", "America/St_Johns"):
        told = made(http, f"{name}-{zone[:3]}", kind="cron", cron="30 7 * * *", timezone=zone)
        due = datetime.fromisoformat(told["next_at"])
        assert (due.astimezone(ZoneInfo(zone)).hour, due.astimezone(ZoneInfo(zone)).minute) == (7, 30)
        assert timedelta(0) < due - datetime.now(UTC) <= timedelta(hours=25)
        assert http.delete(f"/v1/triggers/{told['id']}").status_code == 204


@pytest.mark.requirement("triggers.restart")
def test_what_comes_due_while_nothing_is_there_is_made_up_once(fresh: Fresh, name: str) -> None:
    with fresh() as url, httpx.Client(base_url=url, timeout=SECONDS) as http:
        due = soon(2.0)
        made(http, name, kind="at", at=due)
        made(http, f"{name}-later", kind="cron", cron="0 0 1 1 *")
    time.sleep(max(0.0, (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds() + 0.5))
    with fresh() as url, httpx.Client(base_url=url, timeout=SECONDS) as http:
        told = fired(http, name)
        assert told["last"]["due_at"][:22] == due[:22]
        the_next_has_fired(http, name)
        assert len(runs_of(http, name)) == 1
        assert http.get(f"/v1/triggers/{name}-later").json()["next_at"] is not None


@pytest.mark.requirement("triggers.runs")
def test_another_agents_run_starts_one_that_is_told_of_it(http: httpx.Client, name: str) -> None:
    source = {"agent": "raising", "statuses": ["failed", "cancelled"], "metadata": {"for": name}}
    made(http, name, kind="event", event=source)
    for number, metadata in enumerate(({"for": name}, {"for": "another"}, {})):
        want = {"agent": "raising", "input": "x", "run_id": f"{name}-{number}", "metadata": metadata}
        assert http.post("/v1/runs", json=want, headers={"prefer": "wait=10"}).json()["status"] == "failed"
    assert http.post("/v1/runs", json={"agent": "plain", "input": "x", "metadata": {"for": name}}).status_code == 201
    run = ended(http, fired(http, name)["last_run_id"])
    the_next_has_fired(http, name)
    assert run["metadata"]["trigger"]["id"] == name and len(runs_of(http, name)) == 1
    assert http.delete(f"/v1/triggers/{name}").status_code == 204


@pytest.mark.requirement("triggers.chain")
def test_runs_that_start_themselves_come_to_an_end(http: httpx.Client, name: str) -> None:
    source = {"agent": "plain", "statuses": ["completed"], "metadata": {"loop": name}}
    made(http, name, kind="event", event=source, metadata={"loop": name})
    http.post("/v1/runs", json={"agent": "plain", "input": "go", "metadata": {"loop": name}})
    told = fired(http, name, lambda told: told["last"] and told["last"]["error"])
    assert told["last"]["error"]["code"] == "too_deep" and len(runs_of(http, name)) == CHAIN
    assert http.delete(f"/v1/triggers/{name}").status_code == 204


@pytest.mark.requirement("triggers.told")
def test_what_is_told_starts_one_run_of_each_pattern_it_fits(http: httpx.Client, name: str) -> None:
    for number, pattern in enumerate((f"{name}.*", f"{name}.>", f"{name}.other")):
        made(http, f"{name}-{number}", kind="event", event={"subject": pattern})
    for _ in range(3):
        told = http.post(f"/v1/events/{name}.new", json={"n": 1}, headers={"idempotency-key": name})
        assert told.status_code == 202, told.text
    for number in (0, 1):
        ended(http, fired(http, f"{name}-{number}")["last_run_id"])
    the_next_has_fired(http, name)
    assert [len(runs_of(http, f"{name}-{number}")) for number in range(3)] == [1, 1, 0]
    for number in range(3):
        http.delete(f"/v1/triggers/{name}-{number}")


@pytest.mark.requirement("triggers.off")
def test_what_is_disabled_replaced_or_deleted_starts_nothing(http: httpx.Client, name: str) -> None:
    due = soon(1.5)
    for one in ("deleted", "disabled", "replaced"):
        made(http, f"{name}-{one}", kind="at", at=due)
    assert http.delete(f"/v1/triggers/{name}-deleted").status_code == 204
    assert made(http, f"{name}-disabled", kind="at", at=due, enabled=False)["next_at"] is None
    made(http, f"{name}-replaced", kind="at", at=soon(3600))
    time.sleep(max(0.0, (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds()))
    the_next_has_fired(http, name)
    assert [run for one in ("deleted", "disabled", "replaced") for run in runs_of(http, f"{name}-{one}")] == []
    assert http.get(f"/v1/triggers/{name}-deleted").status_code == 404
    http.delete(f"/v1/triggers/{name}-replaced")


@pytest.mark.requirement("triggers.hand")
def test_by_hand_it_starts_the_callers_own_run(http: httpx.Client, name: str) -> None:
    made(http, name, kind="cron", cron="0 0 1 1 *", enabled=False)
    path = f"/v1/triggers/{name}/fire"
    first, again = [http.post(path, headers={"idempotency-key": name}) for _ in range(2)]
    other = http.post(path)
    assert [one.status_code for one in (first, again, other)] == [201, 200, 201]
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    (asked, *_) = http.get(f"/v1/runs/{first.json()['id']}/audit").json()["audit"]
    assert asked["by"]["kind"] != "trigger"
    assert fired(http, name)["last_run_id"] == other.json()["id"]
    http.delete(f"/v1/triggers/{name}")


@pytest.mark.requirement("triggers.refused")
@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"kind": "cron", "cron": "0 25 * * *"}, 422, "cron: '0 25 * * *' cannot be read: bad hour"),
        ({"kind": "cron", "cron": "0 0 30 2 *"}, 422, "cron"),
        ({"kind": "cron", "cron": "* * * * *", "timezone": "Mars/Base"}, 422, "timezone: 'Mars/Base'"),
        ({"kind": "at", "at": "2020-01-01T00:00:00Z"}, 422, "at: must be later than now"),
        ({"kind": "at"}, 422, "at: needed with kind at"),
        ({"kind": "event", "event": {"subject": ">"}}, 422, "event.subject"),
        ({"kind": "event", "event": {"agent": "plain"}}, 422, "event.statuses"),
        ({"kind": "now", "agent": "nobody"}, 404, "There is no agent 'nobody'"),
        ({"kind": "never"}, 422, "kind"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(
    more: Json, status: int, words: str, http: httpx.Client, name: str
) -> None:
    answer = http.post("/v1/triggers", json={"agent": "plain", "input": "x", "id": name, **more})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["detail"]
    assert http.get(f"/v1/triggers/{name}").status_code == 404


@pytest.mark.requirement("triggers.owner")
def test_a_trigger_is_its_makers_or_an_admins_to_change(fresh: Fresh, tmp_path: Path, name: str) -> None:
    with fresh() as url, contextlib.ExitStack() as stack:
        keyed = Keyed(url, tmp_path / "data")
        keys = {"ada": keyed.key("ada"), "ben": keyed.key("ben"), "root": keyed.key("root", "admin")}
        ada, ben, root = (stack.enter_context(keyed.of(key)) for key in keys.values())
        assert all(served(client).status_code == 200 for client in (ada, ben, root))
        path, want = f"/v1/triggers/{name}", {"agent": "plain", "input": "hi", "kind": "cron", "cron": "0 7 * * *"}
        assert ada.put(path, json=want).status_code == 201
        before = ben.get(path).json()
        assert before["set_by"]["id"] == "ada"
        for answer in (ben.put(path, json=want | {"enabled": False}), ben.delete(path)):
            assert answer.status_code == 403 and "ada" in answer.json()["detail"], answer.text
        assert ada.get(path).json() == before
        assert ada.put(path, json=want | {"enabled": False}).status_code == 200
        assert root.put(path, json=want).json()["set_by"]["id"] == "root"
        assert ada.delete(path).status_code == 403 and root.delete(path).status_code == 204
