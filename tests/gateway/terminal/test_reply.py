"""What `hocket resume` is given, as the answers that are sent, and the command that would answer."""

from typing import Any

import pytest

from gateway.terminal.reply import Given, answers_of, check, commands_for
from protocol.errors import Invalid


def resolved(name: str, payload: Any) -> dict[str, Any]:
    return {"interrupt_id": name, "status": "resolved", "payload": payload}


@pytest.mark.parametrize(
    ("given", "open_ids", "sent"),
    [
        (Given(approve=True), ["a"], [resolved("a", {"approved": True})]),
        (Given(reject=True, note="no"), ["a"], [resolved("a", {"approved": False, "note": "no"})]),
        (Given(cancel=True), ["a"], [{"interrupt_id": "a", "status": "cancelled"}]),
        (Given(answers=['{"x": "y=z"}']), ["a"], [resolved("a", {"x": "y=z"})]),
        (Given(answers=["a=1"]), ["a"], [resolved("a", 1)]),
        (Given(answers=["a=1", "a=b=2"]), ["a", "a=b"], [resolved("a", 1), resolved("a=b", 2)]),
        (
            Given(approve=True, interrupts=["a", "b"], answers=["c=1"]),
            ["a", "b", "c"],
            [resolved("c", 1), resolved("a", {"approved": True}), resolved("b", {"approved": True})],
        ),
        (Given(approve=True, interrupts=["gone"]), [], [resolved("gone", {"approved": True})]),
    ],
)
def test_options_become_answers(given: Given, open_ids: list[str], sent: list[dict[str, Any]]) -> None:
    check(given)
    assert answers_of(given, open_ids) == sent


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Given(approve=True, reject=True), "--approve, --reject and --cancel exclude each other: give one of them."),
        (Given(cancel=True, note="x"), "--note goes with --approve or --reject; write any other answer's note into"),
        (Given(interrupts=["a"]), "--interrupt needs what to answer: --approve, --reject, --cancel or --answer JSON."),
        (Given(approve=True, answers=["1"]), "One question takes one answer: give one, or --answer ID=JSON for each"),
        (Given(answers=["1", "2"]), "One question takes one answer: give one, or --answer ID=JSON for each question."),
        (Given(answers=["a=1", "a=2"]), "Question a is answered twice: give it one answer."),
        (Given(answers=["a=1"], approve=True, interrupts=["a"]), "Question a is answered twice: give it one answer."),
        (Given(approve=True), "Several questions are open, a, b: name each with --interrupt ID or --answer ID=JSON."),
        (Given(answers=["a=no"]), "The answer 'no' is no JSON ("),
    ],
)
def test_what_does_not_go_together_is_one_sentence(given: Given, told: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(given)
        answers_of(given, ["a", "b"])
    assert refused.value.message.startswith(told) and refused.value.message.endswith(".")


def test_the_command_that_answers_can_be_pasted_into_a_shell() -> None:
    text = {"responseSchema": {"type": "string"}}
    assert commands_for("r1", [{"id": "a"}], None) == ["hocket resume r1 --approve", "hocket resume r1 --reject"]
    assert commands_for("it's", [{"id": "a", **text}], "http://h") == [
        """hocket resume 'it'"'"'s' --url http://h --answer '"…"'"""
    ]
    assert commands_for("r1", [{"id": "a", **text}, {"id": "b"}], None) == [
        """hocket resume r1 --answer 'a="…"' --answer 'b={"approved":true}'"""
    ]
