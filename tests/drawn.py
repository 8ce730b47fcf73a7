"""Hypothesis' examples for a test that is a coroutine, which cannot be run once for each."""

import asyncio
from typing import TypeVar

import hypothesis
from hypothesis import strategies as st

Example = TypeVar("Example")


async def drawn(strategy: st.SearchStrategy[Example], count: int) -> list[Example]:
    """At most so many, drawn in a thread: the loop has other work meanwhile."""
    found: list[Example] = []

    @hypothesis.settings(max_examples=count, database=None, deadline=None)
    @hypothesis.given(strategy)
    def gather(example: Example) -> None:
        found.append(example)

    await asyncio.to_thread(gather)
    return found
