"""Oracle of pedigree relationships: the dense numerator relationship matrix by the tabular method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def relationship_matrix(sire: NDArray[np.int32], dam: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return A (n, n) by the tabular method (Emik & Terrill 1949), rows in any order; refuses loops.

    a_ij = (a_sj + a_dj) / 2 for j entered before i, a_ii = 1 + a_sd / 2.
    """
    n = len(sire)
    A = np.zeros((n, n))
    entered: list[int] = []
    waiting = list(range(n))
    while waiting:
        ready = [i for i in waiting if all(p < 0 or p in entered for p in (sire[i], dam[i]))]
        if not ready:
            raise ValueError("the pedigree has a loop")
        for i in ready:
            s, d = sire[i], dam[i]
            row = np.zeros(n)
            for p in (s, d):
                if p >= 0:
                    row += 0.5 * A[p]
            A[i, :] = row
            A[:, i] = row
            A[i, i] = 1.0 + (0.5 * A[s, d] if s >= 0 and d >= 0 else 0.0)
            entered.append(i)
        waiting = [i for i in waiting if i not in ready]
    return A


def average_relationship(
    n: int,
    pairs: list[list[tuple[int, int, float]]],
    gamma: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """A (n, n) averaged over pairs (sire, dam, probability) of parents, -1 unknown; `gamma` is its first block.

    Plain loops, animals with parents before them: a_ij = sum_k p_k (a_sj + a_dj) / 2, a_ii = 1 + sum_k p_k a_sd / 2.
    """
    A = np.zeros((n, n))
    first = 0
    if gamma is not None:
        first = len(gamma)
        A[:first, :first] = gamma
    for i in range(first, n):
        A[i, i] = 1.0
        for s, d, p in pairs[i]:
            for j in range(i):
                A[i, j] += p * ((A[s, j] if s >= 0 else 0.0) + (A[d, j] if d >= 0 else 0.0)) / 2
            if s >= 0 and d >= 0:
                A[i, i] += p * A[s, d] / 2
        A[:i, i] = A[i, :i]
    return A
