"""Diagonal blocks of C, level by level, added to packed lower triangles (`blocks.LevelBlocks`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import LevelBlocks, n_levels_of, row_of_level
from henderson.kernels.jit import jit
from henderson.kernels.record_loops import LocalRecords, row_of, weight_of


@jit
def add_records(
    records: LocalRecords,
    of_pattern: NDArray[np.int32],
    begins: NDArray[np.int64],
    pairs: NDArray[np.int32],
    residual: NDArray[np.float64],
    n_owned: int,
    first_ghost: int,
    blocks: LevelBlocks,
    ghosts: NDArray[np.float64],
) -> None:
    """Add the diagonal blocks of W' R^-1 W of one group to `blocks`, those of ghosts to `ghosts` (n_ghosts, size).

    Pattern p has the pairs of terms begins[l]..begins[l + 1], l = of_pattern[p]: slots of both, columns of their
    coefficients (-1 for 1), place in the packed block, and place in R^-1.
    """
    width, first = blocks.width, blocks.first
    slots, coefficients, packed = records.slots, records.coefficients, blocks.packed
    for r in range(slots.shape[0]):
        p = records.pattern[r]
        weight = weight_of(records.weights, r)
        row = row_of(records.rows, r)
        kind = of_pattern[p]
        slot = -1
        owned = False
        at = -1
        for k in range(begins[kind], begins[kind + 1]):
            if pairs[k, 0] != slot:
                slot = int(pairs[k, 0])
                begin = int(slots[r, slot])
                owned = first <= begin < first + n_owned * width
                at = -1
                if owned:
                    at = row_of_level(blocks.place, (begin - first) // width)
                elif first_ghost <= begin < first_ghost + ghosts.shape[0] * width:
                    at = (begin - first_ghost) // width
            if at < 0 or (pairs[k, 1] != slot and slots[r, pairs[k, 1]] != slots[r, slot]):
                continue
            value = weight * residual[p, pairs[k, 5]]
            if pairs[k, 2] >= 0:
                value *= coefficients[row, pairs[k, 2]]
            if pairs[k, 3] >= 0:
                value *= coefficients[row, pairs[k, 3]]
            if owned:
                packed[at, pairs[k, 4]] += value
            else:
                ghosts[at, pairs[k, 4]] += value


@jit
def add_multiple(inverse: NDArray[np.float64], blocks: LevelBlocks, y: NDArray[np.float64]) -> None:
    """Add a multiple of `inverse` to each block: the first element of its level; without a row it is the scale's."""
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        multiple = y[blocks.first + i * blocks.width]
        row = row_of_level(blocks.place, i)
        if row >= 0:
            for t in range(blocks.width):
                for u in range(t + 1):
                    blocks.packed[row, t * (t + 1) // 2 + u] += multiple * inverse[t, u]
        else:
            blocks.scale[i] = 1.0 / multiple if multiple > 0.0 else 1.0  # any positive number keeps M positive definite


@jit
def take_column(column: int, levels: NDArray[np.int32], blocks: LevelBlocks, y: NDArray[np.float64]) -> None:
    """Move column `column` of blocks, from the diagonal down, out of `y`; only `levels` have anything there.

    Most of them have nothing, and their pages stay as they are.
    """
    for i in levels:
        row = row_of_level(blocks.place, i)
        for t in range(column, blocks.width):
            at = blocks.first + i * blocks.width + t
            if y[at] != 0.0:
                blocks.packed[row, t * (t + 1) // 2 + column] += y[at]
                y[at] = 0.0


@jit
def add_column(column: int, last: int, blocks: LevelBlocks, y: NDArray[np.float64]) -> None:
    """Add column `column` of blocks, rows column..last, which lies in `y` level by level."""
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        row = row_of_level(blocks.place, i)
        if row >= 0:
            own = blocks.first + i * blocks.width
            for t in range(column, last):
                blocks.packed[row, t * (t + 1) // 2 + column] += y[own + t]
