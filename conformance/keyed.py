"""A hocket with keys, and a client of whoever holds one."""

import subprocess
import time
from pathlib import Path

import httpx

from conformance.started import command

SECONDS = 20.0


class Keyed:
    """A running hocket with keys; `of` is a client of whoever holds one."""

    def __init__(self, url: str, data: Path) -> None:
        self.url, self._data = url, data

    def hocket(self, *words: str) -> str:
        made = subprocess.run(
            [command(), "keys", *words, "--data", str(self._data)], capture_output=True, text=True, timeout=SECONDS
        )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def key(self, principal: str, *scopes: str, tenant: str = "acme") -> str:
        wanted = [word for scope in scopes for word in ("--scope", scope)]
        return self.hocket("create", "--tenant", tenant, "--principal", principal, "--kind", "user", *wanted)

    def of(self, key: str | None) -> httpx.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, timeout=SECONDS, headers=headers)


def served(client: httpx.Client) -> httpx.Response:
    """The answer to a first question, once a key that was just made or revoked is known everywhere."""
    end = time.monotonic() + SECONDS
    while (answer := client.get("/v1/agents")).status_code == 401 and time.monotonic() < end:
        time.sleep(0.05)
    return answer
