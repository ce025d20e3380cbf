"""Classes that are eliminated, for vectors side by side, (n_local, n_columns).

Each function does for every column what that of `class_pairs` or `class_border` with the same name does for a vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import LevelBlocks, unpack_block
from henderson.kernels.class_pairs import Pairs
from henderson.kernels.jit import index, jit
from henderson.kernels.sweep_columns import multiply_rows


@jit
def down(own: LevelBlocks, pairs: Pairs, z: NDArray[np.float64]) -> None:
    """Subtract K'z of the eliminated group from z of the other."""
    n_columns = index(z.shape[1])
    for i in range(len(pairs.indptr) - 1):
        at = own.first + i * pairs.width
        for k in range(pairs.indptr[i], pairs.indptr[i + 1]):
            other = pairs.first + np.int64(pairs.levels[k]) * pairs.other_width
            for m in range(len(pairs.t)):
                to, by, value = index(other + pairs.u[m]), index(at + pairs.t[m]), pairs.values[k, m]
                for j in range(n_columns):
                    z[to, j] -= value * z[by, j]


@jit
def up(own: LevelBlocks, pairs: Pairs, z: NDArray[np.float64]) -> None:
    """Subtract D^-1 K z of the other group from z of the eliminated one."""
    n_columns, zero = index(z.shape[1]), index(0)
    block = np.empty((pairs.width, pairs.width))
    total, less = np.empty((pairs.width, z.shape[1])), np.empty((pairs.width, z.shape[1]))
    for i in range(len(pairs.indptr) - 1):
        if pairs.indptr[i + 1] == pairs.indptr[i]:
            continue
        at = index(own.first + i * pairs.width)
        total[:] = 0.0
        for k in range(pairs.indptr[i], pairs.indptr[i + 1]):
            other = pairs.first + np.int64(pairs.levels[k]) * pairs.other_width
            for m in range(len(pairs.t)):
                to, by, value = index(pairs.t[m]), index(other + pairs.u[m]), pairs.values[k, m]
                for j in range(n_columns):
                    total[to, j] += value * z[by, j]
        unpack_block(own, i, block)
        multiply_rows(1.0, block, total, zero, less, zero)
        for t in range(index(pairs.width)):
            for j in range(n_columns):
                z[at + t, j] -= less[t, j]


@jit
def solve_in_place(blocks: LevelBlocks, z: NDArray[np.float64]) -> None:
    """Replace z by M^-1 z, level by level, where every level is stored."""
    width = blocks.width
    block, residual = np.empty((width, width)), np.empty((width, z.shape[1]))
    for i in range(blocks.packed.shape[0]):
        own = blocks.first + i * width
        residual[:] = z[own : own + width]
        unpack_block(blocks, i, block)
        multiply_rows(1.0, block, residual, index(0), z, index(own))


@jit
def times_columns(dense: NDArray[Any], elements: NDArray[np.int32], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return dense' x[elements], (n_dense, n_columns)."""
    out = np.zeros((dense.shape[1], x.shape[1]))
    for i in range(elements.size):
        at = index(elements[i])
        for k in range(dense.shape[1]):
            value = dense[i, k]
            for j in range(index(x.shape[1])):
                out[k, j] += value * x[at, j]
    return out


@jit
def subtract_columns(
    dense: NDArray[Any],
    elements: NDArray[np.int32],
    outer: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = r - dense outer in `elements`."""
    for i in range(elements.size):
        at = index(elements[i])
        z[at] = r[at]
        for k in range(dense.shape[1]):
            value = dense[i, k]
            for j in range(index(z.shape[1])):
                z[at, j] -= value * outer[k, j]
