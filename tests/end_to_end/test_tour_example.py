"""The tour of the examples runs as it stands, and finds what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOUR = Path(__file__).resolve().parents[2] / "examples" / "tour" / "tour.py"


@pytest.mark.timeout(600)
def test_the_tour_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", TOUR, tmp_path / "tour.out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"Accuracy of the first trait: (0\.\d+)", done.stdout)
    assert accuracy is not None
    assert 0.5 < float(accuracy[1]) < 0.8
    assert "g!u1:u1" in done.stdout
    assert "mean reliabilities: {'y1': 0.4" in done.stdout
    assert "dispersion" in done.stdout
    assert "new record" in done.stdout
    pages = re.search(r"Pages to open in a browser: (.*)", done.stdout)
    assert pages is not None
    assert all(Path(page).stat().st_size > 10_000 for page in pages[1].split(", "))
    assert len(pages[1].split(", ")) == 6
