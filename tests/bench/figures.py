"""A figure and how it is shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """`target` is what is promised of it, `good` whether this run kept that; both are None for what only informs."""

    name: str
    value: float
    condition: str
    target: str | None = None
    good: bool | None = None
    note: str = ""


def table(figures: list[Figure]) -> str:
    """The figures as aligned lines, each with its condition and promise."""
    lines = []
    for figure in figures:
        verdict = "" if figure.good is None else ("kept  " if figure.good else "MISSED")
        promise = f" (promise: {figure.target})" if figure.target else ""
        lines.append(f"{figure.name:36} {shown(figure.value):>12}  {verdict:6}  {figure.condition}{promise}")
        if figure.note:
            lines.append(f"{'':36} {'':>12}          {figure.note}")
    return "\n".join(lines)


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"
