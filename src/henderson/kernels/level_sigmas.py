"""Levels with a Sigma of their own: from their scale to one where Sigma is the identity, and back.

With Sigma_i = L_i L_i' of level i the covariance of a factor is Theta_L (Gamma (x) I) Theta_L', Theta_L =
blockdiag(L_i), and its inverse Theta_L^-T (Gamma^-1 (x) I) Theta_L^-1. `index` (uint32, owned levels, then ghosts)
gives the row of `factors`, float64 (n, width**2): L^-1, row by row, lower triangular. Vectors are float64 (n_local,
n_columns).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit


@inline
def _element(k: int, width: int, first_owned: int, n_owned: int, first_ghost: int) -> int:
    """Return the first element of level k of the owned levels and ghosts."""
    return first_owned + k * width if k < n_owned else first_ghost + (k - n_owned) * width


@jit
def standardise(
    width: int,
    first_owned: int,
    n_owned: int,
    first_ghost: int,
    index: NDArray[np.uint32],
    factors: NDArray[np.float64],
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Set `out` to Theta_L^-1 x on the levels of one factor."""
    for k in range(index.size):
        own = _element(k, width, first_owned, n_owned, first_ghost)
        f = index[k]
        for t in range(width):
            for j in range(x.shape[1]):
                total = 0.0
                for u in range(t + 1):
                    total += factors[f, t * width + u] * x[own + u, j]
                out[own + t, j] = total


@jit
def add_restored(
    width: int,
    first_owned: int,
    n_owned: int,
    first_ghost: int,
    index: NDArray[np.uint32],
    factors: NDArray[np.float64],
    v: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add Theta_L^-T v to `y` on the levels of one factor."""
    for k in range(index.size):
        own = _element(k, width, first_owned, n_owned, first_ghost)
        f = index[k]
        for t in range(width):
            for j in range(v.shape[1]):
                total = 0.0
                for u in range(t, width):
                    total += factors[f, u * width + t] * v[own + u, j]
                y[own + t, j] += total


@jit
def add_diagonal(
    column: int,
    width: int,
    first_owned: int,
    n_owned: int,
    first_ghost: int,
    index: NDArray[np.uint32],
    factors: NDArray[np.float64],
    gamma: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add gamma_i times column `column` of Sigma_i^-1 to the block of every level; gamma_i is its first element."""
    for k in range(index.size):
        own = _element(k, width, first_owned, n_owned, first_ghost)
        f = index[k]
        for t in range(width):
            total = 0.0
            for u in range(max(t, column), width):
                total += factors[f, u * width + t] * factors[f, u * width + column]
            y[own + t] += gamma[own] * total
