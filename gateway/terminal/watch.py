"""A run shown to its end, or to a question that nobody answers here: what `run`, `tail` and `resume` have in common."""

import sys
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import click
import orjson

from protocol.entries import ASK_RESUME

from .client import Client, Refusal, Told
from .dialogue import Abandoned, Dialogue, Feed, Overtaken
from .drawing import Drawing, status_after
from .prompt import CANCEL, form_of
from .reply import Answer, Interrupt, answer, commands_for

EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 1, "waiting": 3}
_INTERRUPTED = 130
_REFUSED = 2
_NEWS_SECONDS = 5
_TOO_LATE = ("already_resolved", "interrupt_expired", "not_waiting")


def at_a_terminal() -> bool:
    """Whether somebody can be asked: the questions stand on stderr, and the answers are typed."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Watch:
    """Shows one run. `asks` is whether its questions are put to the terminal, `url` what --url was given, `key` the
    Idempotency-Key of every answer of this command."""

    def __init__(self, client: Client, run_id: str, as_json: bool, asks: bool, url: str | None) -> None:
        self._client = client
        self._run_id = run_id
        self._as_json = as_json
        self._asks = asks and not as_json
        self._url = url
        self._drawing = Drawing()
        self._seq = 0
        self.key = str(uuid.uuid4())

    def follow(self, after_seq: int, answered: bool = False, until_answered: bool = False) -> int:
        """Shows every entry after `after_seq` and gives the exit code: what became of the run. `answered` is that
        what was open there no longer is. With `until_answered` the code is 0 once its question is answered here, and
        2 where something else came first."""
        self._seq = after_seq
        entries: Iterable[Told] = self._client.events(self._run_id, after_seq)
        with ExitStack() as stack:
            dialogue = None
            if self._asks:
                entries = feed = stack.enter_context(Feed(iter(entries)))
                dialogue = Dialogue(feed)
            try:
                code = self._at_gate(dialogue, until_answered, drawn=False) if after_seq and not answered else None
                return self._shown(entries, dialogue, until_answered) if code is None else code
            except KeyboardInterrupt:
                rest = f"hocket tail {self._run_id} --from {self._seq + 1}"
                self._drawing.note(f"the run goes on; to see the rest: {rest}")
                return _INTERRUPTED

    def _shown(self, entries: Iterable[Told], dialogue: Dialogue | None, until_answered: bool) -> int:
        for told in entries:
            self._seq = told.seq
            if self._as_json:
                click.echo(orjson.dumps({"seq": told.seq, **told.event}))
            else:
                self._drawing.draw(told)
            if until_answered and told.name == "ask":
                return _REFUSED
            status, code = status_after(told.event), None
            if status == "waiting" or told.event.get("type") == ASK_RESUME:
                code = self._at_gate(dialogue, until_answered, drawn=status == "waiting")
            elif status:
                code = EXIT_CODES[status]
            if code is not None:
                return code
        return EXIT_CODES[self._client.run(self._run_id)["status"]]

    def _at_gate(self, dialogue: Dialogue | None, until_answered: bool, drawn: bool) -> int | None:
        """Puts what is open to the terminal, or says how to answer it. None where the run goes on: nothing is open,
        it was answered, here or by somebody else, or more of it is to be shown first."""
        run = self._client.run(self._run_id, after_seq=self._seq - 1, wait=_NEWS_SECONDS)
        interrupts: list[Interrupt] = run["interrupts"]
        if run["status"] != "waiting" or run["seq"] > self._seq or not interrupts:
            return None
        if self._as_json:
            return EXIT_CODES["waiting"]
        calls = self._calls() if any("toolCallId" in one for one in interrupts) else {}
        for interrupt in interrupts:
            if not drawn:
                self._drawing.question(interrupt)
            if interrupt.get("toolCallId") in calls:
                call = calls[interrupt["toolCallId"]]
                self._drawing.detail(f"about {call['name']}({call['arguments']})")
        if dialogue is None:
            for field in (field for one in interrupts for field in form_of(one).fields):
                self._drawing.detail(field.described)
            self._tell_how(interrupts)
            return EXIT_CODES["waiting"]
        return self._asked(dialogue, interrupts, until_answered)

    def _calls(self) -> dict[str, dict[str, Any]]:
        """What has been called so far, by the call's id."""
        messages = self._client.run(self._run_id, include="messages")["messages"]
        return {call["id"]: call["function"] for one in messages for call in one.get("toolCalls") or ()}

    def _asked(self, dialogue: Dialogue, interrupts: list[Interrupt], until_answered: bool) -> int | None:
        self._drawing.detail(f"{CANCEL} abandons the question, Ctrl-D leaves it open")
        dialogue.forget()
        answers: dict[str, Answer] = {}
        while True:
            try:
                for interrupt in interrupts:
                    if interrupt["id"] not in answers:
                        answers[interrupt["id"]] = self._answer(dialogue, interrupt, len(interrupts) > 1)
            except Overtaken:
                return None
            except (EOFError, KeyboardInterrupt) as left:
                self._tell_how(interrupts)
                return EXIT_CODES["waiting"] if isinstance(left, EOFError) else _INTERRUPTED
            try:
                self._client.resume(self._run_id, list(answers.values()), self.key)
                return 0 if until_answered else None
            except Refusal as refusal:
                faults = [one for one in refusal.problem.get("faults") or () if one["interrupt_id"] in answers]
                if refusal.kind == "invalid_answer" and faults:
                    for fault in faults:
                        self._drawing.detail(f"{fault['path'].removeprefix('/')} {fault['message']}".strip())
                    for name in {fault["interrupt_id"] for fault in faults}:
                        del answers[name]
                elif refusal.kind in _TOO_LATE:
                    self._drawing.note(refusal.message)
                    return _REFUSED if until_answered else None
                else:
                    raise

    def _answer(self, dialogue: Dialogue, interrupt: Interrupt, one_of_several: bool) -> Answer:
        if one_of_several:
            self._drawing.question(interrupt)
        try:
            return answer(interrupt["id"], dialogue.ask(form_of(interrupt)))
        except Abandoned:
            return answer(interrupt["id"], status="cancelled")

    def _tell_how(self, interrupts: list[Interrupt]) -> None:
        for number, command in enumerate(commands_for(self._run_id, interrupts, self._url)):
            self._drawing.note(f"{'or' if number else 'the run waits; to answer'}: {command}")
