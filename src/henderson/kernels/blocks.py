"""The level-block preconditioner: one small dense inverse per level, stored as a packed symmetric matrix.

Packed: the lower triangle row by row, element (t, u <= t) at t (t + 1) / 2 + u. Of a large factor only levels with
records are stored, in single precision: the block of another is a number times Sigma^-1, its inverse Sigma over it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import index, inline, jit, set_item
from henderson.kernels.registers import Products, packed_product, products_of, whole_product


class LevelBlocks(NamedTuple):
    """The blocks of the levels of one group in one partition, or their inverses; made by `level_blocks`.

    first: element of the first owned level; place: int32, the row of `packed` of each level, -1 where its inverse is
    scale[level] * sigma, None if every level has its row; packed: float32 or float64; scale: float32; sigma: float64
    (width, width); products: the routines of this width.
    """

    width: int
    first: int
    place: NDArray[np.int32] | None
    packed: NDArray[np.float32] | NDArray[np.float64]
    scale: NDArray[np.float32]
    sigma: NDArray[np.float64]
    products: Products

    @property
    def nbytes(self) -> int:
        """Return the memory of the arrays."""
        return self.packed.nbytes + self.scale.nbytes + (0 if self.place is None else self.place.nbytes)


def level_blocks(
    width: int,
    first: int,
    packed: NDArray[np.float32] | NDArray[np.float64],
    place: NDArray[np.int32] | None = None,
    scale: NDArray[np.float32] | None = None,
    sigma: NDArray[np.float64] | None = None,
) -> LevelBlocks:
    """Return blocks that are stored for all levels, or, with `place`, `scale` and `sigma`, for some."""
    scale = np.zeros(0, np.float32) if scale is None else scale
    sigma = np.zeros((0, width)) if sigma is None else sigma
    products = products_of(width, packed.dtype == np.float32)
    return LevelBlocks(width, first, place, packed, scale, sigma, products)


@inline
def n_levels_of(place: NDArray[np.int32] | None, packed: NDArray[Any]) -> int:
    """Return the number of levels."""
    if place is None:
        return int(packed.shape[0])
    return place.size


@inline
def row_of_level(place: NDArray[np.int32] | None, i: int) -> int:
    """Return the row of level `i`, -1 if it has none."""
    if place is None:
        return i
    return int(place[i])


@inline
def unpack_block(blocks: LevelBlocks, i: int, block: NDArray[np.float64]) -> None:
    """Set `block` to both triangles of the inverse of level `i`."""
    row = row_of_level(blocks.place, i)
    for t in range(blocks.width):
        for u in range(t + 1):
            value = blocks.packed[row, t * (t + 1) // 2 + u] if row >= 0 else blocks.scale[i] * blocks.sigma[t, u]
            block[t, u] = value
            block[u, t] = value


@inline
def multiply_block(
    blocks: LevelBlocks, i: int, r: NDArray[np.float64], at: int, z: NDArray[np.float64], to: int
) -> None:
    """Set z[to:to + width] = M^-1 r[at:at + width] for level `i`; `at` and `to` are `index`."""
    row = row_of_level(blocks.place, i)
    if row < 0:
        whole_product(blocks.products.whole, blocks.scale[i], blocks.sigma, r, at, z, to)
    else:
        packed = blocks.packed
        packed_product(blocks.products.packed, packed, index(row) * index(packed.shape[1]), r, at, z, to)


@jit
def mark(slots: NDArray[np.uint32], y: NDArray[np.float64]) -> None:
    """Set the first element of each level in `slots` to 1."""
    for r in range(slots.size):
        y[slots[r]] = 1.0


@inline
def invert_block(
    width: int,
    kept: NDArray[np.bool_] | None,
    packed: NDArray[Any],
    i: int,
    block: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> bool:
    """Replace block `i` by its inverse over the kept positions; return whether it is finite. Others are scratch."""
    for t in range(width):
        for u in range(t + 1):
            block[t, u] = packed[i, t * (t + 1) // 2 + u]
    # Cholesky in place: block = L L'; a position left out has L[t, t] = 0 and takes no further part.
    for t in range(width):
        out = kept is not None and not kept[i, t]
        scale = block[t, t]
        for u in range(t):
            total = block[t, u]
            for k in range(u):
                total -= block[t, k] * block[u, k]
            block[t, u] = 0.0 if out or block[u, u] == 0.0 else total / block[u, u]
        pivot = scale
        for k in range(t):
            pivot -= block[t, k] * block[t, k]
        if not out and not np.isfinite(pivot):
            return False
        floor = 1e-13 * scale if scale > 0.0 else 1.0  # rounding: any positive pivot keeps M positive definite
        block[t, t] = 0.0 if out else np.sqrt(max(pivot, floor))
    # L^-1 (lower), then L^-T L^-1.
    for u in range(width):
        for t in range(width):
            inverse[t, u] = 0.0
        if block[u, u] == 0.0:
            continue
        inverse[u, u] = 1.0 / block[u, u]
        for t in range(u + 1, width):
            total = 0.0
            for k in range(u, t):
                total -= block[t, k] * inverse[k, u]
            inverse[t, u] = 0.0 if block[t, t] == 0.0 else total / block[t, t]
    for t in range(width):
        for u in range(t + 1):
            total = 0.0
            for k in range(t, width):
                total += inverse[k, t] * inverse[k, u]
            packed[i, t * (t + 1) // 2 + u] = total
    return True


@jit
def invert_blocks(width: int, kept: NDArray[np.bool_] | None, packed: NDArray[Any]) -> int:
    """Replace every block by its inverse over the kept positions; return the first level that failed, or -1.

    `kept` is None or bool (n_levels, width); rows and columns left out become zero.
    """
    block = np.empty((width, width))
    inverse = np.empty((width, width))
    for i in range(packed.shape[0]):
        if not invert_block(width, kept, packed, i, block, inverse):
            return i
    return -1


@inline
def _cholesky(width: int, block: NDArray[np.float64], factor: NDArray[np.float64]) -> None:
    """Set `factor` to the lower Cholesky factor of a block; rows of zeros stay zero."""
    for t in range(width):
        for u in range(t + 1):
            value = block[t, u]
            for k in range(u):
                value -= factor[t, k] * factor[u, k]
            if u < t:
                factor[t, u] = value / factor[u, u] if factor[u, u] > 0.0 else 0.0
            else:
                factor[t, t] = np.sqrt(max(value, 0.0))


@jit
def log_determinant(blocks: LevelBlocks) -> float:
    """Return the sum of the log-determinants of the inverses; rows of zeros are left out."""
    width = blocks.width
    block, factor = np.empty((width, width)), np.empty((width, width))
    total = 0.0
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        unpack_block(blocks, i, block)
        _cholesky(width, block, factor)
        for t in range(width):
            if factor[t, t] > 0.0:
                total += 2.0 * np.log(factor[t, t])
    return total


@jit
def multiply_root(blocks: LevelBlocks, x: NDArray[np.float64]) -> None:
    """Replace columns x_j by L x_j, L L' being the block of every level, whose inverse is known.

    x: float64 (n_local, n_columns). L = Q^-T for the Cholesky factor Q of the inverse; rows of zeros become zero.
    """
    width = blocks.width
    block, factor = np.empty((width, width)), np.empty((width, width))
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        own = blocks.first + i * width
        unpack_block(blocks, i, block)
        _cholesky(width, block, factor)
        for t in range(width - 1, -1, -1):
            for j in range(x.shape[1]):
                value = x[own + t, j]
                for k in range(t + 1, width):
                    value -= factor[k, t] * x[own + k, j]
                x[own + t, j] = value / factor[t, t] if factor[t, t] > 0.0 else 0.0


@jit
def inverse_diagonal(blocks: LevelBlocks, x: NDArray[np.float64]) -> None:
    """Set the elements of the levels to the diagonal of their inverses."""
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        row = row_of_level(blocks.place, i)
        for t in range(blocks.width):
            value = blocks.packed[row, t * (t + 3) // 2] if row >= 0 else blocks.scale[i] * blocks.sigma[t, t]
            x[blocks.first + i * blocks.width + t] = value


@jit
def descend_blocks(
    zero: tuple[float, ...],
    blocks: LevelBlocks,
    alpha: float,
    q: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> tuple[float, float]:
    """Set r -= alpha q and z = M^-1 r in one pass, all levels stored; return (r'r, r'z). `z` may be `q`.

    `zero` has one 0.0 per position.
    """
    width = len(zero)
    packed = blocks.packed
    rr0 = rr1 = rz0 = rz1 = 0.0
    for i in range(packed.shape[0]):
        own = np.uint32(blocks.first + i * width)
        residual = zero
        squares = 0.0
        level = 0.0
        for t in range(width):
            value = r[own + t] - alpha * q[own + t]
            residual = set_item(residual, t, value)
            r[own + t] = value
            squares += value * value
        for t in range(width):
            total = 0.0
            for u in range(width):
                k = t * (t + 1) // 2 + u if u <= t else u * (u + 1) // 2 + t
                total += packed[i, k] * residual[u]
            z[own + t] = total
            level += total * residual[t]
        if i & 1:
            rr1 += squares
            rz1 += level
        else:
            rr0 += squares
            rz0 += level
    return rr0 + rr1, rz0 + rz1


@jit
def descend_blocks_wide(
    blocks: LevelBlocks,
    alpha: float,
    q: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> tuple[float, float]:
    """Set r -= alpha q and z = M^-1 r; return (r'r, r'z): `descend_blocks` for any blocks. `z` may be `q`."""
    width = blocks.width
    residual, solution = np.empty(width), np.empty(width)
    squares = 0.0
    product = 0.0
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        own = blocks.first + i * width
        for t in range(width):
            residual[t] = r[own + t] - alpha * q[own + t]
            r[own + t] = residual[t]
            squares += residual[t] * residual[t]
        multiply_block(blocks, i, residual, index(0), solution, index(0))
        for t in range(width):
            z[own + t] = solution[t]
            product += solution[t] * residual[t]
    return squares, product


@jit
def apply_blocks(blocks: LevelBlocks, r: NDArray[np.float64], z: NDArray[np.float64]) -> None:
    """Set z = M^-1 r level by level."""
    width = blocks.width
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        own = index(blocks.first + i * width)
        multiply_block(blocks, i, r, own, z, own)


@jit
def descend_columns(
    blocks: LevelBlocks,
    alpha: NDArray[np.float64],
    q: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
    squares: NDArray[np.float64],
    products: NDArray[np.float64],
) -> None:
    """Set r_j -= alpha_j q_j and z_j = M^-1 r_j; add r_j'r_j to `squares` and r_j'z_j to `products`. `z` may be `q`.

    Vectors lie side by side: (n_local, n_columns).
    """
    width, n_columns = blocks.width, r.shape[1]
    block = np.empty((width, width))
    total = np.empty(n_columns)
    for i in range(n_levels_of(blocks.place, blocks.packed)):
        own = blocks.first + i * width
        unpack_block(blocks, i, block)
        for t in range(width):
            for j in range(n_columns):
                r[own + t, j] -= alpha[j] * q[own + t, j]
                squares[j] += r[own + t, j] * r[own + t, j]
        for t in range(width):
            total[:] = 0.0
            for u in range(width):
                for j in range(n_columns):
                    total[j] += block[t, u] * r[own + u, j]
            for j in range(n_columns):
                z[own + t, j] = total[j]
                products[j] += total[j] * r[own + t, j]
