"""One translation of a run for all who listen: the same frames wherever they come in, and a bound on what is kept."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.translation import Translation, Translations
from protocol import sse
from protocol.entries import Caller, Entry, ask, encode, lane_of
from protocol.entries import Principal as Who
from protocol.errors import RunNotFound, Unavailable
from protocol.state import RunState
from runtime.asks import Start
from runtime.chunks import Chunk
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import WAIT_SECONDS, open_house

ME = Caller("default", "me", "user", scopes=frozenset({"admin"}))
OTHER = Caller("elsewhere", "me", "user", scopes=frozenset({"admin"}))


def word(state: RunState, entry: Entry) -> bytes:
    """Tells what is said of a message at its end: whoever comes in before that must be told all of it."""
    if entry.event["type"] != "TEXT_MESSAGE_END":
        return b""
    said = state.messages.get(entry.event["messageId"])
    assert said is not None
    return sse.frame(entry.seq, f"{state.id} {''.join(said.text or ())}".encode())


def run_of(messages: int) -> list[dict[str, Any]]:
    """A run with this many messages."""
    by = Who("default", "me", "user")
    start = ask("ask.start", by, "rest", 1, agent="a", runId="r", threadId="t", input={"messages": []}, metadata={})
    events: list[dict[str, Any]] = [start, {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}]
    for number in range(messages):
        name = {"messageId": f"m{number}"}
        events += [{"type": "TEXT_MESSAGE_START", "role": "assistant", **name}]
        events += [{"type": "TEXT_MESSAGE_CONTENT", "delta": f"{number}", **name}] * 2
        events += [{"type": "TEXT_MESSAGE_END", **name}]
    return [event | {"timestamp": number} for number, event in enumerate(events, 1)]


def chunks(events: list[dict[str, Any]], size: int) -> list[Chunk]:
    """The run's messages, with at most so many entries each."""
    found: list[Chunk] = []
    for at in range(0, len(events), size):
        pack = list(enumerate(events, 1))[at : at + size]
        body = b"".join(encode(seq, event) for seq, event in pack)
        found.append(Chunk(pack[0][0], pack[-1][0], lane_of(pack[0][1]), body, at + 1, ""))
    return found


@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 60), st.integers(0, 400))
def test_whoever_comes_in_anywhere_is_told_what_all_others_are(messages: int, size: int, after: int, kept: int) -> None:
    pieces = chunks(run_of(messages), size)
    whole = Translation(word).render
    uncut = [frame for piece in pieces for frame in sse.split(whole(piece))]
    late = Translation(word, after, kept)
    told = [frame for piece in pieces for frame in sse.split(late.render(piece))]
    assert told == [frame for frame in uncut if (frame.seq or 0) > after]


def test_what_one_client_was_told_the_next_one_is_told_without_a_second_fold() -> None:
    worded: list[int] = []

    def counted(state: RunState, entry: Entry) -> bytes:
        worded.append(entry.seq)
        return word(state, entry)

    shared, pieces = Translation(counted), chunks(run_of(5), 3)
    first, second = ([shared.render(piece) for piece in pieces] for _ in range(2))
    assert first == second and any(first)
    assert worded == list(range(1, len(run_of(5)) + 1))


def test_what_is_kept_is_bounded_and_who_is_too_late_for_it_is_told_so() -> None:
    shared, pieces = Translation(word, kept_bytes_max=100), chunks(run_of(50), 4)
    most = max(len(b"".join(frame for _, frame in shared.told(0, 1000))) for piece in pieces if shared.render(piece))
    assert most <= 100 + max(len(word) for _, word in shared.told(0, 1000))
    with pytest.raises(Unavailable):
        shared.render(pieces[0])
    assert shared.render(pieces[-1])


async def chatty(run: Any) -> AsyncIterator[Any]:
    for number in range(3):
        yield {"type": "TEXT_MESSAGE_START", "messageId": f"m{number}", "role": "assistant"}
        yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": f"m{number}", "delta": f"{number}"}
        yield {"type": "TEXT_MESSAGE_END", "messageId": f"m{number}"}


@pytest.mark.anyio
async def test_a_page_of_frames_goes_on_where_the_last_one_ended(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, chatty=chatty) as house:
        engine = house.engine
        begun = await engine.start(Start("chatty", {"messages": []}), ME, "rest")
        await engine.changed(begun.run_id, ME, lambda run: run.ended_at_ms is not None, WAIT_SECONDS)
        translations = Translations(engine, house.gateway.streams)
        whole = await translations.told(ME, begun.run_id, word, 0, 100)
        pages, after = list[tuple[int, bytes]](), 0
        while page := await translations.told(ME, begun.run_id, word, after, 1):
            assert len(page) == 1
            pages, after = pages + page, page[-1][0]
        assert pages == whole and len(whole) == 3
        assert await translations.told(ME, begun.run_id, word, 10**6, 5) == []
        with pytest.raises(RunNotFound):
            await translations.told(OTHER, begun.run_id, word, 0, 100)
