"""Errors: each with a stable code, and a text that stays short whatever a client sends."""

import pytest

from protocol import errors

NONE_YET = "No worker has announced an agent yet."


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (errors.RunNotFound("r"), "run_not_found", "There is no run 'r'."),
        (errors.AgentNotFound("a", ["b", "c"]), "agent_not_found", "There is no agent 'a'. Known agents: b, c."),
        (errors.AgentNotFound("a", []), "agent_not_found", f"There is no agent 'a'. {NONE_YET}"),
        (errors.ThreadBusy("t", "r"), "thread_busy", "Thread 't' has a run in progress: 'r'."),
        (errors.IllegalEvent("owner", "No"), "ILLEGAL_EVENT", "No (rule: owner)"),
    ],
)  # fmt: skip
def test_an_error_has_its_code_and_says_what_it_is_about(fault: errors.HocketError, code: str, text: str) -> None:
    assert (fault.code, fault.message) == (code, text)


def test_an_id_of_any_length_is_shown_short() -> None:
    assert len(errors.RunNotFound("x" * 10_000).message) < 120


def test_every_error_has_a_code_of_its_own() -> None:
    kinds = [errors.HocketError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    ours = [kind for kind in kinds if kind.__module__ == "protocol.errors"]
    assert len({kind.code for kind in ours}) == len(ours)
