"""The ops of a scenario by name, and what is held against what a client ended with."""

from typing import Any

import httpx

Json = dict[str, Any]

TERMINAL = ("RUN_FINISHED", "RUN_ERROR")


def agent(name: str, thread: str, as_: str = "a", **more: Any) -> Json:
    """A client of one agent's, on one thread."""
    return {"op": "agent", "as": as_, "agent": name, "threadId": thread, **more}


def core(name: str, thread: str, as_: str = "a", **more: Any) -> Json:
    """A CopilotKit core with one agent, on one thread."""
    return {"op": "core", "as": as_, "agent": name, "threadId": thread, **more}


def run(run_id: str, as_: str = "a", text: str | None = "hi", background: bool = False, **given: Any) -> Json:
    """A run, after an own message if there is a text."""
    op: Json = {"op": "run", "as": as_, "input": {"runId": run_id, **given}, "background": background}
    return op if text is None else op | {"say": {"id": f"{run_id}-u", "content": text}}


def ask(as_: str = "a", text: str | None = "hi", background: bool = False, **given: Any) -> Json:
    """A run through CopilotKit, whose core makes the run's id itself."""
    op: Json = {"op": "run", "as": as_, "background": background, **given}
    return op if text is None else op | {"say": {"id": f"{as_}-{abs(hash(text)):x}-u", "content": text}}


def seen(type_: str, as_: str = "a", **more: Any) -> Json:
    return {"op": "seen", "as": as_, "type": type_, **more}


def at_the_gate(as_: str = "a") -> Json:
    return seen("CUSTOM", as_, name="at-the-gate")


def op(name: str, as_: str = "a", **more: Any) -> Json:
    """`leave`, `done`, `connect`, `stop`."""
    return {"op": name, "as": as_, **more}


def release(gate: str) -> Json:
    return {"op": "release", "gate": gate}


def post(path: str, body: Any = None, **more: Any) -> Json:
    return {"op": "post", "path": path, **({} if body is None else {"body": body}), **more}


def agui_input(thread: str, run_id: str, text: str = "hi", **more: Any) -> Json:
    """A RunAgentInput as AG-UI 1.0 posts it."""
    messages = [{"id": f"{run_id}-u", "role": "user", "content": text}]
    return {"threadId": thread, "runId": run_id, "protocolVersion": "1.0", "messages": messages, "state": {},
            "tools": [], "context": [], "forwardedProps": {}, **more}  # fmt: skip


def polled(http: httpx.Client, run_id: str) -> Json:
    """The run as REST tells it, with its messages and state."""
    answer = http.get(f"/v1/runs/{run_id}", params={"include": "messages,state"})
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def check_run(record: Json) -> None:
    """A run that a client took for a success: no error of any kind, and one terminal event at its end."""
    assert record["error"] is None and record["failed"] is None and not record["runErrors"], record
    check_end(record["types"])


def check_end(types: list[str]) -> None:
    """Exactly one terminal event, at the end. A stream without one looks like success to every client."""
    assert types, "nothing came"
    ends = [place for place, type_ in enumerate(types) if type_ in TERMINAL]
    assert ends == [len(types) - 1], types


def check_same(client: Json, told: Json) -> None:
    """The client's messages and state are those of another client, or of a poll."""
    assert client["messages"] == told["messages"]
    assert client["state"] == told["state"]


def text_of(client: Json, message_id: str) -> str:
    """The content of one of a client's messages."""
    return str(next(message["content"] for message in client["messages"] if message["id"] == message_id))
