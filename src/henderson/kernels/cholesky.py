"""Sparse Cholesky factorisation, row by row, that leaves out dependent rows as it meets them.

Up-looking, along the elimination tree (Davis 2006, Direct Methods for Sparse Linear Systems, sections 4.1-4.8).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit


@jit
def row_pattern(
    k: int,
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    parent: NDArray[np.int64],
    seen: NDArray[np.int64],
    stack: NDArray[np.int64],
    path: NDArray[np.int64],
) -> int:
    """Return `top`: stack[top:] are the columns of row k of the factor, in an order that solves.

    `seen` is marked with k; `parent` is the elimination tree of the rows before k, extended to row k on the way; `path`
    is scratch.
    """
    n = len(parent)
    top = n
    seen[k] = k
    for at in range(indptr[k], indptr[k + 1]):
        i = np.int64(indices[at])
        if i >= k:
            continue
        length = 0
        while seen[i] != k:
            path[length] = i
            length += 1
            seen[i] = k
            if parent[i] == -1:
                parent[i] = k
            i = parent[i]
        while length > 0:
            length -= 1
            top -= 1
            stack[top] = path[length]
    return top


@jit
def column_counts(indptr: NDArray[np.int32], indices: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the number of elements below the diagonal in each column of the factor of a symmetric matrix (CSC)."""
    n = len(indptr) - 1
    parent = np.full(n, -1, np.int64)
    seen = np.full(n, -1, np.int64)
    stack = np.empty(n, np.int64)
    path = np.empty(n, np.int64)
    counts = np.zeros(n, np.int64)
    for k in range(n):
        for at in range(row_pattern(k, indptr, indices, parent, seen, stack, path), n):
            counts[stack[at]] += 1
    return counts


@jit
def dependent_rows(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    data: NDArray[np.float64],
    start: NDArray[np.int64],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Return which rows of a symmetric positive semidefinite matrix (CSC, both triangles) depend on rows before them.

    Those whose pivot, after all independent rows before them, is at most `tolerance` times their diagonal element; they
    take no part in what follows. `start` is the running sum of `column_counts`, from 0. Cost: that of a factorisation.
    """
    n = len(indptr) - 1
    parent = np.full(n, -1, np.int64)
    seen = np.full(n, -1, np.int64)
    stack = np.empty(n, np.int64)
    path = np.empty(n, np.int64)
    x = np.zeros(n)
    pivot = np.empty(n)
    filled = np.zeros(n, np.int64)
    rows = np.empty(start[n], np.int64)
    values = np.empty(start[n])
    dependent = np.zeros(n, np.bool_)
    for k in range(n):
        top = row_pattern(k, indptr, indices, parent, seen, stack, path)
        diagonal = 0.0
        for at in range(indptr[k], indptr[k + 1]):
            if indices[at] < k:
                x[indices[at]] = data[at]
            elif indices[at] == k:
                diagonal = data[at]
        remaining = diagonal
        for at in range(top, n):
            i = stack[at]
            value = x[i]
            x[i] = 0.0
            if not dependent[i]:
                value /= pivot[i]
                for below in range(start[i], start[i] + filled[i]):
                    x[rows[below]] -= values[below] * value
                remaining -= value * value
                rows[start[i] + filled[i]] = k
                values[start[i] + filled[i]] = value
                filled[i] += 1
        dependent[k] = remaining <= tolerance * diagonal
        pivot[k] = 1.0 if dependent[k] else np.sqrt(remaining)
    return dependent
