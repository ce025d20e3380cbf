"""Which columns of X are solved for: empty ones are no equations at all, dependent ones are left out and reported.

X'X over the observed responses is scaled to unit diagonal and eliminated in a fixed order without pivoting; a column
whose pivot vanishes depends on earlier ones. Weights and R do not change which columns are dependent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, diags_array, eye_array
from scipy.sparse.linalg import splu

from henderson.equations.design import with_kept
from henderson.equations.model import Design, DesignTerm
from henderson.kernels.cholesky import column_counts, dependent_rows
from henderson.partitions.communicator import ALONE, Communicator

RIDGE = 1e-12  # only to have a fill-reducing order
DEPENDENT = 1e-9  # pivot relative to the column's sum of squares
TERM_ORDER_LIMIT = 2000  # columns up to which the elimination follows the equations' term order strictly
FILL_LIMIT = 6000  # columns besides each trait's largest class above which a fill-reducing order is used
CHUNK = 2_000_000


@dataclass(frozen=True)
class _Columns:
    """The columns of X: `number` of the first column per fixed group (None for random ones), and their total."""

    first: list[int | None]
    total: int


def full_rank(design: Design, communicator: Communicator = ALONE) -> Design:
    """Return the design with `kept` and `dropped`: the columns of X that are solved for, those that depend on others.

    Over several processes the design has the records of this one, and the columns are those of all: the first process
    gets the sum of their X'X and factorises it, whatever their number. **Collective**.

    Elimination follows the order of the terms, so that later terms lose levels; above `TERM_ORDER_LIMIT` columns each
    trait's largest class goes first: it makes no fill, and equations that keep all herds but not the mean need half the
    iterations of those that keep the mean and all herds but one. Cost: X'X and a sparse factorisation of it.
    """
    columns = _number(design)
    fixed = [t for t in design.terms if columns.first[design.slots[t.slot].group] is not None]
    squares, seen = np.zeros(columns.total), np.zeros(columns.total)
    for term in fixed:
        _add_sums(design, columns, term, squares, seen)
    kept = communicator.logical_or(squares > 0.0)
    # covariates that do not vary: zero when centred; empty levels are no columns
    dropped = communicator.logical_or(seen > 0.0) & ~kept
    if not _orthogonal(design, fixed):
        used = np.flatnonzero(kept)
        product = _gathered(_cross_products(design, columns, fixed, used), communicator)
        dependent: NDArray[np.int64] | None = None
        if product is not None:
            dependent = used[_dependent(_scaled(product), _order(design, columns, fixed, used))]
        dependent = communicator.broadcast(dependent)
        dropped[dependent] = True
        kept[dependent] = False
    masks: list[NDArray[np.bool_] | None] = []
    left_out: list[tuple[int, int, int]] = []
    for g, group in enumerate(design.groups):
        start = columns.first[g]
        if start is None:
            masks.append(None)
            continue
        shape = (group.n_levels, group.width)
        masks.append(kept[start : start + group.size].reshape(shape))
        at = np.argwhere(dropped[start : start + group.size].reshape(shape))
        left_out += [(g, int(level), int(position)) for level, position in at]
    return with_kept(design, masks, left_out)


def _number(design: Design) -> _Columns:
    first: list[int | None] = []
    total = 0
    for group in design.groups:
        first.append(total if group.covariance is None else None)
        total += group.size if group.covariance is None else 0
    return _Columns(first, total)


def _orthogonal(design: Design, fixed: list[DesignTerm]) -> bool:
    """Return whether every response meets one column of X at most, so that columns cannot depend on each other."""
    traits = [t.trait for t in fixed]
    return len(set(traits)) == len(traits)


def _entries(
    design: Design, columns: _Columns, term: DesignTerm, start: int, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return rows (from 0), columns of X and values of `term` over the records start..stop that have its trait."""
    slot = design.slots[term.slot]
    group = design.groups[slot.group]
    offset = columns.first[slot.group]
    assert offset is not None
    codes = slot.codes[start:stop]
    observed = design.patterns.observed[:, term.trait][design.patterns.codes[start:stop]]
    rows = np.flatnonzero(observed & (codes >= 0))
    values = np.ones(len(rows)) if term.coefficient < 0 else design.coefficients[term.coefficient][start:stop][rows]
    return rows, offset + codes[rows].astype(np.int64) * group.width + term.position, values


def _add_sums(
    design: Design, columns: _Columns, term: DesignTerm, squares: NDArray[np.float64], seen: NDArray[np.float64]
) -> None:
    """Add to each column of X the squares of its entries from `term`, and how many there are."""
    for start in range(0, design.n_records, CHUNK):
        _, at, values = _entries(design, columns, term, start, min(start + CHUNK, design.n_records))
        squares += np.bincount(at, weights=values * values, minlength=columns.total)
        seen += np.bincount(at, minlength=columns.total)


def _cross_products(design: Design, columns: _Columns, fixed: list[DesignTerm], used: NDArray[np.int64]) -> csc_array:
    """Return X'X of the `used` columns over the records at hand."""
    n = len(used)
    position = np.full(columns.total, -1, np.int64)
    position[used] = np.arange(n)
    product = csc_array((n, n))
    for start in range(0, design.n_records, CHUNK):
        stop = min(start + CHUNK, design.n_records)
        for trait in range(design.n_traits):
            parts = [_entries(design, columns, t, start, stop) for t in fixed if t.trait == trait]
            if not parts:
                continue
            rows, at, values = (np.concatenate([p[k] for p in parts]) for k in range(3))
            seen = position[at] >= 0
            X = coo_array((values[seen], (rows[seen], position[at][seen])), shape=(stop - start, n)).tocsc()
            product = product + X.T @ X
    return product


def _gathered(product: csc_array, communicator: Communicator) -> csc_array | None:
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


def _scaled(product: csc_array) -> csc_array:
    """Return the product scaled to unit diagonal."""
    scale = diags_array(1.0 / np.sqrt(product.diagonal()))
    return csc_array(scale @ product @ scale)


def _order(
    design: Design, columns: _Columns, fixed: list[DesignTerm], used: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the elimination order of the used columns, or None for a fill-reducing one."""
    rank = np.zeros(columns.total, np.int64)
    for g, group in enumerate(design.groups):
        start = columns.first[g]
        if start is not None:
            orders = np.array([p.order if p else 0 for p in group.positions])
            rank[start : start + group.size] = np.tile(orders, group.n_levels)
    if len(used) > TERM_ORDER_LIMIT:
        n_first = 0
        for trait in range(design.n_traits):
            classes = [t for t in fixed if t.trait == trait and t.coefficient < 0]
            if not classes:
                continue
            largest = max(classes, key=lambda t: design.groups[design.slots[t.slot].group].n_levels)
            g = design.slots[largest.slot].group
            start, group = columns.first[g], design.groups[g]
            assert start is not None
            at = np.arange(start + largest.position, start + group.size, group.width)
            n_first += len(np.intersect1d(at, used))
            rank[at] -= len(design.terms)
        if len(used) - n_first > FILL_LIMIT:
            return None
    # Within a term level by level, all positions of a level together (polynomials from low to high).
    return np.lexsort((used, rank[used]))


def _dependent(product: csc_array, order: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the columns of the unit-diagonal matrix that depend on those before them in `order`."""
    n = product.shape[0]
    if n == 0:
        return np.empty(0, np.int64)
    if order is None:
        ridge = csc_array(product + RIDGE * eye_array(n, format="csc"))
        factor = splu(ridge, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        order = np.argsort(factor.perm_c)
    ordered = csc_array(product[order][:, order])
    ordered.sort_indices()
    start = np.concatenate([[0], np.cumsum(column_counts(ordered.indptr, ordered.indices))])
    return np.sort(order[dependent_rows(ordered.indptr, ordered.indices, ordered.data, start, DEPENDENT)])
