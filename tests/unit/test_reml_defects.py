"""Fits that once went wrong: held structures at the boundary, checkpoints of others, variances without information."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import henderson
from henderson.errors import ModelError
from henderson.language.spec import ModelSpec
from henderson.reml.fit import RemlOptions, fit_reml
from henderson.store.model_data import ModelData

HELD = [[False, True], [True, False]]


def two_traits(G: list[list[float]], seed: int) -> pd.DataFrame:
    """Two traits of 100 records in 12 groups with covariance matrix `G`, residual variances 1."""
    groups = np.random.default_rng(31).integers(0, 12, 100)
    rng = np.random.default_rng(seed)
    U = rng.normal(size=(12, 2)) @ np.linalg.cholesky(np.array(G) + 1e-9 * np.eye(2)).T
    Y = U[groups] + rng.normal(size=(100, 2))
    return pd.DataFrame({"a": Y[:, 0], "b": Y[:, 1], "S": [f"s{i}" for i in groups]})


def fit(data: pd.DataFrame, random: str, **variance: Any) -> henderson.Fit:
    given = {"S": variance} if variance else None
    return henderson.reml("cbind(a, b) ~ trait", random, "~ units:diag(trait)", data=data, variance=given)


@pytest.mark.parametrize("start", [1.0, 0.1, 0.01])
def test_held_covariance_with_a_variance_that_vanishes(start: float) -> None:
    data = two_traits([[1e-9, 0], [0, 1]], 1)
    want = fit(data, "~ diag(trait):S")
    got = fit(data, "~ us(trait):S", sigma=[[start, 0], [0, start]], fix=HELD)
    assert got.converged
    assert abs(got.loglik - want.loglik) < 1e-3
    ours, theirs = got.result.sigma["S", None], want.result.sigma["S", None]
    assert ours.sigma[1, 1] == pytest.approx(theirs.sigma[1, 1], rel=1e-3)
    assert ours.se[1, 1] == pytest.approx(theirs.se[1, 1], rel=1e-2)


def test_equal_variances_that_vanish() -> None:
    data = two_traits([[1e-9, 0], [0, 1e-9]], 7)
    got = fit(data, "~ us(trait):S", equal=[["1,1", "2,2"]], sigma=[[1, 0.1], [0.1, 1]])
    assert got.converged
    assert got.loglik == pytest.approx(-85.014, abs=2e-3)


def test_held_correlation_keeps_its_sign() -> None:
    data = two_traits([[1, 0], [0, 1]], 3)
    got = fit(data, "~ corgh(trait):S", sigma=[[1, 0.999], [0.999, 1]], fix=HELD)
    assert got.converged
    assert got.result.sigma["S", None].correlation[1, 0] == pytest.approx(0.999)
    assert got.loglik == pytest.approx(-158.83, abs=0.01)


def test_traits_of_very_different_scales() -> None:
    data = two_traits([[1, 0.5], [0.5, 1]], 5)
    want = fit(data, "~ diag(trait):S")
    scaled = data.assign(a=data["a"] * 1e6, b=data["b"] * 1e-6)
    got = fit(scaled, "~ diag(trait):S")
    assert got.converged
    ratio = np.diag(got.result.sigma["S", None].sigma) / np.diag(want.result.sigma["S", None].sigma)
    assert ratio == pytest.approx([1e12, 1e-12], rel=1e-3)


def problem_of(data: pd.DataFrame) -> tuple[ModelSpec, ModelData]:
    done = henderson.reml("a ~ 1", "~ S", data=data).result
    spec = replace(done.spec, variances=tuple(replace(v, sigma=None) for v in done.spec.variances))
    return spec, done.data


def test_checkpoint_of_other_records_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    options = RemlOptions(checkpoint=str(path))
    spec, data = problem_of(two_traits([[1, 0], [0, 1]], 3))
    first = fit_reml(spec, data, options=options)
    assert fit_reml(spec, data, options=options).rounds == 0  # its own: nothing is left to do
    others = problem_of(two_traits([[1, 0], [0, 1]], 4))
    other = fit_reml(*others, options=options)
    assert other.history[0].loglik == pytest.approx(fit_reml(*others).history[0].loglik)
    written = json.loads(path.read_text())
    written["sigmas"] = [[[float("nan")]] for _ in written["sigmas"]]
    path.write_text(json.dumps(written))
    again = fit_reml(*others, options=options)
    assert again.loglik == pytest.approx(other.loglik, abs=1e-6)
    assert first.loglik != pytest.approx(other.loglik, abs=1e-3)


def test_variance_without_information() -> None:
    data = two_traits([[1, 0], [0, 1]], 3)
    got = henderson.reml("a ~ S", "~ S", data=data).result
    found = {p.name: p for p in got.parameters}
    assert found["S"].constraint == "not estimable"
    assert found["S"].se is None
    assert found["res"].se is not None
    assert got.n_parameters == 1


def test_functions_of_a_variance_at_the_boundary_have_no_standard_error() -> None:
    data = two_traits([[1e-9, 0], [0, 1]], 1)
    functions = {"h": "S[1,1] / (S[1,1] + res[1,1])", "total": "2 * res[1,1]"}
    got = henderson.reml("a ~ 1", "~ S", data=data, functions=functions).result
    assert got.parameters[0].constraint == "boundary"
    assert np.isnan(got.functions["h"].se)
    assert got.functions["total"].se > 0.0


def test_constant_response_is_refused() -> None:
    data = two_traits([[1, 0], [0, 1]], 3).assign(a=4.0)
    with pytest.raises(ModelError, match="trait 'a' is 4 in all its 100 records"):
        henderson.reml("a ~ 1", "~ S", data=data)


def test_functions_name_residual_variances_by_class() -> None:
    data = two_traits([[1, 0], [0, 1]], 3)
    data["sex"] = np.where(np.arange(len(data)) % 2 == 0, "F", "M")
    by_sex = {"data": data, "random": "~ S", "residual": "~ at(sex):units"}
    got = henderson.reml("a ~ 1", functions={"r": "res.F[1,1]"}, **by_sex).result
    estimate = got.sigma["res", "F"]
    assert got.functions["r"].value == pytest.approx(estimate.sigma[0, 0])
    assert got.functions["r"].se == pytest.approx(estimate.se[0, 0])
    for wrong in ("res[1,1]", "res.Z[1,1]"):
        with pytest.raises(ModelError, match=r"there are S, res\.F, res\.M"):
            henderson.reml("a ~ 1", functions={"r": wrong}, **by_sex)
