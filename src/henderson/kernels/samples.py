"""Right-hand sides with covariance C, and quadratic forms of the solutions: what Monte Carlo traces are made of.

Signs come from a hash of (seed, what, number): the same for any cut of the data, any order, any number of processes.
One hash of 64 bits gives the signs of 64 columns. Vectors lie side by side, float64 (n_local, n_columns).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit
from henderson.kernels.record_loops import LocalRecords, TermLists, gather_columns, scatter_columns, weight_of

COLUMNS = 64  # signs of one hash


@inline
def _mix(x: np.uint64) -> np.uint64:
    """Return a hash of 64 bits (the finaliser of SplitMix64; Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inline
def _signs(seed: np.uint64, stream: np.uint64, number: np.uint64) -> np.uint64:
    """Return 64 random signs, one a bit, of item `number` of a stream."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    return _mix(_mix(_mix(seed + golden) + stream * golden) + (number + np.uint64(1)) * golden)


@inline
def _sign(signs: np.uint64, column: int) -> float:
    return 1.0 if (signs >> np.uint64(column)) & np.uint64(1) else -1.0


@inline
def _place(level: int | np.integer, position: int) -> np.uint64:
    """Return the number of a position of a level: that of a level's first positions does not depend on the others."""
    return np.uint64(level) + (np.uint64(position) << np.uint64(32))


@jit
def record_samples(
    seed: np.uint64,
    first_record: int,
    records: LocalRecords,
    lists: TermLists,
    factors: NDArray[np.float64],
    n_traits: int,
    y: NDArray[np.float64],
) -> None:
    """Add W' R^-1/2 z to `y`, one z of signs a column: covariance W' R^-1 W.

    factors: F of every pattern with F F' = R^-1, zero where missing, float64 (n_patterns, n_traits**2); first_record:
    number of the first record among all.
    """
    n_columns = y.shape[1]
    z = np.empty((n_traits, n_columns))
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        weight = np.sqrt(weight_of(records.weights, r))
        z[:] = 0.0
        for u in range(n_traits):
            signs = _signs(seed, np.uint64(0), np.uint64((first_record + r) * n_traits + u))
            for t in range(n_traits):
                scale = weight * factors[p, t * n_traits + u]
                for j in range(n_columns):
                    z[t, j] += scale * _sign(signs, j)
        scatter_columns(records, lists, r, z, y)


@jit
def level_samples(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    levels: NDArray[np.int32],
    factor: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (I (x) F) z to the owned levels, F F' = Sigma^-1: covariance I (x) Sigma^-1."""
    n_columns = y.shape[1]
    for i in range(levels.size):
        own = np.uint32(first + i * width)
        for u in range(width):
            signs = _signs(seed, np.uint64(stream), _place(levels[i], u))
            for t in range(u, width):
                for j in range(n_columns):
                    y[own + t, j] += factor[t, u] * _sign(signs, j)


@jit
def pedigree_samples(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    start: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    factor: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add ((T^-1)' D^-1/2 (x) F) z for the animals start, start + 1, ... of all: covariance A^-1 (x) Sigma^-1."""
    n_columns = y.shape[1]
    v = np.empty((width, n_columns))
    for i in range(sire.size):
        own = np.uint32(first + i * width)
        root = np.sqrt(precision[i])
        v[:] = 0.0
        for u in range(width):
            signs = _signs(seed, np.uint64(stream), _place(start + i, u))
            for t in range(u, width):
                scale = root * factor[t, u]
                for j in range(n_columns):
                    v[t, j] += scale * _sign(signs, j)
        for t in range(width):
            for j in range(n_columns):
                y[own + t, j] += v[t, j]
                y[sire[i] + t, j] -= 0.5 * v[t, j]
                y[dam[i] + t, j] -= 0.5 * v[t, j]


@jit
def level_forms(
    width: int,
    first: int,
    n_levels: int,
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add X_j'X_j of the owned levels to out[j]: X_j is column j as a table of levels by positions.

    out: float64 (n_columns, width, width), lower triangles.
    """
    for i in range(n_levels):
        own = np.uint32(first + i * width)
        for t in range(width):
            for u in range(t + 1):
                for j in range(x.shape[1]):
                    out[j, t, u] += x[own + t, j] * x[own + u, j]


@jit
def pedigree_forms(
    width: int,
    first: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add X_j'A^-1 X_j to out[j] (lower triangles), over the rows of T^-1 of this partition's animals."""
    n_columns = x.shape[1]
    m = np.empty((width, n_columns))
    for i in range(sire.size):
        own = np.uint32(first + i * width)
        for t in range(width):
            for j in range(n_columns):
                m[t, j] = x[own + t, j] - 0.5 * (x[sire[i] + t, j] + x[dam[i] + t, j])
        for t in range(width):
            for u in range(t + 1):
                for j in range(n_columns):
                    out[j, t, u] += precision[i] * m[t, j] * m[u, j]


@jit
def matrix_forms(
    width: int,
    first: int,
    indptr: NDArray[np.int64],
    columns: NDArray[np.uint32],
    values: NDArray[np.float64],
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add X_j'K^-1 X_j to out[j] (lower triangles), over the owned rows of K^-1."""
    n_columns = x.shape[1]
    related = np.empty((width, n_columns))
    for i in range(indptr.size - 1):
        own = np.uint32(first + i * width)
        related[:] = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            for t in range(width):
                for j in range(n_columns):
                    related[t, j] += values[k] * x[columns[k] + t, j]
        for t in range(width):
            for u in range(t + 1):
                for j in range(n_columns):
                    out[j, t, u] += x[own + t, j] * related[u, j]


@jit
def residual_forms(
    n_traits: int,
    records: LocalRecords,
    lists: TermLists,
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add weight * (W x_j)(W x_j)' of every record, zero for missing traits, to out[j, pattern] (lower triangles).

    out: float64 (n_columns, n_patterns, n_traits, n_traits).
    """
    n_columns = x.shape[1]
    eta = np.empty((n_traits, n_columns))
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        gather_columns(records, lists, r, x, eta)
        weight = weight_of(records.weights, r)
        for t in range(n_traits):
            for u in range(t + 1):
                for j in range(n_columns):
                    out[j, p, t, u] += weight * eta[t, j] * eta[u, j]


@jit
def level_crosses(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    levels: NDArray[np.int32],
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add X_j'Z_j to out[j], Z_j being the signs of `level_samples`: float64 (n_columns, width, width)."""
    for i in range(levels.size):
        own = np.uint32(first + i * width)
        for u in range(width):
            signs = _signs(seed, np.uint64(stream), _place(levels[i], u))
            for j in range(x.shape[1]):
                z = _sign(signs, j)
                for t in range(width):
                    out[j, t, u] += x[own + t, j] * z


@jit
def pedigree_crosses(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    start: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add X_j'(T^-1)'D^-1/2 Z_j to out[j], Z_j being the signs of `pedigree_samples`."""
    m = np.empty(width)
    for i in range(sire.size):
        own = np.uint32(first + i * width)
        root = np.sqrt(precision[i])
        for j in range(x.shape[1]):
            for t in range(width):
                m[t] = root * (x[own + t, j] - 0.5 * (x[sire[i] + t, j] + x[dam[i] + t, j]))
            for u in range(width):
                signs = _signs(seed, np.uint64(stream), _place(start + i, u))
                z = _sign(signs, j)
                for t in range(width):
                    out[j, t, u] += m[t] * z


@jit
def record_crosses(
    seed: np.uint64,
    first_record: int,
    n_traits: int,
    records: LocalRecords,
    lists: TermLists,
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add weight^1/2 (W x_j) z_j' of every record to out[j, pattern], z_j being the signs of `record_samples`.

    out: float64 (n_columns, n_patterns, n_traits, n_traits).
    """
    n_columns = x.shape[1]
    eta = np.empty((n_traits, n_columns))
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        gather_columns(records, lists, r, x, eta)
        weight = np.sqrt(weight_of(records.weights, r))
        for u in range(n_traits):
            signs = _signs(seed, np.uint64(0), np.uint64((first_record + r) * n_traits + u))
            for j in range(n_columns):
                z = weight * _sign(signs, j)
                for t in range(n_traits):
                    out[j, p, t, u] += eta[t, j] * z


@jit
def level_sign_forms(
    seed: np.uint64,
    stream: int,
    width: int,
    levels: NDArray[np.int32],
    out: NDArray[np.float64],
) -> None:
    """Add Z_j'Z_j to out[j], float64 (n_columns, width, width), Z_j being the signs of these levels."""
    for i in range(levels.size):
        for u in range(width):
            one = _signs(seed, np.uint64(stream), _place(levels[i], u))
            for t in range(width):
                other = _signs(seed, np.uint64(stream), _place(levels[i], t))
                for j in range(out.shape[0]):
                    out[j, t, u] += _sign(one ^ ~other, j)


@jit
def record_sign_forms(
    seed: np.uint64,
    first_record: int,
    pattern: NDArray[np.uint16],
    out: NDArray[np.float64],
) -> None:
    """Add z_j z_j' of every record to out[j, pattern], float64 (n_columns, n_patterns, n_traits, n_traits)."""
    n_traits = out.shape[2]
    for r in range(pattern.size):
        for u in range(n_traits):
            one = _signs(seed, np.uint64(0), np.uint64((first_record + r) * n_traits + u))
            for t in range(n_traits):
                other = _signs(seed, np.uint64(0), np.uint64((first_record + r) * n_traits + t))
                for j in range(out.shape[0]):
                    out[j, pattern[r], t, u] += _sign(one ^ ~other, j)
