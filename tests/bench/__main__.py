"""`python -m tests.bench [--json FILE] [--only NAME]`: measures hocket beside the reference, in one run.

Figures are ratios and CPU per event, for wall-clock times of a shared machine tell little.
"""

import argparse
import json
import resource
import sys
from pathlib import Path

import uvloop

from . import dialects, reading, streams, tasks, tools, triggers, waiting
from .figures import Figure, table

_MEASURES = (
    streams.fanout,
    streams.durable,
    streams.paced,
    reading.replay,
    reading.idle,
    reading.resume,
    reading.poll,
    waiting.waiting,
    dialects.dialect_streams,
    tasks.a2a_stream,
    tasks.a2a_list,
    tasks.a2a_get,
    triggers.triggers,
    tools.mcp,
)


async def measure(only: str | None) -> list[Figure]:
    figures: list[Figure] = []
    for one in _MEASURES:
        if only is None or only in one.__name__:
            found = await one()
            figures += found
            sys.stdout.write(table(found) + "\n")
            sys.stdout.flush()
    return figures


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    asked.add_argument("--json", type=Path, help="also write the figures to this file")
    asked.add_argument("--only", help="only the measures whose name holds this")
    wanted = asked.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    figures = uvloop.run(measure(wanted.only))
    if wanted.json is not None:
        command = "make bench"
        told = {
            figure.name: {"value": figure.value, "condition": figure.condition, "command": command}
            for figure in figures
        }
        wanted.json.write_text(json.dumps(told, indent=2) + "\n")
    missed = [figure.name for figure in figures if figure.good is False]
    sys.stdout.write(f"\n{len(missed)} promises missed: {', '.join(missed)}\n" if missed else "\nEvery promise kept.\n")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
