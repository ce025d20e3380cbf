"""The study of calibration in small: the errors that Monte Carlo REML reports are those it makes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "cluster" / "scaling" / "monte_carlo_calibration.py"
SEEDS = 16


def study(*arguments: str) -> str:
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_errors_over_seeds(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    small = ("--animals", "400", "--runs", str(SEEDS), "--mc-error", "0.25", "--json", str(out))
    said = study("seeds", "--model", "bivariate", *small)
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert [r["parameter"] for r in rows][-1] == "logL"
    parameters = [r for r in rows if r["parameter"] != "logL"]
    assert len(parameters) == 6
    # six that go together, each known to 1 / sqrt(2 * 15) = 18 %
    pooled = np.sqrt(np.mean([r["ratio"] ** 2 for r in parameters]))
    assert 0.7 < pooled < 1.4
    assert np.mean([r["within_3"] for r in parameters]) > 0.95
    assert max(r["mc_error"] for r in parameters) < 0.3
    assert abs(rows[-1]["bias"]) < 4.0
    assert re.search(r"bivariate: SD / MC error \d", said)
    assert "| bivariate | g[2,1] |" in said


@pytest.mark.timeout(300)
def test_intervals_over_data(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    small = ("--animals", "400", "--runs", "4", "--mc-error", "0.5", "--json", str(out))
    said = study("truth", "--model", "regression", *small)
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert {r["parameter"] for r in rows} == {"g[1,1]", "g[2,1]", "g[2,2]", "pe[1,1]", "res[1,1]"}
    inside, fits = (sum(r[key] for r in rows) for key in ("inside", "fits"))
    assert fits >= 15
    assert inside / fits > 0.7  # of 95 %, in 20 intervals that go together by five
    assert "regression: coverage" in said
