"""Steps with small dense matrices of known size, in scratch arrays that the caller owns; and packed symmetric ones.

Packed: the lower triangle row by row, element (t, u <= t) at t (t + 1) / 2 + u.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit

Floats = NDArray[np.float64]
FLOOR = 1e-12  # of a pivot, relative to its diagonal element: what rounding leaves of zero


@inline
def unpack_symmetric(n: int, row: NDArray[Any], out: Floats) -> None:
    """Set both triangles of out[:n, :n] from a packed row."""
    k = 0
    for t in range(n):
        for u in range(t + 1):
            out[t, u] = row[k]
            out[u, t] = row[k]
            k += 1


@inline
def add_packed(n: int, row: NDArray[Any], out: Floats) -> None:
    """Add a packed row to both triangles of out[:n, :n]."""
    k = 0
    for t in range(n):
        for u in range(t):
            out[t, u] += row[k]
            out[u, t] += row[k]
            k += 1
        out[t, t] += row[k]
        k += 1


@inline
def pack_symmetric(n: int, a: Floats, row: NDArray[Any]) -> None:
    """Set a packed row to the lower triangle of a[:n, :n]."""
    k = 0
    for t in range(n):
        for u in range(t + 1):
            row[k] = a[t, u]
            k += 1


@inline
def factor_in_place(n: int, a: Floats) -> None:
    """Replace the lower triangle of a[:n, :n] by its Cholesky factor; pivots are floored, rows of zeros get 1."""
    for t in range(n):
        scale = a[t, t]
        for u in range(t):
            total = a[t, u]
            for k in range(u):
                total -= a[t, k] * a[u, k]
            a[t, u] = total / a[u, u]
        pivot = scale
        for k in range(t):
            pivot -= a[t, k] * a[t, k]
        floor = FLOOR * scale if scale > 0.0 else 1.0
        a[t, t] = np.sqrt(max(pivot, floor))


@inline
def solve_lower(n: int, factor: Floats, m: int, b: Floats) -> None:
    """Replace b[:n, :m] by L^-1 b."""
    for t in range(n):
        for k in range(t):
            value = factor[t, k]
            for j in range(m):
                b[t, j] -= value * b[k, j]
        scale = 1.0 / factor[t, t]
        for j in range(m):
            b[t, j] *= scale


@jit
def invert_in_place(n: int, a: Floats, work: Floats) -> None:
    """Replace a[:n, :n], symmetric positive definite, by its inverse; `work` is scratch (n, n)."""
    factor_in_place(n, a)
    for t in range(n):
        for u in range(n):
            work[t, u] = 1.0 if t == u else 0.0
    solve_lower(n, a, n, work)
    for t in range(n):
        for u in range(t + 1):
            total = 0.0
            for k in range(t, n):
                total += work[k, t] * work[k, u]
            a[t, u] = total
            a[u, t] = total


@inline
def add_squares_of(n: int, m: int, scale: float, b: Floats, out: Floats) -> None:
    """Add scale b'b to out[:m, :m], b[:n, :m]."""
    for t in range(m):
        for u in range(t + 1):
            total = 0.0
            for k in range(n):
                total += b[k, t] * b[k, u]
            out[t, u] += scale * total
            if u < t:
                out[u, t] += scale * total
