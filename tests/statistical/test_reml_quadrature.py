"""The log-likelihood by stochastic Lanczos quadrature against factors: its value, its error, its differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from henderson.equations.assembly import Assembled, assemble
from henderson.equations.columns import ColumnOperator
from henderson.equations.design import build_design
from henderson.equations.model import LevelSigmas
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.equations.samples import refuse_own_sigmas
from henderson.errors import NotSupportedError
from henderson.language.spec import ModelSpec
from henderson.partitions.threads import Team
from henderson.reml.likelihood import Likelihood, Point
from henderson.reml.monte_carlo import SampledLikelihood
from henderson.reml.quadrature import log_determinant, sampled_log_likelihood, traces_of_log, without_fixed
from henderson.reml.sampled_value import Sampled
from henderson.reml.setup import set_up
from henderson.solvers.lanczos import Coefficients
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.store.model_data import ModelData
from oracles.small_models import Recipe, small_model

MODELS = {
    "pedigree": Recipe(maternal=True, permanent=True, weights=True, n_animals=100, n_records=160),
    "wide": Recipe(n_traits=4, regression=True, permanent=True, n_animals=50, n_records=120, seed=1),
    "dependent": Recipe(interaction=True, nested=True, overlay=True, n_animals=80, n_records=200, seed=2),
}
SEEDS = 40
K = 24


def random_rows(operator: Operator, assembled: Assembled) -> np.ndarray:
    groups = zip(assembled.number, operator.design.groups, strict=True)
    return np.concatenate([n[n >= 0] for n, group in groups if group.covariance is not None])


@pytest.mark.parametrize("part", ["reml", "ml"])
@pytest.mark.parametrize("name", MODELS)
def test_log_determinant_and_its_error(name: str, part: str) -> None:
    spec, data = small_model(MODELS[name])
    with Team(1) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team)
        assembled = assemble(operator)
        C = assembled.matrix.toarray()
        if part == "ml":
            rows = random_rows(operator, assembled)
            C, operator = C[np.ix_(rows, rows)], without_fixed(operator)
        M = BlockPreconditioner(operator)
        found = [log_determinant(operator, M, K, 100 * seed) for seed in range(SEEDS)]
    assert operator.design.n_equations == len(C)
    if name == "dependent":
        assert operator.design.dropped
    exact = np.linalg.slogdet(C)[1]
    values = np.array([f.value for f in found])
    errors = np.array([f.mc_se for f in found])
    assert abs(values.mean() - exact) < 3.0 * values.std() / np.sqrt(SEEDS)
    assert np.mean(np.abs(values - exact) < 3.0 * errors) > 0.92
    assert 0.75 < values.std() / np.sqrt(np.mean(errors**2)) < 1.3  # known to 1 / sqrt(80), 11 %


def test_preconditioner_log_determinant() -> None:
    spec, data = small_model(MODELS["dependent"])
    with Team(1) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team, 3)
        n = operator.design.n_equations
        for kind in ("border", "block", "diagonal"):
            M = BlockPreconditioner(operator, kind)  # type: ignore[arg-type]
            assembled = assemble(operator)
            units = [operator.from_levels(assembled.to_levels(e)) for e in np.eye(n)]
            dense = np.empty((n, n))
            for j, unit in enumerate(units):
                z = operator.zeros()
                M.apply(unit, z)
                for number, values in zip(assembled.number, operator.to_levels(z), strict=True):
                    dense[number[number >= 0], j] = values[number >= 0]
            assert M.log_determinant() == pytest.approx(-np.linalg.slogdet(dense)[1], rel=1e-10)
            for number, values in zip(assembled.number, operator.to_levels(M.inverse_diagonal()), strict=True):
                np.testing.assert_allclose(values[number >= 0], np.diag(dense)[number[number >= 0]], rtol=1e-10)
                assert not values[number < 0].any()


def test_quadrature_is_exact_for_its_polynomials() -> None:
    """Weights are those of eta: f = 1 gives eta'M^-1 eta, f = 1 / x gives eta'C^-1 eta."""
    spec, data = small_model(MODELS["pedigree"])
    with Team(1) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team)
        M = BlockPreconditioner(operator)
        columns = ColumnOperator(operator, 5)
        rng = np.random.default_rng(3)
        eta = [rng.normal(size=v.shape) for v in columns.zeros()]
        columns.blank(eta)
        steps = Coefficients()
        report = pcg_columns(columns, M, eta, rtol=1e-12, coefficients=steps)
        z = columns.zeros()
        M.descend_columns(np.zeros(5), columns.zeros(), eta, z)
        n = operator.n_owned[0]
        for j, (nodes, weights) in enumerate(steps.quadratures(5)):
            assert nodes.min() > 0
            assert weights.sum() == pytest.approx(eta[0][:n, j] @ z[0][:n, j], rel=1e-10)
            assert (weights / nodes).sum() == pytest.approx(eta[0][:n, j] @ report.solution[0][:n, j], rel=1e-9)


def test_no_probe_is_needed_where_the_logarithm_is_a_line() -> None:
    """Two eigenvalues: a line goes through both, and the estimate is exact whatever the weights (8 in all, trace 8)."""
    rules = [(np.array([0.5, 2.0]), np.array([w, 8.0 - w])) for w in (5.0, 6.0, 16.0 / 3.0)]
    slope = np.log(4.0) / 1.5
    np.testing.assert_allclose(traces_of_log(rules)[0], 8.0 * (np.log(2.0) - slope), atol=1e-12)


def exact_and_sampled(
    spec: ModelSpec, data: ModelData, *, reml: bool, n_samples: int = 48
) -> tuple[Likelihood, Point, Sampled]:
    problem = set_up(spec, data, reml=reml)
    exact = problem.likelihood.evaluate(problem.starts)
    assert exact is not None
    with Team(1) as team:
        operator = build_operator(problem.design, data, team)
        sampled = SampledLikelihood(operator, n_samples=8, rtol=1e-8)
        point = sampled.evaluate(problem.starts)
        assert point is not None
        found = sampled_log_likelihood(sampled, point, n_samples=n_samples, reml=reml)
    return problem.likelihood, exact, found


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_log_likelihood(name: str, reml: bool) -> None:
    spec, data = small_model(MODELS[name])
    _, exact, found = exact_and_sampled(spec, data, reml=reml)
    assert abs(found.value - exact.loglik) < 3.0 * found.mc_se
    assert found.mc_se < 3.0


@pytest.mark.parametrize("change", ["another value", "without pe", "without maternal"])
def test_differences_know_their_error(change: str) -> None:
    """Common random numbers: the error of a difference is much less than that of its parts."""
    recipe = Recipe(permanent=True, maternal=True, n_animals=150, n_records=300, n_traits=1, missing=0.0)
    spec, data = small_model(recipe)
    other = {
        "another value": replace(
            spec,
            variances=tuple(
                replace(v, sigma=tuple(tuple(1.1 * x for x in row) for row in v.sigma or ())) for v in spec.variances
            ),
        ),
        "without pe": small_model(replace(recipe, permanent=False))[0],
        "without maternal": small_model(replace(recipe, maternal=False))[0],
    }[change]
    # the same values of what both models have
    if change != "another value":
        sigma = {v.name: np.array(v.sigma) for v in spec.variances}
        for v in other.variances:
            n = len(v.sigma or ())
            other = _with(other, v.name, sigma[v.name][:n, :n])
        if change == "without pe":
            spec = _with(spec, "pe", np.array([[1e-3]]))
        else:
            spec = _with(spec, "g", np.diag([sigma["g"][0, 0], 1e-3]))
    _, exact, one = exact_and_sampled(spec, data, reml=True)
    _, exact_other, two = exact_and_sampled(other, data, reml=True)
    difference = one.minus(two)
    assert abs(difference.value - (exact.loglik - exact_other.loglik)) < 3.0 * difference.mc_se
    share = 0.7 if change == "without maternal" else 0.1  # its pedigree has noise of its own
    assert difference.mc_se < share * one.mc_se
    with pytest.raises(ValueError, match="not pairs"):
        one.minus(Sampled(two.samples[:-1], two.controls[:, :-1]))


def _with(spec: ModelSpec, name: str, sigma: np.ndarray) -> ModelSpec:
    value = tuple(tuple(row) for row in sigma.tolist())
    return replace(spec, variances=tuple(replace(v, sigma=value) if v.name == name else v for v in spec.variances))


def test_the_same_for_any_number_of_partitions() -> None:
    spec, data = small_model(MODELS["pedigree"])
    found = []
    for partitions in (1, 3):
        with Team(1) as team:
            operator = build_operator(full_rank(build_design(spec, data)), data, team, partitions)
            found.append(log_determinant(operator, BlockPreconditioner(operator), 40, 1, rtol=1e-6).samples)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)


def test_control_variates() -> None:
    """A perfect one leaves no error; one that does not vary, or is there twice, changes nothing."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=20)
    perfect = Sampled(3.0 + 2.0 * x, x[None])
    assert perfect.value == pytest.approx(3.0, rel=1e-12)
    assert perfect.mc_se < 1e-12
    y = rng.normal(size=20)
    plain, once = Sampled(y, np.zeros((1, 20))), Sampled(y, x[None])
    assert plain.value == pytest.approx(y.mean())
    assert plain.mc_se == pytest.approx(y.std(ddof=1) / np.sqrt(20))
    twice = Sampled(y, np.stack([x, 2.0 * x, np.zeros(20)]))
    assert (twice.value, twice.mc_se) == pytest.approx((once.value, once.mc_se))
    assert Sampled(y[:1], x[None, :1]).mc_se == np.inf
    assert str(plain) == f"{plain.value:.4f} +- {plain.mc_se:.2g}"


def test_user_matrix_is_refused() -> None:
    spec, data = small_model(Recipe(matrix=True))
    with Team(1) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team)
        with pytest.raises(NotSupportedError, match="user matrix of 'k'"):
            log_determinant(operator, BlockPreconditioner(operator), 4, 1)


def test_sigmas_of_levels_are_refused() -> None:
    spec, data = small_model(Recipe(permanent=True))
    design = full_rank(build_design(spec, data))
    one = LevelSigmas(2, {}, np.eye(2).reshape(1, -1), None, {}, None)
    groups = tuple(
        g if g.covariance is None else replace(g, covariance=replace(g.covariance, own=one)) for g in design.groups
    )
    with pytest.raises(NotSupportedError, match="levels have a Sigma of their own"):
        refuse_own_sigmas(replace(design, groups=groups))
    refuse_own_sigmas(design)
