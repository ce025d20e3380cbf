"""Levels with a Sigma of their own: from their scale to one where Sigma is the identity, and back.

With Sigma_i = L_i L_i' of level i the covariance of a factor is Theta_L (Gamma (x) I) Theta_L', Theta_L =
blockdiag(L_i), and its inverse Theta_L^-T (Gamma^-1 (x) I) Theta_L^-1. Vectors are float64 (n_local, n_columns).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit


class Levels(NamedTuple):
    """The levels of a factor in one partition, owned ones, then ghosts.

    row: uint32, of each level the row of `factors`, float64 (n, width**2): L^-1, row by row, lower triangular.
    """

    width: int
    first_owned: int
    n_owned: int
    first_ghost: int
    row: NDArray[np.uint32]
    factors: NDArray[np.float64]


@inline
def _element(levels: Levels, k: int) -> int:
    """Return the first element of level k."""
    if k < levels.n_owned:
        return levels.first_owned + k * levels.width
    return levels.first_ghost + (k - levels.n_owned) * levels.width


@jit
def standardise(levels: Levels, x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Set `out` to Theta_L^-1 x on the levels of one factor."""
    width = levels.width
    for k in range(levels.row.size):
        own, f = _element(levels, k), levels.row[k]
        for t in range(width):
            for j in range(x.shape[1]):
                total = 0.0
                for u in range(t + 1):
                    total += levels.factors[f, t * width + u] * x[own + u, j]
                out[own + t, j] = total


@jit
def add_restored(levels: Levels, v: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Add Theta_L^-T v to `y` on the levels of one factor."""
    width = levels.width
    for k in range(levels.row.size):
        own, f = _element(levels, k), levels.row[k]
        for t in range(width):
            for j in range(v.shape[1]):
                total = 0.0
                for u in range(t, width):
                    total += levels.factors[f, u * width + t] * v[own + u, j]
                y[own + t, j] += total


@jit
def add_diagonal(levels: Levels, column: int, gamma: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Add gamma_i times column `column` of Sigma_i^-1 to the block of every level; gamma_i is its first element."""
    width = levels.width
    for k in range(levels.row.size):
        own, f = _element(levels, k), levels.row[k]
        for t in range(width):
            total = 0.0
            for u in range(max(t, column), width):
                total += levels.factors[f, u * width + t] * levels.factors[f, u * width + column]
            y[own + t] += gamma[own] * total
