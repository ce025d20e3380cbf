"""Method LR from sums of families; average relationships; records before a date."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.ingest.cutoff import is_late
from henderson.ingest.parse import Parsed, words_of
from henderson.language.spec import Cutoff
from henderson.pedigree.average import mean_relationship
from henderson.results.lr import Bootstrap, lr_statistics, trend_test
from henderson.store.model_data import Labels, Loadings, Pedigree


def drawn(n: int = 600, families: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    family = rng.integers(0, families, n)
    time = rng.integers(0, 6, n).astype(float)
    p = rng.normal(50.0, 1.0, families)[family] + rng.normal(0, 0.3, n)
    return p, p + rng.normal(0, 1.0, families)[family] + rng.normal(0, 0.5, n), family, time


def test_statistics_are_those_of_the_columns() -> None:
    p, w, family, time = drawn()
    found = lr_statistics(p, w, 4.0, 3.0, Bootstrap(family, 100, 1))
    cov = np.cov(p, w)
    assert (found.n, found.families) == (600, 60)
    assert found.bias.value == pytest.approx(p.mean() - w.mean())
    assert found.bias_sd.value == pytest.approx((p.mean() - w.mean()) / 2.0)
    assert found.dispersion.value == pytest.approx(cov[0, 1] / cov[0, 0])
    assert found.ratio.value == pytest.approx(cov[0, 1] / cov[1, 1])
    assert found.correlation.value == pytest.approx(np.corrcoef(p, w)[0, 1])
    assert found.reliability.value == pytest.approx(cov[0, 1] / 3.0)
    trend = trend_test(time, p, w, 4.0, Bootstrap(family, 100, 1))
    assert trend is not None
    slopes = [np.polyfit(time, y, 1)[0] for y in (p, w)]
    assert (trend.partial.value, trend.whole.value) == pytest.approx(tuple(slopes))
    assert trend.difference_sd.value == pytest.approx((slopes[1] - slopes[0]) / 2.0)
    assert trend_test(np.ones(600), p, w, 4.0, Bootstrap(family, 100, 1)) is None


def test_intervals_resample_families_not_members() -> None:
    p, w, family, _ = drawn()
    found = lr_statistics(p, w, 1.0, 1.0, Bootstrap(family, 2000, 1)).bias
    sums = np.array([(p - w)[family == f].sum() for f in range(60)])
    sizes = np.bincount(family)
    means = []
    rng = np.random.default_rng(11)
    for _ in range(2000):
        pick = rng.integers(0, 60, 60)
        means.append(sums[pick].sum() / sizes[pick].sum())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.04)
    alone = lr_statistics(p, w, 1.0, 1.0, Bootstrap(np.arange(600), 2000, 1)).bias
    assert alone.high - alone.low < 0.6 * (found.high - found.low)
    assert lr_statistics(p, w, 1.0, 1.0, Bootstrap(family, 2000, 1)).bias == found  # the seed decides


def test_nothing_that_varies_gives_no_number() -> None:
    found = lr_statistics(np.ones(5), np.arange(5.0), 1.0, 1.0, Bootstrap(np.arange(5), 100, 1))
    assert np.isnan(found.dispersion.value)
    assert np.isnan(found.correlation.low)
    assert found.bias.value == pytest.approx(-1.0)
    assert found.bias.holds(-1.0)


def test_few_families_give_no_intervals() -> None:
    p, w, family, _ = drawn(families=4)
    found = lr_statistics(p, w, 1.0, 1.0, Bootstrap(family, 100, 1)).dispersion
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high]).all()
    assert found.holds(1.0) is None


@pytest.mark.parametrize("weighted", [False, True])
def test_mean_relationship_is_that_of_the_dense_matrix(weighted: bool) -> None:
    rng = np.random.default_rng(4)
    n = 40
    order = rng.permutation(n)  # store order is not that of birth
    T = np.zeros((n, n))
    sire, dam, generation = np.full(n, -1), np.full(n, -1), np.zeros(n, np.int64)
    rows: list[list[tuple[int, float]]] = [[] for _ in range(n)]
    for k, i in enumerate(order.tolist()):
        T[i, i] = 1.0
        if k < 8:
            continue
        a, b = order[rng.choice(k, 2, replace=False)].tolist()
        if weighted and k % 3 == 0:
            rows[i] = [(a, 0.3), (b, 0.45)]
        else:
            sire[i], dam[i] = a, b
        for parent, weight in rows[i] or [(a, 0.5), (b, 0.5)]:
            T[i] += weight * T[parent]
        generation[i] = 1 + max(generation[a], generation[b])
    d = rng.uniform(0.4, 1.0, n)
    loadings = None
    if weighted:
        counts = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
        entries = [e for r in rows for e in r]
        loadings = Loadings(counts, np.array([e[0] for e in entries], np.int32), np.array([e[1] for e in entries]))
    pedigree = Pedigree(
        "ped", Labels(np.arange(n)), sire.astype(np.int32), dam.astype(np.int32), generation.astype(np.int32),
        np.zeros(n), d, loadings=loadings,
    )  # fmt: skip
    A = T @ np.diag(d) @ T.T
    some = rng.choice(n, 15, replace=False)
    assert mean_relationship(pedigree, some) == pytest.approx(A[np.ix_(some, some)].mean())


def dates(values: list[str]) -> Parsed:
    import pyarrow as pa

    return Parsed(len(values), len(values), text={"date": words_of(pa.array(values))})


def test_dates_compare_by_day_month_or_year() -> None:
    parsed = dates(["2014-12-31", "2015-01-01", "2015-07-02T10:00:00", "1999-01-01"])
    for value, expected in (
        ("2015", [False, True, True, False]),
        ("2015-07", [False, False, True, False]),
        ("2015-07-02", [False, False, True, False]),
        ("2015-07-03", [False] * 4),
    ):
        found: list = []
        assert is_late(parsed, Cutoff("date", value, False), np.ones(4, bool), found).tolist() == expected
        assert found == []


@pytest.mark.parametrize(("values", "wrong"), [(["2015-01-01", "03.05.2014", ""], [1, 2]), (["3/5", "7"], [0, 1])])
def test_what_is_no_date_is_named(values: list[str], wrong: list[int]) -> None:
    found: list = []
    is_late(dates(values), Cutoff("date", "2015", False), np.ones(len(values), bool), found)
    assert [row for row, _ in found] == wrong
    assert values[wrong[0]] in found[0][1].message
    found = []
    is_late(dates(values), Cutoff("date", "2015", False), np.zeros(len(values), bool), found)  # nothing observed there
    assert found == []


def test_numbers_compare_as_numbers() -> None:
    parsed = Parsed(4, 4, reals={"year": np.array([9.0, 10.0, np.nan, 11.0])})
    found: list = []
    late = is_late(parsed, Cutoff("year", "10", True), np.ones(4, bool), found)
    assert late.tolist() == [False, True, False, True]
    assert [(row, p.message) for row, p in found] == [(2, "no date in column 'year' of a record with observations")]
