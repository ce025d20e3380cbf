"""Which columns of X are solved for: empty ones are no equations at all, dependent ones are left out and reported.

X'X over the observed responses is scaled to unit diagonal and eliminated in a fixed order without pivoting; a column
whose pivot vanishes depends on earlier ones. Weights and R do not change which columns are dependent. A covariate that
varies little about a large mean, such as the square of a year, looks dependent though it is not. Where classes of its
trait that are eliminated before it span the constants, it is judged again as deviation from the middle of its range,
which leaves the space of columns as it was; if it is independent then, the model is refused, as its equations are too
ill-conditioned to solve.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import splu

from henderson.equations.cross_products import BLOCK, Columns, columns_of, cross_products, gathered
from henderson.equations.design import with_kept
from henderson.equations.model import Design, DesignTerm
from henderson.errors import ModelError
from henderson.kernels import cross_products as kernels
from henderson.kernels.cholesky import column_counts, dependent_rows
from henderson.partitions.communicator import ALONE, Communicator

RIDGE = 1e-12  # only to have a fill-reducing order
DEPENDENT = 1e-9  # pivot relative to the column's sum of squares
CONSTANT = 1e-9  # range of a covariate, relative to its size, up to which it varies by rounding only
TERM_ORDER_LIMIT = 2000  # columns up to which the elimination follows the equations' term order strictly
FILL_LIMIT = 6000  # columns besides each trait's largest class above which a fill-reducing order is used
CHUNK = 2_000_000


def full_rank(design: Design, communicator: Communicator = ALONE) -> Design:
    """Return the design with `kept` and `dropped`: the columns of X that are solved for, those that depend on others.

    Over several processes the design has the records of this one, and the columns are those of all: the first process
    gets the sum of their X'X and factorises it, whatever their number. **Collective**.

    Elimination follows the order of the terms, so that later terms lose levels; above `TERM_ORDER_LIMIT` columns each
    trait's largest class goes first: it makes no fill, and equations that keep all herds but not the mean need half the
    iterations of those that keep the mean and all herds but one. Cost: X'X and a sparse factorisation of it, twice if a
    covariate seems to depend on other columns.

    Raises
    ------
    ModelError
        A covariate that is independent cannot be told from others: it varies too little about a large mean.

    """
    columns = _number(design)
    fixed = [t for t in design.terms if columns.first[design.slots[t.slot].group] is not None]
    squares, seen = np.zeros(columns.total), np.zeros(columns.total, np.bool_)
    for term in fixed:
        _add_sums(design, columns, term, squares, seen)
    kept = communicator.logical_or(squares > 0.0)
    # covariates that do not vary: zero when centred; empty levels are no columns
    dropped = communicator.logical_or(seen) & ~kept
    if not _orthogonal(design, fixed):
        used = np.flatnonzero(kept)
        order = _order(design, columns, fixed, used)
        dependent = _dependent_columns(design, columns, fixed, used, order, {}, communicator)
        if any(np.isin(columns_of(design, columns, t), dependent).any() for t in fixed if t.coefficient >= 0):
            centres = _centres(design, columns, fixed, used, order, communicator)
            if centres:
                really = _dependent_columns(design, columns, fixed, used, order, centres, communicator)
                _refuse(design, columns, np.setdiff1d(dependent, really))
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


def _number(design: Design) -> Columns:
    first: list[int | None] = []
    total = 0
    for group in design.groups:
        first.append(total if group.covariance is None else None)
        total += group.size if group.covariance is None else 0
    return Columns(first, total)


def _orthogonal(design: Design, fixed: list[DesignTerm]) -> bool:
    """Return whether every response meets one column of X at most, so that columns cannot depend on each other."""
    traits = [t.trait for t in fixed]
    return len(set(traits)) == len(traits)


def _entries(
    design: Design,
    columns: Columns,
    term: DesignTerm,
    start: int,
    stop: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return columns of X and values of `term` over the records start..stop that have its trait."""
    slot = design.slots[term.slot]
    group = design.groups[slot.group]
    offset = columns.first[slot.group]
    assert offset is not None
    codes = slot.codes[start:stop]
    observed = design.patterns.observed[:, term.trait][design.patterns.codes[start:stop]]
    rows = np.flatnonzero(observed & (codes >= 0))
    values = np.ones(len(rows)) if term.coefficient < 0 else design.coefficients[term.coefficient][start:stop][rows]
    return offset + codes[rows].astype(np.int64) * group.width + term.position, values


def _add_sums(
    design: Design, columns: Columns, term: DesignTerm, squares: NDArray[np.float64], seen: NDArray[np.bool_]
) -> None:
    """Add to each column of X the squares of its entries from `term`, and mark those that have any."""
    for start in range(0, design.n_records, BLOCK):
        at, values = _entries(design, columns, term, start, min(start + BLOCK, design.n_records))
        kernels.add_squares(at, values, squares, seen)


def _dependent_columns(
    design: Design,
    columns: Columns,
    fixed: list[DesignTerm],
    used: NDArray[np.int64],
    order: NDArray[np.int64] | None,
    centres: dict[int, NDArray[np.float64]],
    communicator: Communicator,
) -> NDArray[np.int64]:
    """Return the columns of X, among those `used`, that depend on others, covariates as deviations from `centres`."""
    if order is not None:
        used = used[order]
    product = gathered(cross_products(design, columns, fixed, used, centres), communicator)
    dependent: NDArray[np.int64] | None = None
    if product is not None:
        last = np.zeros(columns.total, np.bool_)
        for number in centres:
            last[columns_of(design, columns, fixed[number])] = True
        dependent = np.sort(used[_dependent(_scaled(product), order is not None, last[used])])
    return communicator.broadcast(dependent)


def _refuse(design: Design, columns: Columns, near: NDArray[np.int64]) -> None:
    """Raise `ModelError` for columns that are independent, but cannot be told from others by their squares."""
    names: dict[str, None] = {}
    for g, group in enumerate(design.groups):
        start = columns.first[g]
        if start is not None:
            mine = near[(near >= start) & (near < start + group.size)] - start
            found = (group.positions[k] for k in np.unique(mine % group.width))
            names.update(dict.fromkeys(p.subfactor for p in found if p is not None))
    if names:
        raise ModelError(
            f"fixed covariates {', '.join(names)}: they vary so little about a large mean that rounding hides them "
            "behind the other fixed effects; subtract a constant from their column, such as 2000 from years"
        )


def _centres(
    design: Design,
    columns: Columns,
    fixed: list[DesignTerm],
    used: NDArray[np.int64],
    order: NDArray[np.int64] | None,
    communicator: Communicator,
) -> dict[int, NDArray[np.float64]]:
    """Return the middle of the range of covariates by level, by number of the fixed term; others stay as they are.

    Smallest and largest values are the same whatever the number of processes, sums are not quite. Without an `order`
    only covariates of one level, which are then eliminated last: they make no fill there. Cost: a pass over the records
    per covariate, and one per class term that is compared.
    """
    rank = np.full(columns.total, -1, np.int64)
    if order is not None:
        rank[used[order]] = np.arange(len(used))
    users: dict[tuple[int, int], int] = {}
    for t in fixed:
        key = (design.slots[t.slot].group, t.position)
        users[key] = users.get(key, 0) + 1
    spanned: dict[tuple[int, int, int], bool] = {}
    centres = {}
    for number, term in enumerate(fixed):
        n_levels = design.groups[design.slots[term.slot].group].n_levels
        mine = rank[columns_of(design, columns, term)]
        if term.coefficient < 0 or (order is None and n_levels > 1) or (order is not None and not (mine >= 0).any()):
            continue
        for other in fixed:
            g = design.slots[other.slot].group
            if other.trait != term.trait or other.coefficient >= 0 or users[g, other.position] > 1:
                continue
            before = rank[columns_of(design, columns, other)]
            if len(before) < n_levels or (order is not None and before.max() > mine[mine >= 0].min()):
                continue
            pair = (term.slot, other.slot, term.trait)
            if pair not in spanned:
                spanned[pair] = _spans(design, *pair, len(before), communicator)
            if spanned[pair]:
                centres[number] = _middle(design, columns, term, communicator)
                break
    return centres


def _spans(design: Design, slot: int, class_slot: int, trait: int, n_classes: int, communicator: Communicator) -> bool:
    """Return whether each level of `slot` is a union of levels of `class_slot` where the trait is observed."""
    far = np.int64(2**62)
    # smallest and largest level of `slot` by class, and last whether a record has a level but no class
    ends = np.full(2 * n_classes + 1, far)
    for start in range(0, design.n_records, CHUNK):
        chunk = slice(start, min(start + CHUNK, design.n_records))
        observed = design.patterns.observed[:, trait][design.patterns.codes[chunk]]
        levels = design.slots[slot].codes[chunk][observed].astype(np.int64)
        classes = design.slots[class_slot].codes[chunk][observed]
        known = classes >= 0
        if (levels[~known] >= 0).any():
            ends[-1] = 0
        np.minimum.at(ends, classes[known], levels[known])
        np.minimum.at(ends, n_classes + classes[known], -levels[known])
    ends = communicator.minimum(ends)
    low, high = ends[:n_classes], -ends[n_classes:-1]
    return bool(ends[-1] == far and ((low == high) | (low == far)).all())


def _middle(design: Design, columns: Columns, term: DesignTerm, communicator: Communicator) -> NDArray[np.float64]:
    """Return the middle of the range of a covariate by level; 0 where it does not vary, so that it is seen to."""
    at_level = columns_of(design, columns, term)
    ends = np.full(2 * columns.total, np.inf)
    for start in range(0, design.n_records, CHUNK):
        at, values = _entries(design, columns, term, start, min(start + CHUNK, design.n_records))
        np.minimum.at(ends, at, values)
        np.minimum.at(ends, columns.total + at, -values)
    low, negative = communicator.minimum(ends[at_level]), communicator.minimum(ends[columns.total + at_level])
    seen = np.isfinite(low) & np.isfinite(negative)
    low, high = np.where(seen, low, 0.0), np.where(seen, -negative, 0.0)
    varies = high - low > CONSTANT * np.maximum(np.abs(low), np.abs(high))
    return np.where(varies, low / 2.0 + high / 2.0, 0.0)


def _scaled(product: csc_array) -> csc_array:
    """Return the product scaled to unit diagonal, in its place."""
    squares = product.diagonal()
    scale = 1.0 / np.sqrt(np.where(squares > 0.0, squares, 1.0))
    product.data *= scale[product.indices]
    product.data *= np.repeat(scale, np.diff(product.indptr))
    return product


def _order(
    design: Design, columns: Columns, fixed: list[DesignTerm], used: NDArray[np.int64]
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
        is_used = np.zeros(columns.total, np.bool_)
        is_used[used] = True
        for trait in range(design.n_traits):
            classes = [t for t in fixed if t.trait == trait and t.coefficient < 0]
            if not classes:
                continue
            largest = max(classes, key=lambda t: design.groups[design.slots[t.slot].group].n_levels)
            g = design.slots[largest.slot].group
            start, group = columns.first[g], design.groups[g]
            assert start is not None
            at = np.arange(start + largest.position, start + group.size, group.width)
            n_first += int(np.count_nonzero(is_used[at]))
            rank[at] -= len(design.terms)
        if len(used) - n_first > FILL_LIMIT:
            return None
    # Within a term level by level, all positions of a level together (polynomials from low to high).
    return np.argsort(rank[used], kind="stable")


def _dependent(product: csc_array, ordered: bool, last: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the columns of the unit-diagonal matrix that depend on those before them.

    If they are not `ordered`, a fill-reducing order is used, with the columns `last` at its end.
    """
    n = product.shape[0]
    if n == 0:
        return np.empty(0, np.int64)
    order = np.arange(n)
    if not ordered:
        ridge = csc_array(product + RIDGE * eye_array(n, format="csc"))
        factor = splu(ridge, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        order = np.argsort(factor.perm_c)
        order = np.concatenate([order[~last[order]], order[last[order]]])
        product = csc_array(product[order][:, order])
    product.sort_indices()
    start = np.concatenate([[0], np.cumsum(column_counts(product.indptr, product.indices))])
    return order[dependent_rows(product.indptr, product.indices, product.data, start, DEPENDENT)]
