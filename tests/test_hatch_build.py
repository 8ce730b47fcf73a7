"""What is fetched while hocket is built: the form library of the run page, or one sentence why not."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FETCH = "import sys, pathlib, hatch_build; hatch_build._fetch(pathlib.Path(sys.argv[1]))"
NOWHERE = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_fetch_retries": "0"}


def test_the_library_that_is_here_is_the_one_that_is_pinned() -> None:
    code = "import hatch_build; [print(*one) for one in hatch_build.FILES.values()]"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
    )
    for line in told.stdout.splitlines():
        name, digest = line.split()
        here = ROOT / "gateway" / "page" / "vendor" / name
        assert hashlib.sha256(here.read_bytes()).hexdigest() == digest


def test_a_library_that_cannot_be_fetched_is_refused_in_one_sentence(tmp_path: Path) -> None:
    environ = {**os.environ, **NOWHERE, "npm_config_cache": str(tmp_path / "cache")}
    asked = [sys.executable, "-c", FETCH, str(tmp_path / "vendor")]
    refused = subprocess.run(asked, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    (sentence,) = refused.stderr.splitlines()
    assert refused.returncode == 1
    assert sentence.startswith("The run page needs @json-editor/json-editor@2.17.2, and npm could not fetch it: ")
    assert list((tmp_path / "vendor").iterdir()) == []
