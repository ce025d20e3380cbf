"""What all loops over records share: the records of a partition, the terms of each, and the steps of a loop.

A record has terms only of the traits that it observed; they are listed once for each set of observed traits. Its
coefficients are a row of a small table where covariates have few different values, else a row of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline


class LocalRecords(NamedTuple):
    """The records start..stop of a partition; the arrays have one entry for each.

    slots: uint32 (n_records, n_slots), the element of a local vector where the level's block begins; without a level
    the null block at the vector's end. pattern: number of the pattern of observed traits. weights: float64, None for 1.
    rows: row of `coefficients`, None if that has a row for each record.
    """

    start: int
    stop: int
    slots: NDArray[np.uint32]
    pattern: NDArray[np.uint16]
    weights: NDArray[np.float64] | None
    rows: NDArray[np.uint16] | NDArray[np.uint32] | None
    coefficients: NDArray[np.float64]

    def part(self, first: int, last: int) -> LocalRecords:
        """Return the records first..last of these, counted from 0."""
        return LocalRecords(
            self.start + first,
            min(self.start + last, self.stop),
            self.slots[first:last],
            self.pattern[first:last],
            None if self.weights is None else self.weights[first:last],
            None if self.rows is None else self.rows[first:last],
            self.coefficients[first:last] if self.rows is None else self.coefficients,
        )

    @property
    def nbytes(self) -> int:
        """Return the memory of the arrays."""
        arrays = (self.slots, self.pattern, self.weights, self.rows, self.coefficients)
        return sum(a.nbytes for a in arrays if a is not None)


class TermLists(NamedTuple):
    """The terms of each pattern of observed traits.

    of_pattern: int32 (n_patterns,), which list a pattern has; list l is `terms` first[l]..first[l + 1]: int32 (n, 4),
    trait, slot, position, and column of the coefficients or -1 for 1.
    """

    of_pattern: NDArray[np.int32]
    first: NDArray[np.int64]
    terms: NDArray[np.int32]


@inline
def weight_of(weights: NDArray[np.float64] | None, r: int) -> np.float64 | float:
    """Return the weight of record `r`."""
    if weights is None:
        return 1.0
    return np.float64(weights[r])


@inline
def row_of(rows: NDArray[np.uint16] | NDArray[np.uint32] | None, r: int) -> int:
    """Return the row of the coefficients of record `r`."""
    if rows is None:
        return r
    return int(rows[r])


@inline
def element(records: LocalRecords, lists: TermLists, r: int, k: int) -> np.uint32:
    """Return the element of a local vector that term `k` of record `r` meets."""
    return np.uint32(records.slots[r, lists.terms[k, 1]] + np.uint32(lists.terms[k, 2]))


@inline
def coefficient(records: LocalRecords, lists: TermLists, row: int, k: int) -> float:
    """Return the coefficient of term `k`."""
    c = lists.terms[k, 3]
    return records.coefficients[row, c] if c >= 0 else 1.0


@inline
def gather(records: LocalRecords, lists: TermLists, r: int, x: NDArray[np.float64], eta: NDArray[np.float64]) -> None:
    """Set eta[trait] to W x of record `r`, zero for traits without a term."""
    eta[:] = 0.0
    row = row_of(records.rows, r)
    kind = lists.of_pattern[records.pattern[r]]
    for k in range(lists.first[kind], lists.first[kind + 1]):
        eta[lists.terms[k, 0]] += coefficient(records, lists, row, k) * x[element(records, lists, r, k)]


@inline
def scatter(records: LocalRecords, lists: TermLists, r: int, z: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Add W'z of record `r` to `y`."""
    row = row_of(records.rows, r)
    kind = lists.of_pattern[records.pattern[r]]
    for k in range(lists.first[kind], lists.first[kind + 1]):
        y[element(records, lists, r, k)] += coefficient(records, lists, row, k) * z[lists.terms[k, 0]]


@inline
def weigh(
    residual: NDArray[np.float64],
    pattern: int,
    weight: np.float64 | float,
    eta: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z = weight * R^-1 eta; `residual` has R^-1 of every pattern in a row."""
    n_traits = z.size
    for t in range(n_traits):
        total = 0.0
        for u in range(n_traits):
            total += residual[pattern, t * n_traits + u] * eta[u]
        z[t] = weight * total


@inline
def gather_columns(
    records: LocalRecords, lists: TermLists, r: int, x: NDArray[np.float64], eta: NDArray[np.float64]
) -> None:
    """Set eta[trait] to W x of record `r` for vectors side by side, (n_traits, n_columns)."""
    eta[:] = 0.0
    row = row_of(records.rows, r)
    kind = lists.of_pattern[records.pattern[r]]
    for k in range(lists.first[kind], lists.first[kind + 1]):
        at = element(records, lists, r, k)
        scale = coefficient(records, lists, row, k)
        t = lists.terms[k, 0]
        for j in range(x.shape[1]):
            eta[t, j] += scale * x[at, j]


@inline
def scatter_columns(
    records: LocalRecords, lists: TermLists, r: int, z: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """Add W'z of record `r` to vectors side by side; z: (n_traits, n_columns)."""
    row = row_of(records.rows, r)
    kind = lists.of_pattern[records.pattern[r]]
    for k in range(lists.first[kind], lists.first[kind + 1]):
        at = element(records, lists, r, k)
        scale = coefficient(records, lists, row, k)
        t = lists.terms[k, 0]
        for j in range(y.shape[1]):
            y[at, j] += scale * z[t, j]


@inline
def weigh_columns(
    residual: NDArray[np.float64],
    pattern: int,
    weight: np.float64 | float,
    eta: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Set z_j = weight * R^-1 eta_j for vectors side by side."""
    n_traits = z.shape[0]
    for t in range(n_traits):
        for j in range(z.shape[1]):
            z[t, j] = 0.0
        for u in range(n_traits):
            scale = weight * residual[pattern, t * n_traits + u]
            for j in range(z.shape[1]):
                z[t, j] += scale * eta[u, j]
