"""A client of Operativus' run API, written from its documents alone: a message goes out, the answer comes back."""

import json
from collections.abc import Iterator
from typing import Any, cast

import httpx

Json = dict[str, Any]

SECONDS = 30.0


class Client:
    """Speaks to the API under `base_url`, as whoever `token` says. Where a call must be good it raises if it is not;
    those that return a Response leave the judging to the caller."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=base_url, timeout=SECONDS, headers=headers)

    # ── what every client of a run API has ────────────────────────────────────────────────────────────────────

    def start(self, agent: str, text: str, **more: Any) -> str:
        """The id of a run that nobody waits for."""
        answer = self.http.post(f"/api/agents/{agent}/runs/background", json={"message": text, **more})
        return str(_good(answer)["runId"])

    def status(self, run_id: str) -> str:
        return str(self.record(run_id)["status"])

    def gate(self, run_id: str) -> str | None:
        """The first approval that a run waits for."""
        asked = self.record(run_id)["requiredAction"]
        return str(json.loads(asked)[0]["approvalId"]) if asked is not None else None

    def answer(self, run_id: str, payload: Json, gate: str | None = None, **more: Any) -> httpx.Response:
        """`{"approved": …}` as the action of `/continue`, which waits for what comes of it; of that approval, if one
        is named. Its path names the agent: where there is no such run, that is the answer."""
        found = self.http.get(f"/api/v1/runs/{run_id}")
        action = "APPROVE" if payload["approved"] else "REJECT"
        more |= {"approvalId": gate} if gate is not None else {}
        known = found.status_code == 200
        return self.resume(found.json()["agentId"], run_id, action=action, **more) if known else found

    def cancel(self, run_id: str) -> httpx.Response:
        found = self.http.get(f"/api/v1/runs/{run_id}")
        known = found.status_code == 200
        return self.http.delete(f"/api/agents/{found.json()['agentId']}/runs/{run_id}") if known else found

    def listed(self, **query: Any) -> list[str]:
        page = _good(self.http.get("/api/v1/runs", params={"size": 100, **query}))
        return [str(one["id"]) for one in page["content"]]

    def stream(self, run_id: str, after: int | str | None = None) -> Iterator[tuple[int, Json]]:
        """The durable events after a number, each with its own, until the stream ends."""
        query = {} if after is None else {"sinceId": after}
        with self.http.stream("GET", f"/api/v1/runs/{run_id}/events", params=query) as answer:
            assert answer.status_code == 200, answer.read()
            yield from _frames(answer.iter_lines())

    # ── what this one has besides ─────────────────────────────────────────────────────────────────────────────

    def run(self, agent: str, message: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """Runs an agent and waits for its answer."""
        body = {"message": message, **more}
        return self.http.post(f"/api/agents/{agent}/runs", json=body, headers=headers)

    def resume(self, agent: str, run_id: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return self.http.post(f"/api/agents/{agent}/runs/{run_id}/continue", json=body, headers=headers)

    def told(self, agent: str, message: str, **more: Any) -> Iterator[tuple[int, Json]]:
        """Runs an agent and yields what its own stream says."""
        path = f"/api/agents/{agent}/runs/stream"
        with self.http.stream("POST", path, json={"message": message, **more}) as answer:
            assert answer.status_code == 200, answer.read()
            yield from _frames(answer.iter_lines())

    def record(self, run_id: str) -> Json:
        return _good(self.http.get(f"/api/v1/runs/{run_id}"))

    def agents(self) -> list[str]:
        return [str(one["id"]) for one in cast(list[Json], self.http.get("/api/agents").raise_for_status().json())]

    def approval(self, approval_id: str) -> Json:
        return _good(self.http.get(f"/api/v1/approvals/{approval_id}"))

    def decide(self, approval_id: str, how: str = "decide", **body: Any) -> httpx.Response:
        """Answers an approval by its id, by `decide` or by `resolve`."""
        return self.http.post(f"/api/v1/approvals/{approval_id}/{how}", json=body)


def _good(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
    told: Json = answer.json()
    return told


def _frames(lines: Iterator[str]) -> Iterator[tuple[int, Json]]:
    """Frames of server-sent events: `id`, an `event` where there is one, one line of data; comments passed over."""
    number, name, data = 0, None, ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            number = int(value)
        elif field == "event":
            name = value
        elif field == "data":
            data = value
        elif not line and data:
            told: Json = json.loads(data)
            assert name is None or name == told["eventType"]
            yield number, told
            name, data = None, ""
