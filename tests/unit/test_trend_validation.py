"""Method III: its regression, standard errors, bulls and years; contrasts by the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from henderson.jobs.bulls import daughters_of_bulls, years_after
from henderson.results.lr import Bootstrap
from henderson.results.trend_validation import LEAST_BULLS, LEAST_NEW, method_three
from henderson.store.model_data import Labels, Pedigree


def bulls(n: int = 60, families: int = 12, delta: float = 0.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(2)
    family = rng.integers(0, families, n)
    y1 = 20.0 + rng.normal(0, 2.0, families)[family] + rng.normal(0, 1.0, n)
    t = np.where(rng.random(n) < 0.5, rng.uniform(0.2, 3.0, n), 0.0)
    y2 = 1.0 + 0.95 * y1 + delta * t + 0.2 * rng.normal(size=families)[family] + 0.3 * rng.normal(size=n)
    return y1, y2, t, family


def test_it_is_the_regression_on_proof_and_years() -> None:
    y1, y2, t, family = bulls(delta=0.4)
    found = method_three(y1, y2, t, 4.0, Bootstrap(family, 400, 1))
    assert found is not None
    X = np.column_stack([np.ones(60), y1, t])
    beta = np.linalg.lstsq(X, y2, rcond=None)[0]
    assert (found.n, found.with_new, found.families) == (60, np.count_nonzero(t), 12)
    assert found.slope.value == pytest.approx(beta[1])
    assert found.delta.value == pytest.approx(beta[2])
    assert found.delta_sd.value == pytest.approx(beta[2] / 2.0)
    e = y2 - X @ beta
    scores = np.array([X[family == f].T @ e[family == f] for f in range(12)])
    bread = np.linalg.inv(X.T @ X)
    se = np.sqrt(np.diag(bread @ scores.T @ scores @ bread) * 12 / 11)
    assert (found.slope_se, found.delta_se, found.delta_sd_se) == pytest.approx((se[1], se[2], se[2] / 2.0))
    assert found.delta.low < 0.4 < found.delta.high
    assert found.delta.holds(0.0) is False
    assert not found.within_bound


def test_replicates_are_regressions_of_the_drawn_families() -> None:
    y1, y2, t, family = bulls()
    bootstrap = Bootstrap(family, 300, 5)
    found = method_three(y1, y2, t, 1.0, bootstrap)
    assert found is not None
    slopes = []
    for r in range(300):
        rng = np.random.Generator(np.random.Philox(key=[5, r]))
        rows = np.concatenate([np.flatnonzero(family == f) for f in rng.integers(0, 12, 12)])
        X = np.column_stack([np.ones(len(rows)), y1[rows], t[rows]])
        slopes.append(np.linalg.lstsq(X, y2[rows], rcond=None)[0][2])
    low, high = np.quantile(slopes, [0.025, 0.975])
    value, wide = found.delta.value, bootstrap.expansion
    assert wide == pytest.approx(2.2010 / 1.95996 * np.sqrt(12 / 11), rel=1e-4)  # t with 11 degrees of freedom
    assert found.delta.low == pytest.approx(value - (value - low) * wide)
    assert found.delta.high == pytest.approx(value + (high - value) * wide)


def test_too_few_bulls_give_nothing() -> None:
    y1, y2, t, family = bulls()
    some = slice(0, LEAST_BULLS - 1)
    assert method_three(y1[some], y2[some], t[some], 1.0, Bootstrap(family[some], 100, 1)) is None
    few = np.where(np.cumsum(t > 0.0) < LEAST_NEW, t, 0.0)
    assert method_three(y1, y2, few, 1.0, Bootstrap(family, 100, 1)) is None
    assert method_three(y1, y2, np.ones(60), 1.0, Bootstrap(family, 100, 1)) is None


def test_bulls_and_the_years_of_their_daughters() -> None:
    #        0   1   2..5 daughters of 0      6, 7 of 1  8 without sire
    sire = np.array([-1, -1, 0, 0, 0, 0, 1, 1, -1], np.int32)
    pedigree = Pedigree(
        "ped", Labels(np.arange(9)), sire, np.full(9, -1, np.int32), np.zeros(9, np.int32), np.zeros(9), np.ones(9)
    )
    early = np.array([False, True, True, True, False, False, True, False, True])
    ever = np.array([False, True, True, True, True, True, True, False, True])
    year = np.array([1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 1.0, 9.0, 1.0])
    rows, t = daughters_of_bulls(pedigree, early, ever, year, least=1)
    assert rows.tolist() == [0, 1]
    assert t.tolist() == pytest.approx([(2.0 + 4.0) / 4.0, 0.0])
    assert daughters_of_bulls(pedigree, early, ever, year, least=2)[0].tolist() == [0]


@pytest.mark.parametrize(
    ("dates", "value", "numeric"),
    [
        (["2014-05-01", "2015-07-01", "2016-06-30", "2016-07-02", "", "2018-07-01"], "2015-07-01", False),
        (["20140501", "20150701", "20160630", "20160702", "", "20180701"], "20150701", True),
        (["2014", "2015", "2015.9", "2016.1", "", "2018"], "2015", True),
    ],
)
def test_years_count_from_the_cut_off(tmp_path: Path, dates: list[str], value: str, numeric: bool) -> None:
    rows = zip(("a", "b", "b", "c", "d", "e"), dates, strict=True)
    (tmp_path / "r.csv").write_text("id,when\n" + "".join(f"{i},{d}\n" for i, d in reversed(list(rows))))
    cutoff = {"column": "when", "value": value, "numeric": numeric}
    found = years_after(cutoff, [(tmp_path / "r.csv", "id")], pa.array(["e", "a", "b", "c", "d", "f"]))
    assert found.tolist() == [4.0, 1.0, 1.0, 2.0, 1.0, 1.0]
