"""A client of Middesk's run API, written from its documentation alone: runs, interrupts, steps, snapshots."""

import json
import weakref
from collections.abc import Iterator
from typing import Any

import httpx

Json = dict[str, Any]

PREFIX = "/middesk"
SECONDS = 20.0
WITH_STEPS = {"include": "steps"}


class Client:
    """Speaks to a Middesk at `base_url`; `token` is a user's token or an API key."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        base = base_url.rstrip("/").removesuffix(PREFIX) + PREFIX
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=base, headers=headers, timeout=SECONDS)
        weakref.finalize(self, self.http.close)

    # ── what every run API has ────────────────────────────────────────────────────────────────────────────────

    def start(self, agent: str, text: str) -> str:
        return str(self.begin(type=agent, input=text)["id"])

    def status(self, run_id: str) -> str:
        return str(self.run(run_id)["status"])

    def gate(self, run_id: str) -> str | None:
        """The first interrupt that waits."""
        waiting = self.run(run_id)["interrupts"]
        return str(waiting[0]["id"]) if waiting else None

    def answer(self, run_id: str, payload: Any, gate: str | None = None) -> httpx.Response:
        """An answer to that interrupt, or to the first; to one that nobody issued where none waits."""
        return self.resume(run_id, interrupt_id=gate or self.gate(run_id) or "none", input=payload)

    def listed(self) -> list[str]:
        """All runs, page by page."""
        return [run["id"] for page in self.pages() for run in page["data"]]

    def stream(self, run_id: str, after: int | str | None = None) -> Iterator[tuple[int, Json]]:
        """Snapshots after that cursor, each with its own, until the run has ended: `{event, run_id, snapshot}`."""
        headers = {} if after is None else {"last-event-id": str(after)}
        with self.http.stream("GET", f"/v1/runs/{run_id}/stream", headers=headers) as answer:
            if answer.status_code != 200:
                answer.read()
            answer.raise_for_status()
            for fields in heard(answer.iter_lines()):
                told = {"event": fields["event"], **json.loads(fields["data"])}
                yield int(fields["id"]), told
                if told["event"] == "RUN_FINISHED":
                    return

    # ── what is Middesk's own ─────────────────────────────────────────────────────────────────────────────────

    def begin(self, **fields: Any) -> Json:
        """A new run as it is answered."""
        return _told(self.http.post("/v1/runs", json=fields), 201)

    def run(self, run_id: str, steps: bool = False) -> Json:
        return _told(self.http.get(f"/v1/runs/{run_id}", params=WITH_STEPS if steps else {}))

    def resume(self, run_id: str, steps: bool = False, **fields: Any) -> httpx.Response:
        return self.http.post(f"/v1/runs/{run_id}/resume", params=WITH_STEPS if steps else {}, json=fields)

    def thread(self) -> Json:
        return _told(self.http.post("/v1/threads", json={}), 201)

    def page(self, of: str = "runs", **query: Any) -> Json:
        return _told(self.http.get(f"/v1/{of}", params=query))

    def pages(self, of: str = "runs", per_page: int = 100) -> Iterator[Json]:
        number, more = 1, True
        while more:
            page = self.page(of, page=number, per_page=per_page)
            yield page
            number, more = number + 1, page["has_more"]

    def until(self, run_id: str, *statuses: str) -> Json:
        """The last snapshot that the stream tells before or when the run has one of the statuses."""
        for _, told in self.stream(run_id):
            if told["snapshot"]["status"] in statuses:
                snapshot: Json = told["snapshot"]
                return snapshot
        raise AssertionError(f"{run_id} never was {statuses}")


def heard(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The fields of each event of a stream of server-sent events."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line:
            if "data" in fields:
                yield fields
            fields = {}


def _told(answer: httpx.Response, status: int = 200) -> Json:
    assert answer.status_code == status, answer.text
    told: Json = answer.json()
    return told
