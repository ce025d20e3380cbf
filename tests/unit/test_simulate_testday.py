from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from henderson.errors import UsageError
from henderson.language.polynomials import evaluate
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import KNOTS, TestDayConfig, genetic, herd_year, polynomials, spline

SCALE = 0.0004


def test_files_depend_on_neither_blocks_nor_threads(tmp_path: Path) -> None:
    for block, threads in ((7, 3), (500, 1), (1 << 15, None)):
        simulate_testday(TestDayConfig(scale=SCALE, format="csv", block=block, threads=threads), tmp_path / str(block))
    contents = [{p.name: p.read_bytes() for p in (tmp_path / str(b)).iterdir()} for b in (7, 500, 1 << 15)]
    assert contents[0] == contents[1] == contents[2]


def test_structure_is_that_of_the_evaluation(tmp_path: Path) -> None:
    n = simulate_testday(TestDayConfig(scale=0.002), tmp_path / "t")
    records = pd.read_parquet(tmp_path / "t" / "records.parquet")
    milk = records[["milk1", "milk2", "milk3"]]
    assert n == len(records)
    assert n == pytest.approx(90.24e6 * 0.002, rel=0.03)
    assert records["id"].nunique() == pytest.approx(5_400_000 * 0.002, rel=0.03)  # some are culled before a test
    assert (milk.notna().sum(axis=1) == 1).all()
    assert milk.notna().mean().to_numpy() == pytest.approx([0.48, 0.32, 0.2], abs=0.05)
    assert records["dim"].between(KNOTS[0], KNOTS[-1]).all()
    assert records.groupby("htd").size().mean() > 5
    assert len(records.drop_duplicates(["id", "htd"])) == n
    assert milk.stack().mean() == pytest.approx(31, abs=4)


def test_splines_are_polynomials_of_the_language() -> None:
    day = np.arange(5, 306)
    for k, text in enumerate(polynomials()):
        np.testing.assert_allclose(evaluate(text, day), spline(day)[:, k], atol=1e-14)


def test_covariances_are_positive_definite() -> None:
    assert np.linalg.eigvalsh(genetic())[0] > 0
    assert np.linalg.eigvalsh(herd_year())[0] > 0


def test_a_scale_without_animals_is_refused() -> None:
    with pytest.raises(UsageError, match="must be 400 or more"):
        TestDayConfig(scale=1e-6)
