"""SendStreamingMessage and SubscribeToTask: what is streamed is what is polled, and nothing is lost or told twice."""

import threading
from typing import Any

import httpx
import pytest

from conformance.a2a.peer import CURSOR, TERMINAL, Json, Peer, joined, message, state_of, text_of, told_by

NUMBERS = 400


def numbers(count: int) -> str:
    return "".join(f"{number} " for number in range(count))


def start(peer: Peer, agent: str, **metadata: Any) -> Json:
    """A task that goes on."""
    return peer.to(agent).send(configuration={"returnImmediately": True}, request_metadata=metadata)


@pytest.mark.requirement("A2A-040", "A2A-041")
@pytest.mark.parametrize("agent", ["plain", "everything", "large", "raising"])
def test_what_is_streamed_is_what_is_polled(peer: Peer, agent: str) -> None:
    peer = peer.to(agent)
    with peer.stream("SendStreamingMessage", message("hi")) as stream:
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        updates = list(stream)
    assert "task" in updates[0] and not any("task" in update for update in updates[1:])
    states = [state_of(update) for update in updates if state_of(update)]
    assert states[-1] in TERMINAL and states[-1] == state_of(updates[-1])
    assert not set(states[:-1]) & set(TERMINAL)
    task = told_by(updates)
    polled = peer.get(task["id"])
    if agent == "everything":  # its state and activity come as a part and their patches
        task, polled = ({**one, "artifacts": [a for a in one["artifacts"] if a.get("name") not in ("state", "PLAN")]}
                        for one in (task, polled))  # fmt: skip
    if agent == "large":
        assert len(text_of(task)) > 500_000
        task, polled = ({**one, "artifacts": [a for a in one["artifacts"] if a.get("name") != "state"]}
                        for one in (task, polled))  # fmt: skip
    assert joined(task) == joined(polled)


@pytest.mark.requirement("A2A-042")
@pytest.mark.parametrize("do", ["make", "result", "reject", "fail"])
def test_artifacts_and_ends_are_streamed_as_they_are_polled(peer: Peer, do: str) -> None:
    peer = peer.to("doing")
    task = told_by(peer.updates("SendStreamingMessage", message("hi", request_metadata={"do": do})))
    assert joined(task) == joined(peer.get(task["id"]))


@pytest.mark.requirement("A2A-024")
def test_a_bare_message_is_told_to_those_who_stream_and_poll_too(peer: Peer) -> None:
    peer = peer.to("doing")
    updates = peer.updates("SendStreamingMessage", message("hi", request_metadata={"do": "reply"}))
    (only,) = [update["message"] for update in updates if "message" in update] or [
        next(iter(update.values()))["status"]["message"]
        for update in updates
        if state_of(update) == "TASK_STATE_COMPLETED"
    ]
    assert only["parts"] == [{"text": "Just this."}]
    if "task" in updates[0]:
        assert peer.get(updates[0]["task"]["id"])["status"]["message"]["parts"] == [{"text": "Just this."}]


@pytest.mark.requirement("A2A-043")
def test_a_stream_ends_at_a_question_and_the_answers_stream_goes_on(peer: Peer) -> None:
    peer = peer.to("reviewing")
    first = peer.updates("SendStreamingMessage", message("check"))
    assert state_of(first[-1]) == "TASK_STATE_INPUT_REQUIRED"
    task = told_by(first)
    answer = message(None, [{"data": {"approved": True}}], taskId=task["id"])
    second = peer.updates("SendStreamingMessage", answer)
    assert second[0]["task"]["id"] == task["id"] and state_of(second[-1]) == "TASK_STATE_COMPLETED"
    assert joined(told_by(second)) == joined(peer.get(task["id"]))


@pytest.mark.requirement("A2A-044")
def test_who_leaves_in_mid_stream_and_subscribes_again_has_lost_nothing_and_is_told_nothing_twice(
    peer: Peer, name: str
) -> None:
    halved = peer.to("halved")
    sent = message("hi", request_metadata={"first": f"{name}-1", "gate": name, "count": NUMBERS})
    with halved.stream("SendStreamingMessage", sent) as stream:
        updates = iter(stream)
        task_id = next(updates)["task"]["id"]
        peer.to("release").send(f"{name}-1")
        assert len([next(updates) for _ in range(5)]) == 5
    with halved.stream("SubscribeToTask", {"id": task_id}) as stream:
        updates = iter(stream)
        told = [next(updates)]
        peer.to("release").send(name)
        told += updates
    task = told_by(told)
    assert text_of(task) == numbers(2 * NUMBERS)
    assert joined(task) == joined(halved.get(task_id))


@pytest.mark.requirement("A2A-045")
@pytest.mark.parametrize("left_at", [1, 3, 40])
def test_a_cursor_goes_on_after_any_update_and_nothing_is_told_again(peer: Peer, name: str, left_at: int) -> None:
    halved = peer.to("halved").with_headers(a2a_extensions=CURSOR)
    sent = message("hi", request_metadata={"first": f"{name}-1", "gate": name, "count": NUMBERS})
    first: list[Json] = []
    with halved.stream("SendStreamingMessage", sent) as stream:
        assert CURSOR in stream.answer.headers["a2a-extensions"]
        for update in stream:
            if not first:
                peer.to("release").send(f"{name}-1")
            first.append(update)
            if len(first) > left_at:
                break
        last_id = stream.id
    seq = next(iter(first[-1].values()))["metadata"][CURSOR]["seq"]
    assert str(seq) == last_id
    peer.to("release").send(name)
    task_id = first[0]["task"]["id"]
    rest = halved.updates("SubscribeToTask", {"id": task_id}, last_event_id=last_id)
    assert not any("task" in update for update in rest)
    seqs = [next(iter(update.values()))["metadata"][CURSOR]["seq"] for update in rest]
    assert seqs == sorted(seqs) and seqs[0] > seq
    task = told_by(first + rest)
    assert text_of(task) == numbers(2 * NUMBERS)
    assert joined(task) == joined(halved.get(task_id))
    # of a task that has ended, what came after the cursor is told all the same
    again = halved.updates("SubscribeToTask", {"id": task_id}, last_event_id=last_id)
    assert told_by(first + again) == task


@pytest.mark.requirement("A2A-045")
@pytest.mark.parametrize("bad", ["x", "-1", "999999", "1.5"])
def test_a_cursor_that_is_none_is_refused(peer: Peer, bad: str) -> None:
    task = peer.send("hi")
    refusal = peer.with_headers(last_event_id=bad).refused("SubscribeToTask", {"id": task["id"]})
    assert "Last-Event-ID" in refusal.message and refusal.code in (-32602, None)


@pytest.mark.requirement("A2A-046")
def test_a_subscription_outlasts_a_question_and_ends_with_the_task(peer: Peer) -> None:
    peer = peer.to("reviewing")
    task = peer.send("check")
    told: list[list[Json]] = [[], []]
    opened = threading.Barrier(3)

    def listen(at: int) -> None:
        with peer.stream("SubscribeToTask", {"id": task["id"]}) as stream:
            for update in stream:
                told[at].append(update)
                if len(told[at]) == 1:
                    opened.wait(10)

    listeners = [threading.Thread(target=listen, args=(at,), daemon=True) for at in range(2)]
    for listener in listeners:
        listener.start()
    opened.wait(10)
    answer = peer.send(None, parts=[{"data": {"approved": False}}], taskId=task["id"])
    for listener in listeners:
        listener.join(10)
        assert not listener.is_alive()
    assert told[0] == told[1] and told[0][0]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert state_of(told[0][-1]) == "TASK_STATE_COMPLETED"
    assert joined(told_by(told[0]))["artifacts"] == joined(answer)["artifacts"]


@pytest.mark.requirement("A2A-047")
def test_there_is_nothing_to_subscribe_to_at_a_task_that_has_ended(peer: Peer) -> None:
    task = peer.send("hi")
    refusal = peer.refused("SubscribeToTask", {"id": task["id"]})
    assert (refusal.code or -32004, refusal.reason) == (-32004, "UNSUPPORTED_OPERATION")


@pytest.mark.requirement("A2A-048")
def test_a_cancel_ends_every_stream_of_the_task(peer: Peer) -> None:
    peer = peer.to("endless")
    with peer.stream("SendStreamingMessage", message("hi")) as sent:
        updates = iter(sent)
        task_id = next(updates)["task"]["id"]
        with peer.stream("SubscribeToTask", {"id": task_id}) as subscribed:
            heard = iter(subscribed)
            assert next(heard)["task"]["id"] == task_id
            peer.call("CancelTask", {"id": task_id})
            assert [state_of(list(one)[-1]) for one in (updates, heard)] == ["TASK_STATE_CANCELED"] * 2


@pytest.mark.requirement("A2A-049")
def test_subscribing_over_http_is_a_post_as_well(http: httpx.Client, name: str) -> None:
    peer = Peer(http, "halved", "HTTP+JSON")
    task = start(peer, "halved", gate=name, count=2)
    path = f"/a2a/halved/tasks/{task['id']}:subscribe"
    with http.stream("POST", path, headers={"a2a-version": "1.0"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert any(line.startswith("data: ") and '"task"' in line for line in lines)
    peer.call("CancelTask", {"id": task["id"]})
