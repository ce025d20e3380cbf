"""Products with W' R^-1 W by spans: terms with consecutive elements together, only those of observed traits.

Runs of records with the same levels take the elements of x that they share once, and give to y once. `residual`,
records and terms are those of `records`; what indexes arrays is unsigned (`jit.index`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import index, inline, jit, set_item
from henderson.kernels.record_loops import LocalRecords, row_of, weight_of

ONE, TWO, THREE, FOUR = index(1), index(2), index(3), index(4)


class Spans(NamedTuple):
    """Terms of one trait and slot with consecutive positions and coefficients, trait by trait for each list of terms.

    of_pattern: as in `TermLists`; list l has the observed traits `trait` first_trait[l]..first_trait[l + 1], trait o of
    them the spans first_span[o]..first_span[o + 1]: slot, position, length, column of the coefficients or -1 for 1.
    Those before loose[o] are of the slots in `steady`, whose levels stay from one record to the next, mostly. All are
    `index` but column, int64.
    """

    of_pattern: NDArray[np.uint64]
    first_trait: NDArray[np.uint64]
    trait: NDArray[np.uint64]
    first_span: NDArray[np.uint64]
    slot: NDArray[np.uint64]
    position: NDArray[np.uint64]
    length: NDArray[np.uint64]
    column: NDArray[np.int64]
    steady: NDArray[np.uint64]
    loose: NDArray[np.uint64]


@inline
def _dot(n: int, a: NDArray[np.float64], row: int, column: int, x: NDArray[np.float64], at: int) -> float:
    """Return the inner product of a[row, column:column + n] and x[at:at + n]; all numbers are `index`."""
    total = 0.0
    if n & ONE:
        total = a[row, column] * x[at]
        column += ONE
        at += ONE
    if n & TWO:
        total += a[row, column] * x[at] + a[row, column + ONE] * x[at + ONE]
        column += TWO
        at += TWO
    for _ in range(n >> TWO):
        left = a[row, column] * x[at] + a[row, column + ONE] * x[at + ONE]
        total += left + (a[row, column + TWO] * x[at + TWO] + a[row, column + THREE] * x[at + THREE])
        column += FOUR
        at += FOUR
    return total


@inline
def _add(n: int, z: float, a: NDArray[np.float64], row: int, column: int, y: NDArray[np.float64], at: int) -> None:
    """Add z a[row, column:column + n] to y[at:at + n]; all numbers are `index`."""
    if n & ONE:
        y[at] += z * a[row, column]
        column += ONE
        at += ONE
    if n & TWO:
        y[at] += z * a[row, column]
        y[at + ONE] += z * a[row, column + ONE]
        column += TWO
        at += TWO
    for _ in range(n >> TWO):
        y[at] += z * a[row, column]
        y[at + ONE] += z * a[row, column + ONE]
        y[at + TWO] += z * a[row, column + TWO]
        y[at + THREE] += z * a[row, column + THREE]
        column += FOUR
        at += FOUR


@inline
def _put(n: int, x: NDArray[np.float64], at: int, y: NDArray[np.float64], to: int) -> None:
    """Add x[at:at + n] to y[to:to + n]; all numbers are `index`."""
    if n & ONE:
        y[to] += x[at]
        at += ONE
        to += ONE
    if n & TWO:
        y[to] += x[at]
        y[to + ONE] += x[at + ONE]
        at += TWO
        to += TWO
    for _ in range(n >> TWO):
        y[to] += x[at]
        y[to + ONE] += x[at + ONE]
        y[to + TWO] += x[at + TWO]
        y[to + THREE] += x[at + THREE]
        at += FOUR
        to += FOUR


@jit
def run_starts(records: LocalRecords, steady: NDArray[np.uint64], start: NDArray[np.uint32]) -> int:
    """Write where runs begin, and the number of records; return how many numbers that are.

    A run is a sequence of records of one pattern, with one level in every steady slot. start: (n_records + 1,).
    """
    slots, pattern = records.slots, records.pattern
    start[0], n_runs = 0, 1 if slots.shape[0] else 0
    for i in range(1, slots.shape[0]):
        r, before = index(i), index(i - 1)
        same = pattern[r] == pattern[before]
        for k in range(steady.size):
            same &= slots[r, steady[k]] == slots[before, steady[k]]
        if not same:
            start[n_runs] = i
            n_runs += 1
    start[n_runs] = slots.shape[0]
    return n_runs + 1


@inline
def _gather(
    records: LocalRecords, spans: Spans, r: int, row: int, first: int, last: int, x: NDArray[np.float64]
) -> float:
    """Return W_1 x of the spans first..last of record `r`."""
    total = 0.0
    for s in range(first, last):
        at = index(records.slots[r, spans.slot[s]]) + spans.position[s]
        if spans.column[s] >= 0:
            total += _dot(spans.length[s], records.coefficients, row, index(spans.column[s]), x, at)
        else:
            for k in range(spans.length[s]):
                total += x[at + k]
    return total


@inline
def _scatter(
    records: LocalRecords, spans: Spans, r: int, row: int, first: int, last: int, z: float, y: NDArray[np.float64]
) -> None:
    """Add W_2' z of the spans first..last of record `r` to `y`."""
    for s in range(first, last):
        at = index(records.slots[r, spans.slot[s]]) + spans.position[s]
        if spans.column[s] >= 0:
            _add(spans.length[s], z, records.coefficients, row, index(spans.column[s]), y, at)
        else:
            for k in range(spans.length[s]):
                y[at + k] += z


@inline
def _take(
    records: LocalRecords, spans: Spans, r: int, o: int, x: NDArray[np.float64], sums: NDArray[np.float64]
) -> float:
    """Set `sums` to those of the elements of x in the steady slots by column; return that of coefficients of 1."""
    total = 0.0
    sums[:] = 0.0
    for s in range(spans.first_span[o], spans.loose[o]):
        at = index(records.slots[r, spans.slot[s]]) + spans.position[s]
        if spans.column[s] >= 0:
            _put(spans.length[s], x, at, sums, index(spans.column[s]))
        else:
            for k in range(spans.length[s]):
                total += x[at + k]
    return total


@inline
def _give(
    records: LocalRecords, spans: Spans, r: int, o: int, total: float, sums: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """Add `sums`, and `total` where coefficients are 1, to the elements of y in the steady slots."""
    for s in range(spans.first_span[o], spans.loose[o]):
        at = index(records.slots[r, spans.slot[s]]) + spans.position[s]
        if spans.column[s] >= 0:
            _put(spans.length[s], sums, index(spans.column[s]), y, at)
        else:
            for k in range(spans.length[s]):
                y[at + k] += total


@jit
def run_product(
    zero: tuple[float, ...],
    n_traits: int,
    runs: NDArray[np.uint32],
    records: LocalRecords,
    spans: Spans,
    scattered: Spans,
    residual: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W_2' R^-1 W_1 x to `y` as `span_product` does: where one trait is observed run by run.

    A run takes the elements of x in steady slots once, summed by column of the coefficients, and gives to y once.
    `zero` has one 0.0 per column: the sums stay in registers.
    """
    n_columns = len(zero)
    coefficients = records.coefficients
    sums = np.empty(n_columns)
    for i in range(runs.size - 1):
        start, stop = index(runs[i]), index(runs[i + 1])
        p = index(records.pattern[start])
        kind = spans.of_pattern[p]
        o = spans.first_trait[kind]
        if spans.first_trait[kind + ONE] != o + ONE:
            continue
        t = spans.trait[o]
        inverse = residual[p, t * index(n_traits) + t]
        first, last = spans.loose[o], spans.first_span[o + ONE]
        first_2, last_2 = scattered.loose[o], scattered.first_span[o + ONE]
        given_1 = _take(records, spans, start, o, x, sums)
        taken_1 = 0.0
        given, taken = zero, zero
        for k in range(n_columns):
            given = set_item(given, k, sums[k])
        for r in range(start, stop):
            row = index(row_of(records.rows, r))
            z = given_1 + _gather(records, spans, r, row, first, last, x)
            for k in range(n_columns):
                z += coefficients[row, index(k)] * given[k]
            z *= inverse * weight_of(records.weights, r)
            for k in range(n_columns):
                taken = set_item(taken, k, taken[k] + coefficients[row, index(k)] * z)
            taken_1 += z
            _scatter(records, scattered, r, row, first_2, last_2, z, y)
        for k in range(n_columns):
            sums[k] = taken[k]
        _give(records, scattered, start, o, taken_1, sums, y)


@jit
def span_product(
    least: int,
    n_traits: int,
    records: LocalRecords,
    spans: Spans,
    scattered: Spans,
    residual: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W_2' R^-1 W_1 x to `y` for records of `least` traits or more, terms with consecutive elements together.

    W_1 has the terms in `spans`, W_2 those in `scattered`: all, or those of some groups; steady slots are the same.
    """
    n = index(n_traits)
    eta = np.empty(n_traits)
    for i in range(records.slots.shape[0]):
        r = index(i)
        p = index(records.pattern[r])
        kind = spans.of_pattern[p]
        first, last = spans.first_trait[kind], spans.first_trait[kind + ONE]
        if last < first + index(least):
            continue
        row = index(row_of(records.rows, r))
        for o in range(first, last):
            eta[o - first] = _gather(records, spans, r, row, spans.first_span[o], spans.first_span[o + ONE], x)
        weight = weight_of(records.weights, r)
        for o in range(first, last):
            z = 0.0
            for u in range(first, last):
                z += residual[p, spans.trait[o] * n + spans.trait[u]] * eta[u - first]
            _scatter(records, scattered, r, row, scattered.first_span[o], scattered.first_span[o + ONE], z * weight, y)
