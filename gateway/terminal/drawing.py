"""A run drawn on a terminal: the agent's words on stdout as they come, everything else about the run on stderr."""

from typing import Any

import click
import orjson

from protocol.entries import ASK_CANCEL, ASK_EXPIRE, ASK_RESUME, NOTE_ATTEMPT, NOTE_HANDED_BACK
from protocol.state import own_metadata

from .client import Told
from .reply import decided, who

_SHOWN_CHARACTERS_MAX = 400
_ASKED_CHARACTERS_MAX = 4000
_ON_EXPIRY = {"answer": "its default answer is taken", "cancel": "the run is cancelled", "fail": "the run fails"}
_UNSEEN = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def status_after(event: dict[str, Any]) -> str:
    """What became of the run with this event; empty if it goes on."""
    if event.get("type") == "RUN_ERROR":
        return "failed"
    if event.get("type") != "RUN_FINISHED":
        return ""
    outcome = str((event.get("outcome") or {}).get("type"))
    return {"cancelled": "cancelled", "interrupt": "waiting"}.get(outcome, "completed")


def unharmed(text: str) -> str:
    """A text of others on one line, without what would steer the terminal or look like a line of hocket's own."""
    return text.translate(_UNSEEN).replace("\n", "\n  ")


class Drawing:
    """Draws entry after entry."""

    def __init__(self) -> None:
        self._mid_line = False
        self._calls: dict[str, tuple[str, list[str]]] = {}

    def draw(self, told: Told) -> None:
        event, kind = told.event, str(told.event.get("type"))
        if kind in ("TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CHUNK"):
            self._say(event.get("delta") or "")
        elif kind == "TEXT_MESSAGE_END":
            self._end_line()
        elif kind == "REASONING_MESSAGE_CONTENT":
            self._note(event["delta"])
        elif kind.startswith("TOOL_CALL_"):
            self._tool(kind, event)
        elif kind == "STATE_SNAPSHOT":
            self._note(f"state {_json(event['snapshot'])}")
        elif kind == "STATE_DELTA":
            self._note(f"state change {_json(event['delta'])}")
        elif kind == "STEP_STARTED":
            self._note(f"step {event['stepName']}")
        elif kind == "CUSTOM":
            self._custom(event)
        elif kind == "RUN_ERROR":
            self._note(f"failed: {event['message']} ({event.get('code', 'AGENT_ERROR')})", "red")
        elif kind == "RUN_FINISHED" and status_after(event) == "waiting":
            for interrupt in event["outcome"]["interrupts"]:
                self.question(interrupt)
        elif kind == "RUN_FINISHED":
            self._note(status_after(event))
        elif kind in (ASK_RESUME, ASK_EXPIRE, ASK_CANCEL):
            self._decision(kind, event)

    def note(self, text: str) -> None:
        """A line about the run or about hocket itself."""
        self._note(text)

    def question(self, interrupt: dict[str, Any]) -> None:
        """What the run asks: in whose words, why, and until when."""
        about = [str(interrupt.get("reason") or "question")]
        if interrupt.get("expiresAt"):
            about.append(f"until {interrupt['expiresAt']}")
            if "on_expiry" in (noted := own_metadata(interrupt)):
                about.append(f"then {_ON_EXPIRY.get(noted['on_expiry'], noted['on_expiry'])}")
        asked = interrupt.get("message") or interrupt["id"]
        self._note(f"asks: {asked} ({', '.join(about)})", "yellow", _ASKED_CHARACTERS_MAX)

    def detail(self, text: str) -> None:
        """A line that belongs to the one before."""
        self._note(text, characters_max=_ASKED_CHARACTERS_MAX, mark=" ")

    def _decision(self, kind: str, event: dict[str, Any]) -> None:
        by = f"by {who(event['by'])} through {event['face']}"
        if kind == ASK_CANCEL:
            self._note(f"cancelled {by}")
        elif kind == ASK_EXPIRE:
            self._note(f"nobody answered in time: {_ON_EXPIRY.get(str(event.get('outcome')), 'the question is gone')}")
        else:
            answers = event["answers"]
            for one in answers:
                self._note(f"{one['interruptId']} {decided(one)} {by}" if len(answers) > 1 else f"{decided(one)} {by}")

    def _tool(self, kind: str, event: dict[str, Any]) -> None:
        call_id = event["toolCallId"]
        if kind == "TOOL_CALL_START":
            self._calls[call_id] = event["toolCallName"], []
        elif kind == "TOOL_CALL_ARGS" and call_id in self._calls:
            self._calls[call_id][1].append(event["delta"])
        elif kind == "TOOL_CALL_END":
            name, args = self._calls.pop(call_id, ("tool", []))
            self._note(f"{name}({''.join(args)})")
        elif kind == "TOOL_CALL_RESULT":
            content = event["content"]
            self._note(f"= {content if isinstance(content, str) else _json(content)}")

    def _custom(self, event: dict[str, Any]) -> None:
        if event["name"] == NOTE_ATTEMPT:
            self._note("the worker was lost: what it said is void, and another one begins again")
        elif event["name"] == NOTE_HANDED_BACK:
            self._note("the worker stops and hands the run back")
        else:
            self._note(f"{event['name']} {_json(event.get('value'))}")

    def _say(self, text: str) -> None:
        if text:
            click.echo(text.translate(_UNSEEN), nl=False)
            self._mid_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._mid_line:
            click.echo()
            self._mid_line = False

    def _note(
        self, text: str, color: str | None = None, characters_max: int = _SHOWN_CHARACTERS_MAX, mark: str = "·"
    ) -> None:
        if self._mid_line:
            click.echo(err=True)
            self._mid_line = False
        shown = unharmed(text)
        if len(shown) > characters_max:
            shown = shown[:characters_max] + " …"
        click.secho(f"{mark} {shown}", err=True, dim=color is None, fg=color)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
