"""The sweep of vectors side by side, (n_local, n_columns): what is read besides them is read once for all of them.

Each function does for every column what that of `blocks`, `pedigree_sweep`, `nested_effects` or `generations` with the
same name does for a vector; inner loops run over columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import LevelBlocks, n_levels_of, row_of_level, unpack_block
from henderson.kernels.generations import place_of
from henderson.kernels.jit import index, inline, jit


@inline
def multiply_rows(
    scale: float, a: NDArray[np.float64], x: NDArray[np.float64], at: int, z: NDArray[np.float64], to: int
) -> None:
    """Set z[to:to + n] = scale * a x[at:at + n] for a matrix (n, n); `at` and `to` are `index`, the rows others."""
    n, k = index(a.shape[0]), index(x.shape[1])
    for t in range(n):
        for j in range(k):
            z[to + t, j] = 0.0
        for u in range(n):
            value = scale * a[t, u]
            for j in range(k):
                z[to + t, j] += value * x[at + u, j]


@inline
def _add_rows(n: int, scale: float, x: NDArray[np.float64], at: int, y: NDArray[np.float64], to: int) -> None:
    """Add scale x[at:at + n] to y[to:to + n]; all numbers but `scale` are `index`."""
    for t in range(n):
        for j in range(index(x.shape[1])):
            y[to + t, j] += scale * x[at + t, j]


@jit
def apply_blocks(blocks: LevelBlocks, r: NDArray[np.float64], z: NDArray[np.float64]) -> None:
    """Set z = M^-1 r level by level."""
    block = np.empty((blocks.width, blocks.width))
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        own = index(blocks.first + i * blocks.width)
        unpack_block(blocks, i, block)
        multiply_rows(1.0, block, r, own, z, own)


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
    width, n, zero = blocks.width, index(blocks.width), index(0)
    block, v = np.empty((width, width)), np.empty((width, y.shape[1]))
    for i in animals:
        at = index(blocks.first + i * width)
        unpack_block(blocks, i, block)
        multiply_rows(1.0, block, y, at, z, at)
        if sire[i] == null and dam[i] == null:
            continue
        scale = 0.5 * precision[i]
        if row_of_level(blocks.place, i) < 0:  # z is a number times Sigma y
            v[:] = 0.0
            _add_rows(n, scale * blocks.scale[i], y, at, v, zero)
        else:
            multiply_rows(scale, sigma_inverse, z, at, v, zero)
        for p in (int(sire[i]), int(dam[i])):
            if p != null:
                _add_rows(n, 1.0, v, zero, y, index(p))


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
    width, n, zero = blocks.width, index(blocks.width), index(0)
    block = np.empty((width, width))
    total, v = np.empty((width, z.shape[1])), np.empty((width, z.shape[1]))
    for k in range(animals.size - 1, -1, -1):
        i = animals[k]
        if sire[i] == null and dam[i] == null:
            continue
        at = index(blocks.first + i * width)
        scale = 0.5 * precision[i]
        total[:] = 0.0
        for p in (int(sire[i]), int(dam[i])):
            if p != null:
                _add_rows(n, 1.0, z, index(p), total, zero)
        if row_of_level(blocks.place, i) < 0:  # D^-1 Sigma^-1 is a number
            _add_rows(n, scale * blocks.scale[i], total, zero, z, at)
            continue
        multiply_rows(scale, sigma_inverse, total, zero, v, zero)
        unpack_block(blocks, i, block)
        multiply_rows(1.0, block, v, zero, total, zero)
        _add_rows(n, 1.0, total, zero, z, at)


@jit
def nested_forward(
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
    block, v = np.empty((width, width)), np.empty((width, y.shape[1]))
    for i in range(of.size):
        own, at = index(blocks.first + i * width), index(of[i])
        unpack_block(blocks, i, block)
        multiply_rows(1.0, block, y, own, z, own)
        if of[i] == null:
            continue
        multiply_rows(1.0, sigma_inverse, z, own, v, zero)
        for t in range(index(width)):
            to = at + index(positions[t])
            for j in range(index(y.shape[1])):
                y[to, j] += v[t, j] - y[own + t, j]


@jit
def nested_backward(
    of: NDArray[np.uint32],
    null: int,
    positions: NDArray[np.int64],
    sigma_inverse: NDArray[np.float64],
    blocks: LevelBlocks,
    z: NDArray[np.float64],
) -> None:
    """Take P^-1 K z of the individuals off z of the effect."""
    width, n, zero = blocks.width, index(blocks.width), index(0)
    block = np.empty((width, width))
    animal, v, w = np.empty((width, z.shape[1])), np.empty((width, z.shape[1])), np.empty((width, z.shape[1]))
    for i in range(of.size):
        if of[i] == null:
            continue
        own, at = index(blocks.first + i * width), index(of[i])
        for t in range(n):
            for j in range(index(z.shape[1])):
                animal[t, j] = z[at + index(positions[t]), j]
        multiply_rows(1.0, sigma_inverse, animal, zero, v, zero)
        unpack_block(blocks, i, block)
        multiply_rows(1.0, block, v, zero, w, zero)
        _add_rows(n, 1.0, w, zero, z, own)
        _add_rows(n, -1.0, animal, zero, z, own)


@jit
def sum_by_knot(
    generation: NDArray[np.float32],
    top: float,
    width: int,
    first: int,
    y: NDArray[np.float64],
    table: NDArray[np.float64],
) -> None:
    """Add Z'y to `table`, (n_knots, width, n_columns)."""
    n_knots, n, zero = table.shape[0], index(width), index(0)
    for i in range(generation.size):
        if generation[i] < 0.0:
            continue
        knot, share = place_of(generation[i], top, n_knots)
        at = index(first + i * width)
        _add_rows(n, 1.0 - share, y, at, table[knot], zero)
        if share > 0.0:
            _add_rows(n, share, y, at, table[knot + 1], zero)


@jit
def add_by_knot(
    generation: NDArray[np.float32],
    top: float,
    width: int,
    first: int,
    table: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Add Z times `table` to z."""
    n_knots, n, zero = table.shape[0], index(width), index(0)
    for i in range(generation.size):
        if generation[i] < 0.0:
            continue
        knot, share = place_of(generation[i], top, n_knots)
        at = index(first + i * width)
        _add_rows(n, 1.0 - share, table[knot], zero, z, at)
        _add_rows(n, share, table[min(knot + 1, n_knots - 1)], zero, z, at)
