"""What a run asks, answered at a terminal and with `hocket resume`."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.nats_server import EmbeddedServer
from tests.command import HOCKET, START_SECONDS, Dev, environ, open_dev, run_command, start
from tests.terminal import open_terminal

pytestmark = pytest.mark.anyio

AGENTS = """
import json

TRIP = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "class": {"enum": ["first", "second"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city", "days"],
    "if": {"properties": {"city": {"const": "Rome"}}},
    "then": {"properties": {"days": {"maximum": 3}}},
}

def told(run, *names):
    return " ".join(f"{run.answers[name].status} {json.dumps(run.answers[name].payload)}" for name in names)

async def mails(run):
    if "send" not in run.answers:
        yield "Written. "
        yield run.tool_call("send", {"to": "Ada"}, id="call-1")
        yield run.interrupt("Send\\x1b[31m it?", name="send", id="q", tool_call_id="call-1")
    else:
        yield told(run, "send")

async def travels(run):
    if "trip" not in run.answers:
        yield run.interrupt("Where to?", name="trip", id="q", response_schema=TRIP, values={"days": 2})
    else:
        yield told(run, "trip")

async def asks_twice(run):
    if "b" not in run.answers:
        yield run.interrupts(run.question("First?", name="a", id="a"), run.question("Second?", name="b", id="b"))
    else:
        yield told(run, "a", "b")

async def hurries(run):
    if "soon" not in run.answers:
        yield run.interrupt("Now?", name="soon", expires_in_s=1, on_expiry="answer", default={"approved": False})
    else:
        yield told(run, "soon")
"""
NAMES = ("mails", "travels", "asks_twice", "hurries")


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    (tmp_path / "agents.py").write_text(AGENTS)
    options = [word for name in NAMES for word in ("--agent", f"{name}=agents.py:{name}")]
    async with open_dev(tmp_path, *options) as opened:
        yield opened


async def waiting(dev: Dev, agent: str, run_id: str = "r1") -> dict[str, Any]:
    await dev.start_run(agent, run_id)
    return await dev.run_once(run_id, lambda run: run["status"] == "waiting")


async def answer(dev: Dev, *answers: dict[str, Any]) -> None:
    done = await dev.client.post("/v1/runs/r1/resume", json={"answers": list(answers)})
    assert done.status_code == 200, done.text


@contextlib.asynccontextmanager
async def open_losing_proxy(url: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A way to `url` that loses the answer to the first resume. Gives the Idempotency-Keys that came by."""
    to, keys, tasks = httpx.URL(url), list[bytes](), set[asyncio.Task[Any]]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        upstream, upstream_writer = await asyncio.open_connection(to.host, to.port)
        loses = False

        async def answers() -> None:
            while (data := await upstream.read(1 << 16)) and not loses:
                writer.write(data)
            writer.close()

        back = asyncio.create_task(answers())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                key = re.search(rb"idempotency-key: (\S+)", data, re.IGNORECASE)
                if key is not None:
                    loses = not keys
                    keys.append(key[1])
                upstream_writer.write(data)
        upstream_writer.close()
        await back

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", keys
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ── at a terminal ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_is_asked_and_answered_while_the_run_is_shown(dev: Dev, tmp_path: Path) -> None:
    async with open_terminal("run", "mails", "hi", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("· asks: Send[31m it? (tool_call)")
        await terminal.shows('about send({"to":"Ada"})')
        await terminal.shows("Approve? [y/n] ")
        terminal.type("perhaps\n")
        await terminal.shows("Type y or n.\nApprove? [y/n] ")
        terminal.type("y\n")
        await terminal.shows("· approved by ")
        await terminal.shows("· completed\n")
        assert await terminal.ended() == 0
        assert terminal.out == 'Written. \nresolved {"approved": true}\n'


async def test_an_object_is_asked_property_by_property_and_a_refused_answer_again(dev: Dev, tmp_path: Path) -> None:
    async with open_terminal("run", "travels", "hi", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("city: ")
        terminal.type("\n")
        await terminal.shows("It needs an answer: text.\ncity: ")
        terminal.type("Rome\n")
        await terminal.shows("days [a whole number; empty for 2]: ")
        terminal.type("0\n")
        await terminal.shows("0 is less than the minimum of 1\ndays [")
        terminal.type("9\n")
        await terminal.shows("1) first\n  2) second\nclass [1-2; optional]: ")
        terminal.type("2\n")
        await terminal.shows("tags [values by comma; optional]: ")
        terminal.type("\n")
        await terminal.shows("days 9 is greater than the maximum of 3\ncity: ")
        terminal.type("Rome\n\n1\nold, warm\n")  # what is typed ahead is taken line by line
        await terminal.shows("· completed\n")
        assert await terminal.ended() == 0
        told = 'resolved {"city": "Rome", "days": 2, "class": "first", "tags": ["old", "warm"]}\n'
        assert terminal.out == told


async def test_the_prompt_ends_when_somebody_else_answers_and_the_run_goes_on_being_shown(
    dev: Dev, tmp_path: Path
) -> None:
    run = await waiting(dev, "mails")
    async with open_terminal("tail", "r1", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("Approve? [y/n] ")
        terminal.type("y")
        (question,) = run["interrupts"]
        await answer(dev, {"interrupt_id": question["id"], "payload": {"approved": False}})
        await terminal.shows("\n· rejected by Development through rest\n")
        await terminal.shows("· completed\n")
        assert await terminal.ended() == 0
        assert terminal.out == 'Written. \nresolved {"approved": false}\n'


async def test_the_prompt_ends_when_the_time_to_answer_is_over(dev: Dev, tmp_path: Path) -> None:
    async with open_terminal("run", "hurries", "hi", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("then its default answer is taken)")
        await terminal.shows("Approve? [y/n] ")
        await terminal.shows("\n· nobody answered in time: its default answer is taken\n")
        assert await terminal.ended() == 0
        assert terminal.out == 'expired {"approved": false}\n'


async def test_ctrl_d_leaves_the_run_waiting_and_says_how_to_answer_it(dev: Dev, tmp_path: Path) -> None:
    await waiting(dev, "mails")
    async with open_terminal("tail", "r1", "--url", dev.url, cwd=tmp_path) as terminal:
        await terminal.shows("Approve? [y/n] ")
        terminal.end_input()
        await terminal.shows(f"· the run waits; to answer: hocket resume r1 --url {dev.url} --approve\n")
        await terminal.shows(f"· or: hocket resume r1 --url {dev.url} --reject\n")
        assert await terminal.ended() == 3
    assert (await dev.run("r1"))["status"] == "waiting"


async def test_ctrl_c_at_a_prompt_leaves_the_run_waiting(dev: Dev, tmp_path: Path) -> None:
    await waiting(dev, "mails")
    async with open_terminal("tail", "r1", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("Approve? [y/n] ")
        terminal.interrupt()
        await terminal.shows("· the run waits; to answer: hocket resume r1 --approve\n")
        assert await terminal.ended() == 130
    assert (await dev.run("r1"))["status"] == "waiting"


async def test_several_questions_are_asked_one_after_the_other_and_one_may_be_abandoned(
    dev: Dev, tmp_path: Path
) -> None:
    await waiting(dev, "asks_twice")
    async with open_terminal("resume", "r1", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("· asks: First? (confirmation)\nApprove? [y/n] ")
        terminal.type("!cancel\n")
        await terminal.shows("· asks: Second? (confirmation)\nApprove? [y/n] ")
        terminal.type("n\n")
        await terminal.shows("· a cancelled by Development through rest\n· b rejected by Development through rest\n")
        assert await terminal.ended() == 0
        assert terminal.out == 'cancelled null resolved {"approved": false}\n'


async def test_a_prompt_outlives_its_gateway(tmp_path: Path, nats: EmbeddedServer) -> None:
    (tmp_path / "agents.py").write_text(AGENTS)
    at = {"HOCKET_NATS_URL": nats.url}
    async with contextlib.AsyncExitStack() as stack:
        words = ("worker", "--agent", "mails=agents.py:mails")
        worker = await stack.enter_async_context(start(*words, cwd=tmp_path, name="worker", **at))
        await worker.says("runs mails")
        async with start("gateway", "--port", "0", cwd=tmp_path, name="killed", **at) as killed:
            await killed.says("hocket gateway on ")
            url = killed.out.split()[-1]
            terminal = await stack.enter_async_context(open_terminal("run", "mails", "hi", "--url", url, cwd=tmp_path))
            await terminal.shows("Approve? [y/n] ")
        port = url.rpartition(":")[2]
        await stack.enter_async_context(start("gateway", "--port", port, cwd=tmp_path, name="next", **at))
        terminal.type("y\n")
        await terminal.shows("· completed\n")
        assert await terminal.ended() == 0
        assert terminal.shown.count("Approve?") == 1
        worker.process.terminate()
        assert await worker.ended() == 0
    assert terminal.out == 'Written. \nresolved {"approved": true}\n'


async def test_resume_without_follow_ends_with_the_answer(dev: Dev, tmp_path: Path) -> None:
    await waiting(dev, "mails")
    async with open_terminal("resume", "r1", "--no-follow", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("· asks: Send[31m it? (tool_call)")
        await terminal.shows("Approve? [y/n] ")
        terminal.type("n\n")
        assert await terminal.ended() == 0
        assert terminal.out == ""
    await dev.run_once("r1", lambda run: run["status"] == "completed")


async def test_resume_without_follow_that_comes_second_ends_with_2(dev: Dev, tmp_path: Path) -> None:
    await waiting(dev, "mails")
    async with open_terminal("resume", "r1", "--no-follow", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("Approve? [y/n] ")
        await answer(dev, {"interrupt_id": "q", "payload": {"approved": True}})
        await terminal.shows("\n· approved by Development through rest\n")
        assert await terminal.ended() == 2


# ── without one ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_off_a_terminal_the_question_is_shown_with_the_command_that_answers_it(dev: Dev, tmp_path: Path) -> None:
    at = {"HOCKET_URL": dev.url}
    code, out, err = await run_command("run", "travels", "hi", cwd=tmp_path, **at)
    assert (code, out) == (3, "")
    asked, *details, command = err.splitlines()
    assert asked == "· asks: Where to? (input_required)"
    assert details == [
        "  city: text", "  days: a whole number",
        "  class: one of first, second, optional", "  tags: values by comma, optional",
    ]  # fmt: skip
    (run,) = (await dev.client.get("/v1/runs")).json()["runs"]
    example = '{"city":"…","days":2}'
    assert command == f"· the run waits; to answer: hocket resume {run['id']} --answer '{example}'"
    tailed = await run_command("tail", run["id"], "--from", "4", cwd=tmp_path, **at)
    assert tailed == (3, "", err)
    resumed = await run_command("resume", run["id"], "--answer", example, cwd=tmp_path, **at)
    assert resumed[:2] == (0, 'resolved {"city": "\\u2026", "days": 2}\n')


async def test_no_input_asks_nothing_at_a_terminal(dev: Dev, tmp_path: Path) -> None:
    async with open_terminal("run", "mails", "hi", "--no-input", cwd=tmp_path, HOCKET_URL=dev.url) as terminal:
        await terminal.shows("· the run waits; to answer: hocket resume ")
        assert await terminal.ended() == 3
    assert "Approve? [y/n]" not in terminal.shown


async def test_as_json_nothing_is_asked_and_an_answered_question_does_not_end_the_tail(
    dev: Dev, tmp_path: Path
) -> None:
    at = {"HOCKET_URL": dev.url}
    await waiting(dev, "mails")
    code, out, err = await run_command("tail", "r1", "--json", cwd=tmp_path, **at)
    assert (code, err) == (3, "")
    assert json.loads(out.splitlines()[-1])["outcome"]["type"] == "interrupt"
    answered = await run_command("resume", "r1", "--approve", "--no-follow", "--json", cwd=tmp_path, **at)
    assert answered[0] == 0 and json.loads(answered[1])["interrupts"] == []
    whole = await run_command("tail", "r1", "--json", cwd=tmp_path, **at)
    assert whole[0] == 0 and whole[1].startswith(out)
    assert "ask.resume" in [json.loads(line)["type"] for line in whole[1].splitlines()]


async def test_resume_answers_and_shows_the_rest(dev: Dev, tmp_path: Path) -> None:
    ways = [
        (["--approve", "--note", "fine"], 'resolved {"approved": true, "note": "fine"}'),
        (["--reject"], 'resolved {"approved": false}'),
        (["--cancel"], "cancelled null"),
        (["--answer", '{"a": "b=c"}'], 'resolved {"a": "b=c"}'),
        (["--interrupt", "q", "--answer", 'q="yes"'], 'resolved "yes"'),
    ]
    for number, (words, told) in enumerate(ways):
        await waiting(dev, "mails", f"r{number}")
        code, out, _ = await run_command("resume", f"r{number}", *words, cwd=tmp_path, HOCKET_URL=dev.url)
        assert (code, out) == (0, f"{told}\n")


async def test_several_questions_are_answered_by_their_ids(dev: Dev, tmp_path: Path) -> None:
    at = {"HOCKET_URL": dev.url}
    await waiting(dev, "asks_twice")
    unnamed = await run_command("resume", "r1", "--approve", cwd=tmp_path, **at)
    one = await run_command("resume", "r1", "--approve", "--interrupt", "a", cwd=tmp_path, **at)
    both = await run_command("resume", "r1", "--approve", "--interrupt", "a", "--answer", "b=[1]", cwd=tmp_path, **at)
    assert unnamed[2] == (
        "hocket: Several questions are open, a, b: name each with --interrupt ID or --answer ID=JSON.\n"
    )
    assert one[2] == "hocket: All open interrupts need an answer at once; missing: 'b'.\n"
    assert (unnamed[0], one[0]) == (2, 2)
    assert both[:2] == (0, 'resolved {"approved": true} resolved [1]\n')


async def test_whoever_comes_second_is_told_who_decided_and_when(dev: Dev, tmp_path: Path) -> None:
    at = {"HOCKET_URL": dev.url}
    await waiting(dev, "mails")
    await answer(dev, {"interrupt_id": "q", "payload": {"approved": True}})
    run = await dev.run_once("r1", lambda run: run["status"] == "completed")
    when = run["decisions"][0]["at"]
    code, out, err = await run_command("resume", "r1", "--reject", cwd=tmp_path, **at)
    assert (code, out, err) == (2, "", (
        "hocket: Run 'r1' waits for no answer: it is completed; "
        f"q was approved by Development through rest at {when}.\n"
    ))  # fmt: skip
    code, out, err = await run_command("resume", "r1", "--reject", "--interrupt", "q", cwd=tmp_path, **at)
    assert (code, out, err) == (2, "", (
        "hocket: Interrupt 'q' is already resolved: resolved by Development through rest "
        f"at {when}, decision approve.\n"
    ))  # fmt: skip


async def test_an_answer_is_read_from_stdin(dev: Dev, tmp_path: Path) -> None:
    await waiting(dev, "mails")
    process = await asyncio.create_subprocess_exec(
        *HOCKET, "resume", "r1", "--answer", "-", cwd=tmp_path, env=environ(HOCKET_URL=dev.url),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(START_SECONDS):
        out, _ = await process.communicate(b'{"from": "a file"}\n')
    assert (process.returncode, out.decode()) == (0, 'resolved {"from": "a file"}\n')


async def test_an_answer_that_does_not_fit_is_refused_in_the_gateways_words(dev: Dev, tmp_path: Path) -> None:
    at = {"HOCKET_URL": dev.url}
    await waiting(dev, "travels")
    code, _, err = await run_command("resume", "r1", "--answer", '{"city": "Bern", "days": 0}', cwd=tmp_path, **at)
    assert code == 2
    assert err == "hocket: The answer to 'q' does not fit its schema at /days: 0 is less than the minimum of 1.\n"


async def test_resume_off_a_terminal_says_what_to_give(tmp_path: Path) -> None:
    code, _, err = await run_command("resume", "r1", cwd=tmp_path)
    assert (code, err) == (2, "hocket: Say what to answer: --approve, --reject, --cancel or --answer JSON.\n")


async def test_an_answer_that_is_sent_again_after_a_lost_connection_is_recorded_once(dev: Dev, tmp_path: Path) -> None:
    await waiting(dev, "mails")
    async with open_losing_proxy(dev.url) as (url, keys):
        code, out, _ = await run_command("resume", "r1", "--approve", "--url", url, cwd=tmp_path)
    assert (code, out) == (0, 'resolved {"approved": true}\n')
    assert len(keys) == 2 and len(set(keys)) == 1
    run = await dev.run("r1")
    assert len(run["decisions"]) == 1
