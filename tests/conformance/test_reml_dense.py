"""Log-likelihood, score, average information and selected inverse against their dense definitions, model by model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from henderson.language.spec import ModelSpec
from henderson.reml.setup import Problem, set_up
from henderson.store.model_data import ModelData
from oracles.dense_reml import DenseModel, dense_model
from oracles.small_models import Recipe, positive_definite, small_model

RECIPES = {
    "univariate": Recipe(seed=1, n_traits=1),
    "bivariate, missing": Recipe(seed=2),
    "three traits": Recipe(seed=3, n_traits=3, n_records=40),
    "weights, maternal": Recipe(seed=4, weights=True, maternal=True),
    "permanent, nested": Recipe(seed=5, permanent=True, nested=True),
    "user matrix, interaction": Recipe(seed=6, matrix=True, interaction=True),
    "random regression": Recipe(seed=7, regression=True, n_records=40),
    "selfing, overlay": Recipe(seed=8, selfing=True, overlay=True),
    "unequal models, shared": Recipe(seed=9, unequal=True, shared=True),
}
STRUCTURES = ["us", "corgh", "diag", "cs", "id"]


def model(recipe: Recipe, by: bool = False) -> tuple[ModelSpec, ModelData]:
    spec, data = small_model(recipe)
    if by:
        classes = dict(data.records.classes)
        classes["herd"] = np.minimum(classes["herd"], 2).astype(np.int32)
        data = replace(data, records=replace(data.records, classes=classes))
        spec = replace(spec, variances=tuple(replace(v, by="herd") if v.name == "res" else v for v in spec.variances))
    return spec, data


def random_sigmas(problem: Problem, rng: np.random.Generator) -> list[np.ndarray]:
    return [np.array(positive_definite(rng, s.size)) for s in problem.structures]


def named(problem: Problem, sigmas: list[np.ndarray]) -> dict[tuple[str, str | None], np.ndarray]:
    return dict(zip(problem.keys, sigmas, strict=True))


def cases() -> list[tuple[Recipe, bool]]:
    return [*((r, False) for r in RECIPES.values()), (RECIPES["bivariate, missing"], True)]


@pytest.fixture(scope="module", params=cases(), ids=[*RECIPES, "residual by class"])
def both(request: pytest.FixtureRequest) -> tuple[Problem, Problem, DenseModel]:
    recipe, by = request.param
    spec, data = model(recipe, by)
    return set_up(spec, data), set_up(spec, data, reml=False), dense_model(spec, data)


def test_loglik_is_the_dense_one(both: tuple[Problem, Problem, DenseModel]) -> None:
    reml, ml, dense = both
    rng = np.random.default_rng(11)
    a, b = random_sigmas(reml, rng), random_sigmas(reml, rng)
    for problem, restricted in ((reml, True), (ml, False)):
        ours = [problem.likelihood.evaluate(s).loglik for s in (a, b)]
        theirs = [dense.loglik(named(reml, s), restricted) for s in (a, b)]
        # which of dependent columns of X stays moves REML's value by a constant
        assert ours[0] - ours[1] == pytest.approx(theirs[0] - theirs[1], rel=1e-9, abs=1e-8)
        if not restricted:
            assert ours == pytest.approx(theirs, rel=1e-9)
    assert reml.likelihood.n_fixed == dense.X.shape[1]
    assert reml.likelihood.n_observations == len(dense.y)


def test_score_is_the_slope_of_the_dense_loglik(both: tuple[Problem, Problem, DenseModel]) -> None:
    reml, ml, dense = both
    rng = np.random.default_rng(12)
    sigmas = random_sigmas(reml, rng)
    for problem, restricted in ((reml, True), (ml, False)):
        point = problem.likelihood.evaluate(sigmas)
        problem.likelihood.differentiate(point)
        for k, gradient in enumerate(point.gradients):
            B = rng.normal(size=gradient.shape)
            d = B + B.T
            slopes = []
            for h in (1e-3, 5e-4):
                up, down = list(sigmas), list(sigmas)
                up[k], down[k] = sigmas[k] + h * d, sigmas[k] - h * d
                rise = dense.loglik(named(reml, up), restricted) - dense.loglik(named(reml, down), restricted)
                slopes.append(rise / (2 * h))
            exact = float(np.sum(gradient * d))
            extrapolated = (4 * slopes[1] - slopes[0]) / 3
            assert exact == pytest.approx(extrapolated, rel=1e-6, abs=1e-6)
            errors = [abs(s - exact) for s in slopes]
            if errors[1] > 1e-6:
                assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)  # central differences: order 2


def test_average_information_is_the_dense_formula(both: tuple[Problem, Problem, DenseModel]) -> None:
    reml, _, dense = both
    rng = np.random.default_rng(13)
    sigmas = random_sigmas(reml, rng)
    directions = []
    for s in sigmas:
        B = rng.normal(size=(3, *s.shape))
        directions.append(B + B.transpose(0, 2, 1))
    point = reml.likelihood.evaluate(sigmas)
    ours = reml.likelihood.average_information(point, directions)
    flat = [(key, d) for key, ds in zip(reml.keys, directions, strict=True) for d in ds]
    theirs = dense.average_information(named(reml, sigmas), flat)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9 * np.abs(theirs).max())


def test_selected_inverse_is_the_dense_inverse(both: tuple[Problem, Problem, DenseModel]) -> None:
    reml, _, _ = both
    likelihood = reml.likelihood
    point = likelihood.evaluate(random_sigmas(reml, np.random.default_rng(14)))
    pattern = likelihood.pattern
    values = pattern.values(point.residual, point.inverses)
    rows, columns = pattern.indices, np.repeat(np.arange(pattern.n), np.diff(pattern.indptr))
    C = np.zeros((pattern.n, pattern.n))
    C[rows, columns] = values
    C[columns, rows] = values
    inverse = np.linalg.inv(C)
    np.testing.assert_allclose(likelihood.factor.inverse(), inverse[rows, columns], rtol=1e-8, atol=1e-10)
    assert likelihood.factor.log_determinant == pytest.approx(np.linalg.slogdet(C)[1], rel=1e-10)


@pytest.mark.parametrize(
    ("kind", "constraint"),
    # cs and id say themselves what is equal
    [(k, c) for k in STRUCTURES for c in ("", "fix", "equal") if c != "equal" or k not in ("cs", "id")],
)
def test_derivatives_of_structures(kind: str, constraint: str) -> None:
    from henderson.reml.structures import Structure

    rng = np.random.default_rng(15)
    sigma = np.array(positive_definite(rng, 3))
    if kind in ("diag", "id"):
        sigma = np.diag(np.diag(sigma))
    if kind in ("cs", "id"):
        sigma = np.where(np.eye(3, dtype=bool), 3.0, 0.0 if kind == "id" else 1.0)
    fix = np.zeros((3, 3), np.bool_)
    if constraint == "fix":
        fix[1, 1] = True
        if kind not in ("diag", "id"):
            fix[0, 2] = fix[2, 0] = True
    equal = ()
    if constraint == "equal":
        equal = (((1, 1), (2, 2)),) if kind == "diag" else (((2, 1), (3, 1)),)
        sigma[1, 1] = sigma[0, 0] = 4.0
        sigma[1, 0] = sigma[0, 1] = sigma[2, 0] = sigma[0, 2] = 0.5 if kind != "diag" else 0.0
    structure = Structure(kind, 3, fix, equal, np.array([2.0, 1.0, 5.0]), sigma.copy())
    phi = structure.pack(sigma)
    assert len(phi) == structure.n_free
    if constraint != "equal" or kind != "corgh":
        np.testing.assert_allclose(structure.sigma(phi), sigma, atol=1e-12)
    G = rng.normal(size=(3, 3))
    G = G + G.T
    h = 1e-5
    slopes = structure.derivatives(phi)
    curvature = structure.curvature(phi, G)
    for a in range(len(phi)):
        up, down = phi.copy(), phi.copy()
        up[a] += h
        down[a] -= h
        difference = (structure.sigma(up) - structure.sigma(down)) / (2 * h)
        np.testing.assert_allclose(slopes[a], difference, atol=1e-8)
        bent = np.tensordot(structure.derivatives(up) - structure.derivatives(down), G, 2) / (2 * h)
        np.testing.assert_allclose(curvature[a], bent, atol=1e-6)
