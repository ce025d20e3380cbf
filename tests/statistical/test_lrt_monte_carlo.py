"""Likelihood-ratio tests of Monte Carlo fits: common random numbers, and an error that tells how far they are off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.reml.fit import fit_reml
from henderson.reml.result import RemlFit, RemlOptions, Sampling
from henderson.results.lrt import likelihood_ratio
from henderson.results.variances import variances_content
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.store.reader import open_store

MODEL = """
[data]
records = "records.csv"
missing = -9999
[pedigree.ped]
file = "pedigree.csv"
[model]
equations = "y1 = herd*h + id*u(v(g(1))){pe}"
[variance.g]
gamma = {{ A = {{ pedigree = "ped" }} }}
[variance.res]
{variance}
[jobs]
run = ["reml"]
"""


def fit(folder: Path, with_pe: bool, method: str) -> RemlFit:
    pe, variance = (" + id*p(v(pe(1)))", "[variance.pe]") if with_pe else ("", "")
    file = folder / f"pe{with_pe}.toml"
    file.write_text(MODEL.format(pe=pe, variance=variance), encoding="utf-8")
    spec = load_model(file, read_schema, read_levels)
    store = folder / f"{file.stem}.zarr"
    ingest(spec, store)
    options = RemlOptions(method=method, threads=1, sampling=Sampling(samples=32))  # type: ignore[arg-type]
    return fit_reml(spec, open_store(store), options=options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lrt") / "data"
    config = SimulationConfig(animals=1200, traits=("y1",), records=1500, repeats=2, missing=0.0, seed=5)
    simulate(replace(config, recorded="all"), out)
    return out


def test_statistic(folder: Path) -> None:
    exact = likelihood_ratio(fit(folder, True, "ai"), fit(folder, False, "ai"))
    large, small = fit(folder, True, "mc-ai"), fit(folder, False, "mc-ai")
    found = likelihood_ratio(large, small)
    assert exact.mc_se is None
    assert found.mc_se is not None
    assert large.loglik_mc_se is not None
    # less than the errors of the two log-likelihoods, which have much of their noise in common
    assert found.mc_se < 0.6 * 2.0 * large.loglik_mc_se
    # the estimates, too, are a little off the maximum: that lowers the log-likelihoods by about half of (Monte Carlo
    # error / standard error)^2 for each parameter
    assert abs(found.statistic - exact.statistic) < 3.0 * found.mc_se + 0.1
    assert f"Monte Carlo error {found.mc_se:.3g}" in str(found)
    content = variances_content(large)
    assert content["loglik"] == pytest.approx(large.loglik)
    assert content["loglik_mc_se"] == pytest.approx(large.loglik_mc_se)
    assert np.isfinite(content["loglik_full"])
    one_exact = likelihood_ratio(large, fit(folder, False, "ai"))
    assert one_exact.mc_se == pytest.approx(2.0 * large.loglik_mc_se)
