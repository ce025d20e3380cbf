"""The sparse factor against dense linear algebra, with all fronts in compiled loops, all by BLAS, and as it chooses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array, eye_array, random_array, tril

from henderson.kernels.sparse_order import minimum_degree
from henderson.kernels.sparse_symbolic import tree_and_counts
from henderson.solvers import cholesky
from henderson.solvers.cholesky import NotPositiveDefiniteError, SparseCholesky


def lower_triangle(matrix: csc_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lower = csc_array(tril(matrix, format="csc"))
    lower.sort_indices()
    return lower.indptr.astype(np.int64), lower.indices.astype(np.int32), lower.data


def random_matrix(n: int, density: float, seed: int) -> csc_array:
    rng = np.random.default_rng(seed)
    B = random_array((n, n), density=density, rng=rng, data_sampler=rng.standard_normal)
    return csc_array(B @ B.T + eye_array(n))


@given(
    n=st.integers(1, 120),
    density=st.sampled_from([0.002, 0.02, 0.1, 0.5]),
    seed=st.integers(0, 1000),
    large=st.sampled_from([0.0, 5e3, 1e18]),
)
@settings(max_examples=40, deadline=None)
def test_factor_solution_and_inverse_are_the_dense_ones(n: int, density: float, seed: int, large: float) -> None:
    matrix = random_matrix(n, density, seed)
    indptr, indices, data = lower_triangle(matrix)
    dense = matrix.toarray()
    before = cholesky.LARGE
    cholesky.LARGE = large
    try:
        factor = SparseCholesky(indptr, indices)
        for scale in (1.0, 3.0):  # the same pattern with other values
            factor.factor(scale * data)
            inverse = np.linalg.inv(scale * dense)
            rhs = np.random.default_rng(seed).normal(size=(n, 3))
            assert factor.log_determinant == pytest.approx(np.linalg.slogdet(scale * dense)[1], rel=1e-9, abs=1e-9)
            np.testing.assert_allclose(factor.solve(rhs), inverse @ rhs, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(factor.solve(rhs[:, 0]), inverse @ rhs[:, 0], rtol=1e-7, atol=1e-9)
            columns = np.repeat(np.arange(n), np.diff(indptr))
            np.testing.assert_allclose(factor.inverse(), inverse[indices, columns], rtol=1e-7, atol=1e-9)
    finally:
        cholesky.LARGE = before


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    matrix = random_matrix(50, 0.05, 1)
    indptr, indices, data = lower_triangle(matrix)
    factor = SparseCholesky(indptr, indices)
    data[indptr[20]] = -1.0
    for large in (0.0, 1e18):
        before, cholesky.LARGE = cholesky.LARGE, large
        try:
            with pytest.raises(NotPositiveDefiniteError):
                factor.factor(data)
        finally:
            cholesky.LARGE = before


def fill(pattern: csc_array, order: np.ndarray) -> int:
    full = csc_array(pattern[order][:, order])
    return int(tree_and_counts(full.indptr.astype(np.int64), full.indices.astype(np.int32))[1].sum())


def test_the_order_of_a_grid_makes_little_fill() -> None:
    # A 40 x 40 grid: the natural order fills n * 40, minimum degree about 31 n log2(n) / 8.
    side = 40
    n = side * side
    at = np.arange(n).reshape(side, side)
    rows = np.concatenate([at[:, :-1].ravel(), at[:-1].ravel()])
    columns = np.concatenate([at[:, 1:].ravel(), at[1:].ravel()])
    half = csc_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    pattern = csc_array(half + half.T)
    order = minimum_degree(pattern.indptr.astype(np.int64), pattern.indices.astype(np.int32), n)
    assert sorted(order.tolist()) == list(range(n))
    assert fill(pattern, order) < 0.4 * fill(pattern, np.arange(n))
    assert fill(pattern, order) < 17 * n


def test_a_tree_has_no_fill_and_dense_rows_come_last() -> None:
    rng = np.random.default_rng(3)
    n = 500
    parent = np.array([rng.integers(0, i) for i in range(1, n)])
    half = csc_array((np.ones(n - 1), (np.arange(1, n), parent)), shape=(n, n))
    tree = csc_array(half + half.T)
    order = minimum_degree(tree.indptr.astype(np.int64), tree.indices.astype(np.int32), n)
    assert fill(tree, order) == n - 1
    star = np.zeros((n, n))
    star[7] = star[:, 7] = 1.0
    star[7, 7] = 0.0
    with_star = csc_array(csc_array(tree + csc_array(star)).astype(bool).astype(float))
    order = minimum_degree(with_star.indptr.astype(np.int64), with_star.indices.astype(np.int32), 100)
    assert order[-1] == 7
