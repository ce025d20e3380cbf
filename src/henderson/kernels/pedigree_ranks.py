"""Kernels that number the parents of a pedigree by rank and group the progeny by parent, before inbreeding is computed.

*Ranks* number the animals with progeny, generation after generation; each generation begins at a multiple of `WORD`, so
that in a bitmap of ranks no word holds an animal and its parent. The rank `n_ranks` stands for an unknown parent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit

WORD = 64


class RankedParents(NamedTuple):
    """The parents by rank, shape (n_ranks,); fillers between generations have no row.

    row: int64, -1 for a filler; sire, dam: int32 ranks, n_ranks if unknown; mendelian_variance: float64, set generation
    by generation; n_founder_ranks: the first rank after generation 0.
    """

    row: NDArray[np.int64]
    sire: NDArray[np.int32]
    dam: NDArray[np.int32]
    mendelian_variance: NDArray[np.float64]
    n_founder_ranks: int


class Families(NamedTuple):
    """Animals with both parents known, grouped by the parent with more progeny, their *pivot* (by the sire if equal).

    start: int64 (n_ranks + 1,), first place of each rank's group; row, mate: int32 by place, the animal's row and the
    rank of its other parent.
    """

    start: NDArray[np.int64]
    row: NDArray[np.int32]
    mate: NDArray[np.int32]


@jit
def count_progeny(sire: NDArray[np.int32], dam: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the number of progeny of every animal, int32 (n,); selfed progeny count twice."""
    n_progeny = np.zeros(len(sire), dtype=np.int32)
    for animal in range(len(sire)):
        if sire[animal] >= 0:
            n_progeny[sire[animal]] += 1
        if dam[animal] >= 0:
            n_progeny[dam[animal]] += 1
    return n_progeny


@jit
def rank_of_rarer_parent(
    rows: NDArray[np.int64],
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    n_progeny: NDArray[np.int32],
    rank: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Return for each of `rows` the rank of its parent with fewer progeny, or of the only known one, or -1."""
    key = np.empty(len(rows), dtype=np.int32)
    for i in range(len(rows)):
        s = sire[rows[i]]
        d = dam[rows[i]]
        parent = d if s < 0 or (d >= 0 and n_progeny[d] <= n_progeny[s]) else s
        key[i] = rank[parent] if parent >= 0 else -1
    return key


@jit
def parents_by_rank(
    sire: NDArray[np.int32], dam: NDArray[np.int32], rank: NDArray[np.int32], n_ranks: int, n_founder_ranks: int
) -> RankedParents:
    """Return the parents in the order of `rank` (int32 by row, -1 for animals without progeny), variances all 1."""
    row = np.full(n_ranks, -1, dtype=np.int64)
    ranked_sire = np.full(n_ranks, n_ranks, dtype=np.int32)
    ranked_dam = np.full(n_ranks, n_ranks, dtype=np.int32)
    for animal in range(len(sire)):
        r = rank[animal]
        if r >= 0:
            row[r] = animal
            if sire[animal] >= 0:
                ranked_sire[r] = rank[sire[animal]]
            if dam[animal] >= 0:
                ranked_dam[r] = rank[dam[animal]]
    return RankedParents(row, ranked_sire, ranked_dam, np.ones(n_ranks), n_founder_ranks)


@jit
def families_by_pivot(
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    n_progeny: NDArray[np.int32],
    rank: NDArray[np.int32],
    n_ranks: int,
) -> Families:
    """Return the families. Cost: two passes over the animals, random access to their parents."""
    n = len(sire)
    start = np.zeros(n_ranks + 1, dtype=np.int64)
    for animal in range(n):
        s = sire[animal]
        d = dam[animal]
        if s >= 0 and d >= 0:
            start[rank[s if n_progeny[s] >= n_progeny[d] else d] + 1] += 1
    for r in range(n_ranks):
        start[r + 1] += start[r]
    place = start[:-1].copy()
    row = np.empty(start[n_ranks], dtype=np.int32)
    mate = np.empty(start[n_ranks], dtype=np.int32)
    for animal in range(n):
        s = sire[animal]
        d = dam[animal]
        if s >= 0 and d >= 0:
            if n_progeny[s] < n_progeny[d]:
                s, d = d, s
            pivot = rank[s]
            row[place[pivot]] = animal
            mate[place[pivot]] = rank[d]
            place[pivot] += 1
    return Families(start, row, mate)


@jit
def set_mendelian_variance(parents: RankedParents, first: int, stop: int, inbreeding: NDArray[np.float64]) -> None:
    """Take (1 + F_p) / 4 for every known parent p off the mendelian variances of the ranks first..stop."""
    unknown = len(parents.sire)
    for r in range(first, stop):
        value = parents.mendelian_variance[r]
        if parents.sire[r] != unknown:
            value -= 0.25 * (1.0 + inbreeding[parents.row[parents.sire[r]]])
        if parents.dam[r] != unknown:
            value -= 0.25 * (1.0 + inbreeding[parents.row[parents.dam[r]]])
        parents.mendelian_variance[r] = value
