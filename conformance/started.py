"""A freshly started hocket, as anybody starts one: by its command, with settings of its own and nobody else's."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 15.0


def command() -> str:
    """The command `hocket` that belongs to this Python, else the one on the path."""
    beside = Path(sys.executable).parent / "hocket"
    found = str(beside) if beside.exists() else shutil.which("hocket")
    assert found, "there is no command `hocket`: install the project first, or name a --base-url"
    return found


@contextlib.contextmanager
def started(folder: Path, agents: Mapping[str, str], **settings: str) -> Iterator[str]:
    """The URL of a hocket of its own on a free port, with these agents by name and these settings alone. What it says
    is in `output.txt` in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOCKET_", "CINATRA_"))}
    ready, told = folder / "ready.json", folder / "output.txt"
    ready.unlink(missing_ok=True)  # of the one that was started here before
    served = [word for name, target in agents.items() for word in ("--agent", f"{name}={target}")]
    wanted = [command(), "dev", "--port", "0", "--data", str(folder / "data"), "--ready-file", str(ready), *served]
    with told.open("wb") as output:
        process = subprocess.Popen(wanted, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=kept | settings)
    try:
        end = time.monotonic() + START_SECONDS
        while not ready.exists() or not ready.read_text().endswith("}"):
            assert process.poll() is None and time.monotonic() < end, told.read_text()
            time.sleep(0.05)
        yield json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
