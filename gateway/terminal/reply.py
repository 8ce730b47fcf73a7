"""Answers of the command line: what `hocket resume` is given as the request's own, and the command that would answer
a question."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

import orjson

from protocol.errors import HocketError, Invalid

from .prompt import form_of

Interrupt = dict[str, Any]
Answer = dict[str, Any]

WAYS = "--approve, --reject, --cancel or --answer JSON"


@dataclass(frozen=True, slots=True)
class Given:
    """The options of `hocket resume`; `answers` are JSON, or ID=JSON where several questions are open."""

    approve: bool = False
    reject: bool = False
    cancel: bool = False
    answers: Sequence[str] = ()
    interrupts: Sequence[str] = ()
    note: str | None = None

    def __bool__(self) -> bool:
        return self.bare > 0 or bool(self.answers)

    def read(self, stdin: TextIO) -> "Given":
        """The same with what stands in stdin for the answer that is -."""
        if not any(_from_stdin(text) for text in self.answers):
            return self
        told = stdin.read()
        return replace(self, answers=[f"{text[:-1]}{told}" if _from_stdin(text) else text for text in self.answers])

    @property
    def bare(self) -> int:
        """How many of the answers that need no words are given."""
        return self.approve + self.reject + self.cancel


def _from_stdin(text: str) -> bool:
    return text == "-" or text.endswith("=-")


def check(given: Given) -> None:
    """Raises Invalid with what does not go together."""
    if given.bare > 1:
        raise Invalid("--approve, --reject and --cancel exclude each other: give one of them.")
    if given.note is not None and not (given.approve or given.reject):
        raise Invalid("--note goes with --approve or --reject; write any other answer's note into --answer.")
    if given.interrupts and not given:
        raise Invalid(f"--interrupt needs what to answer: {WAYS}.")


def answers_of(given: Given, open_ids: Sequence[str]) -> list[Answer]:
    """What is sent for the questions that are open, or for those that --interrupt names. Raises Invalid."""
    told: dict[str, Answer] = {}
    rest: list[str] = []
    known = sorted({*open_ids, *given.interrupts}, key=len, reverse=True)
    for text in given.answers:
        name = next((one for one in known if text.startswith(f"{one}=")), None)
        if name is None:
            rest.append(text)
        else:
            _add(told, name, "resolved", _json(text[len(name) + 1 :]))
    named = list(given.interrupts) or [one for one in open_ids if one not in told]
    if rest or given.bare:
        if len(rest) + given.bare > 1:
            raise Invalid("One question takes one answer: give one, or --answer ID=JSON for each question.")
        if not given.interrupts and len(open_ids) > 1:
            ids = ", ".join(open_ids)
            raise Invalid(f"Several questions are open, {ids}: name each with --interrupt ID or --answer ID=JSON.")
        for name in named:
            if rest:
                _add(told, name, "resolved", _json(rest[0]))
            elif given.cancel:
                _add(told, name, "cancelled")
            else:
                noted = {} if given.note is None else {"note": given.note}
                _add(told, name, "resolved", {"approved": given.approve} | noted)
    return list(told.values())


def _add(told: dict[str, Answer], name: str, status: str, payload: Any = None) -> None:
    if name in told:
        raise Invalid(f"Question {name} is answered twice: give it one answer.")
    told[name] = answer(name, payload, status)


def answer(interrupt_id: str, payload: Any = None, status: str = "resolved") -> Answer:
    """One answer as `/v1` takes it."""
    return {"interrupt_id": interrupt_id, "status": status} | ({"payload": payload} if status == "resolved" else {})


def commands_for(run_id: str, interrupts: Sequence[Interrupt], url: str | None) -> list[str]:
    """The commands that answer what is open, with an example where an answer has to be written."""
    command = f"hocket resume {shlex.quote(run_id)}" + (f" --url {shlex.quote(url)}" if url else "")
    forms = [(str(one["id"]), form_of(one)) for one in interrupts]
    if len(forms) == 1 and forms[0][1].approval:
        return [f"{command} --approve", f"{command} --reject"]
    for name, form in forms:
        shown = orjson.dumps(form.example()).decode()
        command += f" --answer {shlex.quote(shown if len(forms) == 1 else f'{name}={shown}')}"
    return [command]


def decided(answered: dict[str, Any]) -> str:
    """A recorded answer in a word."""
    words = {"approve": "approved", "reject": "rejected", "answer": "answered"}
    return words.get(str(answered.get("decision")), str(answered.get("status")))


def who(by: dict[str, Any] | None) -> str:
    return str((by or {}).get("name") or (by or {}).get("id") or "hocket")


def not_waiting(run: dict[str, Any]) -> HocketError:
    """Why a run cannot be answered, with who answered it last."""
    told = f"Run {run['id']!r} waits for no answer: it is {run['status']}"
    if run.get("decisions"):
        last = run["decisions"][-1]
        told += f"; {last['interrupt_id']} was {decided(last)} by {who(last['by'])}"
        told += f" through {last['face']} at {last['at']}" if last.get("face") else ""
    return HocketError(f"{told}.")


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as bad:
        raise Invalid(f"The answer {text[:80]!r} is no JSON ({bad}); text is written as '\"text\"'.") from None
