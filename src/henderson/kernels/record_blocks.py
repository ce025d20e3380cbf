"""Diagonal blocks of C, level by level, added to packed lower triangles (`blocks.LevelBlocks`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import LevelBlocks, n_levels_of, row_of_level
from henderson.kernels.jit import jit
from henderson.kernels.record_loops import LocalRecords, TermLists, coefficient, row_of, weight_of


@jit
def add_records(
    records: LocalRecords,
    lists: TermLists,
    residual: NDArray[np.float64],
    n_traits: int,
    diagonal: bool,
    n_owned: int,
    first_ghost: int,
    blocks: LevelBlocks,
    ghosts: NDArray[np.float64],
) -> None:
    """Add the diagonal blocks of W' R^-1 W of one group to `blocks`, those of ghosts to `ghosts` (n_ghosts, size).

    lists: the terms of the group; diagonal: only the diagonal elements.
    """
    terms = lists.terms
    width, first = blocks.width, blocks.first
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        weight = weight_of(records.weights, r)
        row = row_of(records.rows, r)
        kind = lists.of_pattern[p]
        slot = -1
        owned = False
        at = -1
        for a in range(lists.first[kind], lists.first[kind + 1]):
            if terms[a, 1] != slot:
                slot = terms[a, 1]
                begin = int(records.slots[r, slot])
                owned = first <= begin < first + n_owned * width
                at = -1
                if owned:
                    at = row_of_level(blocks.place, (begin - first) // width)
                elif first_ghost <= begin < first_ghost + ghosts.shape[0] * width:
                    at = (begin - first_ghost) // width
            if at < 0:
                continue
            left = weight * coefficient(records, lists, row, a)
            t = int(terms[a, 2])
            for b in range(lists.first[kind], lists.first[kind + 1]):
                u = int(terms[b, 2])
                if u > t or (diagonal and u != t):
                    continue
                if terms[b, 1] != slot and records.slots[r, terms[b, 1]] != records.slots[r, slot]:
                    continue
                value = left * residual[p, terms[a, 0] * n_traits + terms[b, 0]] * coefficient(records, lists, row, b)
                if owned:
                    blocks.packed[at, t * (t + 1) // 2 + u] += value
                else:
                    ghosts[at, t * (t + 1) // 2 + u] += value


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
def add_column(column: int, last: int, blocks: LevelBlocks, y: NDArray[np.float64]) -> None:
    """Add column `column` of blocks, rows column..last, which lies in `y` level by level."""
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        row = row_of_level(blocks.place, i)
        if row >= 0:
            own = blocks.first + i * blocks.width
            for t in range(column, last):
                blocks.packed[row, t * (t + 1) // 2 + column] += y[own + t]
