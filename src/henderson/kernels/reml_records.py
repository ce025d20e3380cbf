"""Loops over the records that REML needs, on equations numbered once.

`equation` is int32 (n_records, n_terms): the row of C that a term meets on a record, -1 where it has none. `trait` and
`column` (of `coefficients`, -1 for 1) are int64 (n_terms,). `kind` numbers the residual covariance of each record, by
missing traits and class; `residual` is float64 (n_kinds, n_traits, n_traits), R^-1 of each, zero where missing.
`weights` is float64 (n_records,). Pairs of terms (a, b), b <= a, are int64 (n_pairs, 2); `place` is int32 (n_records,
n_pairs), where an element lies in the lower triangle of C, -1 for none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@inline
def coefficient(coefficients: Floats, r: int, column: int) -> float:
    """Return the coefficient of a term on record `r`."""
    if column < 0:
        return 1.0
    return float(coefficients[r, column])


@inline
def pair_of(pairs: Ints, q: int, coefficients: Floats, column: Ints, r: int, weight: float) -> tuple[int, int, float]:
    """Return the terms of pair `q`, and the weight of record `r` times both their coefficients."""
    a = pairs[q, 0]
    b = pairs[q, 1]
    return a, b, weight * coefficient(coefficients, r, column[a]) * coefficient(coefficients, r, column[b])


@jit
def pair_keys(
    equation: NDArray[np.int32], kind: NDArray[np.uint16], wanted: NDArray[np.bool_], pairs: Ints, n: int
) -> Ints:
    """Return the sorted distinct keys column * n + row of the elements of W' R^-1 W in the lower triangle.

    wanted: bool (n_kinds, n_pairs), whether a pair of terms can meet on records of a kind.
    """
    size = 0
    for r in range(equation.shape[0]):
        for q in range(pairs.shape[0]):
            if wanted[kind[r], q] and equation[r, pairs[q, 0]] >= 0 and equation[r, pairs[q, 1]] >= 0:
                size += 1
    keys = np.empty(size, np.int64)
    size = 0
    for r in range(equation.shape[0]):
        for q in range(pairs.shape[0]):
            i = np.int64(equation[r, pairs[q, 0]])
            j = np.int64(equation[r, pairs[q, 1]])
            if wanted[kind[r], q] and i >= 0 and j >= 0:
                keys[size] = min(i, j) * n + max(i, j)
                size += 1
    return keys


@inline
def find(indptr: Ints, indices: NDArray[np.int32], i: int, j: int) -> int:
    """Return where element (i, j), i >= j, lies in the lower triangle (sorted CSC)."""
    low = indptr[j]
    high = indptr[j + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if indices[middle] <= i:
            low = middle
        else:
            high = middle
    return int(low)


@jit
def pair_places(
    equation: NDArray[np.int32],
    kind: NDArray[np.uint16],
    wanted: NDArray[np.bool_],
    pairs: Ints,
    indptr: Ints,
    indices: NDArray[np.int32],
    place: NDArray[np.int32],
) -> None:
    """Set `place` of every record and pair."""
    for r in range(equation.shape[0]):
        for q in range(pairs.shape[0]):
            i = equation[r, pairs[q, 0]]
            j = equation[r, pairs[q, 1]]
            place[r, q] = -1
            if wanted[kind[r], q] and i >= 0 and j >= 0:
                place[r, q] = find(indptr, indices, max(i, j), min(i, j))


@jit
def add_records(
    equation: NDArray[np.int32],
    place: NDArray[np.int32],
    pairs: Ints,
    trait: Ints,
    column: Ints,
    coefficients: Floats,
    kind: NDArray[np.uint16],
    weights: Floats,
    residual: Floats,
    values: Floats,
) -> None:
    """Add W' R^-1 W to `values`, the lower triangle of C."""
    for r in range(equation.shape[0]):
        p = kind[r]
        for q in range(pairs.shape[0]):
            at = place[r, q]
            if at < 0:
                continue
            a, b, value = pair_of(pairs, q, coefficients, column, r, weights[r])
            value *= residual[p, trait[a], trait[b]]
            if a != b and equation[r, a] == equation[r, b]:
                value *= 2.0  # an effect that a record meets twice: elements (a, b) and (b, a) coincide
            values[at] += value


@jit
def inverse_by_kind(
    place: NDArray[np.int32],
    pairs: Ints,
    trait: Ints,
    column: Ints,
    coefficients: Floats,
    kind: NDArray[np.uint16],
    weights: Floats,
    values: Floats,
    out: Floats,
) -> None:
    """Add to out[kind] the blocks w W C^-1 W' of the records of that kind; `values` are those of C^-1."""
    for r in range(place.shape[0]):
        p = kind[r]
        for q in range(pairs.shape[0]):
            at = place[r, q]
            if at < 0:
                continue
            a, b, value = pair_of(pairs, q, coefficients, column, r, weights[r])
            value *= values[at]
            out[p, trait[a], trait[b]] += value
            if a != b:
                out[p, trait[b], trait[a]] += value


@jit
def right_hand_side(
    equation: NDArray[np.int32],
    trait: Ints,
    column: Ints,
    coefficients: Floats,
    kind: NDArray[np.uint16],
    weights: Floats,
    residual: Floats,
    responses: Floats,
    out: Floats,
) -> None:
    """Add W' R^-1 y to `out`; responses are (n_records, n_traits), zero where missing."""
    n_traits = responses.shape[1]
    z = np.empty(n_traits)
    for r in range(equation.shape[0]):
        p = kind[r]
        for t in range(n_traits):
            total = 0.0
            for u in range(n_traits):
                total += residual[p, t, u] * responses[r, u]
            z[t] = weights[r] * total
        for k in range(equation.shape[1]):
            if equation[r, k] >= 0:
                out[equation[r, k]] += z[trait[k]] * coefficient(coefficients, r, column[k])


@jit
def residuals(
    equation: NDArray[np.int32],
    trait: Ints,
    column: Ints,
    coefficients: Floats,
    observed: NDArray[np.bool_],
    kind: NDArray[np.uint16],
    weights: Floats,
    responses: Floats,
    x: Floats,
    e: Floats,
    squares: Floats,
) -> None:
    """Set e = y - W x where observed, zero elsewhere, and add w e e' to squares[kind]."""
    n_traits = responses.shape[1]
    for r in range(equation.shape[0]):
        p = kind[r]
        for t in range(n_traits):
            e[r, t] = responses[r, t]
        for k in range(equation.shape[1]):
            if equation[r, k] >= 0:
                e[r, trait[k]] -= x[equation[r, k]] * coefficient(coefficients, r, column[k])
        for t in range(n_traits):
            if not observed[p, t]:
                e[r, t] = 0.0
        for t in range(n_traits):
            for u in range(n_traits):
                squares[p, t, u] += weights[r] * e[r, t] * e[r, u]


@jit
def working_variates(
    equation: NDArray[np.int32],
    trait: Ints,
    column: Ints,
    coefficients: Floats,
    kind: NDArray[np.uint16],
    weights: Floats,
    residual: Floats,
    e: Floats,
    effects: Floats,
    change: Floats,
    out: Floats,
    products: Floats,
) -> None:
    """Add F' R^-1 F to `products` and W' R^-1 F to `out` for the working variates F, without storing them.

    f_k = W effects[:, k] + change[k, kind] e for every direction k (Gilmour, Thompson & Cullis 1995). effects: (n, k);
    change: (k, n_kinds, n_traits, n_traits), (dR) R^-1; out: (n, k); products: (k, k).
    """
    n_traits = e.shape[1]
    n_directions = effects.shape[1]
    f = np.empty((n_traits, n_directions))
    h = np.empty((n_traits, n_directions))
    for r in range(equation.shape[0]):
        p = kind[r]
        for t in range(n_traits):
            for k in range(n_directions):
                total = 0.0
                for u in range(n_traits):
                    total += change[k, p, t, u] * e[r, u]
                f[t, k] = total
        for a in range(equation.shape[1]):
            row = equation[r, a]
            if row >= 0:
                c = coefficient(coefficients, r, column[a])
                for k in range(n_directions):
                    f[trait[a], k] += c * effects[row, k]
        for t in range(n_traits):
            h[t, :] = 0.0
            for u in range(n_traits):
                value = weights[r] * residual[p, t, u]
                if value != 0.0:
                    for k in range(n_directions):
                        h[t, k] += value * f[u, k]
        for t in range(n_traits):
            for k in range(n_directions):
                for m in range(n_directions):
                    products[k, m] += f[t, k] * h[t, m]
        for a in range(equation.shape[1]):
            row = equation[r, a]
            if row >= 0:
                c = coefficient(coefficients, r, column[a])
                for k in range(n_directions):
                    out[row, k] += c * h[trait[a], k]


@jit
def add_gamma(place: NDArray[np.int32], entries: Floats, inverse: Floats, values: Floats) -> None:
    """Add Gamma^-1 (x) Sigma^-1 to `values`.

    place: int32 (n_entries, width**2), where the block of an entry of the lower triangle of Gamma^-1 lies in C.
    """
    width = inverse.shape[0]
    for k in range(len(entries)):
        for p in range(width):
            for q in range(width):
                at = place[k, p * width + q]
                if at >= 0:
                    values[at] += entries[k] * inverse[p, q]


@jit
def gamma_traces(
    place: NDArray[np.int32], entries: Floats, diagonal: NDArray[np.bool_], values: Floats, out: Floats
) -> None:
    """Add tr-blocks of Gamma^-1 C^ii to `out` (width, width); `values` are those of C^-1 on the pattern of C."""
    width = out.shape[0]
    for k in range(len(entries)):
        for p in range(width):
            for q in range(width):
                at = place[k, p * width + q]
                if at >= 0:
                    value = entries[k] * values[at]
                    out[p, q] += value
                    if not diagonal[k] or p != q:
                        out[q, p] += value
