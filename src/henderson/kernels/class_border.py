"""The block E of C between the classes that a partition has for itself and the border of all, and products with it.

E has `dense` columns, float32 or float64 (n, n_dense), of the small fixed groups that most records meet, and others as
triplets. `elements` are the rows of E in a local vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import index, jit
from henderson.kernels.record_loops import LocalRecords, TermLists, coefficient, element, row_of, weight_of


@jit
def beside_border(
    place: NDArray[np.int32],
    number: NDArray[np.int32],
    records: LocalRecords,
    lists: TermLists,
    residual: NDArray[np.float64],
    n_traits: int,
    dense: NDArray[Any],
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
) -> int:
    """Add E of some records to `dense`, or write the other columns as triplets; return the number of these.

    `place` and `number` are the column and the row of E of each local element, or -1. Without room for triplets they
    are counted alone, and `dense` is set; with it `dense` stays as it is.
    """
    n, n_dense, counting = 0, dense.shape[1], rows.size == 0
    for r in range(records.slots.shape[0]):
        p = records.pattern[r]
        weight = weight_of(records.weights, r)
        row = row_of(records.rows, r)
        kind = lists.of_pattern[p]
        for b in range(lists.first[kind], lists.first[kind + 1]):
            beside = place[element(records, lists, r, b)]
            if beside < 0 or (beside < n_dense and not counting):
                continue
            right = weight * coefficient(records, lists, row, b)
            for a in range(lists.first[kind], lists.first[kind + 1]):
                at = number[element(records, lists, r, a)]
                value = right * residual[p, lists.terms[a, 0] * n_traits + lists.terms[b, 0]]
                if at < 0 or value == 0.0:
                    continue
                value *= coefficient(records, lists, row, a)
                if beside < n_dense:
                    dense[at, beside] += value
                    continue
                if not counting:
                    rows[n] = at
                    columns[n] = beside
                    values[n] = value
                n += 1
    return n


@jit
def times_columns(dense: NDArray[Any], elements: NDArray[np.int32], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return dense' x[elements]."""
    out = np.zeros(dense.shape[1])
    for i in range(elements.size):
        value = x[index(elements[i])]
        for j in range(dense.shape[1]):
            out[j] += value * dense[i, j]
    return out


@jit
def subtract_columns(
    dense: NDArray[Any],
    elements: NDArray[np.int32],
    outer: NDArray[np.float64],
    r: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = r - dense outer in `elements`."""
    for i in range(elements.size):
        at = index(elements[i])
        value = r[at]
        for j in range(dense.shape[1]):
            value -= dense[i, j] * outer[j]
        z[at] = value
