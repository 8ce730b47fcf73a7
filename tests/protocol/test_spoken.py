"""What a run has said and come to."""

from protocol.entries import Entry, Principal, ask
from protocol.run import fold_all
from protocol.spoken import last_words, output
from protocol.state import RunState

STARTED = {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}


def run_of(*events: dict[str, object]) -> RunState:
    begun = ask("ask.start", Principal("acme", "a", "user"), "rest", 1, agent="a", runId="r", threadId="t", input={})
    told = [begun, STARTED, *events, {**STARTED, "type": "RUN_FINISHED"}]
    return fold_all(RunState(), (Entry(seq, {"timestamp": seq, **event}) for seq, event in enumerate(told, 1)))


def said(message_id: str, text: str) -> list[dict[str, object]]:
    name = {"messageId": message_id}
    content = [{"type": "TEXT_MESSAGE_CONTENT", "delta": text, **name}] if text else []
    return [{"type": "TEXT_MESSAGE_START", "role": "assistant", **name}, *content, {"type": "TEXT_MESSAGE_END", **name}]


def test_the_last_words_are_those_of_the_last_message_that_has_any() -> None:
    state = run_of(*said("m1", "First."), *said("m2", "Second."), *said("m3", ""))
    assert last_words(state) == output(state) == "Second."
    assert last_words(run_of()) == ""
