"""Samples with the covariance of a user matrix, from the rows of a factor of its inverse; signs as in `samples`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit
from henderson.kernels.samples import _place, _sign, _signs


@inline
def _roots(
    seed: np.uint64,
    stream: int,
    rows: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]],
    i: int,
    v: NDArray[np.float64],
) -> None:
    """Set v = row i of B times the signs of the levels, (width, n_columns)."""
    indptr, levels, values = rows
    v[:] = 0.0
    for k in range(indptr[i], indptr[i + 1]):
        for u in range(v.shape[0]):
            signs = _signs(seed, np.uint64(stream), _place(levels[k], u))
            for j in range(v.shape[1]):
                v[u, j] += values[k] * _sign(signs, j)


@jit
def matrix_samples(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    indptr: NDArray[np.int64],
    levels: NDArray[np.int32],
    values: NDArray[np.float64],
    factor: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (B (x) F) z to the owned levels, B B' = K^-1 and F F' = Sigma^-1: covariance K^-1 (x) Sigma^-1.

    indptr, levels, values: the owned rows of B, by the numbers of all levels.
    """
    v = np.empty((width, y.shape[1]))
    for i in range(indptr.size - 1):
        _roots(seed, stream, (indptr, levels, values), i, v)
        own = np.uint32(first + i * width)
        for u in range(width):
            for t in range(u, width):
                for j in range(y.shape[1]):
                    y[own + t, j] += factor[t, u] * v[u, j]


@jit
def matrix_crosses(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    indptr: NDArray[np.int64],
    levels: NDArray[np.int32],
    values: NDArray[np.float64],
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add X_j'B Z_j to out[j], Z_j being the signs of `matrix_samples`."""
    v = np.empty((width, x.shape[1]))
    for i in range(indptr.size - 1):
        _roots(seed, stream, (indptr, levels, values), i, v)
        own = np.uint32(first + i * width)
        for t in range(width):
            for u in range(width):
                for j in range(x.shape[1]):
                    out[j, t, u] += x[own + t, j] * v[u, j]
