"""Products with Gamma^-1 (x) Sigma^-1 of the random factors, straight from the pedigree: A^-1 is never stored.

Vectors are level-major: the positions of one level are contiguous. Offsets are uint32 elements of a local vector; an
unknown parent points to the null block at its end, where every input is zero and every output is ignored, so the loops
do not branch. `zero` is a tuple of as many 0.0 as the factor has positions: its length is known at compile time and the
loops unroll.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import index, jit, set_item
from henderson.kernels.registers import Products, add_scaled, whole_product


@jit
def pedigree_product(
    zero: tuple[float, ...],
    first: int,
    start: int,
    stop: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: tuple[float, ...],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (A^-1 (x) Sigma^-1) x to `y` for the animals start..stop of this partition.

    A^-1 = sum_i t_i t_i' / d_i with t_i = e_i - e_sire/2 - e_dam/2 (Henderson 1976, Quaas 1976); animal i starts at
    element first + i * len(zero), precision = 1/d_i, `sigma_inverse` is a tuple, row by row.
    """
    width = len(zero)
    for i in range(start, stop):
        own = np.uint32(first + i * width)
        s = sire[i]
        d = dam[i]
        weight = precision[i]
        mendelian = zero
        v = zero
        for t in range(width):
            mendelian = set_item(mendelian, t, (x[own + t] - 0.5 * (x[s + t] + x[d + t])) * weight)
        for t in range(width):
            total = 0.0
            for u in range(width):
                total += sigma_inverse[t * width + u] * mendelian[u]
            v = set_item(v, t, total)
        for t in range(width):
            y[own + t] += v[t]
        for t in range(width):
            y[s + t] -= 0.5 * v[t]
        for t in range(width):
            y[d + t] -= 0.5 * v[t]


@jit
def pedigree_product_wide(
    products: Products,
    width: int,
    first: int,
    start: int,
    stop: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (A^-1 (x) Sigma^-1) x to `y`: `pedigree_product` for many positions; `sigma_inverse` is a matrix."""
    mendelian, v = np.empty(width), np.empty(width)
    n, zero = index(width), index(0)
    for i in range(start, stop):
        own, s, d = index(first + i * width), index(sire[i]), index(dam[i])
        for t in range(n):
            mendelian[t] = x[own + t] - 0.5 * (x[s + t] + x[d + t])
        whole_product(products.whole, precision[i], sigma_inverse, mendelian, zero, v, zero)
        add_scaled(products.add, 1.0, v, zero, y, own)
        add_scaled(products.add, -0.5, v, zero, y, s)
        add_scaled(products.add, -0.5, v, zero, y, d)


@jit
def pedigree_diagonal(
    first: int,
    width: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_column: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add diag(A^-1)_i times a column of Sigma^-1 to the block of each animal i: one column of the diagonal blocks."""
    for i in range(sire.size):
        own = np.uint32(first + i * width)
        s = sire[i]
        d = dam[i]
        share = 0.25 * precision[i]
        if s == d:  # selfed: t_i has -1 at the one parent (or both are unknown and the null block takes it)
            share = 0.5 * precision[i]
        for t in range(width):
            y[own + t] += precision[i] * sigma_column[t]
            y[s + t] += share * sigma_column[t]
            y[d + t] += share * sigma_column[t]


@jit
def identity_product(
    zero: tuple[float, ...],
    first: int,
    n_levels: int,
    sigma_inverse: tuple[float, ...],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (I (x) Sigma^-1) x to `y` for `n_levels` levels from element `first`."""
    width = len(zero)
    for i in range(n_levels):
        own = np.uint32(first + i * width)
        for t in range(width):
            total = 0.0
            for u in range(width):
                total += sigma_inverse[t * width + u] * x[own + u]
            y[own + t] += total


@jit
def identity_product_wide(
    products: Products,
    width: int,
    first: int,
    n_levels: int,
    sigma_inverse: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (I (x) Sigma^-1) x to `y`: `identity_product` for many positions; `sigma_inverse` is a matrix."""
    v, zero = np.empty(width), index(0)
    for i in range(n_levels):
        own = index(first + i * width)
        whole_product(products.whole, 1.0, sigma_inverse, x, own, v, zero)
        add_scaled(products.add, 1.0, v, zero, y, own)


@jit
def matrix_product(
    width: int,
    first: int,
    indptr: NDArray[np.int64],
    columns: NDArray[np.uint32],
    values: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (K^-1 (x) Sigma^-1) x to `y` for the owned rows of K^-1 (CSR; `columns` are elements, ghosts included)."""
    related = np.empty(width)
    for i in range(indptr.size - 1):
        own = np.uint32(first + i * width)
        related[:] = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            other = columns[k]
            for t in range(width):
                related[t] += values[k] * x[other + t]
        for t in range(width):
            total = 0.0
            for u in range(width):
                total += sigma_inverse[t, u] * related[u]
            y[own + t] += total


@jit
def level_diagonal(
    first: int,
    width: int,
    diagonal: NDArray[np.float64],
    sigma_column: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add diagonal_i times a column of Sigma^-1 to the block of each owned level i."""
    for i in range(diagonal.size):
        own = np.uint32(first + i * width)
        for t in range(width):
            y[own + t] += diagonal[i] * sigma_column[t]


@jit
def pedigree_triplets(
    first: int,
    width: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    null: np.uint32,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
) -> int:
    """Write A^-1 as triplets of block offsets, nine an animal at most; return their number."""
    n = 0
    offsets = np.empty(3, np.uint32)
    loading = np.array([1.0, -0.5, -0.5])
    for i in range(sire.size):
        offsets[0] = np.uint32(first + i * width)
        offsets[1] = sire[i]
        offsets[2] = dam[i]
        for a in range(3):
            for b in range(3):
                if offsets[a] != null and offsets[b] != null:
                    rows[n] = offsets[a]
                    columns[n] = offsets[b]
                    values[n] = loading[a] * loading[b] * precision[i]
                    n += 1
    return n
