"""Sums over records of the columns of X, and of products of two columns of one trait."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit


@jit
def add_squares(
    at: NDArray[np.int64], values: NDArray[np.float64], squares: NDArray[np.float64], seen: NDArray[np.bool_]
) -> None:
    """Add the squares of `values` to the elements `at`, and mark these as seen."""
    for k in range(at.size):
        squares[at[k]] += values[k] * values[k]
        seen[at[k]] = True


@jit
def add_products(
    level: NDArray[np.int32],
    other: NDArray[np.int32],
    values: NDArray[np.float64],
    other_values: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add the products of two columns to the elements `level`, where neither level is negative."""
    for k in range(level.size):
        if level[k] >= 0 and other[k] >= 0:
            sums[level[k]] += values[k] * other_values[k]
