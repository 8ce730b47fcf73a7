"""One frozen Settings: the only reader of the environment, validated once at the start.

Every field is a row of the README's table of settings; a test holds the two together.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from protocol.errors import Invalid

PREFIX = "HOCKET_"
ALIASES = {"agui_external_enabled": "CINATRA_AGUI_EXTERNAL_ENABLED"}
"""Names of other systems that stand in for ours where ours is not set."""

Switch = Annotated[bool, BeforeValidator(lambda given: given is True or given == "true")]
"""On for the exact text `true` alone: what is a matter of access must not be on by a slip."""


class Settings(BaseModel):
    """Each field comes from HOCKET_<NAME>; a flag of the command line goes before it. Units stand last in the name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address the gateway listens on. Any but loopback needs a key.")
    port: int = Field(8700, ge=0, le=65535, description="Port of the gateway; 0 picks a free one.")
    url: str = Field(
        "http://127.0.0.1:8700",
        description="The gateway that `run`, `tail`, `resume`, `runs`, `triggers`, `webhooks` speak to.",
    )
    key: str | None = Field(
        None, repr=False, description="The API key that `run`, `tail`, `resume`, `runs` and `triggers` send."
    )
    data: Path = Field(Path(".hocket"), description="Folder of the embedded log and of the list index.")
    nats_url: str | None = Field(None, description="NATS to use instead of the embedded server.")
    replicas: int = Field(1, ge=1, le=5, description="Copies of the log in a NATS cluster.")
    sync_interval_s: float = Field(1.0, ge=0, description="How often the embedded log is fsynced; 0 is on every write.")
    concurrency: int = Field(1000, ge=1, description="Legs that one worker runs at once.")
    ack_wait_s: float = Field(30.0, ge=0.2, description="Silence after which a worker's run goes to another one.")
    attempts_max: int = Field(
        3, ge=1, description="Workers that may have a go at one leg, unless the agent says otherwise."
    )
    run_seconds_max: float = Field(86_400.0, gt=0, description="Longest that one leg may take.")
    interrupt_seconds: float | None = Field(
        None, gt=0, le=10 * 366 * 86_400, description="How long a question stays open, unless it says itself."
    )
    body_bytes_max: int = Field(1 << 20, ge=1024, description="Largest request body.")
    event_bytes_max: int = Field(1_000_000, ge=1024, description="Largest event of an agent, 90 levels deep at most.")
    append_timeout_s: float = Field(60.0, gt=0, description="How long a write to the log is tried while it is away.")
    cors_origins: str | None = Field(None, description="Web origins, by comma, whose pages may speak to the gateway.")
    page_renderers: Path | None = Field(None, description="JavaScript module with renderers for the run page.")
    agui_external_enabled: Switch = Field(
        False,
        description="`true`, and nothing else, switches `POST /api/a2a/resume` on. Where it is not set, "
        "`CINATRA_AGUI_EXTERNAL_ENABLED` counts.",
    )
    dialects: str = Field(
        "cinatra,operativus,veryfront,middesk,arkloop",
        description="Run APIs of other systems that are served, by comma, each under its name or as `name=/path`; or "
        "`none`.",
    )
    sync_wait_seconds: int = Field(
        300, ge=1, le=86_400, description="Longest that a call of Operativus' API waits for its run, in seconds."
    )
    mcp_agent_tools: bool = Field(True, description="Whether each agent is an MCP tool of its own, `run_<agent>`.")
    push_timeout_s: float = Field(10.0, gt=0, le=60, description="How long a webhook may take to answer.")
    push_retry_s: float = Field(
        1.0,
        gt=0,
        le=300,
        description="Longest pause before a webhook is tried again; doubles up to 300 s.",
    )
    push_attempts_max: int = Field(
        12, ge=1, le=100, description="Tries of one update before it goes to the dead letters."
    )
    push_loopback_enabled: Switch = Field(
        False, description="`true`, and nothing else, lets webhooks lead to this machine's loopback addresses."
    )
    public_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Address under which clients reach the gateway, for agent cards and MCP's `statusUrl`.",
    )
    a2a_agent: str | None = Field(None, description="The agent at `/a2a`; where it is not set, the first by name.")
    arkloop_agent: str | None = Field(
        None, description="The agent of Arkloop's runs without a persona; where it is not set, the only one there is."
    )
    a2a_capabilities: str = Field(
        "streaming,push,extended_card,0.3",
        pattern=r"^(none|(streaming|push|extended_card|0\.3)(,(streaming|push|extended_card|0\.3))*)$",
        description="What A2A peers are offered, by comma, or `none`. `0.3` puts on the cards what clients of A2A 0.3 "
        "read there; calls of 0.3 are served anyway.",
    )
    a2a_signing_key: Path | None = Field(None, description="Private key in PEM that signs agent cards.")
    keep_alive_s: float = Field(15.0, gt=0, description="Silence after which an SSE client is sent a comment.")
    stall_s: float = Field(30.0, gt=0, description="How long an SSE client may take nothing before it is let go.")
    cache_bytes_max: int = Field(64 << 20, ge=1 << 20, description="Memory for recently streamed parts of the log.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")


def load(environ: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """Settings from the environment, overruled by the flags that are not None.

    Raises Invalid with one sentence a bad value: what, what was expected, what was given.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = environ.get(PREFIX + name.upper()) or environ.get(ALIASES.get(name, ""))
        if value:
            given[name] = value
    given |= {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as bad:
        raise Invalid(" ".join(_told(fault) for fault in bad.errors())) from None


def _told(fault: Any) -> str:
    name = PREFIX + str(fault["loc"][0]).upper()
    return f"{name} is {fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}."


def inherited(**settings: str) -> dict[str, str]:
    """The environment of a child process: this one's own, with these settings written over it."""
    return {**os.environ, **{PREFIX + name.upper(): value for name, value in settings.items()}}
