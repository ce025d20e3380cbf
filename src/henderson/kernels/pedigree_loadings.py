"""Products with A^-1 of animals whose parents have weights of their own: rows t_i = e_i - sum_p w_p e_p of T^-1.

Metafounders (a factor of Gamma), uncertain parents, sires and maternal grandsires. Elements are those of
`kernels.relationship`; row i belongs to the animal at element ``own[i]``, its parents are compressed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit


class Rows(NamedTuple):
    """Rows of T^-1: own, uint32 element of each animal; parents (elements) and weights compressed; precision 1 / d."""

    own: NDArray[np.uint32]
    indptr: NDArray[np.int64]
    parent: NDArray[np.uint32]
    weight: NDArray[np.float64]
    precision: NDArray[np.float64]


@jit
def loadings_product(
    width: int,
    own: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    parent: NDArray[np.uint32],
    weight: NDArray[np.float64],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (sum_i t_i t_i' / d_i (x) Sigma^-1) x to `y`; precision = 1 / d_i."""
    mendelian = np.empty(width)
    for i in range(own.size):
        for t in range(width):
            mendelian[t] = x[own[i] + np.uint32(t)]
        for k in range(indptr[i], indptr[i + 1]):
            for t in range(width):
                mendelian[t] -= weight[k] * x[parent[k] + np.uint32(t)]
        for t in range(width):
            v = 0.0
            for u in range(width):
                v += sigma_inverse[t, u] * mendelian[u]
            v *= precision[i]
            y[own[i] + np.uint32(t)] += v
            for k in range(indptr[i], indptr[i + 1]):
                y[parent[k] + np.uint32(t)] -= weight[k] * v


@jit
def loadings_diagonal(
    width: int,
    own: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    parent: NDArray[np.uint32],
    weight: NDArray[np.float64],
    precision: NDArray[np.float64],
    sigma_column: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add the diagonal of sum_i t_i t_i' / d_i times a column of Sigma^-1 to the block of each animal.

    A parent must not be listed twice for one animal.
    """
    for i in range(own.size):
        for t in range(width):
            y[own[i] + np.uint32(t)] += precision[i] * sigma_column[t]
        for k in range(indptr[i], indptr[i + 1]):
            share = weight[k] * weight[k] * precision[i]
            for t in range(width):
                y[parent[k] + np.uint32(t)] += share * sigma_column[t]


@jit
def loadings_triplets(
    own: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    parent: NDArray[np.uint32],
    weight: NDArray[np.float64],
    precision: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
) -> int:
    """Write sum_i t_i t_i' / d_i as triplets of block offsets, (1 + parents)^2 an animal; return their number."""
    n = 0
    for i in range(own.size):
        first = indptr[i] - 1  # this place stands for the animal itself
        for a in range(first, indptr[i + 1]):
            left = precision[i] if a == first else -weight[a] * precision[i]
            row = own[i] if a == first else parent[a]
            for b in range(first, indptr[i + 1]):
                rows[n] = row
                columns[n] = own[i] if b == first else parent[b]
                values[n] = left if b == first else -left * weight[b]
                n += 1
    return n
