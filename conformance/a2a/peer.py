"""An A2A peer that writes its own requests, in both bindings alike: what a client library would hide is told here."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

Json = dict[str, Any]

BINDINGS = ("JSONRPC", "HTTP+JSON")
STREAMED = ("SendStreamingMessage", "SubscribeToTask")
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
CURSOR = "urn:hocket:a2a:cursor:1"
IDEMPOTENCY = "urn:hocket:a2a:idempotency:1"
TERMINAL = ("TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED")


class Refused(Exception):
    """A refusal. `code` is JSON-RPC's, None over HTTP+JSON; `status` HTTP's; `reason` and `metadata` of the
    ErrorInfo; `body` as it was sent."""

    def __init__(self, code: int | None, status: int, message: str, details: list[Json], body: Json) -> None:
        super().__init__(f"{code} {status} {message} {details}")
        self.code, self.status, self.message, self.details, self.body = code, status, message, details, body

    @property
    def info(self) -> Json:
        return next((one for one in self.details if one.get("@type") == INFO), {})

    @property
    def reason(self) -> str:
        return str(self.info.get("reason", ""))


@dataclass(frozen=True)
class Peer:
    """One agent through one binding. `headers` go with each call."""

    http: httpx.Client
    agent: str
    binding: str
    headers: tuple[tuple[str, str], ...] = (("a2a-version", "1.0"),)

    @property
    def path(self) -> str:
        return f"/a2a/{quote(self.agent, safe='')}" if self.agent else "/a2a"

    def with_headers(self, **more: str) -> "Peer":
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return Peer(self.http, self.agent, self.binding, tuple({**dict(self.headers), **named}.items()))

    def to(self, agent: str) -> "Peer":
        return Peer(self.http, agent, self.binding, self.headers)

    def call(self, operation: str, params: Json | None = None) -> Json:
        """The result. Raises Refused."""
        return self._result(self._send(operation, params or {}))

    def refused(self, operation: str, params: Json | None = None) -> Refused:
        """The refusal of what must be refused."""
        try:
            told = self.call(operation, params)
        except Refused as refusal:
            check_refusal(refusal)
            return refusal
        raise AssertionError(f"{operation} was not refused: {told}")

    def send(self, text: str = "hi", **more: Any) -> Json:
        """The task, or the message, that a text message brings; `more` are fields of the message or of the request."""
        told = self.call("SendMessage", message(text, **more))
        (kind,) = told
        assert kind in ("task", "message"), told
        return dict(told[kind])

    def get(self, task_id: str, **more: Any) -> Json:
        return self.call("GetTask", {"id": task_id, **more})

    @contextlib.contextmanager
    def stream(self, operation: str, params: Json, **headers: str) -> Iterator["Stream"]:
        """The updates of a stream. Raises Refused where it is none."""
        with self.with_headers(**headers)._opened(operation, params) as answer:
            if not answer.headers["content-type"].startswith("text/event-stream"):
                answer.read()
                self._result(answer)
                raise AssertionError(f"no stream came, and no refusal: {answer.text}")
            yield Stream(answer, self.binding)

    def updates(self, operation: str, params: Json, **headers: str) -> list[Json]:
        """All of a stream that ends by itself."""
        with self.stream(operation, params, **headers) as stream:
            return list(stream)

    def _send(self, operation: str, params: Json) -> httpx.Response:
        with self._opened(operation, params) as answer:
            answer.read()
            return answer

    def _opened(self, operation: str, params: Json) -> contextlib.AbstractContextManager[httpx.Response]:
        headers = dict(self.headers)
        if self.binding == "JSONRPC":
            body = {"jsonrpc": "2.0", "id": 7, "method": operation, "params": params}
            return self.http.stream("POST", self.path, json=body, headers=headers)
        method, path, query, sent = rest(operation, params)
        more: Json = {} if sent is None else {"json": sent}
        return self.http.stream(method, self.path + path, params=query, headers=headers, **more)

    def _result(self, answer: httpx.Response) -> Json:
        told = answer.json() if answer.content else {}
        if self.binding == "JSONRPC" and "result" in told:
            assert answer.status_code == 200 and told["jsonrpc"] == "2.0" and told["id"] == 7, told
            return dict(told["result"] or {})
        if answer.is_success and "error" not in told:
            return dict(told)
        error = told["error"]
        rpc = self.binding == "JSONRPC" and "data" in error or "status" not in error
        details = error.get("data" if rpc else "details") or []
        raise Refused(error["code"] if rpc else None, answer.status_code, error["message"], details, told)


class Stream:
    """A stream's updates; `id` is that of the last one that had one, `answer` what it came with."""

    def __init__(self, answer: httpx.Response, binding: str) -> None:
        self.answer, self.id, self._binding = answer, "", binding
        self._lines = answer.iter_lines()

    def __iter__(self) -> Iterator[Json]:
        named, data = "", ""
        for line in self._lines:
            field, _, value = line.partition(": ")
            if field == "id":
                named = value
            elif field == "data":
                data = value
            elif not line and data:
                self.id, told, named, data = named or self.id, json.loads(data), "", ""
                if self._binding == "JSONRPC":
                    assert told["jsonrpc"] == "2.0" and told["id"] == 7, told
                    told = told["result"]
                assert len(told) == 1, told
                yield told


def message(text: str | None = "hi", parts: list[Json] | None = None, **more: Any) -> Json:
    """A SendMessageRequest. What is no field of a message is one of the request."""
    asked = {"configuration": "configuration", "request_metadata": "metadata", "tenant": "tenant"}
    outer = {name: more.pop(key) for key, name in asked.items() if key in more}
    said = {"messageId": "m1", "role": "ROLE_USER", "parts": parts if parts is not None else [{"text": text}]}
    return {"message": said | more, **outer}


def rest(operation: str, params: Json) -> tuple[str, str, dict[str, Any], Json | None]:
    """Method, path, query and body of an operation over HTTP+JSON."""
    left = dict(params)
    tenant = left.pop("tenant", "")
    root = f"/{quote(str(tenant), safe='')}" if tenant else ""
    if operation in ("SendMessage", "SendStreamingMessage"):
        return "POST", f"{root}/message:{'send' if operation == 'SendMessage' else 'stream'}", {}, left
    if operation == "ListTasks":
        return "GET", f"{root}/tasks", _query(left), None
    if operation == "GetExtendedAgentCard":
        return "GET", f"{root}/extendedAgentCard", {}, None
    task = quote(str(left.pop("taskId" if "Push" in operation else "id", "")), safe="")
    if operation == "GetTask":
        return "GET", f"{root}/tasks/{task}", _query(left), None
    if operation == "CancelTask":
        return "POST", f"{root}/tasks/{task}:cancel", {}, left
    if operation == "SubscribeToTask":
        return "GET", f"{root}/tasks/{task}:subscribe", {}, None
    configs = f"{root}/tasks/{task}/pushNotificationConfigs"
    if operation == "CreateTaskPushNotificationConfig":
        return "POST", configs, {}, left
    if operation == "ListTaskPushNotificationConfigs":
        return "GET", configs, _query(left), None
    one = f"{configs}/{quote(str(left.pop('id', '')), safe='')}"
    return ("GET" if operation.startswith("Get") else "DELETE"), one, {}, None


def _query(params: Json) -> dict[str, Any]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in params.items()}


def check_refusal(refusal: Refused) -> None:
    """It has the binding's form, says something, and nothing of the gateway's inside."""
    assert refusal.message and "Traceback" not in str(refusal.body) and "500" not in str(refusal.status), refusal
    if refusal.code is not None:
        assert refusal.status == 200 and set(refusal.body["error"]) <= {"code", "message", "data"}, refusal.body
    else:
        assert refusal.body["error"]["code"] == refusal.status >= 400 and refusal.body["error"]["status"]
        assert set(refusal.body["error"]) <= {"code", "status", "message", "details"}


def told_by(updates: list[Json]) -> Json:
    """The task that a stream's updates make, folded as the specification has it (A2A 1.0.1, 4.2)."""
    task: Json = {}
    for update in updates:
        ((kind, told),) = update.items()
        if kind == "task":
            assert not task, "the task came twice"
            task = json.loads(json.dumps(told))
            continue
        assert told["taskId"] == task["id"] and told["contextId"] == task["contextId"]
        if kind == "statusUpdate":
            said = task["status"].get("message")
            if said is not None:
                task.setdefault("history", []).append(said)
            task["status"] = told["status"]
            continue
        artifacts = task.setdefault("artifacts", [])
        artifact = told["artifact"]
        at = next((n for n, one in enumerate(artifacts) if one["artifactId"] == artifact["artifactId"]), None)
        if at is None:
            assert not told.get("append"), f"appended to an artifact that nobody was told of: {told}"
            artifacts.append(json.loads(json.dumps(artifact)))
        elif told.get("append"):
            artifacts[at]["parts"] += artifact["parts"]
        else:
            artifacts[at] = json.loads(json.dumps(artifact))
    return task


def joined(task: Json) -> Json:
    """The task with each artifact's neighbouring texts in one part, and no note of where in the log it stands: what a
    stream and a poll must agree on."""
    told = json.loads(json.dumps({name: value for name, value in task.items() if name != "metadata"}))
    for artifact in told.get("artifacts", ()):
        parts: list[Json] = []
        for part in artifact["parts"]:
            if parts and set(part) == set(parts[-1]) == {"text"}:
                parts[-1]["text"] += part["text"]
            else:
                parts.append(part)
        artifact["parts"] = parts
    return dict(told)


def text_of(task: Json) -> str:
    """What the agent has said in text."""
    return "".join(part.get("text", "") for one in task.get("artifacts", ()) for part in one["parts"])


def state_of(update: Json) -> str | None:
    """The state that an update tells, if it does."""
    ((_, told),) = update.items()
    return told.get("status", {}).get("state") if isinstance(told, dict) else None
