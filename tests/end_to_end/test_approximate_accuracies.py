"""Approximate accuracies beside the exact ones, on simulated evaluations of each kind of model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from henderson.jobs.run import Settings, run
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig

HENDERSON = Path(sys.executable).parent / "henderson"
CASES = {
    "two traits": SimulationConfig(animals=4000, traits=("y1", "y2"), missing=0.3, seed=2),
    "permanent environment": SimulationConfig(animals=4000, traits=("y1",), repeats=3, seed=3, herds=40),
    "maternal": SimulationConfig(animals=6000, traits=("y1",), maternal=True, recorded="all", seed=4, sires=30),
    "maternal, random mating": SimulationConfig(
        animals=4000, traits=("y1",), maternal=True, recorded="all", seed=4, pedigree="random", sires=10
    ),
    "random mating": SimulationConfig(animals=4000, traits=("y1",), pedigree="random", seed=1),
}


def with_job(model: Path, method: str, options: str = "") -> Path:
    file = model.with_name(f"{method}.toml")
    jobs = f'[jobs]\nrun = ["pev"]\npev = {{ method = "{method}"{options} }}\n'
    file.write_text(model.read_text(encoding="utf-8").split("[jobs]")[0] + jobs, encoding="utf-8")
    return file


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "solutions.csv", dtype={"level": str}).set_index(["factor", "subfactor", "level"])


@pytest.mark.parametrize("name", CASES)
def test_near_the_exact_ones(name: str, tmp_path: Path) -> None:
    simulate(CASES[name], tmp_path / "data")
    found = {}
    for method in ("direct", "approximate"):
        out = tmp_path / method
        record = run(with_job(tmp_path / "data" / "model.toml", method), Settings(out=out)).record
        found[method] = table(out)
    assert [job["job"] for job in record["jobs"]] == ["solve", "pev"]
    assert record["jobs"][1]["method"] == "approximate"
    exact, near = found["direct"], found["approximate"]
    pd.testing.assert_series_equal(near["value"], exact["value"], rtol=1e-5, atol=1e-4)
    for subfactor, theirs in exact.loc["g"].groupby("subfactor"):
        mine = near.loc["g"].loc[[subfactor]].reindex(theirs.index)
        assert np.corrcoef(mine["reliability"], theirs["reliability"])[0, 1] > 0.98
        assert abs((mine["reliability"] - theirs["reliability"]).mean()) < 0.02
        prior = theirs["se"] ** 2 / (1.0 - theirs["reliability"])  # (1 + F) sigma: the same definition
        np.testing.assert_allclose(mine["se"] ** 2 / (1.0 - mine["reliability"]), prior, rtol=1e-6)


def test_without_calibration_the_level_of_generations_is_missing(tmp_path: Path) -> None:
    """Where all descend from few: a function of the generation, which exact variances of some animals tell."""
    simulate(CASES["maternal, random mating"], tmp_path / "data")
    found = {}
    for name, method, options in (
        ("exact", "direct", ""),
        ("none", "approximate", ", exact = 0"),
        ("by default", "approximate", ""),
        ("twelve", "approximate", ", exact = 12"),
    ):
        file = with_job(tmp_path / "data" / "model.toml", method, options)
        record = run(file, Settings(out=tmp_path / name)).record
        found[name] = table(tmp_path / name).loc["g"].loc[["m1"]]["reliability"]
    assert record["jobs"][1]["exact"] == 12
    exact = found.pop("exact")
    found = {name: values.reindex(exact.index) for name, values in found.items()}
    off = {name: values - exact for name, values in found.items()}
    near = {name: np.corrcoef(values, exact)[0, 1] for name, values in found.items()}
    assert near["none"] < 0.97
    assert off["none"].mean() > 0.03
    for name in ("by default", "twelve"):
        assert near[name] > 0.985
        assert abs(off[name].mean()) < 0.01


def test_random_regressions_and_contributions(tmp_path: Path) -> None:
    simulate_testday(TestDayConfig(scale=0.0002), tmp_path / "data")
    model = tmp_path / "data" / "model.toml"
    exact_file, near_file = with_job(model, "direct"), with_job(model, "approximate", ", contributions = true")
    run(exact_file, Settings(out=tmp_path / "direct"))
    run(near_file, Settings(out=tmp_path / "approximate"))
    exact, near = table(tmp_path / "direct"), table(tmp_path / "approximate")
    for factor in ("g", "pe"):
        for subfactor, theirs in exact.loc[factor].groupby("subfactor"):
            mine = near.loc[factor].loc[[subfactor]].reindex(theirs.index)
            assert abs((mine["reliability"] - theirs["reliability"]).mean()) < 0.05
            if factor == "g":
                assert np.corrcoef(mine["reliability"], theirs["reliability"])[0, 1] > 0.98
    assert near.loc["hy"]["se"].isna().all()  # shared by animals
    found = pd.read_csv(tmp_path / "approximate" / "contributions.csv", dtype={"level": str})
    assert list(found.columns) == ["factor", "subfactor", "level", "erc", "edc", "dyd"]
    assert set(found["factor"]) == {"g"}
    assert (found["erc"].dropna() > 0.0).all()


def test_refused_over_processes(tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=100, traits=("y1",)), tmp_path / "data")
    file = with_job(tmp_path / "data" / "model.toml", "approximate")
    command = [str(HENDERSON), "run", str(file), "--out", str(tmp_path / "out"), "--engine", "petsc"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "--engine embedded" in done.stderr
