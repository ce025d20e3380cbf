"""Residuals and working variates of REML, record by record; vectors side by side as in `columns`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit


@jit
def residuals(
    slots: NDArray[np.uint32],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    observed: NDArray[np.bool_],
    terms: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    responses: NDArray[np.float64],
    x: NDArray[np.float64],
    e: NDArray[np.float64],
    by_pattern: NDArray[np.float64],
) -> None:
    """Set e = y - W x, zero where missing, and add weight * e e' to `by_pattern`.

    responses: float64 (n_traits, n_records); x: one vector (n_local,); e: (n_records, n_traits); by_pattern:
    (n_patterns, n_traits, n_traits).
    """
    n_traits = e.shape[1]
    for r in range(slots.shape[0]):
        p = pattern[r]
        for t in range(n_traits):
            e[r, t] = responses[t, r] if observed[p, t] else 0.0
        for k in range(terms.shape[0]):
            t = terms[k, 0]
            if observed[p, t]:
                c = terms[k, 3]
                scale = coefficients[r, c] if c >= 0 else 1.0
                e[r, t] -= scale * x[slots[r, terms[k, 1]] + np.uint32(terms[k, 2])]
        weight = 1.0
        if weights is not None:
            weight = weights[r]
        for t in range(n_traits):
            for u in range(n_traits):
                by_pattern[p, t, u] += weight * e[r, t] * e[r, u]


@jit
def working_variates(
    slots: NDArray[np.uint32],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    residual: NDArray[np.float64],
    terms: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    effects: NDArray[np.float64],
    e: NDArray[np.float64],
    change: NDArray[np.float64],
    out: NDArray[np.float64],
    products: NDArray[np.float64],
) -> None:
    """Add W' R^-1 f_k to column k of `out`, and f_k'R^-1 f_l to products[k, l], for f_k = W effects_k + change_k e.

    The variates of average information (Johnson & Thompson 1995): V_k V^-1 (y - X b). effects: (n_local, n_columns);
    change: dR R^-1, (n_columns, n_patterns, n_traits, n_traits).
    """
    n_columns = effects.shape[1]
    n_traits = e.shape[1]
    f = np.empty((n_traits, n_columns))
    z = np.empty((n_traits, n_columns))
    for r in range(slots.shape[0]):
        p = pattern[r]
        f[:] = 0.0
        for k in range(terms.shape[0]):
            row = slots[r, terms[k, 1]] + np.uint32(terms[k, 2])
            c = terms[k, 3]
            scale = coefficients[r, c] if c >= 0 else 1.0
            for j in range(n_columns):
                f[terms[k, 0], j] += scale * effects[row, j]
        for j in range(n_columns):
            for t in range(n_traits):
                for u in range(n_traits):
                    f[t, j] += change[j, p, t, u] * e[r, u]
        weight = 1.0
        if weights is not None:
            weight = weights[r]
        z[:] = 0.0
        for t in range(n_traits):
            for u in range(n_traits):
                scale = weight * residual[p, t * n_traits + u]
                for j in range(n_columns):
                    z[t, j] += scale * f[u, j]
        for j in range(n_columns):
            for k in range(j + 1):
                total = 0.0
                for t in range(n_traits):
                    total += f[t, j] * z[t, k]
                products[j, k] += total
        for k in range(terms.shape[0]):
            row = slots[r, terms[k, 1]] + np.uint32(terms[k, 2])
            c = terms[k, 3]
            scale = coefficients[r, c] if c >= 0 else 1.0
            for j in range(n_columns):
                out[row, j] += scale * z[terms[k, 0], j]


@jit
def times_block(
    width: int,
    first: int,
    n_levels: int,
    x: NDArray[np.float64],
    block: NDArray[np.float64],
    column: int,
    out: NDArray[np.float64],
) -> None:
    """Set column `column` of `out` to X B in the owned levels, X being `x` as a table of levels by positions."""
    for i in range(n_levels):
        own = first + i * width
        for t in range(width):
            total = 0.0
            for u in range(width):
                total += x[own + u] * block[u, t]
            out[own + t, column] = total
