"""The README is true: every setting, endpoint and command stands in it, and its shell blocks run."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.routing import Mount

from gateway.app import open_gateway
from gateway.cli import hocket
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.command import HOCKET, START_SECONDS, environ, open_dev
from tests.house import routes_of

pytestmark = pytest.mark.anyio

README = (Path(__file__).parents[1] / "README.md").read_text()
HERE = "http://127.0.0.1:8700"
PAGE_PARTS = re.compile(r"^/docs/|^/agents/page/")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, its two head lines left out."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_setting_is_in_the_readme_as_it_is() -> None:
    fields = Settings.model_fields.items()
    told = [
        [f"`HOCKET_{name.upper()}`", "none" if field.default is None else str(field.default), field.description]
        for name, field in fields
    ]
    assert rows("Settings") == told


async def test_every_endpoint_is_in_the_readme_and_no_other(
    nats: EmbeddedServer, settings: Settings, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    everything = settings.model_copy(update={"agui_external_enabled": True, "a2a_signing_key": key})
    async with open_gateway(everything, nats.url) as gateway:
        routes = routes_of(gateway)
    assert not any(isinstance(route, Mount) for route in routes)
    paths = {str(getattr(route, "path", "")) for route in routes}
    shape = {re.sub(r"\{[^}]*\}", "{}", path) for path in paths if not PAGE_PARTS.match(path)}
    shape -= {path for path in shape if path.startswith("/cinatra/") and path.removeprefix("/cinatra") in shape}
    told = {re.sub(r"\{[^}]*\}", "{}", row[0].strip("`").split()[1]) for row in rows("Endpoints")}
    behind_one_route = {path for path in told if path.startswith(("/copilotkit/", "/a2a/{}"))} - shape
    assert told - behind_one_route == shape - {"/copilotkit/{}", "/a2a"}


def typed(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Every command by the words that name it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ((f"{name} {word}", one) for word, one in typed(command))
        else:
            yield name, command


def test_every_command_and_option_is_in_the_readme() -> None:
    told = {row[0].strip("`").removeprefix("hocket "): row[1] for row in rows("Commands")}
    commands = dict(typed(hocket))
    assert list(told) == list(commands)
    for name, command in commands.items():
        options = {
            option
            for one in command.params
            if not getattr(one, "hidden", False)
            for option in (*one.opts, *one.secondary_opts)
        }
        assert {option for option in options if option.startswith("--")} == set(re.findall(r"--[a-z-]+", told[name]))


def test_every_make_target_is_in_the_readme() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    told = {row[0].strip("`").removeprefix("make ") for row in rows("Contributing") if row[0].startswith("`make")}
    assert told == set(targets[1].split()) - {"help"}


async def test_the_shell_blocks_run_as_written_with_the_agent_as_written(tmp_path: Path) -> None:
    (source,) = (block for block in blocks("python") if block.startswith("# agent.py\n"))
    (tmp_path / "agent.py").write_text(source)
    command = tmp_path / "bin" / "hocket"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {" ".join(HOCKET)} "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    said = []
    (asking,) = (block for block in blocks("python") if block.startswith("# mailer.py\n"))
    (tmp_path / "mailer.py").write_text(asking)
    served = ("demo=gateway.demo:agent", "hello=agent.py:hello", "mailer=mailer.py:mailer")
    agents = [word for target in served for word in ("--agent", target)]
    async with open_dev(tmp_path, *agents) as dev:
        for block in blocks("sh"):
            process = await asyncio.create_subprocess_exec(
                "bash", "-euo", "pipefail", "-c", block.replace(HERE, dev.url), cwd=tmp_path,
                env=environ(PATH=path, HOCKET_URL=dev.url), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(START_SECONDS):
                out, _ = await process.communicate()
            assert process.returncode == 0, block
            said.append(out.decode())
        mailed = await _mailed(dev.url)
    (
        streamed,
        polled,
        resumed,
        asked,
        answered,
        talked,
        waited,
        listed,
        spoken,
        peered,
        hooked,
        morning,
        after,
        told,
        triggers,
    ) = said
    assert '"type":"RUN_FINISHED"' in streamed and "\nid: 20\n" in streamed
    assert '"status":"completed"' in polled and '"messages":' in polled and '"state":' in polled
    assert resumed.removeprefix(":\n\n") == "id: 21\n" + streamed.partition("\nid: 21\n")[2]
    assert '"status":"waiting"' in asked and '"decision":"approve"' in answered
    assert mailed == ["I would send this. ", "Sent; development said so."]
    assert talked == "Hello Ada, we have not met before. \n"
    assert '"status":"completed"' in waited
    assert len(listed.splitlines()) == 2
    assert '"status":"COMPLETED"' in spoken and '"object":"run"' in spoken and '"org_id":"default"' in spoken
    assert '"secret":"whsec_' in hooked
    assert '"protocolBinding":"JSONRPC"' in peered and '"TASK_STATE_COMPLETED"' in peered
    assert morning.startswith("morning  hello  cron 0 7 * * 1-5 Europe/Berlin  next 20")
    assert '"statuses":["completed"]' in after and '"subject":"orders.new"' in told
    assert [line.split()[0] for line in triggers.splitlines()] == ["orders", "after", "morning"]


async def _mailed(url: str) -> list[str]:
    """What the asking agent says before its question and after the answer."""
    async with httpx.AsyncClient(base_url=url, timeout=START_SECONDS) as http:
        want = {"agent": "mailer", "input": "To Bob", "run_id": "mail"}
        await http.post("/v1/runs", json=want, headers={"prefer": "wait=10"})
        answers = [{"interrupt_id": "g-mail-0", "payload": {"approved": True}}]
        run = (await http.post("/v1/runs/mail/resume", json={"answers": answers})).json()
        while run["status"] == "running" or "messages" not in run:
            query = {"after_seq": run["seq"], "wait": 10, "include": "messages"}
            run = (await http.get("/v1/runs/mail", params=query)).json()
    return [one["content"] for one in run["messages"] if one["role"] == "assistant"]


def test_the_version_of_python_is_the_one_that_is_asked_for() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11"' in project and "Python 3.11 or newer" in README
    assert sys.version_info >= (3, 11)
