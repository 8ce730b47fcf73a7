"""`hocket webhooks`: where what becomes of a tenant's runs is sent, made, listed, deleted and tried out through a
gateway."""

from typing import Any

import click
import orjson

from protocol.webhooks import EVENTS, FORMATS
from runtime.settings import load

from .terminal.client import Client
from .terminal.listen import Forward, listen

_url = click.option("--url", help="The gateway to speak to.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")

_events = click.option(
    "--event", "events", multiple=True, type=click.Choice(EVENTS),
    help="What to tell; may be given more than once. All without it.",
)  # fmt: skip
_of_agent = click.option("--agent", help="Only runs of this agent.")


@click.group()
def webhooks() -> None:
    """Webhooks: every run of the tenant told to a URL, signed as in Standard Webhooks."""


@webhooks.command("create")
@click.argument("to", metavar="TARGET")
@_events
@_of_agent
@click.option("--format", type=click.Choice(FORMATS), help="In whose words to tell it; hocket's without it.")
@click.option("--description", help="For whoever reads the list.")
@_url
@_as_json
def create_webhook(to: str, url: str | None, as_json: bool, **options: Any) -> None:
    """Makes a webhook that leads to TARGET, a URL, and prints its secret, once."""
    want = {"url": to, **{name: value for name, value in options.items() if value}}
    with _client(url) as client:
        made = client.create_webhook(want)
    _show(made, as_json)
    if not as_json:
        click.echo(made["secret"])


@webhooks.command("list")
@_url
@_as_json
def list_webhooks(url: str | None, as_json: bool) -> None:
    """Lists the webhooks in the order of their making."""
    with _client(url) as client:
        for one in client.webhooks():
            _show(one, as_json)


@webhooks.command("delete")
@click.argument("webhook_id", metavar="ID")
@_url
def delete_webhook(webhook_id: str, url: str | None) -> None:
    """Deletes a webhook; nothing more is sent to it."""
    with _client(url) as client:
        client.delete_webhook(webhook_id)


@webhooks.command("listen")
@_events
@_of_agent
@click.option("--forward-to", metavar="TARGET", help="A URL, of this machine or any other, to send each one to.")
@_url
@_as_json
def listen_webhooks(
    events: tuple[str, ...], agent: str | None, forward_to: str | None, url: str | None, as_json: bool
) -> None:
    """Shows what webhooks would be told from now on, until Ctrl-C; makes none. What is sent on with --forward-to is
    sent once and never again, whatever the receiver says."""
    forward = Forward(forward_to, load().push_timeout_s) if forward_to is not None else None
    if forward is not None:
        click.echo(f"hocket: each is sent to {forward_to} once, never again, signed with {forward.secret}", err=True)
    query = {name: value for name, value in {"events": list(events), "agent": agent}.items() if value}
    with _client(url) as client:
        listen(client, query, forward, as_json)


def _show(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(one))
        return
    events = "all events" if len(one["events"]) == len(EVENTS) else " ".join(one["events"])
    format_ = one["format"] if one["format"] != "hocket" else ""
    off = "" if one["enabled"] else "disabled"
    columns = (one["id"], one["url"], events, one["agent"], format_, one["description"], off)
    click.echo("  ".join(column for column in columns if column))


def _client(url: str | None) -> Client:
    settings = load(url=url)
    return Client(settings.url, settings.key)
