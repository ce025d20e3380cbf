"""Kernels of inbreeding: relationships of parents with all their mates from the pedigree of a few parents at a time.

Parents are numbered by *rank*: generations follow each other, each begins at a multiple of 64, so that in the bitmap of
ranks no word holds an animal and its parent. The rank `n_ranks` stands for an unknown parent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit

WORD = 64

_DE_BRUIJN = 0x03F79D71B4CB0A89
_BIT = np.zeros(WORD, dtype=np.int64)
for _i in range(WORD):
    _BIT[((_DE_BRUIJN << _i) & 0xFFFFFFFFFFFFFFFF) >> 58] = _i


@jit
def rank_parents(
    sire: NDArray[np.int32], dam: NDArray[np.int32], generation: NDArray[np.int32], n_generations: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the rank of every parent (-1 for other animals) and the first rank of each generation, with the end.

    Within a generation ranks follow the rows. Cost: O(n), 5 n bytes.
    """
    n = len(sire)
    rank = np.full(n, -1, dtype=np.int32)
    for animal in range(n):
        if sire[animal] >= 0:
            rank[sire[animal]] = 0
        if dam[animal] >= 0:
            rank[dam[animal]] = 0
    start = np.zeros(n_generations + 1, dtype=np.int64)
    for animal in range(n):
        if rank[animal] == 0:
            start[generation[animal] + 1] += 1
    for g in range(n_generations):
        start[g + 1] = start[g] + (start[g + 1] + WORD - 1) // WORD * WORD
    place = start.copy()
    for animal in range(n):
        if rank[animal] == 0:
            rank[animal] = place[generation[animal]]
            place[generation[animal]] += 1
    return rank, start


@jit
def ranked_parents(
    sire: NDArray[np.int32], dam: NDArray[np.int32], rank: NDArray[np.int32], n_ranks: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return by rank the row of the parent, and the ranks of its sire and dam (`n_ranks` if unknown or a filler)."""
    row = np.full(n_ranks, -1, dtype=np.int32)
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
    return row, ranked_sire, ranked_dam


@jit
def group_by_pivot(
    sire: NDArray[np.int32], dam: NDArray[np.int32], rank: NDArray[np.int32], n_ranks: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the animals with both parents known grouped by the parent with more progeny, their *pivot*; the sire if equal.

    Returned are the first place of each rank's group (n_ranks + 1), and by place the animal's row and the rank of its other
    parent, the *mate*. Cost: O(n), random access to the parents.
    """
    n = len(sire)
    n_progeny = np.zeros(n_ranks, dtype=np.int32)
    for animal in range(n):
        if sire[animal] >= 0 and dam[animal] >= 0:
            n_progeny[rank[sire[animal]]] += 1
            n_progeny[rank[dam[animal]]] += 1
    start = np.zeros(n_ranks + 1, dtype=np.int64)
    for animal in range(n):
        if sire[animal] >= 0 and dam[animal] >= 0:
            s = rank[sire[animal]]
            d = rank[dam[animal]]
            start[(s if n_progeny[s] >= n_progeny[d] else d) + 1] += 1
    for r in range(n_ranks):
        start[r + 1] += start[r]
    place = start[:-1].copy()
    member = np.empty(start[n_ranks], dtype=np.int32)
    mate = np.empty(start[n_ranks], dtype=np.int32)
    for animal in range(n):
        if sire[animal] >= 0 and dam[animal] >= 0:
            pivot = rank[sire[animal]]
            other = rank[dam[animal]]
            if n_progeny[pivot] < n_progeny[other]:
                pivot, other = other, pivot
            member[place[pivot]] = animal
            mate[place[pivot]] = other
            place[pivot] += 1
    return start, member, mate


@jit
def ranked_mendelian_variance(
    d: NDArray[np.float64],
    first: int,
    stop: int,
    row: NDArray[np.int32],
    ranked_sire: NDArray[np.int32],
    ranked_dam: NDArray[np.int32],
    inbreeding: NDArray[np.float64],
) -> None:
    """Set the mendelian variances `d` of the ranks first..stop from the inbreeding of their parents."""
    unknown = len(ranked_sire)
    for r in range(first, stop):
        value = 1.0
        if ranked_sire[r] != unknown:
            value -= 0.25 * (1.0 + inbreeding[row[ranked_sire[r]]])
        if ranked_dam[r] != unknown:
            value -= 0.25 * (1.0 + inbreeding[row[ranked_dam[r]]])
        d[r] = value


@inline
def _mark(bits, touched, r):  # type: ignore[no-untyped-def]
    """Set the bit of rank `r`."""
    w = r >> 6
    bits[w] |= np.uint64(1) << np.uint64(r & 63)
    touched[w >> 6] = 1


@jit
def local_pedigree(
    bits: NDArray[np.uint64],
    touched: NDArray[np.uint8],
    highest: int,
    n_founder_ranks: int,
    ranked_sire: NDArray[np.int32],
    ranked_dam: NDArray[np.int32],
    local: NDArray[np.int32],
    nodes: NDArray[np.int32],
    local_sire: NDArray[np.int32],
    local_dam: NDArray[np.int32],
) -> tuple[int, int]:
    """Return the number of marked ranks with all their ancestors, and that of the founders among them; clear the marks.

    They are numbered 1, 2, ... parents first, 0 standing for an unknown parent: `local` by rank, `nodes` (their ranks),
    `local_sire` and `local_dam` by number are filled. Cost: one step per ancestor, and a look at each 4096th of the ranks.
    """
    n = 0
    for block in range(highest >> 12, -1, -1):
        if touched[block] == 0:
            continue
        touched[block] = 0
        for w in range(min((block << 6) + 63, len(bits) - 1), (block << 6) - 1, -1):
            word = bits[w]
            if word == 0:
                continue
            bits[w] = 0
            base = w << 6
            while word != 0:
                lowest = word & (~word + np.uint64(1))
                r = base + _BIT[(lowest * np.uint64(_DE_BRUIJN)) >> np.uint64(58)]
                word ^= lowest
                nodes[n] = r
                n += 1
                if r >= n_founder_ranks:
                    _mark(bits, touched, ranked_sire[r])
                    _mark(bits, touched, ranked_dam[r])
    # an unknown parent marked the word behind the last rank
    unknown = len(ranked_sire)
    bits[unknown >> 6] = 0
    touched[unknown >> 12] = 0
    n_founders = 0
    local[unknown] = 0
    for number in range(1, n + 1):
        r = nodes[n - number]
        local[r] = number
        if r < n_founder_ranks:
            n_founders += 1
        else:
            local_sire[number] = local[ranked_sire[r]]
            local_dam[number] = local[ranked_dam[r]]
    return n, n_founders


@jit
def pivots_inbreeding(
    lanes,  # type: ignore[no-untyped-def]
    pivots: NDArray[np.int32],
    first: int,
    stop: int,
    start: NDArray[np.int64],
    member: NDArray[np.int32],
    mate: NDArray[np.int32],
    n_founder_ranks: int,
    ranked_sire: NDArray[np.int32],
    ranked_dam: NDArray[np.int32],
    d: NDArray[np.float64],
    bits: NDArray[np.uint64],
    touched: NDArray[np.uint8],
    local: NDArray[np.int32],
    nodes: NDArray[np.int32],
    local_sire: NDArray[np.int32],
    local_dam: NDArray[np.int32],
    reached: NDArray[np.uint8],
    x: NDArray[np.float64],
    inbreeding: NDArray[np.float64],
) -> None:
    """Set the inbreeding of the progeny of ``pivots[first:stop]``."""
    width = len(lanes)
    for block in range(first, stop, width):
        block_stop = min(block + width, stop)
        highest = 0
        for i in range(block, block_stop):
            p = pivots[i]
            _mark(bits, touched, p)
            highest = max(highest, p)
            for k in range(start[p], start[p + 1]):
                _mark(bits, touched, mate[k])
                highest = max(highest, mate[k])
        n, n_founders = local_pedigree(
            bits, touched, highest, n_founder_ranks, ranked_sire, ranked_dam, local, nodes, local_sire, local_dam
        )
        x[: n + 1] = 0.0
        reached[: n + 1] = 0
        top = 0
        for i in range(block, block_stop):
            number = local[pivots[i]]
            x[number, i - block] = 1.0
            reached[number] = 1
            top = max(top, number)
        for number in range(top, n_founders, -1):
            if reached[number] == 0:
                continue
            s = local_sire[number]
            m = local_dam[number]
            reached[s] = 1
            reached[m] = 1
            for b in range(width):
                x[s, b] += 0.5 * x[number, b]
            for b in range(width):
                x[m, b] += 0.5 * x[number, b]
            variance = d[nodes[n - number]]
            for b in range(width):
                x[number, b] *= variance
        for b in range(width):
            x[0, b] = 0.0
        for number in range(n_founders + 1, n + 1):
            s = local_sire[number]
            m = local_dam[number]
            for b in range(width):
                x[number, b] += 0.5 * (x[s, b] + x[m, b])
        for i in range(block, block_stop):
            p = pivots[i]
            for k in range(start[p], start[p + 1]):
                inbreeding[member[k]] = 0.5 * x[local[mate[k]], i - block]
