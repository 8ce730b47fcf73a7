"""What Operativus' answers are held against."""

import httpx

from conformance.dialects.operativus import Client, Json

KEYS = {"runId", "sessionId", "content", "metadata", "tools", "reasoningSteps", "status"}


def response(answer: httpx.Response, status: str) -> Json:
    """A RunResponse of that status: its seven keys and no other."""
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    assert set(told) == KEYS and told["status"] == status, told
    return told


def problem(answer: httpx.Response, status: int, kind: str) -> Json:
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json", answer.text
    told: Json = answer.json()
    assert (told["type"], told["status"]) == (f"urn:problem-type:{kind}", status)
    assert (
        told["title"] and told["detail"] and told["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    )
    return told


def until(client: Client, run_id: str, status: str) -> Json:
    """The record once it has that status. Its stream says when there is something new."""
    for _ in client.stream(run_id):
        if (record := client.record(run_id))["status"] == status:
            return record
    record = client.record(run_id)
    assert record["status"] == status, record
    return record
