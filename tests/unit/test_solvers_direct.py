"""Direct solutions and diagonals of the inverse, as NumPy has them; indefinite equations refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from henderson.accuracy.pev import pev
from henderson.equations.assembly import BYTES_PER_TRIPLET, Assembled, assemble, triplet_count
from henderson.equations.design import build_design
from henderson.equations.operator import build_operator
from henderson.equations.rank import full_rank
from henderson.errors import ModelError, ResourceError
from henderson.partitions.threads import Team
from henderson.solvers.direct import DirectSolver
from henderson.solvers.report import StopReason
from henderson.solvers.solve import solve_model
from oracles.small_models import Recipe, small_model


@pytest.fixture
def equations() -> Assembled:
    spec, data = small_model(Recipe(seed=4, nested=True, permanent=True, weights=True))
    with Team(1) as team:
        return assemble(build_operator(full_rank(build_design(spec, data)), data, team))


def test_solution_and_diagonal_of_the_inverse(equations: Assembled) -> None:
    solver = DirectSolver(equations)
    report = solver.solve()
    C = equations.matrix.toarray()
    expected = equations.to_levels(np.linalg.solve(C, equations.rhs))
    for got, wanted in zip(report.solution, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
    assert report.reason is StopReason.DIRECT
    assert report.relative_residual < 1e-13
    np.testing.assert_allclose(solver.inverse().diagonal(), np.diag(np.linalg.inv(C)), rtol=1e-9)


@pytest.mark.parametrize("matrix", [np.diag([1.0, -1.0, 1.0]), np.array([[1.0, 2.0], [2.0, 1.0]])])
def test_indefinite_equations_are_refused(matrix: np.ndarray) -> None:
    n = len(matrix)
    with pytest.raises(ModelError, match="not positive definite"):
        DirectSolver(Assembled(csr_array(matrix), np.ones(n), (np.arange(n)[:, None],)))


def test_methods_agree() -> None:
    spec, data = small_model(Recipe(seed=9, maternal=True, matrix=True))
    iterated = solve_model(spec, data, rtol=1e-12)
    diagonal = solve_model(spec, data, rtol=1e-12, preconditioner="diagonal")
    solved = solve_model(spec, data, method="direct")
    assert iterated.n_equations == solved.n_equations
    assert {s.name for s in iterated.stages} == {"design", "rank", "partitions", "setup", "solve"}
    assert all(s.seconds >= 0.0 for s in iterated.stages)
    for a, b, c in zip(iterated.subfactors, diagonal.subfactors, solved.subfactors, strict=True):
        np.testing.assert_allclose(a.values, c.values, atol=1e-8)
        np.testing.assert_allclose(b.values, c.values, atol=1e-8)


def test_block_preconditioner_needs_fewer_iterations_than_the_diagonal() -> None:
    spec, data = small_model(Recipe(seed=2, n_traits=3, n_records=60, n_animals=40, maternal=True, covariate=False))
    block = solve_model(spec, data)
    diagonal = solve_model(spec, data, preconditioner="diagonal")
    assert block.report.iterations < diagonal.report.iterations


def test_accuracies_beyond_the_limits_are_refused_with_numbers() -> None:
    spec, data = small_model(Recipe())
    with pytest.raises(ResourceError, match=r"assembling .* equations may take [0-9.]+ MiB, 0\.0 MiB are there"):
        pev(spec, data, memory=1000)
    with Team(1) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team)
        need = BYTES_PER_TRIPLET * triplet_count(operator)
    with pytest.raises(ResourceError, match="the factor of"):
        DirectSolver(assemble(operator), memory=100)
    pev(spec, data, memory=10 * need)


def test_sigma_that_is_not_positive_definite_names_the_variance() -> None:
    from dataclasses import replace

    spec, data = small_model(Recipe())
    bad = tuple(replace(v, sigma=((1.0, 2.0), (2.0, 1.0))) if v.name == "g" else v for v in spec.variances)
    with pytest.raises(ModelError, match="'g' is not positive definite: smallest eigenvalue -1"):
        solve_model(replace(spec, variances=bad), data)
    none = tuple(replace(v, sigma=None) if v.name == "res" else v for v in spec.variances)
    with pytest.raises(ModelError, match="'res' has no sigma"):
        solve_model(replace(spec, variances=none), data)


def test_nothing_observed_gives_zeros() -> None:
    spec, data = small_model(Recipe(n_traits=1, missing=1.0, mean=False, covariate=False))
    solutions = solve_model(spec, data)
    assert solutions.report.reason is StopReason.RHS_ZERO
    assert all(not s.values.any() for s in solutions.subfactors)
