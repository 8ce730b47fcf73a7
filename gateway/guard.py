"""The entry point: looks that nothing hides hocket's packages, on a Python that can run them, before anything else.

Another distribution with a package `runtime` or `protocol` overwrites or shadows ours without a word from pip or
uv. Nothing here may need Python 3.11 or a third-party package, or the refusal itself would fail.
"""

import importlib
import sys

PYTHON_MIN = (3, 11)
_OURS = ("gateway", "protocol", "runtime")


def fault(version: tuple[int, ...] = sys.version_info[:3]) -> str:
    """What keeps hocket from running, in one sentence; empty if nothing does."""
    if version[:2] < PYTHON_MIN:
        given = ".".join(map(str, version))
        return (
            f"hocket needs Python {PYTHON_MIN[0]}.{PYTHON_MIN[1]} or newer, and this is {given}: install a newer one."
        )
    for name in _OURS:
        try:
            found = importlib.import_module(name)
        except Exception as bad:  # whatever a stranger's package does when it is imported
            return f"hocket's package {name!r} cannot be imported ({bad!r}): install it again, in its own environment."
        if getattr(found, "__product__", None) != "hocket":
            where = getattr(found, "__file__", None) or ", ".join(getattr(found, "__path__", ())) or "unknown"
            return f"{where} hides hocket's package {name!r}: install hocket alone, in an environment of its own."
    return ""


def main() -> None:
    """Runs `hocket`, or says in one sentence why it cannot run here."""
    told = fault()
    if told:
        sys.stderr.write(f"hocket: {told}\n")
        raise SystemExit(2)
    importlib.import_module("gateway.cli").main()


if __name__ == "__main__":
    main()
