"""Incomplete factor of the block of individuals: the youngest are eliminated first, links to parents are kept.

M = L D L' over the levels of a factor with A^-1 (x) Sigma^-1: L has the blocks of an animal with its parents,
-1/(2 d_i) Sigma^-1, times D_i^-1; what elimination adds between mates, and the blocks of mates in A^-1, are left out (a
block form of the incomplete Cholesky factor without fill: Meijerink & van der Vorst 1977). In a partition animals come
last to first in store order; those with progeny before them in that order, or in other partitions, are *late*: they
come after all others. Every pivot block exceeds 1/d_i Sigma^-1, so that M is positive definite. Late animals' links to
late parents in other partitions are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import LevelBlocks, invert_block, multiply_block, row_of_level, unpack_block
from henderson.kernels.jit import inline, jit


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
def mark_parents(sire: NDArray[np.uint32], dam: NDArray[np.uint32], y: NDArray[np.float64]) -> None:
    """Set the first element of every parent to 1."""
    for i in range(sire.size):
        y[sire[i]] = 1.0
        y[dam[i]] = 1.0


@inline
def _times(scale: float, sigma_inverse: NDArray[np.float64], x: NDArray[np.float64], v: NDArray[np.float64]) -> None:
    """Set v = scale * Sigma^-1 x."""
    v[:] = 0.0
    for u in range(x.size):
        value = scale * x[u]
        for t in range(x.size):
            v[t] += value * sigma_inverse[u, t]


@inline
def _add(p: int, x: NDArray[np.float64], v: NDArray[np.float64]) -> None:
    for t in range(v.size):
        v[t] += x[p + t]


@inline
def _push(p: int, v: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    for t in range(v.size):
        y[p + t] += v[t]


@jit
def own_diagonal(
    width: int,
    first: int,
    late: NDArray[np.bool_],
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add diag(A^-1) to the first element of each animal, without what early progeny add: see `factor`."""
    for i in range(sire.size):
        y[first + i * width] += precision[i]
        if late[i]:
            share = 0.5 * precision[i] if sire[i] == dam[i] else 0.25 * precision[i]
            y[sire[i]] += share
            y[dam[i]] += share


@jit
def factor(
    stage: int,
    blocks: LevelBlocks,
    late: NDArray[np.bool_],
    null: int,
    first_ghost: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    ghosts: NDArray[np.float64],
) -> int:
    """Replace the blocks by inverse pivot blocks, of early animals (stage 0) or late ones (1); return -1.

    Blocks come without what early progeny add to them. That is added here less what their elimination takes off: the
    two cancel where the progeny have no information, and thousands of those would leave rounding errors alone. What
    ghosts get is added to `ghosts`, packed, float64 (n_ghosts, size). Returns the first level whose block is not
    finite.
    """
    width, first = blocks.width, blocks.first
    end = first + late.size * width
    block, inverse, product = np.empty((width, width)), np.empty((width, width)), np.empty((width, width))
    for i in range(late.size - 1, -1, -1):
        if late[i] != (stage == 1):
            continue
        own = first + i * width
        row = row_of_level(blocks.place, i)
        if row >= 0 and not invert_block(width, None, blocks.packed, row, block, inverse):
            return i
        if precision[i] == 0.0:
            continue
        if row < 0 and stage == 0 and sire[i] != dam[i] and abs(precision[i] * blocks.scale[i] - 1.0) < 1e-5:
            continue  # without records and progeny both are the same
        share = 0.0
        if stage == 0:
            share = 0.5 * precision[i] if sire[i] == dam[i] else 0.25 * precision[i]
        known = False
        for p in (int(sire[i]), int(dam[i])):
            owned = first <= p < end
            other = (p - first) // width if owned else 0
            if p == null or (stage == 1 and not (owned and late[other] and p < own)):
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
            if owned:
                at = row_of_level(blocks.place, other)
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
    stage: int,
    blocks: LevelBlocks,
    late: NDArray[np.bool_],
    null: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = D^-1 L^-1 y on the animals of a stage; `y` is used up, what they give to ghosts is there in it."""
    width, first = blocks.width, blocks.first
    end = first + late.size * width
    total, v = np.empty(width), np.empty(width)
    for i in range(late.size - 1, -1, -1):
        if late[i] != (stage == 1):
            continue
        own = first + i * width
        scale = 0.5 * precision[i]
        if stage == 1:
            total[:] = 0.0
            for p in (int(sire[i]), int(dam[i])):
                if first <= p < end and (not late[(p - first) // width] or p > own):
                    _add(p, z, total)
            _times(scale, sigma_inverse, total, v)
            _push(own, v, y)
        multiply_block(blocks, i, y[own : own + width], z[own : own + width])
        y[own : own + width] = 0.0
        _times(scale, sigma_inverse, z[own : own + width], v)
        for p in (int(sire[i]), int(dam[i])):
            if p != null and (stage == 0 or (first <= p < own and late[(p - first) // width])):
                _push(p, v, y)


@jit
def backward(
    stage: int,
    blocks: LevelBlocks,
    late: NDArray[np.bool_],
    null: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z to L^-T z on the animals of a stage, late ones (1) first; early ones need the ghosts of `z`."""
    width, first = blocks.width, blocks.first
    end = first + late.size * width
    total, v = np.empty(width), np.empty(width)
    for i in range(late.size):
        if late[i] != (stage == 1):
            continue
        own = first + i * width
        scale = 0.5 * precision[i]
        total[:] = 0.0
        for p in (int(sire[i]), int(dam[i])):
            if p != null and (stage == 0 or (first <= p < own and late[(p - first) // width])):
                _add(p, z, total)
        _times(scale, sigma_inverse, total, v)
        _push(own, v, y)
        multiply_block(blocks, i, y[own : own + width], v)
        _push(own, v, z)
        if stage == 1:
            _times(scale, sigma_inverse, z[own : own + width], v)
            for p in (int(sire[i]), int(dam[i])):
                if first <= p < end and (not late[(p - first) // width] or p > own):
                    _push(p, v, y)
