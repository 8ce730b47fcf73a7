"""`hocket triggers`: runs that start by themselves, made, listed, fired and deleted through a gateway."""

from datetime import datetime
from typing import Any

import click
import orjson

from protocol.errors import Invalid
from runtime.settings import load
from runtime.trigger import STATUSES

from .terminal.client import Client

_url = click.option("--url", help="The gateway to speak to.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def triggers() -> None:
    """Triggers: runs that start by the clock, or when something happens."""


@triggers.command("create")
@click.argument("agent")
@click.argument("text")
@click.option("--cron", help='When: "minute hour day-of-month month day-of-week".')
@click.option("--timezone", help="The IANA time zone of --cron; UTC without it.")
@click.option("--at", help="When, once: an RFC 3339 instant; one without an offset is of this machine's zone.")
@click.option("--on-agent", metavar="NAME", help="When a run of that agent comes to a status.")
@click.option(
    "--on-status", "statuses", multiple=True, type=click.Choice(STATUSES),
    help="With --on-agent; may be given more than once. completed without it.",
)  # fmt: skip
@click.option("--on-subject", metavar="PATTERN", help="When something is told under that subject.")
@click.option("--catch-up", type=click.Choice(["none", "last", "all"]), help="What becomes of missed ticks.")
@click.option("--thread", help="One thread for all its runs; a new one for each without it.")
@click.option("--id", "trigger_id", help="The trigger's id; a fresh one without it.")
@click.option("--disabled", is_flag=True, help="It fires by hand alone.")
@_url
@_as_json
def create_trigger(agent: str, text: str, url: str | None, as_json: bool, **options: Any) -> None:
    """Makes a trigger that runs AGENT on TEXT: now, or when an option says."""
    want = {"agent": agent, "input": text, **_when(options), "enabled": not options["disabled"]}
    want |= {"catch_up": options["catch_up"], "thread_id": options["thread"], "id": options["trigger_id"]}
    with _client(url) as client:
        _show(client.create_trigger({name: value for name, value in want.items() if value is not None}), as_json)


@triggers.command("list")
@click.option("--agent", help="Only triggers of this agent.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="At most so many.", show_default=True)
@_url
@_as_json
def list_triggers(agent: str | None, limit: int, url: str | None, as_json: bool) -> None:
    """Lists triggers, newest first: when each is due next and how it fired last."""
    with _client(url) as client:
        for one in client.triggers(agent, limit):
            _show(one, as_json)


@triggers.command("fire")
@click.argument("trigger_id", metavar="ID")
@_url
@_as_json
def fire_trigger(trigger_id: str, url: str | None, as_json: bool) -> None:
    """Starts a run of a trigger now, and prints the run's id."""
    with _client(url) as client:
        run = client.fire_trigger(trigger_id)
    click.echo(orjson.dumps(run) if as_json else run["id"])


@triggers.command("delete")
@click.argument("trigger_id", metavar="ID")
@_url
def delete_trigger(trigger_id: str, url: str | None) -> None:
    """Deletes a trigger; runs that it has started go on."""
    with _client(url) as client:
        client.delete_trigger(trigger_id)


def _when(options: dict[str, Any]) -> dict[str, Any]:
    """The kind and what goes with it. Raises Invalid where several are named."""
    given = [name for name in ("cron", "at", "on_agent", "on_subject") if options[name] is not None]
    if len(given) > 1:
        raise Invalid("Say one of --cron, --at, --on-agent and --on-subject.")
    if options["timezone"] is not None and options["cron"] is None:
        raise Invalid("--timezone goes with --cron.")
    if options["statuses"] and options["on_agent"] is None:
        raise Invalid("--on-status goes with --on-agent.")
    if options["cron"] is not None:
        return {"kind": "cron", "cron": options["cron"], "timezone": options["timezone"]}
    if options["at"] is not None:
        return {"kind": "at", "at": _instant(options["at"])}
    if options["on_agent"] is not None:
        return {
            "kind": "event",
            "event": {"agent": options["on_agent"], "statuses": options["statuses"] or ["completed"]},
        }
    if options["on_subject"] is not None:
        return {"kind": "event", "event": {"subject": options["on_subject"]}}
    return {"kind": "now"}


def _instant(given: str) -> str:
    try:
        return datetime.fromisoformat(given).astimezone().isoformat()
    except (ValueError, OverflowError):
        raise Invalid(f"--at {given!r} is no instant; expected one such as 2026-01-31T12:00:00+01:00.") from None


def _show(trigger: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(trigger))
        return
    event = trigger["event"] or {}
    when = {
        "now": "now",
        "at": f"at {trigger['at']}",
        "cron": f"cron {trigger['cron']} {trigger['timezone']}",
        "event": f"on {event.get('subject') or ' '.join([str(event.get('agent')), *event.get('statuses', ())])}",
    }[trigger["kind"]]
    last = trigger["last"]
    how = "has not fired" if last is None else f"last {last['run_id'] or last['error']['code']} at {last['at']}"
    state = f"next {trigger['next_at']}" if trigger["next_at"] else "" if trigger["enabled"] else "disabled"
    click.echo("  ".join(column for column in (trigger["id"], trigger["agent"], when, state, how) if column))


def _client(url: str | None) -> Client:
    settings = load(url=url)
    return Client(settings.url, settings.key)
