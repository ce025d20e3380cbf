"""Rows of T^-1 with weights of their own on vectors side by side: products, samples and forms of Monte Carlo traces.

As the functions of the same kind in `kernels.columns` and `kernels.samples`; rows as in `kernels.pedigree_loadings`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit
from henderson.kernels.pedigree_loadings import Rows
from henderson.kernels.samples import _place, _sign, _signs


@inline
def _mendelian(width: int, i: int, rows: Rows, x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Set out[t, j] to t_i' x of position t and column j."""
    for t in range(width):
        for j in range(x.shape[1]):
            out[t, j] = x[rows.own[i] + np.uint32(t), j]
        for k in range(rows.indptr[i], rows.indptr[i + 1]):
            for j in range(x.shape[1]):
                out[t, j] -= rows.weight[k] * x[rows.parent[k] + np.uint32(t), j]


@inline
def _scatter(width: int, i: int, rows: Rows, v: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Add t_i v[t, j] to `y`."""
    for t in range(width):
        for j in range(y.shape[1]):
            y[rows.own[i] + np.uint32(t), j] += v[t, j]
        for k in range(rows.indptr[i], rows.indptr[i + 1]):
            for j in range(y.shape[1]):
                y[rows.parent[k] + np.uint32(t), j] -= rows.weight[k] * v[t, j]


@jit
def loadings_product(
    width: int, rows: Rows, sigma_inverse: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """Add (sum_i t_i t_i' / d_i (x) Sigma^-1) x to `y`."""
    m = np.empty((width, x.shape[1]))
    v = np.empty((width, x.shape[1]))
    for i in range(rows.own.size):
        _mendelian(width, i, rows, x, m)
        v[:] = 0.0
        for t in range(width):
            for u in range(width):
                scale = sigma_inverse[t, u] * rows.precision[i]
                for j in range(x.shape[1]):
                    v[t, j] += scale * m[u, j]
        _scatter(width, i, rows, v, y)


@jit
def loadings_samples(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    start: int,
    rows: Rows,
    factor: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (t_i / sqrt(d_i) (x) F) z of every row to `y`, with the signs of animal start + (own - first) / width."""
    v = np.empty((width, y.shape[1]))
    for i in range(rows.own.size):
        number = start + (np.int64(rows.own[i]) - first) // width
        root = np.sqrt(rows.precision[i])
        v[:] = 0.0
        for u in range(width):
            signs = _signs(seed, np.uint64(stream), _place(number, u))
            for t in range(u, width):
                for j in range(y.shape[1]):
                    v[t, j] += root * factor[t, u] * _sign(signs, j)
        _scatter(width, i, rows, v, y)


@jit
def loadings_forms(width: int, rows: Rows, x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Add sum_i X_j't_i t_i'X_j / d_i to out[j] (lower triangles)."""
    m = np.empty((width, x.shape[1]))
    for i in range(rows.own.size):
        _mendelian(width, i, rows, x, m)
        for t in range(width):
            for u in range(t + 1):
                for j in range(x.shape[1]):
                    out[j, t, u] += rows.precision[i] * m[t, j] * m[u, j]


@jit
def loadings_crosses(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    start: int,
    rows: Rows,
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add sum_i X_j't_i z_ij / sqrt(d_i) to out[j], z_ij being the signs of `loadings_samples`."""
    m = np.empty((width, x.shape[1]))
    for i in range(rows.own.size):
        number = start + (np.int64(rows.own[i]) - first) // width
        root = np.sqrt(rows.precision[i])
        _mendelian(width, i, rows, x, m)
        for u in range(width):
            signs = _signs(seed, np.uint64(stream), _place(number, u))
            for j in range(x.shape[1]):
                z = root * _sign(signs, j)
                for t in range(width):
                    out[j, t, u] += m[t, j] * z
