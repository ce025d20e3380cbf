"""Indices of a test-day model, 305-day yields: from the parameter file to tables, exact, near, over processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import henderson
from henderson.jobs.run import Settings, run
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig, genetic, spline

BIN = Path(sys.executable).parent
DAYS = np.arange(5, 306)
PARITY_WEIGHTS = (0.5, 0.3, 0.2)
INDICES = """
[index.yield305]
weights = { a1 = { at = "5:305", weight = 0.5 }, a2 = { at = "5:305", weight = 0.3 }, a3 = { at = "5:305", weight = 0.2 } }
[index.persistency]
weights = { a1 = [{ at = 280 }, { at = 60, weight = -1 }] }
[index.own305]
weights = { p1 = { at = "5:305" } }
"""  # noqa: E501


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("testday") / "data"
    simulate_testday(TestDayConfig(scale=0.00015), folder)
    return folder / "model.toml"


def with_job(model: Path, name: str, jobs: str, indices: str = INDICES) -> Path:
    file = model.with_name(f"{name}.toml")
    text = model.read_text(encoding="utf-8").split("[jobs]")[0]
    file.write_text(f"{text}{indices}[jobs]\n{jobs}\n", encoding="utf-8")
    return file


def table(folder: Path) -> pd.DataFrame:
    frame = pd.read_csv(folder / "solutions.csv", dtype={"level": str})
    return frame.set_index(["factor", "subfactor", "level"]).sort_index()


@pytest.fixture(scope="module")
def exact(data: Path) -> Path:
    out = data.parent / "direct"
    run(with_job(data, "direct", 'run = ["pev"]\npev = { method = "direct" }'), Settings(out=out))
    return out


def test_values_and_variances(exact: Path) -> None:
    found = table(exact)
    basis = spline(DAYS).sum(axis=0)
    expected = sum(
        w * basis[k] * found.loc["g", f"a{p + 1}_{k + 1}"]["value"]
        for p, w in enumerate(PARITY_WEIGHTS)
        for k in range(len(basis))
    )
    mine = found.loc["g", "yield305"]
    pd.testing.assert_series_equal(mine["value"], expected, check_names=False)
    weights = np.zeros(15)
    for p, w in enumerate(PARITY_WEIGHTS):
        weights[5 * p : 5 * p + 4] = w * basis
    prior = mine["se"] ** 2 / (1.0 - mine["reliability"])  # (1 + F) w' Sigma w
    assert (prior / (weights @ genetic() @ weights) > 1.0 - 1e-9).all()
    np.testing.assert_allclose(prior.min(), weights @ genetic() @ weights, rtol=1e-9)
    parts = [found.loc["g", f"a1_{k + 1}"]["reliability"].mean() for k in range(4)]
    assert max(parts) < mine["reliability"].mean() < 1.0  # a sum is known better than its parts
    assert found.loc["pe", "own305"]["se"].notna().all()
    page = (exact / "report.html").read_text(encoding="utf-8")
    assert page.count("yield305") >= 4
    assert "persistency" in page


def test_near_the_exact_ones(data: Path, exact: Path, tmp_path: Path) -> None:
    run(with_job(data, "near", 'run = ["pev"]\npev = { method = "approximate" }'), Settings(out=tmp_path))
    theirs, mine = table(exact), table(tmp_path)
    for name in ("yield305", "persistency"):
        a, b = theirs.loc["g", name]["reliability"], mine.loc["g", name]["reliability"]
        assert np.corrcoef(a, b)[0, 1] > 0.98
        assert abs((a - b).mean()) < 0.05
    np.testing.assert_allclose(mine.loc["g", "yield305"]["value"], theirs.loc["g", "yield305"]["value"], atol=0.05)
    assert mine.loc["pe", "own305"]["se"].isna().all()  # nearly, of breeding values alone


def test_read_checked_and_validated(data: Path, exact: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = henderson.read(exact)
    cell = results.to_xarray("g")["value"].sel(effect="yield305", trait="")
    np.testing.assert_array_equal(cell.values, results.effect("yield305")["value"].to_numpy())
    assert results.record["config"]["model"]["indices"][0]["name"] == "own305"
    subprocess.run([BIN / "henderson", "check", data.with_name("direct.toml")], check=True)
    assert "index persistency of g: " in capfd.readouterr().out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "data"
    simulate(SimulationConfig(animals=300, traits=("y1", "y2"), repeats=2, seed=4), folder)
    return folder / "model.toml"


MERIT = """
[index.merit]
weights = { u1 = 2, u2 = -0.5 }
[index.place]
weights = { p1 = 1, p2 = 1 }
"""


def together(file: Path, out: Path, mpiexec: str) -> pd.DataFrame:
    command = [mpiexec, "-n", "2", BIN / "henderson", "run", file, "--engine", "petsc", "--out", out, "--quiet"]
    subprocess.run(["timeout", "120", *command], check=True)
    return table(out)


def test_over_processes_as_in_one(small: Path, tmp_path: Path, mpiexec: str) -> None:
    run(with_job(small, "all", 'run = ["pev"]', MERIT), Settings(out=tmp_path / "all"))
    everything = table(tmp_path / "all")
    levels = everything.loc["g", "merit"].index[[3, 50, 200]].tolist()
    jobs = f'run = ["pev"]\npev = {{ factor = "merit", levels = {json.dumps(levels)}, rtol = 1e-10 }}'
    file = with_job(small, "some", jobs, MERIT)
    two = together(file, tmp_path / "two", mpiexec)
    run(file, Settings(out=tmp_path / "one"))
    one = table(tmp_path / "one")
    assert one.index.equals(two.index)
    for found in (one, two):
        mine = found.loc["g", "merit"]
        np.testing.assert_allclose(mine["value"], everything.loc["g", "merit"]["value"], atol=1e-5)
        np.testing.assert_allclose(found.loc["pe", "place"]["value"], everything.loc["pe", "place"]["value"], atol=1e-5)
        assert mine["se"].notna().sum() == 3
        expected = everything.loc["g", "merit"].loc[levels, ["se", "reliability"]]
        np.testing.assert_allclose(mine.loc[levels, ["se", "reliability"]], expected, rtol=1e-6)
        assert found.loc["pe", "place"]["se"].isna().all()


def test_samples_over_processes(small: Path, tmp_path: Path, mpiexec: str) -> None:
    run(with_job(small, "all", 'run = ["pev"]', MERIT), Settings(out=tmp_path / "all"))
    jobs = 'run = ["pev"]\npev = { method = "sampling", samples = 60 }'
    found = together(with_job(small, "sampled", jobs, MERIT), tmp_path / "two", mpiexec)
    everything = table(tmp_path / "all")
    for factor, name in (("g", "merit"), ("pe", "place")):
        mine, theirs = found.loc[factor, name], everything.loc[factor, name]
        z = (mine["reliability"] - theirs["reliability"]) / mine["reliability_mc_se"]
        assert 0.4 < np.sqrt(np.mean(z**2)) < 1.6
        assert (mine["se_mc_se"] > 0.0).all()


def test_at_the_estimates_of_reml(tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=500, traits=("y1", "y2"), seed=2), tmp_path / "data")
    merit = MERIT.split("[index.place]")[0]
    file = with_job(tmp_path / "data" / "model.toml", "reml", 'run = ["reml"]\nreml = { start = "simpler" }', merit)
    run(file, Settings(out=tmp_path / "out"))
    found = table(tmp_path / "out")
    expected = 2 * found.loc["g", "u1"]["value"] - 0.5 * found.loc["g", "u2"]["value"]
    pd.testing.assert_series_equal(found.loc["g", "merit"]["value"], expected, check_names=False)
