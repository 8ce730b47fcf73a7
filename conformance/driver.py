"""The Node drivers: one process each, a scenario in, a result out, both JSON on one line."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NODE = Path(__file__).parent / "node"
PLAY_SECONDS = 60.0

AGUI = ("agui-1", "agui-0")
"""`@ag-ui/client` 1.0.0 and 0.0.59, by their aliases in `node/package.json`."""


class Driver:
    """Plays scenarios through a real client. `base` is where it finds the gateway unless a scenario says otherwise."""

    def __init__(self, process: "subprocess.Popen[str]", base: str) -> None:
        self._process, self._base = process, base

    def play(self, *ops: dict[str, Any], **scenario: Any) -> dict[str, Any]:
        """What the clients hold in the end. Fails if an op of the scenario could not be done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"base": self._base, **scenario, "ops": ops}) + "\n")
        self._process.stdin.flush()
        guard = threading.Timer(PLAY_SECONDS, self._process.kill)
        guard.start()
        try:
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        assert line, f"the driver said nothing within {PLAY_SECONDS:g} s, or ended"
        result: dict[str, Any] = json.loads(line)
        assert result["fault"] is None, result["fault"]
        return result


@contextmanager
def open_driver(script: str, base: str) -> Iterator[Driver]:
    """A running driver. Fails if the clients are not installed."""
    assert (NODE / "node_modules").is_dir(), f"the clients are not installed: {NODE.parent / 'install.sh'} does it"
    process = subprocess.Popen(
        ["node", script], cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield Driver(process, base)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
