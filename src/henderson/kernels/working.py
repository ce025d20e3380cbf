"""Residuals and working variates of REML, record by record; vectors side by side as in `columns`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit
from henderson.kernels.record_loops import (
    LocalRecords,
    TermLists,
    gather,
    gather_columns,
    scatter_columns,
    weigh_columns,
    weight_of,
)


@jit
def residuals(
    records: LocalRecords,
    lists: TermLists,
    observed: NDArray[np.bool_],
    responses: NDArray[np.float64],
    x: NDArray[np.float64],
    e: NDArray[np.float64],
    by_pattern: NDArray[np.float64],
) -> None:
    """Set e = y - W x, zero where missing, and add weight * e e' to `by_pattern`.

    responses, e: float64 (n_records, n_traits); x: one vector (n_local,); by_pattern: (n_patterns, n_traits, n_traits).
    """
    n_traits = e.shape[1]
    eta = np.empty(n_traits)
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        gather(records, lists, r, x, eta)
        for t in range(n_traits):
            e[r, t] = responses[r, t] - eta[t] if observed[p, t] else 0.0
        weight = weight_of(records.weights, r)
        for t in range(n_traits):
            for u in range(n_traits):
                by_pattern[p, t, u] += weight * e[r, t] * e[r, u]


@jit
def working_variates(
    records: LocalRecords,
    lists: TermLists,
    residual: NDArray[np.float64],
    effects: NDArray[np.float64],
    e: NDArray[np.float64],
    change: NDArray[np.float64],
    out: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add W' v_k to column k of `out`, and v_k e' to sums[k, pattern], for v_k = R^-1 (W effects_k + change_k e).

    The variates of average information (Johnson & Thompson 1995): V_k V^-1 (y - X b) = W effects_k + change_k e; with
    effects less their solutions v_k is P V_k P y. effects: (n_local, n_columns); change: dR R^-1, (n_columns,
    n_patterns, n_traits, n_traits), as `sums`.
    """
    n_columns = effects.shape[1]
    n_traits = e.shape[1]
    f = np.empty((n_traits, n_columns))
    v = np.empty((n_traits, n_columns))
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        gather_columns(records, lists, r, effects, f)
        for j in range(n_columns):
            for t in range(n_traits):
                for u in range(n_traits):
                    f[t, j] += change[j, p, t, u] * e[r, u]
        weigh_columns(residual, p, weight_of(records.weights, r), f, v)
        for j in range(n_columns):
            for t in range(n_traits):
                for u in range(n_traits):
                    sums[j, p, t, u] += v[t, j] * e[r, u]
        scatter_columns(records, lists, r, v, out)


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
