"""Effects nested in individuals, with their coefficients, such as permanent environments: eliminated exactly.

With K the records of a level, in both effects, and P = K + Sigma^-1 its block of C, K P^-1 r = r - Sigma^-1 P^-1 r: no
pass over records is needed. `of` is the element where the individual of each level begins, `null` where there is none;
`positions` are those of the individual that the positions of the effect meet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import (
    LevelBlocks,
    invert_block,
    multiply_block,
    row_of_level,
    unpack_block,
)
from henderson.kernels.class_pairs import times_inverse
from henderson.kernels.jit import index, inline, jit
from henderson.kernels.registers import whole_product

UNSET = np.uint32(0xFFFFFFFF)


@jit
def link(
    slots: NDArray[np.uint32],
    effect: int,
    individual: int,
    others: NDArray[np.int64],
    first: int,
    width: int,
    null: int,
    of: NDArray[np.uint32],
) -> None:
    """Set `of`, at first `UNSET`, for the levels of the effect from element `first` on; `null` if they have several.

    Also if a record has the individual in one of the slots `others` as well, where it has other positions.
    """
    for r in range(slots.shape[0]):
        at = np.int64(slots[r, effect]) - first
        if 0 <= at < of.size * width:
            level, animal = at // width, slots[r, individual]
            if of[level] != UNSET and of[level] != animal:
                animal = np.uint32(null)
            for s in others:
                if slots[r, s] == animal:
                    animal = np.uint32(null)
            of[level] = animal


@inline
def _add_block(block: NDArray[np.float64], positions: NDArray[np.int64], packed: NDArray[Any], row: int) -> None:
    """Add the lower triangle of a block to packed row `row`, where its positions are."""
    for t in range(positions.size):
        for u in range(t + 1):
            high, low = max(positions[t], positions[u]), min(positions[t], positions[u])
            packed[row, high * (high + 1) // 2 + low] += block[t, u]


@jit
def eliminate(
    near: float,
    of: NDArray[np.uint32],
    null: int,
    positions: NDArray[np.int64],
    sigma_inverse: NDArray[np.float64],
    blocks: LevelBlocks,
    individuals: LevelBlocks,
    first_ghost: int,
    ghosts: NDArray[np.float64],
) -> int:
    """Invert the blocks P of the effect and take K P^-1 K off those of `individuals`; return a level that fails, or -1.

    The diagonal keeps a share `near` of what is taken, for rounding errors of the blocks. What ghosts get is added to
    `ghosts`, packed, float64 (n_ghosts, size).
    """
    width = blocks.width
    block, inverse = np.empty((width, width)), np.empty((width, width))
    K, product = np.empty((width, width)), np.empty((width, width))
    for i in range(of.size):
        unpack_block(blocks, i, K)
        for t in range(width):
            for u in range(width):
                K[t, u] -= sigma_inverse[t, u]
        if not invert_block(width, None, blocks.packed, row_of_level(blocks.place, i), block, inverse):
            return i
        if of[i] == null:
            continue
        unpack_block(blocks, i, inverse)
        times_inverse(inverse, K, product)
        times_inverse(K, product, block)
        for t in range(width):
            for u in range(t):
                block[t, u] = -0.5 * (block[t, u] + block[u, t])
            block[t, t] *= near - 1.0
        if of[i] >= first_ghost:
            _add_block(block, positions, ghosts, (int(of[i]) - first_ghost) // individuals.width)
        else:
            level = (int(of[i]) - individuals.first) // individuals.width
            _add_block(block, positions, individuals.packed, row_of_level(individuals.place, level))
    return -1


@jit
def forward(
    of: NDArray[np.uint32],
    null: int,
    positions: NDArray[np.int64],
    sigma_inverse: NDArray[np.float64],
    blocks: LevelBlocks,
    y: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = P^-1 y in the levels of the effect and take K z off y of their individuals."""
    width, zero = blocks.width, index(0)
    v = np.empty(width)
    for i in range(of.size):
        own, at = index(blocks.first + i * width), index(of[i])
        multiply_block(blocks, i, y, own, z, own)
        if of[i] == null:
            continue
        whole_product(blocks.products.whole, 1.0, sigma_inverse, z, own, v, zero)
        for t in range(index(width)):
            y[at + index(positions[t])] += v[t] - y[own + t]


@jit
def backward(
    of: NDArray[np.uint32],
    null: int,
    positions: NDArray[np.int64],
    sigma_inverse: NDArray[np.float64],
    blocks: LevelBlocks,
    z: NDArray[np.float64],
) -> None:
    """Take P^-1 K z of the individuals off z of the effect."""
    width, zero = blocks.width, index(0)
    animal, v, w = np.empty(width), np.empty(width), np.empty(width)
    for i in range(of.size):
        if of[i] == null:
            continue
        own, at = index(blocks.first + i * width), index(of[i])
        for t in range(index(width)):
            animal[t] = z[at + index(positions[t])]
        whole_product(blocks.products.whole, 1.0, sigma_inverse, animal, zero, v, zero)
        multiply_block(blocks, i, v, zero, w, zero)
        for t in range(index(width)):
            z[own + t] += w[t] - animal[t]
