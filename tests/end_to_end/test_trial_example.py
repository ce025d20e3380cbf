"""The trial of the examples: one maximum in three languages, and the script that its README shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import henderson
from henderson.errors import UsageError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "trial"
FIXED, US = "cbind(bden, veloc) ~ trait", "~ units:us(trait)"


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    return pd.read_csv(EXAMPLE / "trial.csv")


@pytest.fixture(scope="module")
def correlated(trial: pd.DataFrame) -> henderson.Fit:
    return henderson.reml(FIXED, "~ us(trait):Block + us(trait):Family", US, data=trial)


def assert_same(one: henderson.Fit, other: henderson.Fit) -> None:
    assert one.loglik == pytest.approx(other.loglik, abs=1e-5)
    for key, estimate in one.result.sigma.items():
        deviation = np.sqrt(np.diag(estimate.sigma))
        gap = (estimate.sigma - other.result.sigma[key].sigma) / np.outer(deviation, deviation)
        assert np.abs(gap).max() < 1e-4, key


def test_the_data_are_those_of_the_script(tmp_path: Path) -> None:
    subprocess.run([sys.executable, EXAMPLE / "make_trial.py", tmp_path / "trial.csv"], check=True, timeout=120)
    assert (tmp_path / "trial.csv").read_bytes() == (EXAMPLE / "trial.csv").read_bytes()


@pytest.mark.parametrize("name", ["asreml.toml", "lme4.toml", "lmt.toml", "lmt.xml"])
def test_every_language_finds_the_same_maximum(name: str, correlated: henderson.Fit) -> None:
    assert_same(henderson.reml(EXAMPLE / name), correlated)


def test_structures_of_the_families(trial: pd.DataFrame, correlated: henderson.Fit) -> None:
    start = {"Block": np.diag([1.0, 10.0]), "Family": np.diag([1e4, 1e-5]), "res": [[1.0, 0.9], [0.9, 1.0]]}
    absurd = henderson.reml(FIXED, "~ us(trait):Block + us(trait):Family", US, data=trial, start=start)
    assert_same(absurd, correlated)
    corgh = henderson.reml(FIXED, "~ us(trait):Block + corgh(trait):Family", US, data=trial)
    assert_same(corgh, correlated)
    assert corgh.varcomp.loc["Family!veloc:bden.cor", "component"] == pytest.approx(
        correlated.correlation("Family").iloc[1, 0], abs=1e-4
    )
    assert corgh.n_parameters == correlated.n_parameters == 9


def test_univariate_fits_are_the_diagonal_one(trial: pd.DataFrame, correlated: henderson.Fit) -> None:
    diagonal = henderson.reml(
        FIXED, "~ at(trait):Block + at(trait):Family", "~ units:diag(trait)", data=trial, functions={"f": "Family[2,2]"}
    )
    alone = {t: henderson.reml(f"{t} ~ 1", "~ Block + Family", data=trial) for t in ("bden", "veloc")}
    assert diagonal.loglik == pytest.approx(sum(f.loglik for f in alone.values()), abs=1e-5)
    for k, (trait, fit) in enumerate(alone.items()):
        for variance in ("Block", "Family", "res"):
            whole = diagonal.result.sigma[variance, None]
            one = fit.result.sigma[variance, None]
            assert whole.sigma[k, k] == pytest.approx(one.sigma[0, 0], rel=1e-4), (trait, variance)
            assert whole.se[k, k] == pytest.approx(one.se[0, 0], rel=1e-3), (trait, variance)
    test = correlated.lrt(diagonal)
    assert test.df == 3
    assert test.mixture == {3: 1.0}
    assert test.statistic == pytest.approx(2 * (correlated.loglik - diagonal.loglik))
    assert test.p_value < 1e-4


def test_the_script_of_the_readme_runs(tmp_path: Path) -> None:
    picture = tmp_path / "fit.png"
    command = [sys.executable, EXAMPLE / "fit_trial.py", picture]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "Variance components:" in done.stdout
    assert "0.5 chi2(2) + 0.5 chi2(3), an upper bound" in done.stdout
    assert "five densest families" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "-3340.773" in (EXAMPLE / "README.md").read_text()
    assert "logLik -3340.77" in done.stdout


def test_files_of_results_where_they_are_asked_for(tmp_path: Path, correlated: henderson.Fit) -> None:
    fit = henderson.reml(EXAMPLE / "asreml.toml", out=tmp_path / "out")
    assert_same(fit, correlated)
    assert {"run.json", "solutions.csv", "variances.json", "store.zarr"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    assert fit.result.functions["r_g"].value == pytest.approx(correlated.correlation("Family").iloc[0, 1], abs=1e-4)
    with pytest.raises(UsageError, match="write REML into its table"):
        henderson.reml(EXAMPLE / "asreml.toml", out=tmp_path / "out", method="ML")
    by_ml = henderson.reml(EXAMPLE / "asreml.toml", method="ML")
    assert by_ml.method == "ML"
    assert by_ml.loglik > fit.loglik
    with pytest.raises(UsageError, match="'max_rund'"):
        henderson.reml(EXAMPLE / "asreml.toml", max_rund=3)
