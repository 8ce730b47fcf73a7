"""What a run has cost, as far as its agent has said: AG-UI 1.0's token usage, and `costUsd` beside it.

Nothing is counted, priced or guessed here: what nobody reported is None.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from .state import RunState

COST = "costUsd"
"""A number of dollars in a report of `usage`; AG-UI has no field for it and keeps what it does not know."""


def add(state: RunState, reports: Any) -> None:
    """Adds what the end of a leg reports to what the run has reported before. `model` is the one named last."""
    for report in _readable(reports):
        totals = state.usage = state.usage or {}
        for name, amount in report.items():
            if type(amount) is int and name != COST:
                totals[name] = totals.get(name, 0) + amount
        cost, model = report.get(COST), report.get("model")
        if isinstance(cost, int | float) and not isinstance(cost, bool):
            state.cost_usd = float(Decimal(str(state.cost_usd or 0)) + Decimal(str(cost)))
        if isinstance(model, str) and model:
            state.model = model


def _readable(reports: Any) -> Iterator[dict[str, Any]]:
    for report in reports if isinstance(reports, list) else ():
        if isinstance(report, dict):
            yield report


def input_tokens(state: RunState) -> int | None:
    return (state.usage or {}).get("inputTokens")


def output_tokens(state: RunState) -> int | None:
    return (state.usage or {}).get("outputTokens")


def total_tokens(state: RunState) -> int | None:
    """The sum of both where both are known, else the total that was reported."""
    given, made = input_tokens(state), output_tokens(state)
    return given + made if given is not None and made is not None else (state.usage or {}).get("totalTokens")


def cache_hit_rate(state: RunState) -> float | None:
    """The part of the input that came from a cache, 0 to 1."""
    given, cached = input_tokens(state), (state.usage or {}).get("cachedInputTokens")
    return round(cached / given, 4) if given and cached is not None else None


def duration_ms(state: RunState) -> int | None:
    """From when the agent began to the end of the run, with all waiting; None before it has ended or if it never
    began."""
    if state.started_at_ms is None or state.ended_at_ms is None:
        return None
    return max(state.ended_at_ms - state.started_at_ms, 0)
