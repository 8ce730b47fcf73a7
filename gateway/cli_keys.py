"""`hocket keys`: API keys are made, listed and revoked in the log itself, with or without a gateway that runs."""

import time
from pathlib import Path
from typing import Any

import click
import orjson
import uvloop

from protocol.entries import SCOPES
from runtime.keys import KINDS, SCOPES_USUAL, Key, Wanted, all_keys, create, fresh_token, revoke
from runtime.reach import with_log
from runtime.settings import load

from .run_object import rfc3339

_DAY_MS = 86_400_000
_DAYS_MAX = 36_500

_data = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of the embedded log, where HOCKET_NATS_URL is not set."
)


@click.group()
def keys() -> None:
    """API keys: who may ask, and what."""


@keys.command("create")
@click.option("--tenant", default="default", show_default=True, help="The tenant whose runs it is for.")
@click.option("--principal", metavar="ID", help="Who is recorded as asking; the key's own id without it.")
@click.option("--name", help="How that one is called; the principal without it.")
@click.option("--kind", type=click.Choice(KINDS), default="api_key", show_default=True, help="What that one is.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES),
    help="What it allows; may be given more than once. All but admin without it.",
)  # fmt: skip
@click.option("--expires-in", type=click.IntRange(1, _DAYS_MAX), metavar="DAYS", help="Days; for ever without it.")
@_data
def create_key(
    tenant: str, principal: str | None, name: str | None, kind: str, scopes: tuple[str, ...], expires_in: int | None,
    data: Path | None,
) -> None:  # fmt: skip
    """Makes a key and prints it, this once: only its hash is kept."""
    token, now_ms = fresh_token(), _now_ms()
    expires_at_ms = now_ms + expires_in * _DAY_MS if expires_in is not None else None
    want = Wanted(tenant, principal, kind, name, scopes or SCOPES_USUAL, expires_at_ms)
    key = uvloop.run(with_log(load(data=data), lambda log: create(log, token, want, now_ms)))
    click.echo(f"hocket: {_line(key, now_ms)}", err=True)
    click.echo("hocket: this is the only time that the key is shown", err=True)
    click.echo(token)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_data
def list_keys(as_json: bool, data: Path | None) -> None:
    """Lists every key that was made, the revoked ones too."""
    now_ms = _now_ms()
    for key in uvloop.run(with_log(load(data=data), all_keys)):
        click.echo(orjson.dumps(_told(key, now_ms)) if as_json else _line(key, now_ms))


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@_data
def revoke_key(key_id: str, data: Path | None) -> None:
    """Ends a key, and the page tokens made with it, on every gateway and for ever."""
    key = uvloop.run(with_log(load(data=data), lambda log: revoke(log, key_id, _now_ms())))
    click.echo(f"hocket: {_line(key, _now_ms())}", err=True)


def who_may_ask(keyed: bool) -> str:
    """The line of a start that says so."""
    if keyed:
        return "keys: required; clients send `Authorization: Bearer <key>`"
    return "keys: no API key yet: loopback only, for development; create one with `hocket keys create`"


def _told(key: Key, now_ms: int) -> dict[str, Any]:
    times = {
        "created_at": key.created_at_ms,
        "expires_at": key.expires_at_ms,
        "revoked_at": key.revoked_at_ms,
    }
    return {
        "id": key.id,
        "state": key.state(now_ms),
        "tenant": key.tenant,
        "principal": key.principal,
        "kind": key.kind,
        "name": key.name,
        "scopes": key.scopes,
        **{name: rfc3339(at_ms) for name, at_ms in times.items()},
    }


def _line(key: Key, now_ms: int) -> str:
    told = _told(key, now_ms)
    until = f"until {told['expires_at']}" if key.expires_at_ms is not None else "without expiry"
    columns = (key.id, told["state"], key.tenant, key.principal, key.kind, key.name, ",".join(key.scopes), until)
    return "  ".join(columns)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
