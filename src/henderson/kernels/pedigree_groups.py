"""Fractions of genetic groups: what part of its genes every animal has from each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit


@jit
def group_fractions(
    rows: NDArray[np.int64],
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    indptr: NDArray[np.int64],
    parent: NDArray[np.int32],
    weight: NDArray[np.float64],
    number: NDArray[np.int32],
    first: int,
    Q: NDArray[np.float64],
) -> None:
    """Set Q[i, k] to the fraction of group first + k in animal i, with parents before progeny in `rows`.

    number: the group that a row stands for, or -1. q_i = (q_sire + q_dam) / 2 (Quaas 1988), or the weighted sum over
    the parents of compressed row i (`indptr` is empty if there are none); an unknown parent that is no group gives
    nothing.
    """
    for i in rows:
        for k in range(Q.shape[1]):
            q = 0.0
            if sire[i] >= 0:
                q += 0.5 * Q[sire[i], k]
            if dam[i] >= 0:
                q += 0.5 * Q[dam[i], k]
            Q[i, k] = q
        if indptr.size:
            for place in range(indptr[i], indptr[i + 1]):
                for k in range(Q.shape[1]):
                    Q[i, k] += weight[place] * Q[parent[place], k]
        if number[i] >= 0:
            for k in range(Q.shape[1]):
                Q[i, k] = 1.0 if number[i] == first + k else 0.0


@jit
def parent_fractions(
    sire: NDArray[np.int32], dam: NDArray[np.int32], rank: NDArray[np.int32], row: NDArray[np.int64], n_groups: int
) -> NDArray[np.float64]:
    """Return Q of the animals with progeny by rank, float64 (n_ranks, n_groups); the first rows are the groups.

    rank: int32 by row; row: int64 by rank, -1 for none. Ranks are in topological order.
    """
    Q = np.zeros((len(row), n_groups))
    for r in range(len(row)):
        if row[r] < 0:
            continue
        for parent in (sire[row[r]], dam[row[r]]):
            if parent >= n_groups:
                for k in range(n_groups):
                    Q[r, k] += 0.5 * Q[rank[parent], k]
            elif parent >= 0:
                Q[r, parent] += 0.5
    return Q
