"""Indices: values and accuracies of linear functions of a level, beside the dense inverse of the equations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from henderson.accuracy.gamma import of_data
from henderson.accuracy.index_accuracies import prior_variance
from henderson.accuracy.pev import all_levels, chosen_levels, sampled_levels
from henderson.equations.assembly import assemble
from henderson.language.spec import IndexSpec
from henderson.solvers.solutions import Solutions
from henderson.solvers.solve import Equations
from oracles.small_models import Recipe, small_model

RECIPES = {
    "maternal, two traits": Recipe(seed=3, maternal=True, n_animals=30, n_records=70),
    "traits that share no record": Recipe(seed=4, runs=True, n_animals=25, n_records=60),
    "a Sigma for each level": Recipe(seed=5, own=True, maternal=True, n_animals=25, n_records=60),
    "user matrix and permanent effects": Recipe(seed=6, matrix=True, permanent=True, n_animals=25, n_records=60),
}
Floats = NDArray[np.float64]


def equations_of(recipe: Recipe, *, threads: int = 2) -> Equations:
    """An index of all positions of each random variance, and one of its first and last."""
    spec, data = small_model(recipe)
    rng = np.random.default_rng(1)
    printed: dict[str, list[str]] = {}
    for term in (t for e in spec.equations for t in e.terms):
        subfactor = spec.subfactor(term.subfactor)
        names = [f"{subfactor.name}_{k}" for k in term.polynomials] or [subfactor.name]
        if subfactor.variance is not None:
            mine = printed.setdefault(subfactor.variance, [])
            mine += [n for n in names if n not in mine]
    indices = []
    for variance, names in sorted(printed.items()):
        weights = rng.normal(size=len(names)).tolist()
        indices.append(IndexSpec(f"all {variance}", variance, tuple(sorted(zip(names, weights, strict=True)))))
        ends = {names[0]: 1.0, names[-1]: -0.5}
        indices.append(IndexSpec(f"ends {variance}", variance, tuple(sorted(ends.items()))))
    return Equations(replace(spec, indices=tuple(sorted(indices, key=lambda i: i.name))), data, threads, 2)


def dense(equations: Equations) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, Floats]]:
    """Values, PEV and reliabilities of the indices by level, from the inverse of C."""
    assembled = assemble(equations.operator)
    inverse = np.linalg.inv(assembled.matrix.toarray())
    x = inverse @ assembled.rhs
    values, pev, reliability = {}, {}, {}
    gamma = of_data(equations.data)
    for index in equations.indices:
        covariance = equations.operator.design.groups[index.group].covariance
        assert covariance is not None
        number = assembled.number[index.group]
        values[index.name] = x[number] @ index.weights
        pev[index.name] = np.array([index.weights @ inverse[np.ix_(r, r)] @ index.weights for r in number])
        if covariance.own is None:
            sigma = np.array([covariance.sigma] * len(number))
        else:
            sigma = np.array([s for k in range(len(number)) for s in covariance.own.distinct(np.array([k]))[1]])
        prior = gamma(covariance, np.arange(len(number))) * np.einsum("t,ntu,u->n", index.weights, sigma, index.weights)
        told = prior_variance(index, equations.operator.design, np.arange(len(number)), gamma)
        np.testing.assert_allclose(np.broadcast_to(told, prior.shape), prior, rtol=1e-12)
        reliability[index.name] = 1.0 - pev[index.name] / prior
    return values, pev, reliability


def check(found: Solutions, expected: tuple[dict[str, Floats], ...], rtol: float = 1e-7) -> None:
    values, pev, reliability = expected
    assert [p.subfactor for p in found.indices] == list(values)
    for part in found.indices:
        assert part.se is not None
        assert part.reliability is not None
        np.testing.assert_allclose(part.values, values[part.subfactor], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(part.se**2, pev[part.subfactor], rtol=rtol)
        np.testing.assert_allclose(part.reliability, reliability[part.subfactor], atol=10 * rtol)


@pytest.mark.parametrize("name", RECIPES)
def test_factor_and_solves(name: str) -> None:
    with equations_of(RECIPES[name]) as equations:
        expected = dense(equations)
        assert len(expected[0]) >= 2
        check(all_levels(equations), expected)
        solved = equations.solve(rtol=1e-12)
        for part in solved.indices:
            np.testing.assert_allclose(part.values, expected[0][part.subfactor], rtol=1e-5, atol=1e-7)
        names = [i.name for i in equations.indices]
        check(chosen_levels(equations, solved, names, None, memory=1 << 26, rtol=1e-10), expected, 1e-6)


def test_of_chosen_levels_others_are_not_known() -> None:
    with equations_of(RECIPES["maternal, two traits"]) as equations:
        solved = equations.solve(rtol=1e-12)
        expected = dense(equations)
        first = equations.indices[0]
        assert first.factor == "g"
        labels = equations.operator.design.groups[first.group].labels.text()
        found = chosen_levels(equations, solved, [first.name], labels[4:6], memory=1 << 26, rtol=1e-10)
        mine = next(p for p in found.indices if p.subfactor == first.name)
        assert mine.se is not None
        np.testing.assert_array_equal(np.flatnonzero(~np.isnan(mine.se)), [4, 5])
        np.testing.assert_allclose(mine.se[4:6] ** 2, expected[1][first.name][4:6], rtol=1e-6)
        assert all(p.se is None for p in found.indices if p.factor != "g")


@pytest.mark.parametrize("name", ["maternal, two traits", "user matrix and permanent effects"])
def test_samples(name: str) -> None:
    """The errors are as large as told: standardised by them, few differ by more than 3."""
    with equations_of(RECIPES[name]) as equations:
        found = sampled_levels(equations, equations.solve(rtol=1e-10), memory=1 << 28, n_samples=400, seed=7)
        _, pev, reliability = dense(equations)
        for part in found.indices:
            for mine, error, exact in (
                (part.se, part.se_mc_se, np.sqrt(pev[part.subfactor])),
                (part.reliability, part.reliability_mc_se, reliability[part.subfactor]),
            ):
                assert mine is not None
                assert error is not None
                z = (mine - exact) / error
                assert np.mean(np.abs(z) > 3.0) < 0.04
                assert 0.4 < np.sqrt(np.mean(z**2)) < 1.6
