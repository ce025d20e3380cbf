"""Incomplete factor of the block of individuals: the youngest are eliminated first, links to parents are kept.

M = L D L' over the levels of a factor with A^-1 (x) Sigma^-1: L has the blocks of an animal with its parents,
-1/(2 d_i) Sigma^-1, times D_i^-1; what elimination adds between mates, and the blocks of mates in A^-1, are left out (a
block form of the incomplete Cholesky factor without fill: Meijerink & van der Vorst 1977). Every pivot block exceeds
1/d_i Sigma^-1, so that M is positive definite. Any order with progeny before parents gives the same M; which one the
kernels take, as far as it lies in one partition, is told by `animals` (`solvers.sweep_order`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import (
    LevelBlocks,
    invert_block,
    multiply_block,
    row_of_level,
    unpack_block,
)
from henderson.kernels.jit import index, jit
from henderson.kernels.registers import add_scaled, whole_product


@jit
def mark_late(
    width: int, first: int, sire: NDArray[np.uint32], dam: NDArray[np.uint32], y: NDArray[np.float64]
) -> None:
    """Set the first element of parents that are ghosts, or come after a progeny in store order, to 1."""
    end = first + sire.size * width
    for i in range(sire.size):
        own = first + i * width
        for p in (int(sire[i]), int(dam[i])):
            if p > own or p < first or p >= end:
                y[p] = 1.0


@jit
def mark_ancestors(
    width: int, first: int, sire: NDArray[np.uint32], dam: NDArray[np.uint32], y: NDArray[np.float64]
) -> None:
    """Set the first element of owned ancestors of marked animals to 1, where `mark_late` has been in all partitions.

    Parents that come after a progeny are marked by then: one pass, last to first, finds all others.
    """
    end = first + sire.size * width
    for i in range(sire.size - 1, -1, -1):
        if y[first + i * width] > 0.0:
            for p in (int(sire[i]), int(dam[i])):
                if first <= p < end:
                    y[p] = 1.0


@jit
def mark_parents(sire: NDArray[np.uint32], dam: NDArray[np.uint32], y: NDArray[np.float64]) -> None:
    """Set the first element of every parent to 1."""
    for i in range(sire.size):
        y[sire[i]] = 1.0
        y[dam[i]] = 1.0


@jit
def mark_parents_of(
    animals: NDArray[np.int32], sire: NDArray[np.uint32], dam: NDArray[np.uint32], y: NDArray[np.float64]
) -> None:
    """Set the first element of the parents of `animals` to 1."""
    for i in animals:
        y[sire[i]] = 1.0
        y[dam[i]] = 1.0


@jit
def free_animals(
    animals: NDArray[np.int32],
    width: int,
    first: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    y: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which of `animals`, progeny before parents, are not marked, nor are descendants of theirs here.

    The ancestors of marked animals are marked.
    """
    free = np.empty(animals.size, np.bool_)
    for k, i in enumerate(animals):
        free[k] = y[first + i * width] == 0.0
        if not free[k]:
            y[sire[i]] = 1.0
            y[dam[i]] = 1.0
    return free


@jit
def factor(
    animals: NDArray[np.int32],
    blocks: LevelBlocks,
    null: int,
    first_ghost: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    ghosts: NDArray[np.float64],
) -> int:
    """Replace the blocks of `animals` by inverse pivot blocks, in that order; return -1.

    Blocks come without what progeny add to them. That is added here less what their elimination takes off: the two
    cancel where the progeny have no information, and thousands of those would leave rounding errors alone. What ghosts
    get is added to `ghosts`, packed, float64 (n_ghosts, size). Returns the first level whose block is not finite.
    """
    width, first = blocks.width, blocks.first
    end = first + sire.size * width
    block, inverse, product = np.empty((width, width)), np.empty((width, width)), np.empty((width, width))
    for i in animals:
        row = row_of_level(blocks.place, i)
        if row >= 0 and not invert_block(width, None, blocks.packed, row, block, inverse):
            return int(i)
        if precision[i] == 0.0:
            continue
        if row < 0 and sire[i] != dam[i] and abs(precision[i] * blocks.scale[i] - 1.0) < 1e-5:
            continue  # without records and progeny both are the same
        share = 0.5 * precision[i] if sire[i] == dam[i] else 0.25 * precision[i]
        known = False
        for p in (int(sire[i]), int(dam[i])):
            if p == null:
                continue
            if not known:  # share Sigma^-1 - Sigma^-1 D_i^-1 Sigma^-1 / (4 d_i^2)
                known = True
                unpack_block(blocks, i, block)
                for t in range(width):
                    product[t] = 0.0
                    for k in range(width):
                        value = block[t, k]
                        for u in range(width):
                            product[t, u] += value * sigma_inverse[k, u]
                scale = -0.25 * precision[i] * precision[i]
                for t in range(width):
                    block[t] = share * sigma_inverse[t]
                    for k in range(width):
                        value = scale * sigma_inverse[t, k]
                        for u in range(t + 1):
                            block[t, u] += value * product[k, u]
            if first <= p < end:
                at = row_of_level(blocks.place, (p - first) // width)
                for t in range(width):
                    for u in range(t + 1):
                        blocks.packed[at, t * (t + 1) // 2 + u] += block[t, u]
            else:
                for t in range(width):
                    for u in range(t + 1):
                        ghosts[(p - first_ghost) // width, t * (t + 1) // 2 + u] += block[t, u]
    return -1


@jit
def forward(
    animals: NDArray[np.int32],
    blocks: LevelBlocks,
    null: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = D^-1 L^-1 y on `animals`, in that order; what they give to parents, ghosts too, is added to `y`."""
    width, first, products = blocks.width, blocks.first, blocks.products
    zero = index(0)
    v = np.empty(width)
    for i in animals:
        at = index(first + i * width)
        scale = 0.5 * precision[i]
        multiply_block(blocks, i, y, at, z, at)
        if row_of_level(blocks.place, i) < 0:  # z is a number times Sigma y
            v[:] = 0.0
            add_scaled(products.add, scale * blocks.scale[i], y, at, v, zero)
        else:
            whole_product(products.whole, scale, sigma_inverse, z, at, v, zero)
        for p in (int(sire[i]), int(dam[i])):
            if p != null:
                add_scaled(products.add, 1.0, v, zero, y, index(p))


@jit
def backward(
    animals: NDArray[np.int32],
    blocks: LevelBlocks,
    null: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z to L^-T z on `animals`, the last first; the ghosts of `z` among their parents are needed."""
    width, first, products = blocks.width, blocks.first, blocks.products
    zero = index(0)
    total, v, w = np.empty(width), np.empty(width), np.empty(width)
    for k in range(animals.size - 1, -1, -1):
        i = animals[k]
        at = index(first + i * width)
        scale = 0.5 * precision[i]
        total[:] = 0.0
        for p in (int(sire[i]), int(dam[i])):
            if p != null:
                add_scaled(products.add, 1.0, z, index(p), total, zero)
        if row_of_level(blocks.place, i) < 0:  # D^-1 Sigma^-1 is a number
            add_scaled(products.add, scale * blocks.scale[i], total, zero, z, at)
            continue
        whole_product(products.whole, scale, sigma_inverse, total, zero, v, zero)
        multiply_block(blocks, i, v, zero, w, zero)
        add_scaled(products.add, 1.0, w, zero, z, at)
