"""Kernels of inbreeding: relationships of parents with all their mates, from the pedigree of a few parents at a time.

With A = T D T', the relationships of a pivot s with all animals are T v, v = D T' e_s (Colleau 2002): T' e_s
passes halves from progeny to parents over the ancestors of s, T v averages parents over the ancestors of the mates.
Both run here on a numbering of these animals alone, for `LANES` pivots side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit
from henderson.kernels.pedigree_ranks import WORD, Families, RankedParents

LANES = 8  # pivots side by side: one cache line of float64
_BLOCK_BITS = 12  # one mark in `touched` for 64 words of 64 ranks
_DE_BRUIJN = 0x03F79D71B4CB0A89  # its 64 windows of 6 bits differ: times 2^i, the first tells i (Leiserson et al. 1998)
_BIT = np.argsort([((_DE_BRUIJN << place) & (2**64 - 1)) >> 58 for place in range(64)])


class Workspace(NamedTuple):
    """What one thread works in. Between calls `marks`, `touched` and the founders' places in `local` are zero.

    marks: uint64 (n_words, 2), bitmaps of the ranks in the block and of those that are ancestors of its pivots;
    touched: uint8, whether any of 64 words has a mark; local: int32 (n_ranks + 1,), number by rank, 0 if none;
    nodes: int32, the marked ranks, progeny first, complemented unless ancestors of pivots; sire, dam: int32 by number;
    lineage, lineage_variance: numbers and mendelian variances of the pivots' ancestors that are not founders;
    x: float64 (n_ranks + 1, LANES), T' e_s, then T v, by number.
    """

    marks: NDArray[np.uint64]
    touched: NDArray[np.uint8]
    local: NDArray[np.int32]
    nodes: NDArray[np.int32]
    sire: NDArray[np.int32]
    dam: NDArray[np.int32]
    lineage: NDArray[np.int32]
    lineage_variance: NDArray[np.float64]
    x: NDArray[np.float64]


class Metafounders(NamedTuple):
    """What metafounders add.

    fraction: float64 (n_ranks, n_metafounders), Q of the parents by rank; gamma: relationships of the metafounders.
    """

    fraction: NDArray[np.float64]
    gamma: NDArray[np.float64]


def workspace(n_ranks: int) -> Workspace:
    """Return a workspace. Memory is taken when touched: 4 n_ranks bytes, and 100 per animal of the largest block."""
    size = n_ranks + 1
    return Workspace(
        marks=np.zeros((n_ranks // WORD + 1, 2), dtype=np.uint64),
        touched=np.zeros((n_ranks >> _BLOCK_BITS) + 1, dtype=np.uint8),
        local=np.zeros(size, dtype=np.int32),
        nodes=np.empty(size, dtype=np.int32),
        sire=np.empty(size, dtype=np.int32),
        dam=np.empty(size, dtype=np.int32),
        lineage=np.empty(size, dtype=np.int32),
        lineage_variance=np.empty(size),
        x=np.empty((size, LANES)),
    )


@inline
def _mark(work: Workspace, rank: int, of_pivot: np.uint64) -> None:
    """Mark a rank, and (of_pivot = 1, uint64) that it is an ancestor of a pivot."""
    word = rank >> 6
    bit = np.uint64(1) << np.uint64(rank & 63)
    work.marks[word, 0] |= bit
    work.marks[word, 1] |= bit * of_pivot
    work.touched[word >> 6] = 1


@jit
def mark_families(pivots: NDArray[np.int32], families: Families, n_founder_ranks: int, work: Workspace) -> int:
    """Return the highest rank of the pivots and their mates, all marked; founders count only as pivots."""
    highest = 0
    for pivot in pivots:
        _mark(work, pivot, np.uint64(1))
        highest = max(highest, pivot)
        for place in range(families.start[pivot], families.start[pivot + 1]):
            mate = families.mate[place]
            if mate >= n_founder_ranks:
                _mark(work, mate, np.uint64(0))
                highest = max(highest, mate)
    return highest


@jit
def collect_ancestors(highest: int, parents: RankedParents, work: Workspace) -> int:
    """Return the number of marked ranks with their ancestors, progeny first in ``work.nodes``; the marks are cleared.

    Founders that are no ancestors of a pivot are left out: they share nothing with it. A word of the bitmap holds
    animals of one generation, so their parents' marks fall in words still to come.
    Cost: a few operations per animal, and a look at ``touched``.
    """
    one = np.uint64(1)
    n = 0
    for block in range(highest >> _BLOCK_BITS, -1, -1):
        if work.touched[block] == 0:
            continue
        work.touched[block] = 0
        for word in range(min((block << 6) + 63, len(work.marks) - 1), (block << 6) - 1, -1):
            marked = work.marks[word, 0]
            if marked == 0:
                continue
            of_pivots = work.marks[word, 1]
            work.marks[word, 0] = 0
            work.marks[word, 1] = 0
            while marked != 0:
                lowest = marked & (~marked + one)
                place = _BIT[(lowest * np.uint64(_DE_BRUIJN)) >> np.uint64(58)]
                marked ^= lowest
                rank = (word << 6) + place
                of_pivot = (of_pivots >> np.uint64(place)) & one
                work.nodes[n] = rank if of_pivot else ~rank
                n += 1
                if rank >= parents.n_founder_ranks:
                    s = parents.sire[rank]
                    d = parents.dam[rank]
                    if of_pivot or s >= parents.n_founder_ranks:
                        _mark(work, s, of_pivot)
                    if of_pivot or d >= parents.n_founder_ranks:
                        _mark(work, d, of_pivot)
    unknown = len(parents.sire)  # unknown parents were marked too, behind the last rank
    work.marks[unknown >> 6, :] = 0
    work.touched[unknown >> _BLOCK_BITS] = 0
    return n


@jit
def number_relatives(n: int, parents: RankedParents, work: Workspace) -> tuple[int, int, int]:
    """Return how many collected animals can be related to a pivot, how many of them are founders, how many the lineage.

    They are numbered 1, 2, ... with founders and parents first; the others and unknown parents have number 0, where
    x stays zero. The founders' ranks are left at the end of ``work.nodes``, counted from behind.
    """
    n_numbered = 0
    n_founders = 0
    n_lineage = 0
    for i in range(n - 1, -1, -1):
        rank = work.nodes[i]
        of_pivot = rank >= 0
        rank = max(rank, ~rank)
        if rank < parents.n_founder_ranks:
            if of_pivot:
                n_numbered += 1
                n_founders += 1
                work.local[rank] = n_numbered
                work.nodes[n - n_founders] = rank
            continue
        s = work.local[parents.sire[rank]]
        d = work.local[parents.dam[rank]]
        if not of_pivot and s == 0 and d == 0:
            work.local[rank] = 0
            continue
        n_numbered += 1
        work.local[rank] = n_numbered
        work.sire[n_numbered] = s
        work.dam[n_numbered] = d
        if of_pivot:
            work.lineage[n_lineage] = n_numbered
            work.lineage_variance[n_lineage] = parents.mendelian_variance[rank]
            n_lineage += 1
    return n_numbered, n_founders, n_lineage


@jit
def relationships(
    n_numbered: int,
    n_founders: int,
    n_lineage: int,
    founders: NDArray[np.int32],
    parents: RankedParents,
    metafounders: Metafounders | None,
    work: Workspace,
) -> None:
    """Turn the columns of x from e_s into T D T' e_s; `founders`: their ranks, the last first."""
    x = work.x
    for i in range(n_lineage - 1, -1, -1):  # T': to a parent half of what its progeny has
        number = work.lineage[i]
        s = work.sire[number]
        d = work.dam[number]
        for lane in range(LANES):
            x[s, lane] += 0.5 * x[number, lane]
        for lane in range(LANES):
            x[d, lane] += 0.5 * x[number, lane]
        variance = work.lineage_variance[i]  # D, which is 1 for founders
        for lane in range(LANES):
            x[number, lane] *= variance
    if metafounders is not None:  # D of founders is 1 without them
        for number in range(1, n_founders + 1):
            variance = parents.mendelian_variance[founders[n_founders - number]]
            for lane in range(LANES):
                x[number, lane] *= variance
    x[0, :] = 0.0
    for number in range(n_founders + 1, n_numbered + 1):  # T: the average of the parents, and what is the animal's own
        s = work.sire[number]
        d = work.dam[number]
        for lane in range(LANES):
            x[number, lane] += 0.5 * (x[s, lane] + x[d, lane])


@jit
def progeny_inbreeding(
    pivots: NDArray[np.int32],
    families: Families,
    parents: RankedParents,
    work: Workspace,
    metafounders: Metafounders | None,
    inbreeding: NDArray[np.float64],
) -> None:
    """Set the inbreeding F = a_sd / 2 of the progeny of `pivots` in their families.

    With metafounders, a_sd = (T D T')_sd + q_s' Gamma q_d, where T and D are of the animals alone.
    The mendelian variances of the pivots' generations and all earlier ones must be set. A value does not depend on
    which pivots share a block: each lane has its own sums, in the order of the ranks.
    """
    for first in range(0, len(pivots), LANES):
        block = pivots[first : first + LANES]
        highest = mark_families(block, families, parents.n_founder_ranks, work)
        n = collect_ancestors(highest, parents, work)
        n_numbered, n_founders, n_lineage = number_relatives(n, parents, work)
        work.x[: n_numbered + 1] = 0.0
        for lane in range(len(block)):
            work.x[work.local[block[lane]], lane] = 1.0
        founders = work.nodes[n - n_founders : n]
        relationships(n_numbered, n_founders, n_lineage, founders, parents, metafounders, work)
        for lane in range(len(block)):
            if metafounders is not None:
                shared = np.zeros(len(metafounders.gamma))
                for k in range(len(shared)):
                    for j in range(len(shared)):
                        shared[k] += metafounders.gamma[k, j] * metafounders.fraction[block[lane], j]
            for place in range(families.start[block[lane]], families.start[block[lane] + 1]):
                mate = families.mate[place]
                related = work.x[work.local[mate], lane]
                if metafounders is not None:
                    for k in range(len(shared)):
                        related += metafounders.fraction[mate, k] * shared[k]
                inbreeding[families.row[place]] = 0.5 * related
        for i in range(n - n_founders, n):  # founders outside the next block must not keep a number
            work.local[work.nodes[i]] = 0
