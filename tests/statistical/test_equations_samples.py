"""Sampled right-hand sides have covariance C, and their solutions give the traces of the inverse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from henderson.equations.assembly import Assembled, assemble
from henderson.equations.columns import ColumnOperator
from henderson.equations.design import build_design
from henderson.equations.matrix_root import matrix_root, with_roots
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.equations.samples import cross_forms, quadratic_forms, sample_right_hand_sides
from henderson.errors import ModelError
from henderson.partitions.threads import Team
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.preconditioner import BlockPreconditioner
from oracles.small_models import Recipe, small_model

MODELS = {
    "pedigree": Recipe(n_traits=2, covariate=False, mean=False, maternal=True, permanent=True, weights=True),
    "wide": Recipe(n_traits=4, regression=True, permanent=True),
    "user matrix": Recipe(n_traits=2, matrix=True),
}
SEEDS = 24
K = 64


def flat(operator: Operator, assembled: Assembled, vectors: list[np.ndarray]) -> np.ndarray:
    """Return columns over the equations that are kept, in the order of the assembled matrix."""
    out = np.zeros((assembled.matrix.shape[0], vectors[0].shape[1]))
    for j in range(out.shape[1]):
        levels = operator.to_levels([np.ascontiguousarray(v[:, j]) for v in vectors])
        for number, values in zip(assembled.number, levels, strict=True):
            out[number[number >= 0], j] = values[number >= 0]
    return out


@pytest.mark.parametrize("name", MODELS)
def test_covariance_is_that_of_the_equations(name: str) -> None:
    spec, data = small_model(MODELS[name])
    with Team(1) as team:
        operator = with_roots(build_operator(full_rank(build_design(spec, data)), data, team))
        columns = ColumnOperator(operator, K)
        assembled = assemble(operator)
        samples = [sample_right_hand_sides(columns, seed) for seed in range(SEEDS)]
        eta = np.concatenate([flat(operator, assembled, s) for s in samples], axis=1)
        C = assembled.matrix.toarray()
    n = eta.shape[1]
    scale = np.sqrt(np.diag(C))
    error = (eta @ eta.T / n - C) / scale[:, None] / scale
    assert np.abs(error).max() < 6 / np.sqrt(n)
    assert np.abs(eta.mean(axis=1) / scale).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("kind", ["quadratic", "cross"])
@pytest.mark.parametrize("name", MODELS)
def test_forms_are_unbiased_for_traces(name: str, kind: str) -> None:
    spec, data = small_model(MODELS[name])
    with Team(1) as team:
        operator = with_roots(build_operator(full_rank(build_design(spec, data)), data, team))
        M = BlockPreconditioner(operator)
        columns = ColumnOperator(operator, K)
        random, residual = [], []
        for seed in range(SEEDS):
            solved = pcg_columns(columns, M, sample_right_hand_sides(columns, seed), rtol=1e-9)
            if kind == "quadratic":
                forms = quadratic_forms(columns, solved.solution)
            else:
                forms = cross_forms(columns, solved.solution, seed)
            random.append(forms.random)
            residual.append(forms.residual)
        exact = exact_forms(operator)
    # tr(C^-1 C) is the number of equations
    n_traits = operator.design.n_traits
    total = np.sum(operator.residual.reshape(-1, n_traits, n_traits) * exact[1])
    total += sum(np.sum(i * f) for i, f in zip(operator.sigma_inverse, exact[0], strict=True) if f is not None)
    assert total == pytest.approx(operator.design.n_equations, rel=1e-9)
    for g, expected in enumerate(exact[0]):
        if expected is None:
            continue
        sampled = np.concatenate([r[g] for r in random])
        error = np.abs(sampled.mean(axis=0) - expected) / (sampled.std(axis=0) / np.sqrt(len(sampled)))
        assert error.max() < 4.5
    sampled = np.concatenate(residual)
    sd = np.maximum(sampled.std(axis=0), 1e-12) / np.sqrt(len(sampled))
    assert (np.abs(sampled.mean(axis=0) - exact[1]) / sd).max() < 4.5


def exact_forms(operator: Operator) -> tuple[list[np.ndarray | None], np.ndarray]:
    """Return the expected forms by columns of a square root of C^-1, through the same kernels' definition."""
    assembled = assemble(operator)
    inverse = np.linalg.inv(assembled.matrix.toarray())
    root = np.linalg.cholesky(inverse)
    columns = ColumnOperator(operator, root.shape[1])
    x = columns.zeros()
    for j in range(root.shape[1]):
        for mine, one in zip(x, operator.from_levels(assembled.to_levels(root[:, j])), strict=True):
            mine[:, j] = one
    forms = quadratic_forms(columns, x)
    return [None if f is None else f.sum(axis=0) for f in forms.random], forms.residual.sum(axis=0)


@pytest.mark.parametrize("name", MODELS)
def test_samples_do_not_depend_on_the_cut(name: str) -> None:
    spec, data = small_model(MODELS[name])
    found = []
    for partitions in (1, 3):
        with Team(1) as team:
            operator = with_roots(build_operator(full_rank(build_design(spec, data)), data, team, partitions))
            samples = sample_right_hand_sides(ColumnOperator(operator, 7), 3)
            found.append(flat(operator, assemble(operator), samples))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("links", [1, 30])
def test_a_factor_of_a_matrix_and_its_determinant(links: int) -> None:
    rng = np.random.default_rng(4)
    n = 60
    rows, columns = rng.integers(0, n, n * links), rng.integers(0, n, n * links)
    half = csr_array((rng.normal(size=n * links), (rows, columns)), shape=(n, n)) + eye_array(n)
    inverse = csr_array(half @ half.T)
    root, logs = matrix_root(inverse, "g")
    np.testing.assert_allclose((root @ root.T).toarray(), inverse.toarray(), atol=1e-9)
    assert logs.sum() == pytest.approx(np.linalg.slogdet(inverse.toarray())[1])
    with pytest.raises(ModelError, match="'g' is not positive definite"):
        matrix_root(csr_array(inverse - 2.0 * inverse.max() * n * eye_array(n)), "g")
