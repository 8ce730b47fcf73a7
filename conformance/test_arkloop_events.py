"""Arkloop's events and input, as its clients use them."""

import contextlib
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.arkloop import (
    APPROVED,
    asking,
    busy,
    events,
    reaches,
    refused,
    types,
)
from conformance.dialects.arkloop import Client, heard

Fresh = Callable[..., "contextlib.AbstractContextManager[str]"]


@pytest.mark.requirement("ARK-001", "ARK-002", "ARK-004")
def test_the_whole_job_by_a_client_that_leaves_and_comes_back(ark: Client) -> None:
    run_id = ark.start("interrupting", "send it")
    with contextlib.closing(ark.stream(run_id)) as stream:
        last, event = next((seq, event) for seq, event in stream if event["type"] == "run.waiting_for_input")
    assert event["data"]["tool_name"] == "send" and event["data"]["message"] == "Send it?"
    assert ark.gate(run_id) == event["data"]["request_id"]
    assert ark.answer(run_id, APPROVED).json() == {"ok": True}
    rest = events(ark, run_id, last)
    assert [event["seq"] for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    provided = rest[0]
    assert provided["type"] == "run.input_provided" and json.loads(provided["data"]["content"]) == APPROVED
    assert set(provided["data"]) == {"request_id", "content", "provided_by"}
    assert [one["data"]["result"] for one in rest if one["type"] == "tool.result"] == ['{"sent":true}']
    assert types(rest)[-1] == "run.completed" and run_id in ark.listed() and ark.gate(run_id) is None


@pytest.mark.requirement("ARK-002")
@pytest.mark.parametrize("agent", ["everything", "private", "interrupting", "raising"])
def test_every_entry_is_one_frame_for_a_reader_of_unnamed_messages(agent: str, ark: Client) -> None:
    run_id = ark.start(agent, "hi")
    if agent == "interrupting":
        reaches(ark, run_id, "waiting_for_input")
        assert ark.answer(run_id, APPROVED).status_code == 200
    answer = ark.http.get(f"/v1/runs/{run_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream") and "\nevent:" not in answer.text
    told = list(heard(iter(answer.text.split("\n"))))
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert all(set(event) == {"seq", "type", "data", "created_at"} and event["created_at"] for event in told)
    assert types(told)[0] == "run.started" and types(told)[-1] in ("run.completed", "run.failed")
    assert answer.text.count("\nid: ") == len(told) and answer.text.startswith(": ping\n\n")
    if agent == "everything":
        call = next(event["data"] for event in told if event["type"] == "tool.call")
        assert (call["tool_name"], call["arguments"]) == ("find", {"q": "x"})
        thought = [one["data"]["content"] for one in told if one["data"].get("channel") == "thinking"]
        assert "".join(thought) == "Because of that."


@pytest.mark.requirement("ARK-003")
def test_whoever_comes_back_after_a_number_is_told_exactly_what_follows(ark: Client) -> None:
    run_id = asking(ark)
    assert ark.answer(run_id, APPROVED).status_code == 200
    whole = events(ark, run_id)
    for after in range(len(whole) + 1):
        assert events(ark, run_id, after) == whole[after:]
        for path in (f"/v1/runs/{run_id}/events", f"/v1/runs/{run_id}"):
            headers = {"last-event-id": str(after), "accept": "text/event-stream"}
            answer = ark.http.get(path, headers=headers)
            assert list(heard(iter(answer.text.split("\n")))) == whole[after:]


@pytest.mark.requirement("ARK-004")
def test_input_reaches_the_agent_and_breaks_no_schema(ark: Client) -> None:
    run_id = asking(ark)
    (waiting,) = (event["data"] for event in [one for _, one in ark.stream(run_id, follow=False)]
                  if event["type"] == "run.waiting_for_input")  # fmt: skip
    assert waiting["message"] == "OK?" and waiting["requestedSchema"]["required"] == ["approved"]
    wrong = ark.input(run_id, "perhaps")
    assert refused(wrong, 422, "validation.error")["details"]["errors"]
    for content in (None, 7, "", "  \n"):
        body = {} if content is None else {"content": content}
        refused(ark.http.post(f"/v1/runs/{run_id}/input", json=body), 422, "validation.error")
    refused(ark.input(run_id, "{}", request_id="g-other-0"), 409, "runs.not_waiting_for_input")
    content = json.dumps(APPROVED | {"note": "Grüße"})
    assert ark.input(run_id, content, request_id=waiting["request_id"]).json() == {"ok": True}
    said = "".join(one["data"]["content"] for one in events(ark, run_id) if one["type"] == "message.delta")
    heard_of = json.loads(said.removeprefix("Checked."))
    assert heard_of == {"status": "resolved", "payload": json.loads(content), "text": content}


@pytest.mark.requirement("ARK-004")
def test_of_several_questions_one_must_be_named(ark: Client) -> None:
    run_id = asking(ark, "twofold")
    named = refused(ark.input(run_id, "yes"), 409, "runs.input_ambiguous")["details"]["request_ids"]
    waiting = next(one["data"] for _, one in ark.stream(run_id) if one["type"] == "run.waiting_for_input")
    assert [one["request_id"] for one in waiting["requests"]] == named and len(named) == 2
    assert waiting["request_id"] == named[0]
    assert ark.input(run_id, "no", request_id=named[1]).status_code == 200
    assert ark.status(run_id) == "waiting_for_input" and ark.gate(run_id) == named[0]
    refused(ark.input(run_id, "no", request_id=named[1]), 409, "runs.not_waiting_for_input")
    assert ark.input(run_id, "yes").status_code == 200  # one is left
    told = events(ark, run_id)
    assert next(one["data"]["content"] for one in told if one["type"] == "message.delta") == '["yes", "no"]'


@pytest.mark.requirement("ARK-005")
@pytest.mark.parametrize("letter", ["x", "é", "🎶"])
def test_content_is_counted_in_bytes(letter: str, ark: Client) -> None:
    run_id = asking(ark, "twofold")
    named = ark.input(run_id, "yes").json()["details"]["request_ids"]
    right = letter * (32_768 // len(letter.encode()))
    refused(ark.input(run_id, right + "x", request_id=named[0]), 422, "validation.error")
    assert ark.input(run_id, right, request_id=named[0]).status_code == 200
    assert ark.status(run_id) == "waiting_for_input"
    ark.cancel(run_id)


@pytest.mark.requirement("ARK-006")
def test_of_ten_inputs_at_once_one_counts(ark: Client) -> None:
    run_id = asking(ark)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: ark.answer(run_id, APPROVED | {"n": n}), range(10)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 9]
    told = [event for event in events(ark, run_id) if event["type"] == "run.input_provided"]
    assert [json.loads(one["data"]["content"])["n"] for one in told] == [
        n for n, answer in enumerate(answers) if answer.status_code == 200
    ]


@pytest.mark.requirement("ARK-007")
def test_input_to_a_run_that_does_not_wait_is_refused(ark: Client) -> None:
    ended = ark.start("plain", "hi")
    reaches(ark, ended, "completed")
    refused(ark.answer(ended, APPROVED), 409, "runs.not_active")
    running = busy(ark)
    refused(ark.answer(running, APPROVED), 409, "runs.not_waiting_for_input")
    ark.cancel(running)
    refused(ark.answer(running, APPROVED), 409, "runs.not_active")
    expired = ark.start("hurried", "hi")
    reaches(ark, expired, "cancelled")
    refused(ark.answer(expired, APPROVED), 409, "runs.not_active")
    assert events(ark, expired)[-1]["data"] == {"reason": "gate_expired"}
    refused(ark.answer(str(uuid.uuid4()), APPROVED), 404, "runs.not_found")


@pytest.mark.requirement("ARK-013")
def test_a_stream_that_does_not_follow_ends_with_what_is_recorded(ark: Client) -> None:
    run_id = asking(ark)
    for follow in ("false", "0"):
        answer = ark.http.get(f"/v1/runs/{run_id}/events", params={"follow": follow})
        told = list(heard(iter(answer.text.split("\n"))))
        assert types(told)[-1] == "run.waiting_for_input"
    for wrong in ({"after_seq": "x"}, {"after_seq": "-1"}, {"after_seq": "1.5"}, {"after_seq": ""}, {"follow": "yes"}):
        refused(ark.http.get(f"/v1/runs/{run_id}/events", params=wrong), 422, "validation.error")
    ark.cancel(run_id)


@pytest.mark.requirement("ARK-015")
def test_a_silent_stream_is_pinged_and_stays_open_while_the_run_waits(fresh: Fresh) -> None:
    with fresh(HOCKET_KEEP_ALIVE_S="0.3") as url:
        ark = Client(url)
        run_id = asking(ark)
        last = [seq for seq, _ in ark.stream(run_id, follow=False)][-1]
        with ark.http.stream("GET", f"/v1/runs/{run_id}/events", params={"after_seq": last}) as answer:
            lines = answer.iter_lines()
            assert [next(line for line in lines if line) for _ in range(4)] == [": ping"] * 4
            assert ark.status(run_id) == "waiting_for_input"
            assert ark.answer(run_id, APPROVED).status_code == 200
            assert types(list(heard(lines)))[-1] == "run.completed"
