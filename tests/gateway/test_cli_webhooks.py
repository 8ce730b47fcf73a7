"""`hocket webhooks` as a person types it, against a real `hocket dev`."""

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from tests.command import Dev, Started, once, open_dev, run_command, start
from tests.runtime.receiver import Receiver, Reply, open_receiver

pytestmark = pytest.mark.anyio

AGENT = """
async def echo(run):
    yield "hi"

async def asks(run):
    if not run.answers:
        yield run.interrupt("Well?", id="i1")
"""
AGENTS = ("--agent", "echo=agent.py:echo", "--agent", "asks=agent.py:asks")


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


def columns(listening: Started) -> list[list[str]]:
    """The lines without their times."""
    return [line.split("  ")[1:] for line in listening.out.splitlines()]


def secret_of(listening: Started) -> str:
    return listening.err.partition("signed with ")[2].split()[0]


def verified(receiver: Receiver, secret: str) -> list[tuple[str, str]]:
    messages: list[dict[str, Any]] = [Verifier(secret).verify(one.body, one.headers) for one in receiver.taken]
    return [(one["data"]["id"], one["type"]) for one in messages]


async def listens(listening: Started) -> None:
    await once(lambda: "listening to" in listening.err or listening.process.returncode is not None, 20)
    assert listening.process.returncode is None, listening.err


async def stopped(listening: Started) -> str:
    """What it has said on stderr once Ctrl-C has ended it."""
    listening.process.send_signal(signal.SIGINT)
    assert await listening.ended() == 0, listening.err
    return listening.err


async def test_what_becomes_of_runs_is_shown_a_line_each_until_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    async with (
        open_dev(tmp_path, *AGENTS) as dev,
        start("webhooks", "listen", "--url", dev.url, cwd=tmp_path, name="all") as shows,
        start("webhooks", "listen", "--url", dev.url, "--agent", "asks", "--event", "run.waiting", "--json",
              cwd=tmp_path, name="some") as filters,
    ):  # fmt: skip
        await listens(shows)
        await listens(filters)
        await dev.start_run("echo", "r1\x1b[2J")
        await dev.run_once("r1%1B%5B2J", lambda run: run["status"] == "completed")
        await dev.start_run("asks", "r2")
        await dev.run_once("r2", lambda run: run["status"] == "waiting")
        await once(lambda: shows.out.count("\n") == 4 and filters.out.endswith("\n"))
        assert "ended; shown: 4" in await stopped(shows) and "ended; shown: 1" in await stopped(filters)
        assert columns(shows) == [
            ["run.started", "r1[2J", "echo"], ["run.completed", "r1[2J", "echo"],
            ["run.started", "r2", "asks"], ["run.waiting", "r2", "asks"],
        ]  # fmt: skip
        message = json.loads(filters.out)
        assert (message["type"], message["data"]["id"]) == ("run.waiting", "r2") and "forwarded" not in message
        assert all(line.startswith(f"{message['timestamp'][:11]}") for line in shows.out.splitlines())


async def test_each_is_sent_on_once_signed_and_its_answer_shown(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    async with open_receiver() as receiver, open_dev(tmp_path, *AGENTS) as dev:
        receiver.reply = lambda came: Reply(503 if b"run.started" in came.body else 202)
        to = ("--forward-to", receiver.url)
        async with start("webhooks", "listen", "--url", dev.url, *to, cwd=tmp_path, name="listen") as listening:
            await listens(listening)
            assert f"each is sent to {receiver.url} once, never again" in listening.err
            await dev.start_run("echo", "r1")
            await once(lambda: listening.out.count("\n") == 2)
            await receiver.stop()
            await dev.start_run("echo", "r2")
            await once(lambda: listening.out.count("\n") == 4)
            await stopped(listening)
    assert [one[-1].rpartition(",")[0] for one in columns(listening)][:2] == ["-> 503", "-> 202"]
    assert all("refused" in one[-1] or "failed" in one[-1] for one in columns(listening)[2:])
    assert len(receiver.seen) == 2 and verified(receiver, secret_of(listening)) == [("r1", "run.completed")]
    came = receiver.taken[0]
    assert (came.path, came.headers["content-type"], came.headers["user-agent"]) == (
        "/hook", "application/json", "hocket",
    )  # fmt: skip
    assert set(came.headers) == {
        "host", "content-length", "user-agent", "connection", "content-type",
        "webhook-id", "webhook-timestamp", "webhook-signature",
    }  # fmt: skip


async def test_nothing_is_lost_or_sent_twice_while_the_gateway_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    runs = [f"r{number}" for number in range(12)]
    async with open_receiver() as receiver, contextlib.AsyncExitStack() as stack:
        async with open_dev(tmp_path, *AGENTS) as dev:
            words = ("webhooks", "listen", "--url", dev.url, "--forward-to", receiver.url)
            listening = await stack.enter_async_context(start(*words, cwd=tmp_path, name="listen"))
            await listens(listening)
            await all_start(dev, runs[:4])
            dev.stop(signal.SIGTERM)
            await dev.ended()
        async with open_dev(tmp_path, *AGENTS, "--port", dev.url.rpartition(":")[2]) as dev:
            await all_start(dev, runs[4:8])
            await once(lambda: "the gateway is back" in listening.err, 20)
            await all_start(dev, runs[8:])
            await once(lambda: listening.out.count("\n") >= 2 * len(runs), 20)
            assert "the connection to" in await stopped(listening)
    told = verified(receiver, secret_of(listening))
    assert sorted(told) == sorted((run, kind) for run in runs for kind in ("run.started", "run.completed"))
    assert all(told.index((run, "run.started")) < told.index((run, "run.completed")) for run in runs)
    assert len({one.headers["webhook-id"] for one in receiver.taken}) == len(told)


async def all_start(dev: Dev, runs: list[str]) -> None:
    for run in runs:
        await dev.start_run("echo", run)


async def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path) -> None:
    async def hocket(*words: str, **settings: str) -> str:
        code, out, err = await run_command("webhooks", "listen", *words, cwd=tmp_path, **settings)
        assert code == 2 and not out and len(err.splitlines()) <= 2, err
        return err

    nobody = {"HOCKET_URL": "http://127.0.0.1:9"}
    assert "No hocket answers at http://127.0.0.1:9" in await hocket(**nobody)
    assert "must be a URL that begins with http://" in await hocket("--forward-to", "mailto:x", **nobody)
    assert "must be a URL that begins with http://" in await hocket("--forward-to", "127.0.0.1:3000", **nobody)
    async with open_receiver() as receiver:  # a server that is no hocket
        receiver.reply = lambda _: Reply(404)
        assert "is --url that of a hocket?" in await hocket("--url", receiver.url)
