"""Products with W' R^-1 W, record by record: gather the blocks of a record's levels, predict, weigh, scatter back.

`slots` holds, per record and slot, the uint32 element offset of the level's block in a local vector; a slot without a
level points to the null block at the vector's end. `residual` holds one R^-1 per pattern of missing traits, zero where
missing. Terms are (trait, slot, position, coefficient): ``eta[trait] += coefficient * x[slots[record, slot] +
position]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit, set_item


@jit
def bundle_product(
    zero: tuple[float, ...],
    start: int,
    stop: int,
    slots: NDArray[np.uint32],
    slot: NDArray[np.int64],
    aligned: NDArray[np.bool_],
    position: NDArray[np.uint32],
    column: NDArray[np.int32],
    factor: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    residual: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W' R^-1 W x to `y`; the terms are bundled, one of each trait at most in a bundle (`equations.model.Bundles`).

    `zero` is a tuple of one 0.0 per trait (its length unrolls the loops); `residual` has shape (n_patterns,
    n_traits**2); `weights` is None or float64 (n_records,).
    """
    n_traits = len(zero)
    n_bundles = len(slot)
    for r in range(start, stop):
        eta = zero
        z = zero
        for b in range(n_bundles):
            offset = slots[r, slot[b]]
            if aligned[b]:
                first = np.uint32(offset + position[b, 0])
                for t in range(n_traits):
                    eta = set_item(eta, t, eta[t] + x[first + t])
            else:
                for t in range(n_traits):
                    c = column[b, t]
                    scale = coefficients[r, c] if c >= 0 else factor[b, t]
                    eta = set_item(eta, t, eta[t] + scale * x[offset + position[b, t]])
        p = pattern[r]
        for t in range(n_traits):
            total = 0.0
            for u in range(n_traits):
                total += residual[p, t * n_traits + u] * eta[u]
            z = set_item(z, t, total)
        if weights is not None:
            for t in range(n_traits):
                z = set_item(z, t, z[t] * weights[r])
        for b in range(n_bundles):
            offset = slots[r, slot[b]]
            if aligned[b]:
                first = np.uint32(offset + position[b, 0])
                for t in range(n_traits):
                    y[first + t] += z[t]
            else:
                for t in range(n_traits):
                    c = column[b, t]
                    scale = coefficients[r, c] if c >= 0 else factor[b, t]
                    y[offset + position[b, t]] += scale * z[t]


@jit
def term_product(
    n_traits: int,
    start: int,
    stop: int,
    slots: NDArray[np.uint32],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    residual: NDArray[np.float64],
    terms: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W' R^-1 W x to `y` for any number of traits.

    `terms` is int32 (n_terms, 4): trait, slot, position, column of `coefficients` (n_records, n_coefficients) or -1 for
    1.
    """
    eta = np.empty(n_traits)
    z = np.empty(n_traits)
    n_terms = terms.shape[0]
    for r in range(start, stop):
        eta[:] = 0.0
        for k in range(n_terms):
            value = x[slots[r, terms[k, 1]] + np.uint32(terms[k, 2])]
            c = terms[k, 3]
            if c >= 0:
                value *= coefficients[r, c]
            eta[terms[k, 0]] += value
        p = pattern[r]
        for t in range(n_traits):
            total = 0.0
            for u in range(n_traits):
                total += residual[p, t * n_traits + u] * eta[u]
            z[t] = total
        if weights is not None:
            for t in range(n_traits):
                z[t] *= weights[r]
        for k in range(n_terms):
            value = z[terms[k, 0]]
            c = terms[k, 3]
            if c >= 0:
                value *= coefficients[r, c]
            y[slots[r, terms[k, 1]] + np.uint32(terms[k, 2])] += value


@jit
def right_hand_side(
    slots: NDArray[np.uint32],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    residual: NDArray[np.float64],
    terms: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    responses: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W' R^-1 responses to `y`; responses are float64 (n_traits, n_records), missing ones do not count."""
    n_traits = responses.shape[0]
    z = np.empty(n_traits)
    for r in range(slots.shape[0]):
        p = pattern[r]
        z[:] = 0.0
        for u in range(n_traits):
            response = responses[u, r]
            if not np.isnan(response):
                for t in range(n_traits):
                    z[t] += residual[p, t * n_traits + u] * response
        if weights is not None:
            for t in range(n_traits):
                z[t] *= weights[r]
        for k in range(terms.shape[0]):
            value = z[terms[k, 0]]
            c = terms[k, 3]
            if c >= 0:
                value *= coefficients[r, c]
            y[slots[r, terms[k, 1]] + np.uint32(terms[k, 2])] += value


@jit
def block_column(
    pairs: NDArray[np.int32],
    slots: NDArray[np.uint32],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    residual: NDArray[np.float64],
    n_traits: int,
    terms: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add one column of the diagonal blocks of W' R^-1 W to `y`, each block's in the elements of its level.

    `pairs` is int32 (n_pairs, 2): terms (a, b) of one factor where b has the position of the wanted column.
    """
    for r in range(slots.shape[0]):
        p = pattern[r]
        weight = 1.0
        if weights is not None:
            weight = weights[r]
        for k in range(pairs.shape[0]):
            a = pairs[k, 0]
            b = pairs[k, 1]
            offset = slots[r, terms[a, 1]]
            if offset != slots[r, terms[b, 1]]:
                continue
            value = weight * residual[p, terms[a, 0] * n_traits + terms[b, 0]]
            if terms[a, 3] >= 0:
                value *= coefficients[r, terms[a, 3]]
            if terms[b, 3] >= 0:
                value *= coefficients[r, terms[b, 3]]
            y[offset + np.uint32(terms[a, 2])] += value


@jit
def record_triplets(
    null: np.uint32,
    slots: NDArray[np.uint32],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    residual: NDArray[np.float64],
    n_traits: int,
    terms: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
) -> int:
    """Write W' R^-1 W as triplets of local elements, n_terms**2 a record at most; return their number."""
    n = 0
    n_terms = terms.shape[0]
    for r in range(slots.shape[0]):
        p = pattern[r]
        weight = 1.0
        if weights is not None:
            weight = weights[r]
        for a in range(n_terms):
            row = slots[r, terms[a, 1]]
            if row == null:
                continue
            left = weight
            if terms[a, 3] >= 0:
                left *= coefficients[r, terms[a, 3]]
            for b in range(n_terms):
                column = slots[r, terms[b, 1]]
                value = left * residual[p, terms[a, 0] * n_traits + terms[b, 0]]
                if column == null or value == 0.0:
                    continue
                if terms[b, 3] >= 0:
                    value *= coefficients[r, terms[b, 3]]
                rows[n] = row + np.uint32(terms[a, 2])
                columns[n] = column + np.uint32(terms[b, 2])
                values[n] = value
                n += 1
    return n


@jit
def border_products(
    place: NDArray[np.int32],
    slots: NDArray[np.uint32],
    pattern: NDArray[np.uint16],
    weights: NDArray[np.float64] | None,
    residual: NDArray[np.float64],
    n_traits: int,
    terms: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    border: NDArray[np.float64],
) -> None:
    """Add W' R^-1 W among few equations to the dense `border`; `place` is the row of each local element, or -1."""
    for r in range(slots.shape[0]):
        p = pattern[r]
        weight = 1.0
        if weights is not None:
            weight = weights[r]
        for a in range(terms.shape[0]):
            row = place[slots[r, terms[a, 1]] + np.uint32(terms[a, 2])]
            if row < 0:
                continue
            left = weight
            if terms[a, 3] >= 0:
                left *= coefficients[r, terms[a, 3]]
            for b in range(terms.shape[0]):
                column = place[slots[r, terms[b, 1]] + np.uint32(terms[b, 2])]
                if column < 0:
                    continue
                value = left * residual[p, terms[a, 0] * n_traits + terms[b, 0]]
                if terms[b, 3] >= 0:
                    value *= coefficients[r, terms[b, 3]]
                border[row, column] += value
