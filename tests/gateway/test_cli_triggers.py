"""`hocket triggers` as a person types it, against a real `hocket dev`."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.command import Dev, once, open_dev, run_command

pytestmark = pytest.mark.anyio

ECHO = "async def echo(run):\n    yield run.input.messages[-1].content\n"


REFUSALS = [
    (("create", "echo", "x", "--cron", "61 * * * *"), "cron: '61 * * * *' cannot be read: bad minute"),
    (("create", "echo", "x", "--cron", "* * * * *", "--at", "2100-01-01"), "Say one of --cron, --at"),
    (("create", "echo", "x", "--at", "soon"), "--at 'soon' is no instant"),
    (("create", "echo", "x", "--timezone", "UTC"), "--timezone goes with --cron"),
    (("create", "echo", "x", "--id", "a"), "There is a trigger 'a' already"),
    (("delete", "none"), "There is no trigger 'none'"),
]


async def test_triggers_are_made_listed_fired_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(ECHO)
    async with open_dev(tmp_path, "--agent", "echo=agent.py:echo") as dev:

        async def hocket(*words: str) -> str:
            code, out, err = await run_command("triggers", *words, cwd=tmp_path, HOCKET_URL=dev.url)
            assert (code, err) == (0, ""), err
            return out

        made = await hocket("create", "echo", "hi", "--cron", "0 7 * * 1-5", "--timezone", "Europe/Berlin", "--id", "c")
        assert made.startswith("c  echo  cron 0 7 * * 1-5 Europe/Berlin  next 20") and "has not fired" in made
        await hocket("create", "echo", "off", "--cron", "0 7 * * *", "--id", "d", "--disabled", "--catch-up", "none")
        await hocket("create", "echo", "x", "--on-agent", "echo", "--on-status", "failed", "--thread", "t", "--id", "e")
        await hocket("create", "echo", "z", "--at", "2100-01-01T00:00:00Z", "--id", "a")
        told = json.loads(await hocket("create", "echo", "now", "--json"))
        assert told["kind"] == "now"
        listed = (await hocket("list", "--agent", "echo")).splitlines()
        assert [line.split()[0] for line in listed[1:]] == ["a", "e", "d", "c"]
        assert "on echo failed" in listed[2] and "disabled" in listed[3]
        run_id = (await hocket("fire", "d")).strip()
        assert (await dev.run_once(run_id, lambda run: run["status"] == "completed"))["messages"][1]["content"] == "off"
        assert await hocket("delete", "c") == ""
        assert "c" not in [
            json.loads(line)["id"] for line in (await hocket("list", "--json", "--limit", "9")).splitlines()
        ]
        await once(lambda: _fired(dev, told["id"]))
        await asyncio.gather(*(refused(tmp_path, dev, words, told) for words, told in REFUSALS))


async def _fired(dev: Dev, trigger_id: str) -> bool:
    return bool((await dev.client.get(f"/v1/triggers/{trigger_id}")).json()["last_run_id"])


async def refused(folder: Path, dev: Dev, words: tuple[str, ...], told: str) -> None:
    code, out, err = await run_command("triggers", *words, cwd=folder, HOCKET_URL=dev.url)
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1, err
