"""The script that measures data, ingest and reading of test days still runs, and prints its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "cluster" / "scaling" / "testday_data.py"


def test_script_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--scale", "0.0002", "--scale", "0.0005", "--folder", str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    for words in ("**simulate**", "**ingest**", "**read**", "M records/CPU s", "## scale 1, from 0.0002 and 0.0005"):
        assert words in done.stdout
    assert not any((tmp_path / "x").iterdir())
