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


class Spans(NamedTuple):
    """Terms of one trait and slot with consecutive positions and coefficients, trait by trait for each list of terms.

    of_pattern: as in `TermLists`; list l has the observed traits `trait` first_trait[l]..first_trait[l + 1], trait o of
    them the spans first_span[o]..first_span[o + 1]: slot, position, length, column of the coefficients or -1 for 1.
    """

    of_pattern: NDArray[np.int32]
    first_trait: NDArray[np.int64]
    trait: NDArray[np.int64]
    first_span: NDArray[np.int64]
    slot: NDArray[np.int64]
    position: NDArray[np.uint32]
    length: NDArray[np.int64]
    column: NDArray[np.int64]


@jit
def bundle_product(
    zero: tuple[float, ...],
    records: LocalRecords,
    bundles: Bundles,
    residual: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W' R^-1 W x to `y`, all traits of all records alike: for records that observed nearly all of them.

    `zero` is a tuple of one 0.0 per trait (its length unrolls the loops).
    """
    n_traits = len(zero)
    n_bundles = len(bundles.slot)
    slots, slot, aligned, position = records.slots, bundles.slot, bundles.aligned, bundles.position
    column, factor, coefficients = bundles.column, bundles.factor, records.coefficients
    for r in range(slots.shape[0]):
        eta = zero
        z = zero
        row = row_of(records.rows, r)
        for b in range(n_bundles):
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
        for b in range(n_bundles):
            offset = slots[r, slot[b]]
            if aligned[b]:
                first = np.uint32(offset + position[b, 0])
                for t in range(n_traits):
                    y[first + t] += z[t]
            else:
                for t in range(n_traits):
                    c = column[b, t]
                    scale = coefficients[row, c] if c >= 0 else factor[b, t]
                    y[offset + position[b, t]] += scale * z[t]


@jit
def span_product(
    n_traits: int,
    records: LocalRecords,
    spans: Spans,
    scattered: Spans,
    residual: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W_2' R^-1 W_1 x to `y`, observed traits alone, terms with consecutive elements together.

    W_1 has the terms in `spans`, W_2 those in `scattered`: all, or those of some groups.
    """
    slots, coefficients = records.slots, records.coefficients
    slot, position, length, column = spans.slot, spans.position, spans.length, spans.column
    slot_2, position_2, length_2, column_2 = scattered.slot, scattered.position, scattered.length, scattered.column
    eta = np.empty(n_traits)
    for r in range(slots.shape[0]):
        row = row_of(records.rows, r)
        p = records.pattern[r]
        kind = spans.of_pattern[p]
        first, last = spans.first_trait[kind], spans.first_trait[kind + 1]
        for o in range(first, last):
            total = 0.0
            for s in range(spans.first_span[o], spans.first_span[o + 1]):
                at = np.int64(slots[r, slot[s]] + position[s])
                c = column[s]
                if c >= 0:
                    part = 0.0
                    for k in range(length[s]):
                        part += coefficients[row, c + k] * x[at + k]
                    total += part
                else:
                    for k in range(length[s]):
                        total += x[at + k]
            eta[o - first] = total
        weight = weight_of(records.weights, r)
        for o in range(first, last):
            z = 0.0
            for u in range(first, last):
                z += residual[p, spans.trait[o] * n_traits + spans.trait[u]] * eta[u - first]
            z *= weight
            for s in range(scattered.first_span[o], scattered.first_span[o + 1]):
                at = np.int64(slots[r, slot_2[s]] + position_2[s])
                c = column_2[s]
                if c >= 0:
                    for k in range(length_2[s]):
                        y[at + k] += coefficients[row, c + k] * z
                else:
                    for k in range(length_2[s]):
                        y[at + k] += z


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
