"""Fits of small models: the same maximum from everywhere, boundaries, what is held, restarts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from henderson.language.spec import Equation, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.reml.fit import RemlFit, RemlOptions, RemlStop, fit_reml
from henderson.store.model_data import ModelData
from oracles.trials import GROUPS, no_values, trial, with_variances


@pytest.fixture(scope="module")
def bivariate() -> tuple[ModelSpec, ModelData, RemlFit]:
    spec, data = trial(missing=0.1)
    return spec, data, fit_reml(no_values(spec), data)


def test_twelve_random_starts_reach_the_same_maximum(bivariate: tuple[ModelSpec, ModelData, RemlFit]) -> None:
    spec, data, best = bivariate
    rng = np.random.default_rng(5)
    for _ in range(12):
        starts = {}
        for name in ("g", "res"):
            B = rng.normal(size=(2, 3))
            scale = 10.0 ** rng.uniform(-4, 4, 2)
            sigma = B @ B.T * np.sqrt(np.outer(scale, scale))
            starts[name] = {"sigma": tuple(map(tuple, sigma.tolist()))}
        fit = fit_reml(with_variances(spec, **starts), data)
        assert fit.stop_reason is RemlStop.CONVERGED
        assert fit.loglik == pytest.approx(best.loglik, abs=1e-6)
        values = [p.value for p in fit.parameters]
        assert values == pytest.approx([p.value for p in best.parameters], rel=1e-3)


@pytest.mark.parametrize("start", ["data", "simpler"])
def test_starts_from_the_data_and_from_simpler_models(
    start: str, bivariate: tuple[ModelSpec, ModelData, RemlFit]
) -> None:
    spec, data, best = bivariate
    fit = fit_reml(spec, data, options=RemlOptions(start=start))
    assert fit.stop_reason is RemlStop.CONVERGED
    assert fit.loglik == pytest.approx(best.loglik, abs=1e-6)
    assert fit.rounds <= 8


def test_correlations_have_the_same_maximum_as_covariances(bivariate: tuple[ModelSpec, ModelData, RemlFit]) -> None:
    spec, data, us = bivariate
    both = {"structure": "corgh"}
    fit = fit_reml(with_variances(no_values(spec), g=both, res=both), data)
    assert fit.loglik == pytest.approx(us.loglik, abs=1e-7)
    for key, estimate in us.sigma.items():
        np.testing.assert_allclose(fit.sigma[key].sigma, estimate.sigma, rtol=1e-4)
        np.testing.assert_allclose(fit.sigma[key].correlation_se[0, 1], estimate.correlation_se[0, 1], rtol=1e-3)
    named = {p.name: p for p in fit.parameters}
    assert named["cor(g[2,1])"].value == pytest.approx(us.sigma["g", None].correlation[0, 1], rel=1e-4)
    assert named["cor(g[2,1])"].se == pytest.approx(us.sigma["g", None].correlation_se[0, 1], rel=1e-3)


def test_the_diagonal_bivariate_fit_is_two_univariate_ones() -> None:
    spec, data = trial()
    diagonal = fit_reml(with_variances(no_values(spec), g={"structure": "diag"}, res={"structure": "diag"}), data)
    total = 0.0
    for k, equation in enumerate(spec.equations):
        alone = replace(
            no_values(spec),
            equations=(equation,),
            subfactors=(SubFactor(f"m{k}"), SubFactor(f"u{k}", "g", (1,))),
        )
        fit = fit_reml(alone, data)
        total += fit.loglik
        assert fit.sigma["g", None].sigma[0, 0] == pytest.approx(diagonal.sigma["g", None].sigma[k, k], rel=1e-5)
        assert fit.parameters[0].se == pytest.approx(diagonal.parameters[k].se, rel=1e-4)
    assert total == pytest.approx(diagonal.loglik, abs=1e-7)
    full = fit_reml(no_values(spec), data)
    assert full.loglik > diagonal.loglik
    assert full.n_parameters == diagonal.n_parameters + 2


def test_balanced_data_have_the_estimates_of_the_analysis_of_variance() -> None:
    spec, data = trial()
    fit = fit_reml(no_values(spec), data)
    y = np.array([data.records.responses[t] for t in "ab"]).reshape(2, GROUPS, -1)
    n = y.shape[2]
    means = y.mean(axis=2)
    within = np.einsum("tgr,ugr->tu", y - means[:, :, None], y - means[:, :, None]) / (GROUPS * (n - 1))
    between = np.cov(means) * n
    np.testing.assert_allclose(fit.sigma["res", None].sigma, within, rtol=1e-6)
    np.testing.assert_allclose(fit.sigma["g", None].sigma, (between - within) / n, rtol=1e-5)


def test_everything_held_returns_the_likelihood_there() -> None:
    spec, data = trial()
    held = {"fix": ((True, True), (True, True))}
    fit = fit_reml(with_variances(spec, g=held, res=held), data)
    assert fit.stop_reason is RemlStop.ALL_FIXED
    assert fit.n_parameters == 0
    assert {p.constraint for p in fit.parameters} == {"fixed"}
    assert fit.sigma["g", None].sigma.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_held_and_equal_elements() -> None:
    spec, data = trial(genetic=0.0)
    best = fit_reml(no_values(spec), data)
    start = {"sigma": ((120.0, 0.0), (0.0, 0.003)), "fix": ((False, True), (True, False))}
    fit = fit_reml(with_variances(no_values(spec), g=start), data)
    diagonal = fit_reml(with_variances(no_values(spec), g={"structure": "diag"}), data)
    assert fit.stop_reason is RemlStop.CONVERGED
    assert fit.sigma["g", None].sigma[0, 1] == 0.0
    assert fit.loglik == pytest.approx(diagonal.loglik, abs=1e-6)
    assert fit.loglik < best.loglik
    assert [p.constraint for p in fit.parameters if p.variance == "g"] == ["free", "fixed", "free"]
    same = replace(
        data,
        records=replace(
            data.records, responses={"a": data.records.responses["a"]} | {"b": data.records.responses["b"] * 200.0}
        ),
    )
    equal = fit_reml(with_variances(no_values(spec), res={"equal": (((1, 1), (2, 2)),)}), same)
    assert equal.stop_reason is RemlStop.CONVERGED
    sigma = equal.sigma["res", None].sigma
    assert sigma[0, 0] == pytest.approx(sigma[1, 1], rel=1e-12)
    assert [p.constraint for p in equal.parameters if p.variance == "res"] == ["free", "free", "equal"]


def test_compound_symmetry_and_identity_are_nested_in_unstructured() -> None:
    spec, data = trial()
    data = replace(
        data,
        records=replace(
            data.records, responses={t: y / (1, 0.005)[t == "b"] for t, y in data.records.responses.items()}
        ),
    )
    logliks = [
        fit_reml(with_variances(no_values(spec), g={"structure": kind}), data).loglik for kind in ("id", "cs", "us")
    ]
    assert logliks == sorted(logliks)
    assert fit_reml(with_variances(no_values(spec), g={"structure": "id"}), data).n_parameters == 4


def test_a_correlation_of_one_is_named_boundary_and_its_error_withheld() -> None:
    spec, data = trial(seed=3)
    a = data.records.responses["a"]
    rng = np.random.default_rng(8)
    family = data.records.classes["family"]
    means = np.array([a[family == f].mean() for f in range(GROUPS)])
    b = means[family] / 20.0 + rng.normal(size=len(a)) * 0.5
    data = replace(data, records=replace(data.records, responses={"a": a, "b": b}))
    fit = fit_reml(no_values(spec), data)
    assert fit.stop_reason is RemlStop.BOUNDARY
    assert fit.sigma["g", None].correlation[0, 1] > 0.999
    named = {p.name: p for p in fit.parameters}
    assert named["g[2,1]"].constraint == "boundary"
    assert named["g[2,1]"].se is None
    assert named["g[1,1]"].constraint == "free"
    assert named["g[1,1]"].se > 0


def test_a_variance_of_zero_is_named_boundary() -> None:
    spec, data = trial()
    rng = np.random.default_rng(2)
    y = rng.normal(size=(GROUPS, 4))
    y -= 0.98 * y.mean(axis=1, keepdims=True)  # family means vary less than chance has it
    alone = replace(
        no_values(spec), equations=spec.equations[:1], subfactors=(SubFactor("m0"), SubFactor("u0", "g", (1,)))
    )
    data = replace(data, records=replace(data.records, responses={"a": y.ravel()}))
    fit = fit_reml(alone, data)
    assert fit.stop_reason is RemlStop.BOUNDARY
    assert fit.sigma["g", None].sigma[0, 0] < 1e-6
    assert fit.parameters[0].constraint == "boundary"
    assert fit.parameters[0].se is None
    assert fit.parameters[1].value == pytest.approx(np.var(y, ddof=1), rel=1e-4)


def test_confounded_variances_do_not_stop_the_rounds() -> None:
    # Two variances on the same levels: only their sum is known, and the average information is singular.
    spec, data = trial()
    term = Term("family", "p0")
    alone = ModelSpec(
        spec.data,
        (replace(spec.equations[0], terms=(*spec.equations[0].terms, term)),),
        (SubFactor("m0"), SubFactor("p0", "p", (1,)), SubFactor("u0", "g", (1,))),
        (VarianceSpec("g"), VarianceSpec("p"), VarianceSpec("res")),
    )
    fit = fit_reml(alone, data)
    one = replace(
        no_values(spec), equations=spec.equations[:1], subfactors=(SubFactor("m0"), SubFactor("u0", "g", (1,)))
    )
    single = fit_reml(one, data)
    assert fit.stop_reason.converged
    assert fit.loglik == pytest.approx(single.loglik, abs=1e-6)
    values = {p.name: p for p in fit.parameters}
    assert values["g"].value + values["p"].value == pytest.approx(single.parameters[0].value, rel=1e-3)
    assert values["g"].se is None
    assert values["res"].se == pytest.approx(single.parameters[1].se, rel=1e-3)


def test_maximum_likelihood_divides_by_n() -> None:
    spec, data = trial()
    fit = fit_reml(no_values(spec), data, options=RemlOptions(reml=False))
    y = np.array([data.records.responses[t] for t in "ab"]).reshape(2, GROUPS, -1)
    n = y.shape[2]
    means = y.mean(axis=2)
    within = np.einsum("tgr,ugr->tu", y - means[:, :, None], y - means[:, :, None]) / (GROUPS * (n - 1))
    between = np.cov(means, ddof=0) * n
    assert fit.method == "ML"
    np.testing.assert_allclose(fit.sigma["g", None].sigma, (between - within) / n, rtol=1e-4)


def test_em_goes_to_the_same_place_slowly(bivariate: tuple[ModelSpec, ModelData, RemlFit]) -> None:
    spec, data, best = bivariate
    fit = fit_reml(no_values(spec), data, options=RemlOptions(method="em", max_rounds=60))
    logliks = [r.loglik for r in fit.history]
    assert logliks == sorted(logliks)
    assert fit.loglik == pytest.approx(best.loglik, abs=0.01)


def test_rounds_end_and_continue_from_the_checkpoint(tmp_path: Path) -> None:
    spec, data = trial(missing=0.2)
    file = tmp_path / "reml.json"
    whole = fit_reml(spec, data)
    part = fit_reml(spec, data, options=RemlOptions(max_rounds=3, checkpoint=str(file)))
    assert part.stop_reason is RemlStop.MAX_ROUNDS
    rest = fit_reml(spec, data, options=RemlOptions(checkpoint=str(file)))
    assert rest.history[0].loglik >= part.loglik - 1e-9  # from there, or better by one factor for all
    assert rest.rounds < whole.rounds + 3
    assert rest.loglik == pytest.approx(whole.loglik, abs=1e-7)


def test_functions_and_their_errors_by_the_delta_method(bivariate: tuple[ModelSpec, ModelData, RemlFit]) -> None:
    spec, data, best = bivariate
    texts = (("h2", "g[1,1] / (g[1,1] + res[1,1])"), ("r", "g[1,2] / sqrt(g[1,1] * g[2,2])"), ("double", "2 * g[2,2]"))
    fit = fit_reml(replace(no_values(spec), functions=texts), data)
    g, r = fit.sigma["g", None], fit.sigma["res", None]
    index = {p.name: k for k, p in enumerate(fit.parameters)}
    a, e = g.sigma[0, 0], r.sigma[0, 0]
    slope = np.array([e, -a]) / (a + e) ** 2
    at = [index["g[1,1]"], index["res[1,1]"]]
    error = np.sqrt(slope @ fit.covariance[np.ix_(at, at)] @ slope)
    assert fit.functions["h2"].value == pytest.approx(a / (a + e))
    assert fit.functions["h2"].se == pytest.approx(error, rel=1e-6)
    assert fit.functions["r"].se == pytest.approx(g.correlation_se[0, 1], rel=1e-6)
    assert fit.functions["double"].se == pytest.approx(2 * fit.parameters[index["g[2,2]"]].se, rel=1e-8)
    assert best.loglik == pytest.approx(fit.loglik, abs=1e-9)


def test_residual_variances_by_class() -> None:
    spec, data = trial()
    half = data.records.classes["half"]
    y = data.records.responses["a"] * np.where(half == 1, 1.0, 3.0)
    data = replace(data, records=replace(data.records, responses={"a": y}))
    mean = Equation("a", (Term("half", "m0"),))
    alone = ModelSpec(spec.data, (mean,), (SubFactor("m0"),), (VarianceSpec("res", by="half"),))
    fit = fit_reml(alone, data)
    for k in range(2):
        estimate = fit.sigma["res", str(k)].sigma[0, 0]
        assert estimate == pytest.approx(np.var(y[half == k], ddof=1), rel=1e-6)


def test_solutions_have_the_errors_of_the_inverse(bivariate: tuple[ModelSpec, ModelData, RemlFit]) -> None:
    _, _, fit = bivariate
    n = fit.ordering.n_equations
    inverse = fit.inverse_columns(np.eye(n))
    part = next(s for s in fit.solutions if s.subfactor == "u1")
    group = next(g for g, group in enumerate(fit.design.groups) if group.name == "g")
    rows = fit.number[group][:, 1]
    np.testing.assert_allclose(part.se, np.sqrt(np.diag(inverse)[rows]), rtol=1e-9)


def test_standard_errors_and_means_over_replicates() -> None:
    spec, _ = trial()
    alone = replace(
        no_values(spec), equations=spec.equations[:1], subfactors=(SubFactor("m0"), SubFactor("u0", "g", (1,)))
    )
    values, errors = [], []
    for seed in range(200):
        _, data = trial(seed=1000 + seed)
        fit = fit_reml(alone, data)
        values.append([p.value for p in fit.parameters])
        errors.append([p.se or np.nan for p in fit.parameters])
    mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
    truth = np.array([120.0, 400.0])
    assert np.all(np.abs(mean - truth) < 3 * spread / np.sqrt(200))
    assert np.nanmean(errors, axis=0) == pytest.approx(spread, rel=0.1)
