"""The command `hocket`. What goes wrong is one sentence on stderr and exit code 2; a traceback is a bug."""

import contextlib
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Coroutine, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import click
import orjson
import uvloop

from protocol.errors import HocketError, Invalid
from protocol.subjects import check_id
from runtime.agents.python import PythonAgent, load_agent
from runtime.settings import Settings, load

from .children import READY
from .cli_keys import keys, who_may_ask
from .cli_triggers import triggers
from .cli_webhooks import webhooks
from .dev import DEMO, run_dev
from .roles import run_gateway, run_worker
from .terminal.client import Client
from .terminal.reply import WAYS, Given, answers_of, check, not_waiting
from .terminal.watch import Watch, at_a_terminal

_host = click.option("--host", help="Address to listen on; only loopback without an API key.")
_port = click.option("--port", type=int, help="Port to listen on; 0 picks a free one.")
_data = click.option("--data", type=click.Path(path_type=Path), help="Folder of the log.")
_agent = click.option(
    "--agent", "agents", multiple=True, metavar="NAME=TARGET",
    help="An agent: NAME=module:attribute or NAME=path/file.py:attribute. May be given more than once.",
)  # fmt: skip
_ready_file = click.option(
    "--ready-file", type=click.Path(path_type=Path), help="File to write url and pid to, as JSON, once hocket serves."
)
_url = click.option("--url", help="The gateway to speak to.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_no_input = click.option("--no-input", is_flag=True, help="Do not ask here what the run asks.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("hocket"), message="hocket %(version)s")
def hocket() -> None:
    """A streaming gateway in front of AI agents."""


@hocket.command()
@_host
@_port
@_data
@_agent
@_ready_file
def dev(
    host: str | None, port: int | None, data: Path | None, agents: tuple[str, ...], ready_file: Path | None
) -> None:
    """All in one: gateway, worker and an embedded nats-server."""
    settings = load(host=host, port=port, data=data)
    _log_to_stderr(settings)
    targets = agents or (DEMO,)
    names = [name for name, _ in map(_parted, targets)]

    def ready(url: str, keyed: bool) -> None:
        _write_ready(ready_file, url)
        click.echo(page(url, names, settings, keyed))

    _run(run_dev(settings, targets, ready))


@hocket.command()
@_host
@_port
@_ready_file
def gateway(host: str | None, port: int | None, ready_file: Path | None) -> None:
    """The gateway alone, on the NATS that HOCKET_NATS_URL names."""
    settings = load(host=host, port=port)
    _log_to_stderr(settings)

    def ready(url: str, keyed: bool) -> None:
        _write_ready(ready_file, url)
        click.echo(f"{who_may_ask(keyed)}\nhocket gateway on {url}")

    _run(run_gateway(settings, ready))


@hocket.command()
@_agent
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--sole", is_flag=True, hidden=True)
def worker(agents: tuple[str, ...], ready_fd: int | None, sole: bool) -> None:
    """A worker alone, on the NATS that HOCKET_NATS_URL names."""
    try:
        settings = load()
        _log_to_stderr(settings)
        loaded = load_agents(agents)

        def ready(name: str) -> None:
            if ready_fd is None:
                click.echo(f"hocket worker {name} runs {', '.join(loaded)}")
            else:
                _tell(ready_fd, READY)

        _run(run_worker(settings, loaded, sole, ready))
    except HocketError as refusal:
        if ready_fd is None:
            raise
        _tell(ready_fd, refusal.message)
        raise SystemExit(2) from None
    # Threads of agents that block would be waited for at the interpreter's own exit.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


@hocket.command()
@click.argument("agent")
@click.argument("text")
@click.option("--thread", help="The thread to go on with; a new one without it.")
@_no_input
@_url
@_as_json
def run(agent: str, text: str, thread: str | None, no_input: bool, url: str | None, as_json: bool) -> None:
    """Starts a run of AGENT on TEXT and shows what it says as it comes."""
    with _client(url) as client:
        started = client.start(agent, text, thread)
        code = Watch(client, started["id"], as_json, at_a_terminal() and not no_input, url).follow(0)
    raise SystemExit(code)


@hocket.command()
@click.argument("run_id", metavar="RUN")
@click.option("--from", "first", type=click.IntRange(1), default=1, help="Number of the first event to show.")
@_no_input
@_url
@_as_json
def tail(run_id: str, first: int, no_input: bool, url: str | None, as_json: bool) -> None:
    """Shows what a run has said and goes on as it says more."""
    with _client(url) as client:
        code = Watch(client, run_id, as_json, at_a_terminal() and not no_input, url).follow(first - 1)
    raise SystemExit(code)


@hocket.command()
@click.argument("run_id", metavar="RUN")
@click.option("--approve", is_flag=True, help='Answer {"approved": true}.')
@click.option("--reject", is_flag=True, help='Answer {"approved": false}.')
@click.option("--cancel", is_flag=True, help="Abandon the question; the agent is told so.")
@click.option(
    "--answer", "answers", multiple=True, metavar="JSON",
    help="The answer; - reads it from stdin. Where several questions are open: ID=JSON, once for each.",
)  # fmt: skip
@click.option("--interrupt", "interrupts", multiple=True, metavar="ID", help="The question that is answered.")
@click.option("--note", metavar="TEXT", help="Said along with --approve or --reject.")
@click.option("--follow/--no-follow", default=True, help="Whether to show how the run goes on.", show_default=True)
@_url
@_as_json
def resume(run_id: str, follow: bool, url: str | None, as_json: bool, **options: Any) -> None:
    """Answers what a run waits for: with an option, or at a terminal by asking you."""
    given = Given(**options)
    check(given)
    asks = at_a_terminal() and not as_json
    if not given and not asks:
        raise Invalid(f"Say what to answer: {WAYS}.")
    with _client(url) as client:
        run = client.run(run_id)
        if run["status"] != "waiting" and not given.interrupts:
            raise not_waiting(run)
        watch = Watch(client, run_id, as_json, asks, url)
        if given:
            answers = answers_of(given.read(sys.stdin), [one["id"] for one in run["interrupts"]])
            answered = client.resume(run_id, answers, watch.key)
            if not follow:
                if as_json:
                    click.echo(orjson.dumps(answered))
                return
        code = watch.follow(run["seq"], answered=bool(given), until_answered=not follow)
    raise SystemExit(code)


@hocket.command()
@click.option("--agent", help="Only runs of this agent.")
@click.option("--status", help="Only runs with this status: queued, running, waiting, completed, failed, cancelled.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, help="At most so many.", show_default=True)
@_url
@_as_json
def runs(agent: str | None, status: str | None, limit: int, url: str | None, as_json: bool) -> None:
    """Lists runs, newest first."""
    with _client(url) as client:
        found = client.runs(agent=agent, status=status, limit=limit)
    for one in found:
        columns = (one["id"], one["status"], one["agent"], one["created_at"], one["thread_id"])
        click.echo(orjson.dumps(one) if as_json else "  ".join(str(column) for column in columns))


hocket.add_command(keys)
hocket.add_command(triggers)
hocket.add_command(webhooks)


def main() -> None:
    """The command, with every refusal as one sentence."""
    try:
        hocket.main(standalone_mode=True)
    except HocketError as refusal:
        click.echo(f"hocket: {refusal.message}", err=True)
        raise SystemExit(2) from None


def load_agents(targets: Iterable[str]) -> dict[str, PythonAgent]:
    """The agents of NAME=TARGET each. Raises Invalid, or Refused with what is wrong with one of them."""
    loaded: dict[str, PythonAgent] = {}
    for name, target in map(_parted, targets):
        if name in loaded:
            raise Invalid(f"Agent {name} is given twice: give each --agent a name of its own.")
        loaded[name] = load_agent(name, target)
    if not loaded:
        raise Invalid("A worker needs an agent to run: give it --agent NAME=module:attribute.")
    return loaded


def page(url: str, agents: list[str], settings: Settings, keyed: bool) -> str:
    """What to try next. The run's id is new each time, or a second start would show the first one's run again."""
    agent, run_id = agents[0], f"first-{uuid4().hex[:6]}"
    sent = f'{{"threadId":"{run_id}","runId":"{run_id}","messages":[{{"id":"m1","role":"user","content":"Hello"}}]}}'
    command = "hocket" if shutil.which("hocket") else sys.argv[0]
    named = "" if url == settings.url else f" --url {url}"
    where = settings.data if settings.nats_url is None else "NATS at HOCKET_NATS_URL"
    with_key = ' -H "authorization: Bearer $HOCKET_KEY"' if keyed else ""
    return f"""
hocket {version("hocket")} on {url}
agents: {", ".join(agents)}    log: {where}
{who_may_ask(keyed)}

Stream a run as AG-UI:
  curl -sN {url}/agui/{quote(agent, safe="")}{with_key} -H 'content-type: application/json' -d '{sent}'

Poll the same run:
  curl -s '{url}/v1/runs/{run_id}?include=messages,state'{with_key}

Its URL:   {url}/v1/runs/{run_id}
Its page:  {url}/agents/status/{run_id}
API:       {url}/docs
Terminal:  {command} run {shlex.quote(agent)} "{_OPENING.get(agent, "Hello")}"{named}

Ctrl-C stops hocket; its runs go on at the next start.
"""


_OPENING = {"demo": "Hello, now ask me something"}
"""What makes an agent show what it can do."""


def _client(url: str | None) -> Client:
    settings = load(url=url)
    return Client(settings.url, settings.key)


def _run(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)


def _parted(given: str) -> tuple[str, str]:
    name, equals, target = given.partition("=")
    if not equals or not target:
        raise Invalid(f"--agent {given!r} must be NAME=module:attribute or NAME=path/file.py:attribute.")
    return check_id(name, "The agent's name"), target


def _log_to_stderr(settings: Settings) -> None:
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("nats").setLevel(logging.WARNING)


def _write_ready(path: Path | None, url: str) -> None:
    """Whole or not at all: whoever waits for the file may read it as soon as it is there."""
    if path is not None:
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(orjson.dumps({"url": url, "pid": os.getpid()}))
        new.replace(path)


def _tell(fd: int, text: str) -> None:
    with contextlib.suppress(OSError), os.fdopen(fd, "w") as pipe:
        pipe.write(text)
