"""Ids that are no UUIDs, as those that follow from them."""

import uuid

from hypothesis import given
from hypothesis import strategies as some

from protocol.ids import as_uuid, trace_id, trace_of
from protocol.state import RunState


@given(some.text(some.characters(exclude_categories=["Cs"])), some.text(some.characters(exclude_categories=["Cs"])))
def test_the_uuid_of_an_id_is_that_of_the_standard_library(tenant: str, id_: str) -> None:
    made = uuid.uuid5(uuid.UUID("9b0f6c7a-5a64-5e57-8a5e-1f0a3c1f7d21"), f"{tenant}\n{id_}")
    assert as_uuid(tenant, id_) == str(made)


@given(some.uuids())
def test_a_uuid_stays_itself(id_: uuid.UUID) -> None:
    assert as_uuid("default", str(id_)) == str(id_)


@given(some.uuids(), some.text(some.characters(exclude_categories=["Cs"])))
def test_a_trace_is_32_digits_that_follow_from_the_run(uuid_: uuid.UUID, id_: str) -> None:
    assert trace_of("any", str(uuid_).upper()) == uuid_.hex
    assert trace_id(RunState(id=id_, tenant="acme")) == trace_of("acme", id_)
    assert len(trace_of("acme", id_)) == 32 and int(trace_of("acme", id_), 16) >= 0
    assert trace_of("acme", f"x{id_}") != trace_of("other", f"x{id_}")
