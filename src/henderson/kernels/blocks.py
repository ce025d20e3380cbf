"""The level-block preconditioner: one small dense inverse per level, stored as a packed symmetric matrix.

Packed: the lower triangle row by row, element (t, u <= t) at t (t + 1) / 2 + u; one row of `packed` per level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit, set_item


@jit
def store_column(
    column: int,
    last: int,
    first: int,
    width: int,
    y: NDArray[np.float64],
    packed: NDArray[np.float64],
) -> None:
    """Store column `column` of the blocks, rows column..last, which lies in `y` level by level from element `first`."""
    for i in range(packed.shape[0]):
        for t in range(column, last):
            packed[i, t * (t + 1) // 2 + column] = y[first + i * width + t]


@jit
def invert_blocks(
    width: int,
    kept: NDArray[np.bool_] | None,
    packed: NDArray[np.float64],
) -> int:
    """Replace every block by its inverse over the kept positions; return the first level that failed, or -1.

    `kept` is None or bool (n_levels, width); rows and columns left out become zero.
    """
    block = np.empty((width, width))
    inverse = np.empty((width, width))
    for i in range(packed.shape[0]):
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
                return i
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
    return -1


@inline
def _cholesky(width: int, packed: NDArray[np.float64], factor: NDArray[np.float64]) -> None:
    """Set `factor` to the lower Cholesky factor of a packed block; rows of zeros stay zero."""
    for t in range(width):
        for u in range(t + 1):
            value = packed[t * (t + 1) // 2 + u]
            for k in range(u):
                value -= factor[t, k] * factor[u, k]
            if u < t:
                factor[t, u] = value / factor[u, u] if factor[u, u] > 0.0 else 0.0
            else:
                factor[t, t] = np.sqrt(max(value, 0.0))


@jit
def log_determinant(width: int, packed: NDArray[np.float64]) -> float:
    """Return the sum of the log-determinants of packed blocks; rows of zeros are left out."""
    factor = np.empty((width, width))
    total = 0.0
    for i in range(packed.shape[0]):
        _cholesky(width, packed[i], factor)
        for t in range(width):
            if factor[t, t] > 0.0:
                total += 2.0 * np.log(factor[t, t])
    return total


@jit
def multiply_root(width: int, first: int, packed: NDArray[np.float64], x: NDArray[np.float64]) -> None:
    """Replace columns x_j by L x_j, L L' being the inverse of every packed block, level by level from `first`.

    x: float64 (n_local, n_columns). L = Q^-T for the Cholesky factor Q of a packed block; rows of zeros become zero.
    """
    factor = np.empty((width, width))
    for i in range(packed.shape[0]):
        own = first + i * width
        _cholesky(width, packed[i], factor)
        for t in range(width - 1, -1, -1):
            for j in range(x.shape[1]):
                value = x[own + t, j]
                for k in range(t + 1, width):
                    value -= factor[k, t] * x[own + k, j]
                x[own + t, j] = value / factor[t, t] if factor[t, t] > 0.0 else 0.0


@jit
def descend_blocks(
    zero: tuple[float, ...],
    first: int,
    packed: NDArray[np.float64],
    alpha: float,
    q: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> tuple[float, float]:
    """Set r -= alpha q and z = M^-1 r in one pass; return (r'r, r'z). `z` may be `q`."""
    width = len(zero)
    rr0 = rr1 = rz0 = rz1 = 0.0
    for i in range(packed.shape[0]):
        own = np.uint32(first + i * width)
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
    width: int,
    first: int,
    packed: NDArray[np.float64],
    alpha: float,
    q: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> tuple[float, float]:
    """Set r -= alpha q and z = M^-1 r; return (r'r, r'z): `descend_blocks` for many positions. `z` may be `q`."""
    squares = 0.0
    product = 0.0
    for i in range(packed.shape[0]):
        own = np.uint32(first + i * width)
        for t in range(width):
            r[own + t] -= alpha * q[own + t]
            squares += r[own + t] * r[own + t]
        for t in range(width):
            total = 0.0
            for u in range(width):
                k = t * (t + 1) // 2 + u if u <= t else u * (u + 1) // 2 + t
                total += packed[i, k] * r[own + u]
            z[own + t] = total
            product += total * r[own + t]
    return squares, product


@jit
def apply_blocks(
    zero: tuple[float, ...],
    first: int,
    packed: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = M^-1 r, level by level from element `first`; `zero` has one 0.0 per position."""
    width = len(zero)
    for i in range(packed.shape[0]):
        own = np.uint32(first + i * width)
        residual = zero
        for t in range(width):
            residual = set_item(residual, t, r[own + t])
        for t in range(width):
            total = 0.0
            for u in range(width):
                k = t * (t + 1) // 2 + u if u <= t else u * (u + 1) // 2 + t
                total += packed[i, k] * residual[u]
            z[own + t] = total


@jit
def apply_blocks_wide(
    width: int,
    first: int,
    packed: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = M^-1 r: `apply_blocks` for many positions."""
    for i in range(packed.shape[0]):
        own = np.uint32(first + i * width)
        for t in range(width):
            total = 0.0
            for u in range(width):
                k = t * (t + 1) // 2 + u if u <= t else u * (u + 1) // 2 + t
                total += packed[i, k] * r[own + u]
            z[own + t] = total
