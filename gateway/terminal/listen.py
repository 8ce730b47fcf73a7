"""What webhooks would be told, shown as it happens and, where that is wanted, sent on to a receiver: each message once,
in the form and with the signature of a delivery."""

import secrets
import time
from typing import Any, NamedTuple

import click
import httpx
import orjson

from protocol.errors import Invalid
from runtime.webhook import Webhook, message_id

from .client import Client
from .drawing import unharmed


class Forwarded(NamedTuple):
    """What came of a post: a status or, without an answer, an error."""

    status: int | None
    error: str | None
    duration_ms: int


class Forward:
    """A receiver, and a secret that is made for it and good for as long as this process runs. What is sent to is the
    developer's own choice, so any address will do, and no redirect is followed."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Raises Invalid."""
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as bad:
            raise Invalid(f"--forward-to {url!r} is not a URL: {bad}.") from None
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise Invalid(f"--forward-to {url!r} must be a URL that begins with http:// or https:// and names a host.")
        self._hook = Webhook(f"wh_{secrets.token_hex(12)}", url).rotated(_now_ms())
        self._http = httpx.Client(trust_env=False, timeout=timeout_s)

    @property
    def secret(self) -> str:
        return self._hook.secrets[0].value

    def post(self, run_id: str, seq: int, body: bytes) -> Forwarded:
        """One try; there is no other."""
        began = time.monotonic()
        signed = self._hook.headers(message_id(self._hook.id, run_id, seq), body, _now_ms())
        headers = {"User-Agent": "hocket", "Connection": "close", **signed}
        status, error = None, None
        try:
            # a bare request, so that httpx adds nothing that a delivery does not have
            answer = self._http.send(httpx.Request("POST", self._url, headers=headers, content=body), stream=True)
            answer.close()
            status = answer.status_code
        except httpx.TimeoutException:
            error = "no answer in time"
        except (httpx.TransportError, OSError) as bad:
            error = " ".join(str(bad).split()) or type(bad).__name__
        return Forwarded(status, error, round((time.monotonic() - began) * 1000))


def listen(client: Client, query: dict[str, Any], forward: Forward | None, as_json: bool) -> None:
    """Until Ctrl-C. Raises what the client raises."""
    shown, within_line = 0, False
    try:
        for found in client.webhook_events(query, _note):
            message = orjson.loads(found.data)
            run = message["data"]
            if not as_json:
                columns = (message["timestamp"], message["type"], run["id"], run["agent"])
                click.echo("  ".join(_on_one_line(column) for column in columns), nl=forward is None)
                within_line = forward is not None
            if forward is not None:
                sent = forward.post(run["id"], run["seq"], found.data)
                message["forwarded"] = sent._asdict()
                if not as_json:
                    click.echo(f"  -> {sent.status or _on_one_line(sent.error)}, {sent.duration_ms} ms")
                    within_line = False
            if as_json:
                click.echo(orjson.dumps(message))
            shown += 1
    except KeyboardInterrupt:
        if within_line:
            click.echo()
        _note(f"ended; shown: {shown}")


def _on_one_line(text: object) -> str:
    return unharmed(str(text)).replace("\n", " ")


def _note(text: str) -> None:
    click.echo(f"hocket: {text}", err=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
