"""Classes that are eliminated one group after the other: the blocks of C between their levels, pair by pair.

Levels of a group that is eliminated (width w) do not meet each other; each meets few levels of another group (width v).
Pairs of level i are indptr[i]..indptr[i + 1]: `levels` of the other group, `values` of the elements of their block that
can differ from zero, float32 or float64 (n_pairs, n): rows `t` (of w), columns `u` (of v). Blocks of an eliminated
group are packed inverses (`blocks.LevelBlocks`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import LevelBlocks, multiply_block, unpack_block
from henderson.kernels.jit import index, inline, jit
from henderson.kernels.record_loops import LocalRecords, TermLists, coefficient, row_of, weight_of


class Pairs(NamedTuple):
    """The blocks of C between the levels of two groups; `first` is where the second begins in a local vector."""

    width: int
    other_width: int
    first: int
    indptr: NDArray[np.int64]
    levels: NDArray[np.int32]
    t: NDArray[np.int64]
    u: NDArray[np.int64]
    values: NDArray[np.float32] | NDArray[np.float64]

    @property
    def nbytes(self) -> int:
        """Return the memory of the arrays."""
        return self.indptr.nbytes + self.levels.nbytes + self.values.nbytes


@jit
def sort_by_level(
    slots: NDArray[np.uint32], s: int, first: int, width: int, n: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return where the records of each of `n` levels begin, and the records in the order of their levels.

    Slot `s` of a record is the element where its level begins; levels that are not among first..first + n * width are
    skipped.
    """
    start = np.zeros(n + 1, np.int64)
    for r in range(slots.shape[0]):
        at = np.int64(slots[r, s]) - first
        if 0 <= at < n * width:
            start[at // width + 1] += 1
    for i in range(n):
        start[i + 1] += start[i]
    place = start[:n].copy()
    order = np.empty(start[n], np.uint32)
    for r in range(slots.shape[0]):
        at = np.int64(slots[r, s]) - first
        if 0 <= at < n * width:
            order[place[at // width]] = r
            place[at // width] += 1
    return start, order


@jit
def list_pairs(
    start: NDArray[np.int64],
    order: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    chosen: NDArray[np.int64],
    first: int,
    width: int,
    n: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return `indptr` and `levels` of the pairs with the `n` levels from element `first` on of the slots `chosen`."""
    indptr = np.zeros(len(start), np.int64)
    levels = np.empty(0, np.int32)
    for counting in (True, False):
        if not counting:
            levels = np.empty(indptr[-1], np.int32)
        seen = np.full(n, -1, np.int64)
        found = np.int64(0)
        for i in range(len(start) - 1):
            for k in range(start[i], start[i + 1]):
                for s in chosen:
                    at = np.int64(slots[order[k], s]) - first
                    if 0 <= at < n * width and seen[at // width] != i:
                        seen[at // width] = i
                        if not counting:
                            levels[found] = at // width
                        found += 1
            indptr[i + 1] = found
    return indptr, levels


@jit
def fill_pairs(
    start: NDArray[np.int64],
    order: NDArray[np.uint32],
    records: LocalRecords,
    own: TermLists,
    other: TermLists,
    residual: NDArray[np.float64],
    n_traits: int,
    n: int,
    pairs: Pairs,
) -> None:
    """Set the values to W_1' R^-1 W_2; `own` and `other` are the terms of the two groups, `n` the other's levels."""
    slots, left, right = records.slots, own.terms, other.terms
    w, v = pairs.width, pairs.other_width
    most = np.int64(0)
    for i in range(len(start) - 1):
        most = max(most, pairs.indptr[i + 1] - pairs.indptr[i])
    blocks = np.empty((most, w, v))
    place = np.zeros(n, np.int64)
    for i in range(len(start) - 1):
        begin = pairs.indptr[i]
        for k in range(begin, pairs.indptr[i + 1]):
            place[pairs.levels[k]] = k - begin
            blocks[k - begin] = 0.0
        for k in range(start[i], start[i + 1]):
            r = order[k]
            p = records.pattern[r]
            row = row_of(records.rows, r)
            weight = weight_of(records.weights, r)
            kind = other.of_pattern[p]
            kind_2 = own.of_pattern[p]
            for b in range(other.first[kind], other.first[kind + 1]):
                at = np.int64(slots[r, right[b, 1]]) - pairs.first
                if not 0 <= at < n * v:
                    continue
                here = place[at // v]
                scale = weight * coefficient(records, other, row, b)
                for a in range(own.first[kind_2], own.first[kind_2 + 1]):
                    value = scale * residual[p, left[a, 0] * n_traits + right[b, 0]]
                    blocks[here, left[a, 2], right[b, 2]] += value * coefficient(records, own, row, a)
        for k in range(begin, pairs.indptr[i + 1]):
            for m in range(len(pairs.t)):
                pairs.values[k, m] = blocks[k - begin, pairs.t[m], pairs.u[m]]


@jit
def raise_diagonal(share: float, packed: NDArray[Any], width: int) -> None:
    """Multiply the diagonals of packed blocks by 1 + share."""
    for i in range(packed.shape[0]):
        for t in range(width):
            packed[i, t * (t + 3) // 2] *= 1.0 + share


@inline
def unpack_pair(pairs: Pairs, k: int, block: NDArray[np.float64]) -> None:
    """Set `block` to the block of pair `k`."""
    block[:] = 0.0
    for m in range(len(pairs.t)):
        block[pairs.t[m], pairs.u[m]] = pairs.values[k, m]


@inline
def times_inverse(inverse: NDArray[np.float64], block: NDArray[np.float64], product: NDArray[np.float64]) -> None:
    """Set product = inverse block."""
    for t in range(block.shape[0]):
        for u in range(block.shape[1]):
            total = 0.0
            for m in range(block.shape[0]):
                total += inverse[t, m] * block[m, u]
            product[t, u] = total


@jit
def eliminate(own: LevelBlocks, pairs: Pairs, packed: NDArray[Any]) -> None:
    """Take K' D^-1 K off the packed diagonal blocks of the other group; D^-1 is in `own`, K in `pairs`."""
    w, v = pairs.width, pairs.other_width
    inverse, block, product = np.empty((w, w)), np.empty((w, v)), np.empty((w, v))
    for i in range(len(pairs.indptr) - 1):
        if pairs.indptr[i + 1] > pairs.indptr[i]:
            unpack_block(own, i, inverse)
        for k in range(pairs.indptr[i], pairs.indptr[i + 1]):
            unpack_pair(pairs, k, block)
            times_inverse(inverse, block, product)
            for t in range(v):
                for u in range(t + 1):
                    total = 0.0
                    for m in range(w):
                        total += block[m, t] * product[m, u]
                    packed[pairs.levels[k], t * (t + 1) // 2 + u] -= total


@jit
def eliminate_between(own: LevelBlocks, one: Pairs, other: Pairs, between: Pairs) -> None:
    """Take K_1' D^-1 K_2 off the blocks `between` two other groups; its pairs are sorted, and hold all that meet."""
    w, v_1, v_2 = one.width, one.other_width, other.other_width
    inverse, block, more, product = np.empty((w, w)), np.empty((w, v_1)), np.empty((w, v_2)), np.empty((w, v_2))
    for i in range(len(one.indptr) - 1):
        if one.indptr[i + 1] == one.indptr[i] or other.indptr[i + 1] == other.indptr[i]:
            continue
        unpack_block(own, i, inverse)
        for j in range(other.indptr[i], other.indptr[i + 1]):
            unpack_pair(other, j, more)
            times_inverse(inverse, more, product)
            for k in range(one.indptr[i], one.indptr[i + 1]):
                unpack_pair(one, k, block)
                level = one.levels[k]
                low, high = between.indptr[level], between.indptr[level + 1]
                at = low + np.searchsorted(between.levels[low:high], other.levels[j])
                for m in range(len(between.t)):
                    t, u = between.t[m], between.u[m]
                    total = 0.0
                    for x in range(w):
                        total += block[x, t] * product[x, u]
                    between.values[at, m] -= total


@jit
def down(own: LevelBlocks, pairs: Pairs, z: NDArray[np.float64]) -> None:
    """Subtract K'z of the eliminated group from z of the other."""
    n = len(pairs.t)
    for i in range(len(pairs.indptr) - 1):
        at = own.first + i * pairs.width
        for k in range(pairs.indptr[i], pairs.indptr[i + 1]):
            other = pairs.first + np.int64(pairs.levels[k]) * pairs.other_width
            for m in range(n):
                z[other + pairs.u[m]] -= pairs.values[k, m] * z[at + pairs.t[m]]


@jit
def up(own: LevelBlocks, pairs: Pairs, z: NDArray[np.float64]) -> None:
    """Subtract D^-1 K z of the other group from z of the eliminated one."""
    n = len(pairs.t)
    total, less = np.empty(pairs.width), np.empty(pairs.width)
    for i in range(len(pairs.indptr) - 1):
        if pairs.indptr[i + 1] == pairs.indptr[i]:
            continue
        at = own.first + i * pairs.width
        total[:] = 0.0
        for k in range(pairs.indptr[i], pairs.indptr[i + 1]):
            other = pairs.first + np.int64(pairs.levels[k]) * pairs.other_width
            for m in range(n):
                total[pairs.t[m]] += pairs.values[k, m] * z[other + pairs.u[m]]
        multiply_block(own, i, total, index(0), less, index(0))
        for t in range(pairs.width):
            z[at + t] -= less[t]


@jit
def solve_in_place(blocks: LevelBlocks, z: NDArray[np.float64]) -> None:
    """Replace z by M^-1 z, level by level, where every level is stored."""
    width = blocks.width
    residual = np.empty(width)
    for i in range(blocks.packed.shape[0]):
        own = blocks.first + i * width
        residual[:] = z[own : own + width]
        multiply_block(blocks, i, residual, index(0), z, index(own))
