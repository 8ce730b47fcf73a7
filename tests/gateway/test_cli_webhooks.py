"""`hocket webhooks` as a person types it, against a real `hocket dev`."""

import json
from pathlib import Path

import pytest

from tests.command import open_dev, run_command

pytestmark = pytest.mark.anyio


async def test_webhooks_are_made_listed_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("async def echo(run):\n    yield 'hi'\n")
    async with open_dev(tmp_path, "--agent", "echo=agent.py:echo") as dev:

        async def hocket(*words: str, ends: int = 0) -> str:
            code, out, err = await run_command("webhooks", *words, cwd=tmp_path, HOCKET_URL=dev.url)
            assert code == ends, err
            return out if ends == 0 else err

        to = "https://example.com/hook"
        shown, secret = (await hocket("create", to, "--event", "run.failed", "--agent", "echo")).splitlines()
        name = shown.split()[0]
        assert shown == f"{name}  {to}  run.failed  echo" and secret.startswith("whsec_")
        told = json.loads(await hocket("create", to, "--description", "Mine", "--json"))
        assert told["description"] == "Mine" and told["secret"].startswith("whsec_")
        assert (await hocket("list")).splitlines() == [shown, f"{told['id']}  {to}  all events  Mine"]
        assert [json.loads(line)["id"] for line in (await hocket("list", "--json")).splitlines()] == [name, told["id"]]
        assert await hocket("delete", name) == ""
        assert (await hocket("list")).splitlines() == [f"{told['id']}  {to}  all events  Mine"]
        assert f"There is no webhook '{name}'" in await hocket("delete", name, ends=2)
        assert "A webhook may not lead to 10.0.0.1" in await hocket("create", "http://10.0.0.1/", ends=2)
