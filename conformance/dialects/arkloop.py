"""A client of Arkloop's run API, written from its documentation alone: threads, messages, runs, events by number."""

import json
import weakref
from collections.abc import Iterator
from typing import Any

import httpx

Json = dict[str, Any]

PREFIX = "/arkloop"
SECONDS = 20.0
ENDS = ("run.completed", "run.failed", "run.cancelled")


class Client:
    """Speaks to an Arkloop at `base_url`; `token` is a user's token or an API key."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        base = base_url.rstrip("/").removesuffix(PREFIX) + PREFIX
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=base, headers=headers, timeout=SECONDS)
        weakref.finalize(self, self.http.close)

    # ── what every run API has ────────────────────────────────────────────────────────────────────────────────

    def start(self, agent: str, text: str) -> str:
        """A run of the persona on a thread of its own, with that message; its id."""
        thread_id = self.thread()["id"]
        self.say(thread_id, text)
        return str(self.run(thread_id, persona_id=agent)["run_id"])

    def status(self, run_id: str) -> str:
        return str(self.detail(run_id)["status"])

    def gate(self, run_id: str) -> str | None:
        """The first question that is open, read from the events: the run object does not name it."""
        if self.status(run_id) != "waiting_for_input":
            return None
        waiting: list[str] = []
        for _, event in self.stream(run_id, follow=False):
            if event["type"] == "run.waiting_for_input":
                waiting = [one["request_id"] for one in event["data"].get("requests", [event["data"]])]
            elif event["type"] == "run.input_provided":
                given = [one["request_id"] for one in event["data"].get("inputs", [event["data"]])]
                waiting = [one for one in waiting if one not in given]
        return waiting[0] if waiting else None

    def answer(self, run_id: str, payload: Any, gate: str | None = None) -> httpx.Response:
        """Input for what the run waits for, or for that question: text as it is, anything else as JSON."""
        named = {} if gate is None else {"request_id": gate}
        return self.input(run_id, payload if isinstance(payload, str) else json.dumps(payload), **named)

    def cancel(self, run_id: str) -> httpx.Response:
        return self.http.post(f"/v1/runs/{run_id}:cancel")

    def listed(self) -> list[str]:
        """All runs of the organisation, page by page."""
        return [row["run_id"] for page in self.pages() for row in page]

    def stream(self, run_id: str, after: int | None = None, *, follow: bool = True) -> Iterator[tuple[int, Json]]:
        """Events after that number, each with its own, until the run has ended. Only unnamed messages are heard."""
        params: dict[str, Any] = {} if after is None else {"after_seq": after}
        params |= {} if follow else {"follow": "false"}
        accept = {"accept": "text/event-stream"}
        with self.http.stream("GET", f"/v1/runs/{run_id}/events", params=params, headers=accept) as answer:
            if answer.status_code != 200:
                answer.read()
            answer.raise_for_status()
            for event in heard(answer.iter_lines()):
                yield event["seq"], event
                if event["type"] in ENDS:
                    return

    # ── what is Arkloop's own ─────────────────────────────────────────────────────────────────────────────────

    def thread(self, **fields: Any) -> Json:
        return self._made(self.http.post("/v1/threads", json=fields))

    def say(self, thread_id: str, content: str) -> Json:
        return self._made(self.http.post(f"/v1/threads/{thread_id}/messages", json={"content": content}))

    def run(self, thread_id: str, **fields: Any) -> Json:
        return self._made(self.http.post(f"/v1/threads/{thread_id}/runs", json=fields))

    def detail(self, run_id: str) -> Json:
        return self._told(self.http.get(f"/v1/runs/{run_id}"))

    def input(self, run_id: str, content: str, **fields: Any) -> httpx.Response:
        return self.http.post(f"/v1/runs/{run_id}/input", json={"content": content, **fields})

    def messages(self, thread_id: str, **params: Any) -> list[Json]:
        told: list[Json] = self._told(self.http.get(f"/v1/threads/{thread_id}/messages", params=params))
        return told

    def runs_of(self, thread_id: str, **params: Any) -> list[Json]:
        told: list[Json] = self._told(self.http.get(f"/v1/threads/{thread_id}/runs", params=params))
        return told

    def runs(self, **params: Any) -> list[Json]:
        """One page of the organisation's runs."""
        told: list[Json] = self._told(self.http.get("/v1/runs", params=params))
        return told

    def pages(self, limit: int = 200, **params: Any) -> Iterator[list[Json]]:
        """The pages from the newest on; one that is not full is the last."""
        page = self.runs(limit=limit, **params)
        yield page
        while len(page) == limit:
            page = self.runs(limit=limit, before=page[-1]["run_id"], **params)
            yield page

    @staticmethod
    def _made(answer: httpx.Response) -> Json:
        assert answer.status_code == 201, answer.text
        told: Json = answer.json()
        return told

    @staticmethod
    def _told(answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json()


def heard(lines: Iterator[str]) -> Iterator[Json]:
    """The unnamed messages of a stream of server-sent events."""
    data: list[str] = []
    named = False
    for line in lines:
        if not line:
            if data and not named:
                yield json.loads("\n".join(data))
            data, named = [], False
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif line.startswith("event:"):
            named = True
