"""ListTasks: order, pages, filters."""

from typing import Any

import httpx
import pytest

from conformance.a2a.peer import Json, Peer


def tasks(peer: Peer, **asked: object) -> list[Json]:
    told: list[Json] = peer.call("ListTasks", dict(asked))["tasks"]
    return told


def filled(told: Any) -> Any:
    """Without what is empty: the SDK's ListTasks writes empty fields, its other methods leave them out."""
    if isinstance(told, dict):
        return {name: filled(value) for name, value in told.items() if value not in ("", [], {})}
    return [filled(one) for one in told] if isinstance(told, list) else told


def ids(told: list[Json]) -> list[str]:
    return [task["id"] for task in told]


@pytest.mark.requirement("A2A-060", "A2A-061")
def test_tasks_are_listed_as_their_status_changed_last_and_page_by_page(peer: Peer, name: str) -> None:
    sent = [peer.send(str(number), contextId=name)["id"] for number in range(5)]
    whole = peer.call("ListTasks", {"contextId": name})
    assert ids(whole["tasks"]) == sent[::-1]
    assert (whole["nextPageToken"], whole["pageSize"], whole["totalSize"]) == ("", 50, 5)
    stamps = [task["status"]["timestamp"] for task in whole["tasks"]]
    assert stamps == sorted(stamps, reverse=True)
    paged: list[str] = []
    token = ""
    while True:
        page = peer.call("ListTasks", {"contextId": name, "pageSize": 2, **({"pageToken": token} if token else {})})
        assert len(page["tasks"]) <= 2 and (page["pageSize"], page["totalSize"]) == (2, 5)
        paged += ids(page["tasks"])
        token = page["nextPageToken"]
        if not token:
            break
    assert paged == sent[::-1]


@pytest.mark.requirement("A2A-061")
def test_a_task_that_changes_while_pages_are_turned_is_not_told_twice(peer: Peer, name: str) -> None:
    asking = peer.to("reviewing")
    waiting = asking.send("old", contextId=f"{name}-w")
    first = ids(tasks(asking, pageSize=1))
    assert first == [waiting["id"]]
    page = asking.call("ListTasks", {"pageSize": 1})
    asking.send(None, parts=[{"data": {"approved": True}}], taskId=waiting["id"])
    left = page["nextPageToken"]
    if left:
        assert waiting["id"] not in ids(asking.call("ListTasks", {"pageSize": 100, "pageToken": left})["tasks"])


@pytest.mark.requirement("A2A-062")
def test_tasks_are_filtered_by_context_status_and_time(peer: Peer, name: str) -> None:
    done = peer.to("doing").send(contextId=name)
    failed = peer.to("doing").send(contextId=name, request_metadata={"do": "fail"})
    rejected = peer.to("doing").send(contextId=name, request_metadata={"do": "reject"})
    signing = peer.to("doing").send(contextId=name, request_metadata={"do": "sign-in"})
    agent = peer.to("doing")
    for state, task in (("COMPLETED", done), ("FAILED", failed), ("REJECTED", rejected), ("AUTH_REQUIRED", signing)):
        told = agent.call("ListTasks", {"contextId": name, "status": f"TASK_STATE_{state}"})
        assert (ids(told["tasks"]), told["totalSize"]) == ([task["id"]], 1), state
    assert tasks(agent, contextId=name, status="TASK_STATE_WORKING") == []
    assert tasks(agent, contextId=f"{name}-none") == []
    since = failed["status"]["timestamp"]
    told = ids(tasks(agent, contextId=name, statusTimestampAfter=since))
    assert told == [signing["id"], rejected["id"], failed["id"]]
    assert tasks(agent, contextId=name, statusTimestampAfter="2999-01-01T00:00:00Z") == []
    assert ids(tasks(peer, contextId=name)) == []


@pytest.mark.requirement("A2A-063")
def test_artifacts_and_history_are_told_where_they_are_asked_for(peer: Peer, name: str) -> None:
    task = peer.send("hi", contextId=name)
    (short,) = tasks(peer, contextId=name)
    assert "artifacts" not in short and not short.get("history") and short["status"] == task["status"]
    (whole,) = tasks(peer, contextId=name, includeArtifacts=True, historyLength=10)
    assert filled(whole) == filled(task)
    (history,) = tasks(peer, contextId=name, historyLength=1)
    assert "artifacts" not in history and filled(history["history"]) == task["history"]


@pytest.mark.requirement("A2A-064")
@pytest.mark.parametrize(
    "asked",
    [
        {"pageSize": 0}, {"pageSize": 101}, {"pageSize": -1}, {"historyLength": -1}, {"pageToken": "x"},
        {"pageToken": "é"}, {"pageToken": "A" * 5000}, {"status": "TASK_STATE_ODD"}, {"status": "completed"},
        {"statusTimestampAfter": "yesterday"}, {"pageSize": "many"}, {"pageSize": 10**12},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_listed_is_refused(peer: Peer, asked: Json) -> None:
    refusal = peer.refused("ListTasks", asked)
    assert (refusal.code or -32602) == -32602 and refusal.status in (200, 400)
    assert refusal.reason in ("INVALID_PARAMS", "") or refusal.code == -32602


@pytest.mark.requirement("A2A-065")
def test_runs_of_any_face_are_tasks(http: httpx.Client, rpc: Peer, name: str) -> None:
    started = http.post(
        "/v1/runs", json={"agent": "plain", "input": "hi", "run_id": name, "thread_id": name},
        headers={"prefer": "wait=10"},
    )  # fmt: skip
    assert started.status_code == 201
    assert ids(tasks(rpc, contextId=name)) == [name] and rpc.get(name)["history"][0]["parts"] == [{"text": "hi"}]
