"""Products with W' R^-1 W, record by record: gather the blocks of a record's levels, predict, weigh, scatter back.

`residual` holds one R^-1 per pattern of observed traits, row by row, zero where missing: float64 (n_patterns,
n_traits**2). Records and terms are those of `record_loops`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit, set_item
from henderson.kernels.record_loops import (
    LocalRecords,
    TermLists,
    coefficient,
    element,
    row_of,
    scatter,
    weigh,
    weight_of,
)


class Bundles(NamedTuple):
    """Terms of one slot side by side, n of them, one per trait at most.

    slot: int64 (n,); aligned: bool (n,), all traits are there, with coefficient 1 and consecutive positions; position:
    uint32, column (of the coefficients, -1 for `factor`): int32, factor (1, or 0 where a trait has no term): float64,
    all (n, n_traits).
    """

    slot: NDArray[np.int64]
    aligned: NDArray[np.bool_]
    position: NDArray[np.uint32]
    column: NDArray[np.int32]
    factor: NDArray[np.float64]


@jit
def bundle_product(
    zero: tuple[float, ...],
    records: LocalRecords,
    bundles: Bundles,
    scattered: Bundles,
    residual: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W_2' R^-1 W_1 x to `y`, all traits of all records alike: for records that observed nearly all of them.

    W_1 has the terms in `bundles`, W_2 those in `scattered`: all, or those of some groups. `zero` is a tuple of one 0.0
    per trait (its length unrolls the loops).
    """
    n_traits = len(zero)
    slots, slot, aligned, position = records.slots, bundles.slot, bundles.aligned, bundles.position
    column, factor, coefficients = bundles.column, bundles.factor, records.coefficients
    slot_2, aligned_2, position_2 = scattered.slot, scattered.aligned, scattered.position
    column_2, factor_2 = scattered.column, scattered.factor
    for r in range(slots.shape[0]):
        eta = zero
        z = zero
        row = row_of(records.rows, r)
        for b in range(len(slot)):
            offset = slots[r, slot[b]]
            if aligned[b]:
                first = np.uint32(offset + position[b, 0])
                for t in range(n_traits):
                    eta = set_item(eta, t, eta[t] + x[first + t])
            else:
                for t in range(n_traits):
                    c = column[b, t]
                    scale = coefficients[row, c] if c >= 0 else factor[b, t]
                    eta = set_item(eta, t, eta[t] + scale * x[offset + position[b, t]])
        p = records.pattern[r]
        weight = weight_of(records.weights, r)
        for t in range(n_traits):
            total = 0.0
            for u in range(n_traits):
                total += residual[p, t * n_traits + u] * eta[u]
            z = set_item(z, t, weight * total)
        for b in range(len(slot_2)):
            offset = slots[r, slot_2[b]]
            if aligned_2[b]:
                first = np.uint32(offset + position_2[b, 0])
                for t in range(n_traits):
                    y[first + t] += z[t]
            else:
                for t in range(n_traits):
                    c = column_2[b, t]
                    scale = coefficients[row, c] if c >= 0 else factor_2[b, t]
                    y[offset + position_2[b, t]] += scale * z[t]


@jit
def right_hand_side(
    records: LocalRecords,
    lists: TermLists,
    residual: NDArray[np.float64],
    responses: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W' R^-1 responses to `y`; responses are float64 (n_records, n_traits), those not observed do not count."""
    n_traits = responses.shape[1]
    z = np.empty(n_traits)
    observed = np.empty(n_traits)
    for r in range(records.slots.shape[0]):
        for t in range(n_traits):
            observed[t] = 0.0 if np.isnan(responses[r, t]) else responses[r, t]
        weigh(residual, records.pattern[r], weight_of(records.weights, r), observed, z)
        scatter(records, lists, r, z, y)


@jit
def record_triplets(
    null: np.uint32,
    records: LocalRecords,
    lists: TermLists,
    residual: NDArray[np.float64],
    n_traits: int,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
) -> int:
    """Write W' R^-1 W as triplets of local elements, n_terms**2 a record at most; return their number."""
    n = 0
    terms = lists.terms
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        weight = weight_of(records.weights, r)
        row = row_of(records.rows, r)
        kind = lists.of_pattern[p]
        for a in range(lists.first[kind], lists.first[kind + 1]):
            if records.slots[r, terms[a, 1]] == null:
                continue
            left = weight * coefficient(records, lists, row, a)
            for b in range(lists.first[kind], lists.first[kind + 1]):
                value = left * residual[p, terms[a, 0] * n_traits + terms[b, 0]]
                if records.slots[r, terms[b, 1]] == null or value == 0.0:
                    continue
                rows[n] = element(records, lists, r, a)
                columns[n] = element(records, lists, r, b)
                values[n] = value * coefficient(records, lists, row, b)
                n += 1
    return n


@jit
def border_products(
    place: NDArray[np.int32],
    records: LocalRecords,
    lists: TermLists,
    residual: NDArray[np.float64],
    n_traits: int,
    border: NDArray[np.float64],
) -> None:
    """Add W' R^-1 W among few equations to the dense `border`; `place` is the row of each local element, or -1."""
    terms = lists.terms
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        weight = weight_of(records.weights, r)
        row = row_of(records.rows, r)
        kind = lists.of_pattern[p]
        for a in range(lists.first[kind], lists.first[kind + 1]):
            above = place[element(records, lists, r, a)]
            if above < 0:
                continue
            left = weight * coefficient(records, lists, row, a)
            for b in range(lists.first[kind], lists.first[kind + 1]):
                beside = place[element(records, lists, r, b)]
                if beside >= 0:
                    value = left * residual[p, terms[a, 0] * n_traits + terms[b, 0]]
                    border[above, beside] += value * coefficient(records, lists, row, b)
