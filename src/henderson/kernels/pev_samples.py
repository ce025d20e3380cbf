"""Samples of random effects from their prior, beside those of their prediction errors: the same signs, side by side.

Signs as in `samples`; columns and rows as in `columns`. For an animal u = (u_sire + u_dam) / 2 + m, Var(m) = d Sigma.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit
from henderson.kernels.pedigree_loadings import Rows
from henderson.kernels.samples import _place, _sign, _signs


@jit
def innovations(
    seed: np.uint64,
    stream: int,
    width: int,
    first: int,
    levels: NDArray[np.int32],
    deviation: NDArray[np.float64],
    factor: NDArray[np.float64],
    x: NDArray[np.float64],
) -> None:
    """Set the owned levels to deviation * (B z): the share of the random effects that is not their parents'.

    levels: their numbers; deviation: sqrt(d) of each; factor: B = F^-T, F F' = Sigma^-1, upper triangular; x: float64
    (n_local, n_columns).
    """
    for i in range(levels.size):
        own = np.uint32(first + i * width)
        for t in range(width):
            for j in range(x.shape[1]):
                x[own + t, j] = 0.0
        for u in range(width):
            signs = _signs(seed, np.uint64(stream), _place(levels[i], u))
            for t in range(u + 1):
                scale = deviation[i] * factor[t, u]
                for j in range(x.shape[1]):
                    x[own + t, j] += scale * _sign(signs, j)


@jit
def inherit(
    width: int,
    first: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    m: NDArray[np.float64],
    u: NDArray[np.float64],
) -> bool:
    """Set u = (u_sire + u_dam) / 2 + m, animal by animal; return whether anything has changed.

    Animals of precision 0 are left as they are. Once nothing changes u is what the pedigree makes of m, whatever the
    order of the animals.
    """
    changed = False
    for i in range(sire.size):
        if precision[i] == 0.0:
            continue
        own = np.uint32(first + i * width)
        for t in range(width):
            for j in range(u.shape[1]):
                value = 0.5 * (u[sire[i] + t, j] + u[dam[i] + t, j]) + m[own + t, j]
                changed |= value != u[own + t, j]
                u[own + t, j] = value
    return changed


@jit
def inherit_loadings(width: int, rows: Rows, m: NDArray[np.float64], u: NDArray[np.float64]) -> bool:
    """Set u = sum of weight * u_parent + m for the animals with weights of their own; return whether u has changed."""
    changed = False
    for i in range(rows.own.size):
        own = rows.own[i]
        for t in range(width):
            for j in range(u.shape[1]):
                value = m[own + np.uint32(t), j]
                for k in range(rows.indptr[i], rows.indptr[i + 1]):
                    value += rows.weight[k] * u[rows.parent[k] + np.uint32(t), j]
                changed |= value != u[own + np.uint32(t), j]
                u[own + np.uint32(t), j] = value
    return changed


@jit
def add_squares(n: int, a: NDArray[np.float64], b: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Add sum_j (a_j - b_j)^2 to `out`, element by element of the first `n`."""
    for i in range(n):
        total = 0.0
        for j in range(a.shape[1]):
            total += (a[i, j] - b[i, j]) ** 2
        out[i] += total
