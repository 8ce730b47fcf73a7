"""Frames as they lie in the log and travel to clients, and as they come back cut anywhere."""

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sse
from protocol.errors import Invalid

EVENTS = st.lists(
    st.dictionaries(st.text(max_size=3), st.text(max_size=8) | st.integers(-9, 9), max_size=3), min_size=1, max_size=6
)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def body_of(events: list[Any], first: int = 1) -> bytes:
    return b"".join(sse.frame(seq, orjson.dumps(event)) for seq, event in enumerate(events, first))


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def test_a_frame_is_an_id_and_one_line_of_data() -> None:
    assert sse.frame(7, b'{"a":1}') == b'id: 7\ndata: {"a":1}\n\n'
    assert sse.frame(7, b"{}", "ask") == b"id: 7\nevent: ask\ndata: {}\n\n"


def test_a_loose_frame_bears_an_id_only_if_it_is_given_one() -> None:
    assert sse.loose_frame({"a": "ü"}) == 'data: {"a":"ü"}\n\n'.encode()
    assert sse.loose_frame({}, 3) == b"id: 3\ndata: {}\n\n"


@given(EVENTS, st.integers(1, 10**15))
def test_a_body_is_counted_and_split_without_a_hole(events: list[Any], first: int) -> None:
    body = body_of(events, first)
    assert sse.first_seq(body) == first
    assert sse.frame_count(body) == len(events)
    found = list(sse.split(body))
    assert [orjson.loads(one.data) for one in found] == events
    assert [one.seq for one in found] == list(range(first, first + len(events)))


@given(EVENTS, st.integers(1, 120), st.integers(-2, 8))
def test_what_comes_after_a_number_is_cut_at_that_number(events: list[Any], first: int, offset: int) -> None:
    kept = max(offset, 0)
    assert sse.after(body_of(events, first), first - 1 + offset) == body_of(events[kept:], first + kept)


@given(EVENTS, CUTS, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_cut_anywhere_gives_the_same_frames(events: list[Any], cuts: list[int], line_end: bytes) -> None:
    body = b": hello\n\n" + body_of(events) + sse.KEEP_ALIVE
    decoder = sse.Decoder()
    found = [one for piece in pieces(body.replace(b"\n", line_end), cuts) for one in decoder.feed(piece)]
    found += decoder.feed(b":\n\n")  # a lone CR at the end might yet be half a CRLF
    assert [(one.seq, one.name, orjson.loads(one.data)) for one in found] == [
        (seq, None, event) for seq, event in enumerate(events, 1)
    ]


def test_several_lines_of_data_are_one_text_and_unknown_fields_are_left_out() -> None:
    [frame] = sse.Decoder().feed(b"event: x\ndata:a\ndata:  b\nretry: 5\nwhat\ndata\nid: 4\n\n")
    assert frame == sse.Frame(4, "x", b"a\n b\n")


@pytest.mark.parametrize("number", [b"x", b"-1", b"9" * 20, b"9" * 5000, b""])
def test_an_id_that_is_no_number_is_none(number: bytes) -> None:
    assert sse.Decoder().feed(b"id: " + number + b"\ndata: 1\n\n") == [sse.Frame(None, None, b"1")]


def test_a_byte_order_mark_is_left_out() -> None:
    assert sse.Decoder().feed(b"\xef\xbb\xbfdata: 1\n\n") == [sse.Frame(None, None, b"1")]


def test_comments_and_frames_without_data_are_left_out() -> None:
    assert sse.Decoder().feed(b": hi\n\nid: 4\n\nevent: x\n\n\n\ndata: 1\n\n") == [sse.Frame(None, None, b"1")]


def test_a_frame_that_never_ends_is_refused() -> None:
    decoder = sse.Decoder(frame_bytes_max=100)
    decoder.feed(b"data: " + b"x" * 90)
    with pytest.raises(Invalid, match="longer than 100 bytes"):
        decoder.feed(b"x" * 90)


def test_an_id_that_is_no_number_is_kept_as_it_came() -> None:
    numbered, other, bare = sse.Decoder().feed(b"id: 7\ndata: 1\n\nid: 12-3\ndata: 2\n\ndata: 3\n\n")
    assert [(one.seq, one.id) for one in (numbered, other, bare)] == [(7, b"7"), (None, b"12-3"), (None, b"")]
