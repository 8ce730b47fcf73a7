"""Operativus' streams and approvals, who may see what, and the whole job of a client in one go."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.dialects.operativus import Client
from conformance.keyed import Keyed, served
from conformance.operativus import problem, response

Fresh = Callable[..., "contextlib.AbstractContextManager[str]"]
Open = Callable[[str], Client]


@pytest.fixture
def client(base_url: str) -> Iterator[Client]:
    client = Client(f"{base_url}/operativus")
    with client.http:
        yield client


@pytest.fixture
def keyed(fresh: Fresh, tmp_path: Path) -> Iterator[tuple[Keyed, Open]]:
    """A hocket with keys, and what makes a client of one."""
    with fresh() as url, contextlib.ExitStack() as closing:
        keyed = Keyed(url, tmp_path / "data")

        def open_client(key: str) -> Client:
            one = Client(f"{url}/operativus", key)
            assert served(closing.enter_context(one.http)).status_code != 401
            with keyed.of(key) as http:
                assert served(http).status_code == 200
            return one

        yield keyed, open_client


@pytest.mark.requirement("OPV-014")
def test_the_stream_of_a_start_goes_from_its_start_to_its_answer(client: Client) -> None:
    told = list(client.told("everything", "hi"))
    kinds = [event["event"] for _, event in told]
    assert kinds[0] == "START" and kinds[-1] == "STOP" and kinds.count("STOP") == 1
    assert all(set(event) == {"event", "data", "timestamp"} for _, event in told)
    assert all(isinstance(event["data"], str) and isinstance(event["timestamp"], int) for _, event in told)
    numbers = [number for number, _ in told]
    assert numbers == sorted(set(numbers))
    text = "".join(event["data"] for _, event in told if event["event"] == "CONTENT_DELTA")
    assert "Looking." in text and text.endswith("Done.")
    final = json.loads(told[-1][1]["data"])
    run_id = json.loads(told[0][1]["data"])["runId"]
    assert (final["runId"], final["status"], final["content"]) == (run_id, "COMPLETED", "Done.")
    (began,) = (json.loads(event["data"]) for _, event in told if event["event"] == "TOOL_START")
    (ended,) = (json.loads(event["data"]) for _, event in told if event["event"] == "TOOL_END")
    assert (began["name"], began["arguments"]) == ("find", {"q": "x"}) and ended["result"] == "found"
    assert final["tools"] == [{"name": "find", "arguments": {"q": "x"}, "result": "found"}]


@pytest.mark.requirement("OPV-014")
def test_the_stream_of_a_start_ends_where_it_pauses_or_fails(client: Client) -> None:
    paused = [event for _, event in client.told("clerk", "send")]
    (approval,) = json.loads(paused[-1]["data"])["approvals"]
    assert paused[-1]["event"] == "PAUSED" and approval["toolName"] == "send"
    failed = [event for _, event in client.told("raising", "hi")]
    assert failed[-1]["event"] == "ERROR" and set(json.loads(failed[-1]["data"])) == {"code", "message"}
    run_id = client.approval(approval["approvalId"])["runId"]
    response(client.answer(run_id, {"approved": True}), "COMPLETED")


@pytest.mark.requirement("OPV-015")
def test_events_after_a_cut_are_the_rest_to_a_frame(client: Client) -> None:
    run_id = response(client.run("clerk", "send file"), "PAUSED")["runId"]
    response(client.answer(run_id, {"approved": True}), "PAUSED")
    response(client.answer(run_id, {"approved": False}), "COMPLETED")
    whole = list(client.stream(run_id))
    assert [event["eventType"] for _, event in whole] == [
        "RUN_START", "TOOL_INVOKED", "RUN_PAUSED", "RUN_RESUMED", "TOOL_COMPLETED", "TOOL_INVOKED", "RUN_PAUSED",
        "RUN_RESUMED", "LLM_RESPONSE", "RUN_COMPLETE",
    ]  # fmt: skip
    resumed = [event["payload"] for _, event in whole if event["eventType"] == "RUN_RESUMED"]
    assert [one["decision"] for one in resumed] == ["APPROVED", "REJECTED"]
    assert all(event["id"] == number and event["runId"] == run_id for number, event in whole)
    for number in range(whole[-1][0] + 2):
        assert list(client.stream(run_id, number)) == [one for one in whole if one[0] > number]
    for wrong in ("-1", "x", "1.5", "9" * 17):
        answer = client.http.get(f"/api/v1/runs/{run_id}/events", params={"sinceId": wrong})
        assert problem(answer, 400, "invalid-request")["invalidParams"][0]["field"] == "sinceId"


@pytest.mark.requirement("OPV-009", "OPV-010")
def test_a_run_of_another_agent_or_tenant_does_not_exist_and_nobody_is_who_he_says(
    keyed: tuple[Keyed, Open],
) -> None:
    house, open_client = keyed
    alice, mallory = open_client(house.key("alice")), open_client(house.key("mallory", tenant="other"))
    run_id = response(alice.run("clerk", "send", userId="user:mallory", orgId="acme"), "PAUSED")["runId"]
    record = alice.record(run_id)
    assert (record["userId"], record["orgId"]) == ("alice", "acme")
    problem(alice.run("clerk", "send", orgId="other"), 403, "forbidden")
    assert len(alice.listed()) == 1 and mallory.listed() == []

    unknown = run_id[:-12] + "0" * 12
    for who, agent, asked in ((alice, "plain", run_id), (mallory, "clerk", run_id), (alice, "clerk", unknown)):
        path = f"/api/agents/{agent}/runs/{asked}"
        answers = [
            who.http.post(f"{path}/continue", json={"action": "APPROVE"}),
            who.http.delete(path),
            who.http.get(f"{path}/status"),
        ]
        for answer in answers:
            told = problem(answer, 404, "resource-not-found")
            assert (told["resourceName"], told["identifier"]) == ("Run", asked)
    approval = alice.gate(run_id)
    assert approval is not None
    assert problem(mallory.decide(approval, decision="approve"), 404, "resource-not-found")["identifier"] == approval
    bob = open_client(house.key("bob"))
    response(bob.answer(run_id, {"approved": True}), "COMPLETED")
    decided = alice.approval(approval)
    assert (decided["requestedBy"], decided["resolvedBy"], decided["status"]) == ("alice", "bob", "APPROVED")


def _approvals(client: Client, run_id: str, pause: int) -> list[str]:
    """What the run's pause of that number waits for."""
    paused = (event["payload"] for _, event in client.stream(run_id) if event["eventType"] == "RUN_PAUSED")
    return [str(one["approvalId"]) for one in next(itertools.islice(paused, pause, None))["approvals"]]


@pytest.mark.requirement("OPV-004", "OPV-006")
def test_an_approval_is_answered_once_by_its_id(client: Client) -> None:
    run_id = response(client.run("clerk", "send file"), "PAUSED")["runId"]
    first = client.gate(run_id)
    assert first is not None
    waiting = client.approval(first)
    assert waiting in client.http.get("/api/v1/approvals/pending").json()
    assert (waiting["status"], waiting["toolName"], waiting["toolArguments"]) == ("PENDING", "send", '{"all":true}')
    taken = client.decide(first, decision="approve")
    assert taken.status_code == 200 and taken.json()["status"] == "APPROVED" and taken.json()["resolvedBy"]
    assert client.decide(first, decision="approve").json() == taken.json()
    problem(client.decide(first, decision="reject"), 400, "business-validation-error")
    problem(client.decide(first, "resolve", decision="APPROVED"), 400, "business-validation-error")
    (second,) = _approvals(client, run_id, 1)
    assert client.decide(second, "resolve", decision="REJECTED").json()["status"] == "REJECTED"
    kinds = [event["eventType"] for _, event in client.stream(run_id)]
    assert kinds.count("RUN_RESUMED") == 2 and kinds.count("TOOL_COMPLETED") == 1
    problem(client.decide(second, decision="approve"), 400, "business-validation-error")


@pytest.mark.requirement("OPV-001", "OPV-005", "OPV-008", "OPV-013", "OPV-015", "OPV-017")
def test_a_client_does_its_whole_job(client: Client) -> None:
    agent = "clerk"
    assert agent in client.agents()
    run_id = client.start(agent, "send file")
    seen, gates = [], []
    for number, event in client.stream(run_id):
        seen.append(number)
        if event["eventType"] == "RUN_PAUSED":
            break  # dropped in the middle
    gates.append(client.gate(run_id))
    assert client.status(run_id) == "PAUSED" and run_id in client.listed(status="PAUSED")
    assert client.answer(run_id, {"approved": True}).json()["status"] == "PAUSED"
    gates.append(client.gate(run_id))
    assert None not in gates and gates[0] != gates[1]
    assert client.answer(run_id, {"approved": False}).json()["content"] == "Did: send"
    seen += [number for number, _ in client.stream(run_id, seen[-1])]
    assert seen == [number for number, _ in client.stream(run_id)] and client.status(run_id) == "COMPLETED"
    assert client.gate(run_id) is None and client.cancel(run_id).status_code == 204
    other = client.start(agent, "delete")
    assert client.cancel(other).status_code == 204 and client.status(other) == "CANCELLED"
    assert [event["eventType"] for _, event in client.stream(other)][-1] == "RUN_CANCELLED"
