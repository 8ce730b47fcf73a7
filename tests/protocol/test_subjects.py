"""Ids as subject tokens: reversible, bounded, and harmless whatever a client calls its run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidId
from protocol.subjects import ID_BYTES_MAX, check_id, decode_token, encode_token, parse_subject, run_subject

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


@given(IDS)
def test_any_id_comes_back_from_its_token(value: str) -> None:
    assert decode_token(encode_token(value)) == value


@given(IDS)
def test_a_token_holds_no_dot_space_or_wildcard_and_is_at_most_three_times_as_long(value: str) -> None:
    token = encode_token(value)
    assert set(token) <= PLAIN
    assert 0 < len(token) <= 3 * len(value.encode())


@given(IDS, IDS)
def test_two_ids_never_share_a_token(one: str, other: str) -> None:
    assert (encode_token(one) == encode_token(other)) == (one == other)


@given(IDS, IDS.filter(lambda value: len(value.encode()) <= ID_BYTES_MAX), st.sampled_from(["ask", "life", "flow"]))
def test_a_subject_names_tenant_run_and_lane(tenant: str, run_id: str, lane: str) -> None:
    subject = f"{run_subject(tenant, run_id)}.{lane}"
    assert subject.count(".") == 3
    assert parse_subject(subject) == (tenant, run_id, lane)
    assert parse_subject("live" + subject.removeprefix("run")) == (tenant, run_id, lane)


@pytest.mark.parametrize("value", ["a.b", "a b", "*", ">", "a\r\nPUB x", "=", "ü", "$JS", "\x00", "a\n"])
def test_what_means_something_to_nats_means_nothing_in_a_token(value: str) -> None:
    assert set(encode_token(value)) <= PLAIN and decode_token(encode_token(value)) == value


@pytest.mark.parametrize("value", ["x", "x" * ID_BYTES_MAX, "ü" * (ID_BYTES_MAX // 2)])
def test_an_id_of_up_to_256_bytes_is_taken_as_it_is(value: str) -> None:
    assert check_id(value, "The run id") == value


@pytest.mark.parametrize("value", ["", "x" * (ID_BYTES_MAX + 1), "ü" * ID_BYTES_MAX, "\ud800", None, 5, b"x", ["x"]])
def test_any_other_id_is_refused_in_a_sentence_that_names_it(value: object) -> None:
    with pytest.raises(InvalidId, match="^The run id "):
        check_id(value, "The run id")


@pytest.mark.parametrize("value", ["", "x" * 10_000, "\udfff"])
def test_no_subject_is_made_of_an_id_that_is_none(value: str) -> None:
    with pytest.raises(InvalidId):
        run_subject("default", value)
