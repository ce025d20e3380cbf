"""Symmetric matrices of reduced rank: how they can change and keep it, and the root of the nearest one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def keeping_null(null: Floats, size: int) -> Floats:
    """Return symmetric directions B, (k, size, size), with null'B null = 0: a matrix keeps its rank to first order.

    null: (size, k), orthonormal. Rows and columns that lie in it as a whole stay zero.
    """
    gone = [k for k in range(size) if np.sum(null[k] ** 2) > 0.999]
    if gone:
        null = np.linalg.svd(null, full_matrices=False)[0]
    rows, columns = np.tril_indices(size)
    basis = np.zeros((len(rows), size, size))
    basis[np.arange(len(rows)), rows, columns] = 1.0
    basis[np.arange(len(rows)), columns, rows] = 1.0
    kept = ~(np.isin(rows, gone) | np.isin(columns, gone))
    return keeping_null_within(null, basis[kept])


def keeping_null_within(null: Floats, basis: Floats) -> Floats:
    """Return the linear combinations B of `basis`, (n, size, size), with null'B null = 0."""
    across = np.array([(null.T @ B @ null).ravel() for B in basis]).reshape(len(basis), -1)
    if not across.size:
        return basis
    _, values, vectors = np.linalg.svd(across.T, full_matrices=True)
    rank = int(np.sum(values > 1e-6 * values.max(initial=0.0)))
    return np.asarray(np.tensordot(vectors[rank:], basis, 1))


def trapezoid(matrix: Floats, lacks: int, floor: float) -> Floats:
    """Return L, (size, size - lacks), lower trapezoidal, diagonal >= 0: L L' + floor I is nearest to the matrix."""
    values, vectors = np.linalg.eigh(matrix)
    above = np.sqrt(np.maximum(values[lacks:] - floor, 1e-3 * floor))
    L = np.linalg.qr((vectors[:, lacks:] * above).T)[1].T
    return np.asarray(L * np.where(np.diag(L) < 0.0, -1.0, 1.0))
