"""Forward and backward of `pedigree_sweep` for few positions: `zero` has one 0.0 for each, so that loops unroll."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.blocks import LevelBlocks, row_of_level
from henderson.kernels.jit import index, inline, jit, set_item


@inline
def _read(zero: tuple[float, ...], x: NDArray[np.float64], at: int) -> tuple[float, ...]:
    """Return x[at:at + width]; `at` is `index`."""
    out = zero
    for t in range(len(zero)):
        out = set_item(out, t, x[at + index(t)])
    return out


@inline
def _add(scale: float, v: tuple[float, ...], y: NDArray[np.float64], to: int) -> None:
    """Add scale v to y[to:to + width]; `to` is `index`."""
    for t in range(len(v)):
        y[to + index(t)] += scale * v[t]


@inline
def _times_block(zero: tuple[float, ...], blocks: LevelBlocks, row: int, r: tuple[float, ...]) -> tuple[float, ...]:
    """Return M^-1 r of the level in `row`."""
    packed, own = blocks.packed, index(row)
    out = zero
    for t in range(len(zero)):
        total = 0.0
        for u in range(len(zero)):
            k = t * (t + 1) // 2 + u if u <= t else u * (u + 1) // 2 + t
            total += packed[own, index(k)] * r[u]
        out = set_item(out, t, total)
    return out


@inline
def _times_matrix(zero: tuple[float, ...], a: NDArray[np.float64], r: tuple[float, ...]) -> tuple[float, ...]:
    """Return a r for a matrix (width, width)."""
    out = zero
    for t in range(len(zero)):
        total = 0.0
        for u in range(len(zero)):
            total += a[index(t), index(u)] * r[u]
        out = set_item(out, t, total)
    return out


@jit
def forward(
    zero: tuple[float, ...],
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
    none = index(null)
    for i in animals:
        at = index(blocks.first + i * len(zero))
        r = _read(zero, y, at)
        scale = 0.5 * precision[i]
        row = row_of_level(blocks.place, i)
        if row < 0:
            s = _times_matrix(zero, blocks.sigma, r)
            for t in range(len(zero)):
                z[at + index(t)] = blocks.scale[i] * s[t]
            scale *= blocks.scale[i]
            s = r
        else:
            s = _times_block(zero, blocks, row, r)
            for t in range(len(zero)):
                z[at + index(t)] = s[t]
            s = _times_matrix(zero, sigma_inverse, s)
        p, m = index(sire[i]), index(dam[i])
        if p != none:
            _add(scale, s, y, p)
        if m != none:
            _add(scale, s, y, m)


@jit
def backward(
    zero: tuple[float, ...],
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
    none = index(null)
    for k in range(animals.size - 1, -1, -1):
        i = animals[k]
        at = index(blocks.first + i * len(zero))
        total = zero
        p, m = index(sire[i]), index(dam[i])
        if p != none:
            for t in range(len(zero)):
                total = set_item(total, t, total[t] + z[p + index(t)])
        if m != none:
            for t in range(len(zero)):
                total = set_item(total, t, total[t] + z[m + index(t)])
        scale = 0.5 * precision[i]
        row = row_of_level(blocks.place, i)
        if row < 0:
            _add(scale * blocks.scale[i], total, z, at)
        else:
            _add(scale, _times_block(zero, blocks, row, _times_matrix(zero, sigma_inverse, total)), z, at)
