"""The five run APIs together: one log, read, answered and cancelled through any of them."""

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from conformance.dialects.scene import (
    APPROVED,
    NAMES,
    WITH_CANCEL,
    Clients,
    became,
    clients,
    shown,
)


@pytest.mark.requirement("DIA-001", "DIA-005", "DIA-007")
def test_a_run_of_any_dialect_is_the_same_in_all_at_every_status(fresh: Any) -> None:
    """One slot: so a second run is queued, and a run that waits must leave the slot to others."""
    one_slot = fresh(HOCKET_CONCURRENCY="1", HOCKET_AGUI_EXTERNAL_ENABLED="true")
    with one_slot as url, httpx.Client(base_url=url) as http, clients(url) as every:
        for starter in NAMES:
            client, gate = every[starter], uuid.uuid4().hex
            blocking = client.start("endless", "x")
            became(http, blocking, "running")
            queued = client.start("narrating", gate)
            dropped = client.start("plain", "never")
            assert shown(every, queued, "queued"), starter
            for one, by in zip((dropped, blocking), random.sample(WITH_CANCEL, 2), strict=True):
                every[by].cancel(one)
                assert shown(every, one, "cancelled"), (starter, by)
            became(http, queued, "running")
            assert shown(every, queued, "running"), starter
            # the release needs the slot too: the held run is let go by a run that was started before it in this worker
            http.post(f"/v1/runs/{queued}/cancel", json={})
            waiting = client.start("reviewing", "hi")
            became(http, waiting, "waiting")
            assert shown(every, waiting, "waiting"), starter
            failed = client.start("raising", "hi")
            became(http, failed, "failed")
            assert shown(every, failed, "failed"), starter
            assert every[starter].answer(waiting, APPROVED).status_code == 200
            became(http, waiting, "completed")
            assert shown(every, waiting, "completed"), starter
            ended = client.start("reviewing", "hi")
            became(http, ended, "waiting")
            every[random.choice(WITH_CANCEL)].cancel(ended)
            assert shown(every, ended, "cancelled"), starter


@pytest.mark.requirement("dialects.pairs")
def test_a_gate_of_any_dialect_is_answered_in_any_other(http: httpx.Client, dialects: Clients) -> None:
    for starter in NAMES:
        for answerer in NAMES:
            run = dialects[starter].start("reviewing", "hi")
            became(http, run, "waiting")
            assert dialects[starter].gate(run), (starter, answerer)
            answer = dialects[answerer].answer(run, APPROVED)
            assert answer.status_code == 200, (starter, answerer, answer.text)
            became(http, run, "completed")
            assert shown(dialects, run, "completed") and dialects[starter].gate(run) is None, (starter, answerer)
            (answered,) = [
                one for one in http.get(f"/v1/runs/{run}/audit").json()["audit"] if one["what"] == "answered"
            ]
            assert answered["face"] == answerer


REFUSED = {
    "cinatra": (404, "Review task not found or already resolved"),
    "operativus": (400, "business-validation-error"),
    "veryfront": (409, "TOOL_RESULT_CONFLICT"),
    "middesk": (409, "errors"),
    "arkloop": (409, "runs.not_"),
}
"""What a dialect says to an answer that comes too late."""


@pytest.mark.requirement("DIA-002")
def test_of_five_answers_at_once_one_is_recorded(http: httpx.Client, dialects: Clients) -> None:
    for _ in range(8):
        run = dialects[random.choice(NAMES)].start("reviewing", "hi")
        became(http, run, "waiting")
        gate = dialects["cinatra"].gate(run)

        def give(name: str, run: str = run, gate: str = gate) -> httpx.Response:
            payload = {"approved": True, "by": name}  # each its own, or Veryfront would take it for a repetition
            answer: httpx.Response = dialects[name].answer(run, payload, gate)
            return answer

        with ThreadPoolExecutor(len(NAMES)) as pool:
            answers = dict(zip(NAMES, pool.map(give, NAMES), strict=True))
        took = [name for name, answer in answers.items() if answer.status_code == 200]
        assert len(took) == 1, {name: answer.text for name, answer in answers.items()}
        for name in set(NAMES) - set(took):
            status, word = REFUSED[name]
            told = answers[name]
            gone = name == "veryfront" and told.status_code == 410  # the run has ended meanwhile
            assert gone or (told.status_code == status and word in told.text), (name, told.status_code, told.text)
        became(http, run, "completed")
        events = http.get(f"/v1/runs/{run}/events", headers={"accept": "application/json"}).json()["events"]
        assert sum(one["event"]["type"] == "ask.resume" for one in events) == 1
