"""Steps of a loop over animals and their own records: coefficients, levels and residual variances of one animal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline
from henderson.kernels.record_loops import TermLists, row_of, weight_of

Floats = NDArray[np.float64]

HOME, DAM, OWN, SHARED, FOREIGN, NONE = range(6)  # what a slot is to the animal that has the record


class OwnRecords(NamedTuple):
    """Some records, those of an animal together: of the a-th animal start[a]..start[a + 1].

    animal: int32, of each run of records; levels: int32 (n_records, n_slots), negative where there is none; sibs:
    float32 (n_records, n_slots), how many progeny of the same sire have the shared level, the animal among them;
    others as in `record_loops.LocalRecords`.
    """

    animal: NDArray[np.int32]
    start: NDArray[np.int64]
    levels: NDArray[np.int32]
    sibs: NDArray[np.float32]
    pattern: NDArray[np.uint16]
    weights: Floats | None
    rows: NDArray[np.uint16] | NDArray[np.uint32] | None
    coefficients: Floats


class Roles(NamedTuple):
    """What each slot is.

    role: see above; base: of a breeding value, or of what a dam has, the first position; width: of the level's block;
    prior: where its variance begins in `priors`; table: where its first level begins in `information`; mask: where it
    begins in `kept`, which has one entry for each position of each level, -1 if all are kept.
    """

    role: NDArray[np.int64]
    base: NDArray[np.int64]
    width: NDArray[np.int64]
    prior: NDArray[np.int64]
    table: NDArray[np.int64]
    mask: NDArray[np.int64]
    priors: Floats
    kept: NDArray[np.bool_]


@inline
def observations(
    records: OwnRecords, first: int, stop: int, observed: NDArray[np.bool_], number: NDArray[np.int64]
) -> int:
    """Set number[r - first, trait] of each observation of the records first..stop; return how many there are."""
    n = 0
    for r in range(first, stop):
        for t in range(observed.shape[1]):
            if observed[records.pattern[r], t]:
                number[r - first, t] = n
                n += 1
    return n


@inline
def fill(
    records: OwnRecords,
    lists: TermLists,
    roles: Roles,
    slot: int,
    level: int,
    first: int,
    stop: int,
    number: NDArray[np.int64],
    base: int,
    Z: Floats,
) -> None:
    """Add the coefficients of a level of a slot to Z (n, width), position 0 at column `base`."""
    for r in range(first, stop):
        if records.levels[r, slot] != level:
            continue
        row = row_of(records.rows, r)
        kind = lists.of_pattern[records.pattern[r]]
        for k in range(lists.first[kind], lists.first[kind + 1]):
            if lists.terms[k, 1] != slot:
                continue
            position = lists.terms[k, 2]
            mask = roles.mask[slot]
            if mask >= 0 and not roles.kept[mask + level * roles.width[slot] + position]:
                continue
            c = lists.terms[k, 3]
            value = records.coefficients[row, c] if c >= 0 else 1.0
            Z[number[r - first, lists.terms[k, 0]], base + position] += value


@inline
def add_quadratic(n: int, w: int, Z: Floats, variance: Floats, work: Floats, V: Floats) -> None:
    """Add Z variance Z' to the lower triangle of V."""
    for a in range(n):
        empty = True
        for t in range(w):
            total = 0.0
            for u in range(w):
                total += Z[a, u] * variance[t, u]
            work[a, t] = total
            if total != 0.0:
                empty = False
        if empty:
            continue
        for b in range(a + 1):
            total = 0.0
            for t in range(w):
                total += work[a, t] * Z[b, t]
            V[a, b] += total
    # rows without coefficients have zeros in `Z`, so nothing was left out


@inline
def residuals(
    records: OwnRecords,
    first: int,
    stop: int,
    observed: NDArray[np.bool_],
    sigmas: Floats,
    number: NDArray[np.int64],
    V: Floats,
) -> None:
    """Set the lower triangle of V to the residual variance."""
    n_traits = observed.shape[1]
    n = 0
    for r in range(first, stop):
        p = records.pattern[r]
        scale = 1.0 / weight_of(records.weights, r)
        begin = n
        for t in range(n_traits):
            if not observed[p, t]:
                continue
            for b in range(begin):
                V[n, b] = 0.0
            for u in range(t + 1):
                if observed[p, u]:
                    V[n, number[r - first, u]] = scale * sigmas[p, t * n_traits + u]
            n += 1


@inline
def prior(roles: Roles, slot: int, w: int, out: Floats) -> None:
    """Set `out` to what `priors` has for a slot."""
    at = roles.prior[slot]
    for t in range(w):
        for u in range(w):
            out[t, u] = roles.priors[at + t * w + u]


@inline
def met_before(records: OwnRecords, slot: int, first: int, r: int) -> bool:
    """Return whether one of the records first..r - 1 has the level of record r."""
    level = records.levels[r, slot]
    for earlier in range(first, r):  # noqa: SIM110 - compiled
        if records.levels[earlier, slot] == level:
            return True
    return False


@inline
def clear(n: int, w: int, Z: Floats) -> None:
    """Set Z[:n, :w] to zero."""
    for a in range(n):
        for t in range(w):
            Z[a, t] = 0.0


@inline
def is_dam(role: int, level: int, dam: int) -> bool:
    """Return whether a level is that of the animal's dam."""
    return role == DAM and level == dam
