"""The size of likelihood ratio tests of a variance that is zero: as often significant as the level says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_tables
from henderson.language.spec import ModelSpec
from henderson.reml.fit import fit_reml
from henderson.reml.result import RemlFit
from henderson.results.lrt import likelihood_ratio
from henderson.store.model_data import ModelData
from henderson.store.reader import open_store

REPLICATES, GROUPS, EACH = 400, 40, 4


def model(fixed: str) -> dict[str, object]:
    return {"data": {"records": "d.csv"}, "model": {"fixed": fixed}, "jobs": {"run": ["reml"]}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelData]:
    """Groups with a covariate in each; the responses are replaced."""
    folder = tmp_path_factory.mktemp("size")
    rng = np.random.default_rng(11)
    x = np.tile(np.arange(EACH, dtype=float) - (EACH - 1) / 2, GROUPS)
    frame = pd.DataFrame({"y": rng.normal(size=GROUPS * EACH), "x": x, "S": np.repeat(np.arange(GROUPS), EACH)})
    frame.to_csv(folder / "d.csv", index=False)
    spec = load_tables(model("y ~ x + (x | S)"), folder, read_schema)
    ingest(spec, folder / "store.zarr", workers=1)
    return folder, open_store(folder / "store.zarr")


def fits(
    data: tuple[Path, ModelData], formulas: list[str], seed: int, group_variance: float
) -> Iterator[tuple[RemlFit, ...]]:
    folder, known = data
    specs: list[ModelSpec] = [load_tables(model(f), folder, read_schema) for f in formulas]
    code = known.records.classes["S"]
    for r in range(REPLICATES):
        rng = np.random.Generator(np.random.Philox([seed, r]))
        u = rng.normal(0.0, np.sqrt(group_variance), GROUPS)
        y = u[code] + rng.normal(size=len(code))
        mine = replace(known, records=replace(known.records, responses={"y": y}))
        yield tuple(fit_reml(spec, mine) for spec in specs)


def share(p_values: list[float], level: float) -> float:
    """How far the share of significant tests is from the level, in standard errors."""
    p = float(np.mean(np.array(p_values) < level))
    return (p - level) / np.sqrt(level * (1 - level) / len(p_values))


def test_one_variance(data: tuple[Path, ModelData]) -> None:
    tests = [likelihood_ratio(a, b) for a, b in fits(data, ["y ~ x + (1 | S)", "y ~ x"], 1, 0.0)]
    p = [t.p_value for t in tests]
    assert abs(share(p, 0.05)) < 3
    assert abs(share(p, 0.2)) < 3
    assert 0.4 < np.mean([t.statistic < 1e-4 for t in tests]) < 0.65  # half of them at the boundary
    naive = [t.statistic > 3.841 for t in tests]
    assert np.mean(naive) < 0.045  # plain chi-squared is conservative


def test_a_slope_beside_an_intercept(data: tuple[Path, ModelData]) -> None:
    p = [likelihood_ratio(a, b).p_value for a, b in fits(data, ["y ~ x + (x | S)", "y ~ x + (1 | S)"], 2, 1.0)]
    assert abs(share(p, 0.05)) < 3
    assert abs(share(p, 0.2)) < 3
