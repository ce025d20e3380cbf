"""The scripts that measure test days, from simulation to solutions, still run and print their tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCALING = Path(__file__).parents[2] / "cluster" / "scaling"


def test_data_are_measured(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(SCALING / "testday_data.py"),
        "--scale",
        "0.0002",
        "--scale",
        "0.0005",
        "--folder",
        str(tmp_path / "x"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    for words in ("**simulate**", "**ingest**", "**read**", "M records/CPU s", "## scale 1, from 0.0002 and 0.0005"):
        assert words in done.stdout
    assert not any((tmp_path / "x").iterdir())


def test_the_full_run_ends_with_the_truth(tmp_path: Path) -> None:
    command = ["sh", str(SCALING / "testday.sh"), "0.0005", str(tmp_path / "run"), "--rtol", "1e-6"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250, env=environment)
    assert done.returncode == 0, done.stdout
    assert done.stdout == (tmp_path / "run.log").read_text()
    assert done.stdout.count("CPU s, peak") == 4
    assert done.stdout.count("STREAM triad") == 2
    assert '"event": "iteration"' in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("| yield 1 |"))
    correlation = float(row.split("|")[3])  # of the animals with records
    assert 0.6 < correlation < 0.9
