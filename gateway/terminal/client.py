"""What the commands that speak to a gateway need of it: HTTP to its REST face, and back after a break."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import httpx
import orjson

from protocol import sse
from protocol.errors import HocketError, NotFound, Unavailable

TERMINAL = ("completed", "failed", "cancelled")
_TIMEOUT = httpx.Timeout(15.0, read=60.0)
_PAUSE_SECONDS_MIN = 0.1
_PAUSE_SECONDS_MAX = 2.0
_AWAY_SECONDS_MAX = 60.0
_LISTEN_AWAY_SECONDS_MAX = 3600.0
_PLACE_ONLY = "listening"


class Told(NamedTuple):
    """One entry of a run as the gateway tells it. `name` is None for an AG-UI event, else ask or unknown."""

    seq: int
    name: str | None
    event: dict[str, Any]


class Refusal(HocketError):
    """A refusal in the gateway's own words; `problem` is the whole of it (RFC 9457)."""

    def __init__(self, message: str, problem: dict[str, Any]) -> None:
        super().__init__(message)
        self.problem = problem

    @property
    def kind(self) -> str:
        """The stable code of the refusal."""
        return str(self.problem.get("code"))


class Client:
    """One gateway. Every method raises NotFound, Refusal with the gateway's own words, or Unavailable."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._away = f"No hocket answers at {self._url}: start one with `hocket dev`, or name it with --url."
        try:
            # as bytes, so that what is no ASCII is refused over there like any other bad key
            headers = {b"authorization": b"Bearer " + key.strip().encode()} if key is not None else {}
            self._http = httpx.Client(base_url=self._url, timeout=_TIMEOUT, headers=headers)
        except httpx.InvalidURL as bad:
            raise HocketError(f"{url!r} is not the URL of a gateway: {bad}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def start(self, agent: str, text: str, thread_id: str | None) -> dict[str, Any]:
        """Starts a run. Its id is made here, so that asking again could not start a second one."""
        want = {"agent": agent, "input": text, "run_id": str(uuid.uuid4())}
        return self._json("POST", "/v1/runs", json=want | ({"thread_id": thread_id} if thread_id else {}))

    def run(self, run_id: str, **query: str | int) -> dict[str, Any]:
        return self._json("GET", f"/v1/runs/{quote(run_id, safe='')}", params=query)

    def resume(self, run_id: str, answers: list[dict[str, Any]], key: str) -> dict[str, Any]:
        """The run with its answers. `key` makes them the same however often a lost connection has them sent again."""
        began, pause = time.monotonic(), _PAUSE_SECONDS_MIN
        while True:
            try:
                return self._json(
                    "POST", f"/v1/runs/{quote(run_id, safe='')}/resume",
                    json={"answers": answers}, headers={"idempotency-key": key},
                )  # fmt: skip
            except Unavailable as away:
                if time.monotonic() - began > _AWAY_SECONDS_MAX:
                    look = f"`hocket tail {run_id}` shows whether it has the answer"
                    raise Unavailable(f"{self._url} is away; once it is back, {look}.") from away
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)

    def runs(self, **query: str | int | None) -> list[dict[str, Any]]:
        """The newest runs first."""
        page = self._json("GET", "/v1/runs", params={name: value for name, value in query.items() if value is not None})
        found: list[dict[str, Any]] = page["runs"]
        return found

    def triggers(self, agent: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest triggers first, at most `limit`."""
        found: list[dict[str, Any]] = []
        query: dict[str, str | int] = {"agent": agent} if agent is not None else {}
        while len(found) < limit:
            page = self._json("GET", "/v1/triggers", params=query | {"limit": min(limit - len(found), 200)})
            found += page["triggers"]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        return found

    def create_trigger(self, want: dict[str, Any]) -> dict[str, Any]:
        return self._json("POST", "/v1/triggers", json=want)

    def delete_trigger(self, trigger_id: str) -> None:
        self._json("DELETE", f"/v1/triggers/{quote(trigger_id, safe='')}")

    def fire_trigger(self, trigger_id: str) -> dict[str, Any]:
        """The run that was started."""
        return self._json("POST", f"/v1/triggers/{quote(trigger_id, safe='')}/fire")

    def webhooks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._json("GET", "/v1/webhooks")["webhooks"]
        return found

    def create_webhook(self, want: dict[str, Any]) -> dict[str, Any]:
        """With its secret."""
        return self._json("POST", "/v1/webhooks", json=want)

    def delete_webhook(self, webhook_id: str) -> None:
        self._json("DELETE", f"/v1/webhooks/{quote(webhook_id, safe='')}")

    def events(self, run_id: str, after_seq: int) -> Iterator[Told]:
        """Every entry after `after_seq` once, in order, until the run has ended; a lost connection is made again."""
        heard_at, pause = time.monotonic(), _PAUSE_SECONDS_MIN
        once = False

        def heard() -> None:  # a waiting run says nothing for days, and its gateway is there all the same
            nonlocal heard_at, pause, once
            heard_at, pause, once = time.monotonic(), _PAUSE_SECONDS_MIN, True

        while True:
            try:
                for told in self._stream(run_id, after_seq, heard):
                    if told.seq > after_seq:
                        after_seq = told.seq
                        yield told
                run = self.run(run_id)
                if run["status"] in TERMINAL and run["seq"] <= after_seq:
                    return
                once = True
            except (httpx.TransportError, Unavailable) as away:
                if not once:
                    raise Unavailable(self._away) from away
                if time.monotonic() - heard_at > _AWAY_SECONDS_MAX:
                    rest = f"hocket tail {run_id} --from {after_seq + 1}"
                    raise Unavailable(f"{self._url} is away; once it is back, see the rest with `{rest}`.") from away
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)

    def webhook_events(self, query: dict[str, Any], told: Callable[[str], None]) -> Iterator[sse.Frame]:
        """What webhooks would be told, each once and in order, without an end; a lost connection is made again, where
        it broke. `told` is called with what happens to the connection, in words."""
        place, pause, broke_at = "", _PAUSE_SECONDS_MIN, 0.0

        def heard() -> None:
            nonlocal pause, broke_at
            if broke_at:
                told("the gateway is back")
            pause, broke_at = _PAUSE_SECONDS_MIN, 0.0

        while True:
            try:
                for found in self._frames("/v1/webhooks/events", place, query, heard):
                    if not place:
                        told(f"listening to {self._url}")
                    place = found.id.decode()
                    if found.name != _PLACE_ONLY:
                        yield found
            except (httpx.TransportError, Unavailable) as away:
                if not place:
                    raise away if isinstance(away, Unavailable) else Unavailable(self._away) from away
            now = time.monotonic()
            if not broke_at:
                broke_at = now
                told(f"the connection to {self._url} is lost; nothing is missed once it is back")
            elif now - broke_at > _LISTEN_AWAY_SECONDS_MAX:
                raise Unavailable(f"{self._url} has been away for {_LISTEN_AWAY_SECONDS_MAX / 60:g} minutes.")
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)

    def _stream(self, run_id: str, after_seq: int, heard: Callable[[], None]) -> Iterator[Told]:
        for found in self._frames(f"/v1/runs/{quote(run_id, safe='')}/events", str(after_seq), {}, heard):
            if found.seq is not None:
                yield Told(found.seq, found.name, orjson.loads(found.data))

    def _frames(
        self, path: str, after: str, query: dict[str, Any], heard: Callable[[], None]
    ) -> Iterator[sse.Frame]:  # fmt: skip
        headers = {"accept": "text/event-stream", **({"last-event-id": after} if after else {})}
        decoder = sse.Decoder()
        with self._http.stream("GET", path, headers=headers, params=query) as response:
            if response.status_code != 200:
                response.read()
                raise _refusal(response)
            for piece in response.iter_bytes():
                heard()
                yield from decoder.feed(piece)

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **request)
        except (httpx.TransportError, httpx.InvalidURL) as away:
            raise Unavailable(self._away) from away
        if not response.is_success:
            raise _refusal(response)
        if response.status_code == 204:
            return {}
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise HocketError(f"What answers at {self._url} is not hocket: name the gateway with --url.")
        return answer


def _refusal(response: httpx.Response) -> HocketError:
    """The gateway's own sentence, as far as it gave one."""
    try:
        problem = orjson.loads(response.content)
        told = str(problem["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        problem = {}
        told = f"{response.request.url} answered with status {response.status_code}: is --url that of a hocket?"
    resolved = problem.get("resolved")
    if isinstance(resolved, dict):
        told = f"{told.removesuffix('.')} at {resolved.get('at')}, decision {resolved.get('decision') or 'none'}."
    if response.status_code == 404:
        return NotFound(told)
    return Unavailable(told) if response.status_code >= 500 else Refusal(told, problem)
