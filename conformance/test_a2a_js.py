"""The JavaScript SDK's own client, in both bindings."""

from collections.abc import Iterator
from typing import Any

import pytest

from conformance.a2a.peer import BINDINGS, CURSOR, Json, joined, message, text_of, told_by
from conformance.driver import Driver, open_driver


@pytest.fixture(scope="module")
def a2a(base_url: str) -> Iterator[Driver]:
    with open_driver("a2a.mjs", base_url) as driver:
        yield driver


@pytest.fixture(params=BINDINGS)
def binding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def op(name: str, **more: Any) -> Json:
    return {"op": name, "as": "a", **more}


def client(agent: str) -> Json:
    return op("client", agent=agent)


def numbers(count: int) -> str:
    return "".join(f"{number} " for number in range(count))


def play(a2a: Driver, binding: str, *ops: Json) -> Json:
    """What the one client of a scenario ended with."""
    result: Json = a2a.play(*ops, binding=binding)
    assert not result["warnings"], result["warnings"]
    told: Json = result["clients"]["a"]
    return told


@pytest.mark.requirement("A2A-111")
def test_the_js_client_sends_answers_gets_and_cancels(a2a: Driver, binding: str) -> None:
    approved = message(None, [{"data": {"approved": True}}])
    told = play(
        a2a, binding, client("reviewing"), op("send", params=message("check")),
        op("send", params=approved, follow=True), op("get"), op("get", params={"historyLength": 1}),
        op("send", params=message("late"), follow=True, refused=True),
        op("send", params=message("again")), op("cancel"), op("cancel", refused=True),
        op("get", params={"id": "no-such-task"}, refused=True),
    )  # fmt: skip
    asked, done, polled, short, again, cancelled = told["results"]
    assert asked["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert done["task"]["status"]["state"] == "TASK_STATE_COMPLETED" and done["task"]["id"] == asked["task"]["id"]
    assert joined(polled) == joined(done["task"]) and len(short["history"]) == 1
    assert again["task"]["id"] != asked["task"]["id"] and cancelled["status"]["state"] == "TASK_STATE_CANCELED"
    late, twice, unknown = told["refused"]
    assert "Unsupported" in late["kind"] and "Cancelable" in twice["kind"] and "NotFound" in unknown["kind"]


@pytest.mark.requirement("A2A-111")
def test_the_js_client_streams_answers_and_is_told_of_bare_messages(a2a: Driver, binding: str) -> None:
    approved = message(None, [{"data": {"approved": False}}])
    told = play(
        a2a, binding, client("reviewing"), op("stream", params=message("check")),
        op("stream", params=approved, follow=True), op("get"),
    )  # fmt: skip
    first, second, polled = told["results"]
    assert told_by(first)["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert joined(told_by(second)) == joined(polled) and polled["status"]["state"] == "TASK_STATE_COMPLETED"
    reply = play(a2a, binding, client("doing"), op("send", params=message("hi", request_metadata={"do": "reply"})))
    assert reply["results"][0]["message"]["parts"][0]["text"] == "Just this."


@pytest.mark.requirement("A2A-111", "A2A-044")
def test_the_js_client_leaves_in_mid_stream_and_subscribes_again(a2a: Driver, binding: str, name: str) -> None:
    sent = message("hi", request_metadata={"first": f"{name}-1", "gate": name, "count": 300})
    told = play(
        a2a, binding, client("halved"), op("stream", params=sent, release=f"{name}-1", leave=6),
        op("subscribe", release=name), op("get"),
    )  # fmt: skip
    left, after, polled = told["results"]
    assert len(left) == 6
    task = told_by(after)
    assert text_of(task) == numbers(600) and joined(task) == joined(polled)


@pytest.mark.requirement("A2A-111", "A2A-045")
def test_the_js_client_goes_on_from_a_cursor(a2a: Driver, binding: str, name: str) -> None:
    sent = message("hi", request_metadata={"first": f"{name}-1", "gate": name, "count": 300})
    headers = {"A2A-Extensions": CURSOR}
    told = play(
        a2a, binding, client("halved"), op("stream", params=sent, release=f"{name}-1", leave=8, headers=headers),
        op("release", gate=name), op("subscribe", cursor=True, headers=headers), op("get"),
    )  # fmt: skip
    before, after, polled = told["results"]
    task = told_by(before + after)
    assert text_of(task) == numbers(600) and joined(task) == joined(polled)


@pytest.mark.requirement("A2A-111", "A2A-061", "A2A-062")
def test_the_js_client_lists_page_by_page(a2a: Driver, binding: str, name: str) -> None:
    sends = [op("send", params=message(str(number), contextId=name)) for number in range(3)]
    told = play(a2a, binding, client("plain"), *sends, op("list", params={"contextId": name, "pageSize": 2}))
    ids, page = [one["task"]["id"] for one in told["results"][:3]], told["results"][3]
    assert [task["id"] for task in page["tasks"]] == ids[:0:-1] and page["totalSize"] == 3
    rest = {"contextId": name, "pageSize": 2, "pageToken": page["nextPageToken"]}
    failed = {"contextId": name, "status": "TASK_STATE_FAILED"}
    told = play(a2a, binding, client("plain"), op("list", params=rest), op("list", params=failed))
    assert [task["id"] for task in told["results"][0]["tasks"]] == ids[:1] and not told["results"][1].get("tasks")


@pytest.mark.requirement("A2A-111", "A2A-004")
def test_the_js_client_reads_the_extended_card(a2a: Driver, binding: str) -> None:
    (card,) = play(a2a, binding, client("picky"), op("card"))["results"]
    assert [skill["id"] for skill in card["skills"]] == ["open", "hidden"]
