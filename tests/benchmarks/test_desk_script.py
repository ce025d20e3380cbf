"""The script that shows the tools around the solver does all its steps, on a small evaluation and a real case."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cluster" / "scaling" / "desk.sh"


@pytest.mark.timeout(900)
def test_every_step_ends_as_it_should(shared_data: Path, tmp_path: Path) -> None:
    case = shared_data / "gryphon_univariate" / "m4.toml"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", SCRIPT, "1000", tmp_path / "desk", case, "byear", "990"],
        capture_output=True, text=True, check=False, timeout=880, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    steps = (tmp_path / "desk.steps").read_text().splitlines()
    assert len(steps) == 22
    assert all(line.startswith("-- ") for line in steps)
    assert [line for line in steps if "exit 0" not in line] == [line for line in steps if ".damaged" in line]
    assert sum(".damaged" in line for line in steps) == 2
    assert len(list((tmp_path / "desk").rglob("report.html"))) == 12
