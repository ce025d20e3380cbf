"""X'X of the columns of X over the observed records, summed over the processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array

from henderson.equations.model import Design, DesignTerm
from henderson.kernels import cross_products as kernels
from henderson.partitions.communicator import Communicator

BLOCK = 1 << 18  # records of which products are summed at a time
CHUNK = 2_000_000  # products that are sorted at a time


@dataclass(frozen=True)
class Columns:
    """The columns of X: `number` of the first column per fixed group (None for random ones), and their total."""

    first: list[int | None]
    total: int


def columns_of(design: Design, columns: Columns, term: DesignTerm) -> NDArray[np.int64]:
    """Return the columns of X of a term by level."""
    g = design.slots[term.slot].group
    start, group = columns.first[g], design.groups[g]
    assert start is not None
    return np.arange(start + term.position, start + group.size, group.width)


def cross_products(
    design: Design,
    columns: Columns,
    fixed: list[DesignTerm],
    used: NDArray[np.int64],
    centres: dict[int, NDArray[np.float64]],
) -> csc_array:
    """Return X'X of the columns `used`, in that order, over the records at hand, covariates less their `centres`.

    Cost: a pass over the records of a trait for each pair of its terms. Where one of the two has a single level, or
    both have the same, the products are summed by level; others are sorted.
    """
    n = len(used)
    position = np.full(columns.total, -1, np.int32)
    position[used] = np.arange(n, dtype=np.int32)
    levels = [design.groups[design.slots[t.slot].group].n_levels for t in fixed]
    pairs = [
        (a, b) if levels[a] >= levels[b] else (b, a)
        for a in range(len(fixed))
        for b in range(a, len(fixed))
        if fixed[a].trait == fixed[b].trait
    ]
    sums = {(a, b): np.zeros(levels[a]) for a, b in pairs if levels[b] == 1 or fixed[a].slot == fixed[b].slot}
    rest = _Sums(n)
    for start in range(0, design.n_records, BLOCK):
        stop = min(start + BLOCK, design.n_records)
        pattern = design.patterns.codes[start:stop]
        for trait in dict.fromkeys(t.trait for t in fixed):
            seen = np.flatnonzero(design.patterns.observed[:, trait][pattern])
            mine = {
                k: _values(design, t, start, stop, seen, centres.get(k))
                for k, t in enumerate(fixed)
                if t.trait == trait
            }
            for a, b in pairs:
                if fixed[a].trait != trait:
                    continue
                (level, values), (other, more) = mine[a], mine[b]
                if (a, b) in sums:
                    kernels.add_products(level, other, values, more, sums[a, b])
                    continue
                both = (level >= 0) & (other >= 0)
                mine_at, other_at = (
                    position[columns_of(design, columns, fixed[k])[codes[both]]]
                    for k, codes in ((a, level), (b, other))
                )
                rest.add(mine_at, other_at, values[both] * more[both])
    parts = [rest.entries()]
    for (a, b), found in sums.items():
        at = np.flatnonzero(found)
        mine_at, other_at = (position[columns_of(design, columns, fixed[k])] for k in (a, b))
        rows, beside, values = mine_at[at], other_at[at if fixed[a].slot == fixed[b].slot else 0 * at], found[at]
        kept = (rows >= 0) & (beside >= 0)
        rows, beside, values = rows[kept], beside[kept], values[kept]
        parts.append((rows, beside, values))
        if a != b:
            parts.append((beside, rows, values))
    rows, beside, values = (np.concatenate([p[k] for p in parts]) for k in range(3))
    return csc_array(coo_array((values, (rows, beside)), shape=(n, n)))


class _Sums:
    """A symmetric matrix of sums, of which one triangle is given entry by entry."""

    def __init__(self, n: int) -> None:
        self._total = csr_array((n, n))
        self._pending: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]] = []
        self._n_pending = 0

    def add(self, rows: NDArray[np.int32], at: NDArray[np.int32], values: NDArray[np.float64]) -> None:
        """Add entries; those of negative rows or columns do not count."""
        kept = (rows >= 0) & (at >= 0)
        self._pending.append((rows[kept], at[kept], values[kept]))
        self._n_pending += len(self._pending[-1][2])
        if self._n_pending > CHUNK:
            self._gather()

    def entries(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Return rows, columns and values of both triangles."""
        self._gather()
        found = (self._total + self._total.T).tocoo()
        return found.row.astype(np.int32), found.col.astype(np.int32), found.data

    def _gather(self) -> None:
        if self._pending:
            rows, at, values = (np.concatenate([p[k] for p in self._pending]) for k in range(3))
            self._total = csr_array(self._total + csr_array(coo_array((values, (rows, at)), shape=self._total.shape)))
            self._pending, self._n_pending = [], 0


def _values(
    design: Design,
    term: DesignTerm,
    start: int,
    stop: int,
    seen: NDArray[np.int64],
    centre: NDArray[np.float64] | None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return level and value of a term on the records `seen` of start..stop, less the `centre` of its level."""
    codes = design.slots[term.slot].codes[start:stop][seen]
    if term.coefficient < 0:
        return codes, np.ones(len(codes))
    values = design.coefficients[term.coefficient][start:stop][seen]
    return codes, values if centre is None else values - centre[codes]


def gathered(product: csc_array, communicator: Communicator) -> csc_array | None:
    """Return the sum of the products of all processes on the first one, None elsewhere."""
    if communicator.size == 1:
        return product
    entries = product.tocoo()
    parts = []
    for values in (entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data):
        parts.append(communicator.all_to_all([values, *[values[:0]] * (communicator.size - 1)]))
    if communicator.rank:
        return None
    total = csc_array(product.shape)
    for rows, at, values in zip(*parts, strict=True):
        total = total + csc_array(coo_array((values, (rows, at)), shape=product.shape))
    return total
