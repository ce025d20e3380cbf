"""One partition of the equations: its records, its rows of every Gamma^-1, and their local offsets.

A partition is built from its own slice of records and individuals and the ownership of class levels; nothing else of
the other partitions is needed, so that a process can build its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.coefficient_rows import coefficient_rows
from henderson.equations.model import Design
from henderson.equations.own_sigmas import LocalSigmas, local_sigmas
from henderson.kernels.pedigree_loadings import Rows
from henderson.kernels.record_loops import LocalRecords
from henderson.partitions.cut import cut_evenly, cut_with_home, is_sorted
from henderson.partitions.layout import GroupUse, Layout, first_use, outside
from henderson.partitions.threads import even_bounds
from henderson.store.model_data import ModelData, Pedigree

Elements = NDArray[np.uint32]

MARGIN = 0.02  # of a part: how far a cut moves
PIN = 1e8  # in units of the inverse of the factor's variance


@dataclass(frozen=True)
class LocalPedigree:
    """The rows of A^-1 of the animals that a partition owns: parents as local elements, precision = 1/d.

    Animals in `loadings` have precision 0 here.
    """

    sire: Elements
    dam: Elements
    precision: NDArray[np.float64]
    loadings: Rows | None = None


@dataclass(frozen=True)
class RootRows:
    """The owned rows of B, B B' = K^-1: CSR by the numbers of all levels; what they add to log|K|."""

    indptr: NDArray[np.int64]
    levels: NDArray[np.int32]
    values: NDArray[np.float64]
    log_determinant: float


@dataclass(frozen=True)
class LocalMatrix:
    """The rows of K^-1 that a partition owns: CSR with local elements as columns, and the diagonal.

    root: what samples need besides (`matrix_root.with_roots`).
    """

    indptr: NDArray[np.int64]
    columns: Elements
    values: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    root: RootRows | None = None


@dataclass(frozen=True)
class Pins:
    """Owned elements that are held at 0 by a large number on the diagonal: `element`, its `position`, the number."""

    element: Elements
    position: NDArray[np.int32]
    precision: NDArray[np.float64]


@dataclass(frozen=True)
class Partition:
    """One partition. `relationship` has one entry per group: None for fixed and identity ones.

    sigmas: per group the Sigmas of its levels, None where they have one. blank: local elements of equations that are
    left out of X. pins: None if there are none.
    """

    layout: Layout
    records: LocalRecords
    relationship: tuple[LocalPedigree | LocalMatrix | None, ...]
    blank: Elements
    sigmas: tuple[LocalSigmas | None, ...]
    pins: Pins | None = None

    def n_effects(self) -> list[int]:
        """Return the number of owned levels per group; fixed genetic groups in a relationship matrix do not count."""
        return [g.n_owned - len(fixed) for g, fixed in zip(self.layout.groups, self.fixed_levels(), strict=True)]

    def fixed_levels(self) -> list[NDArray[np.int64]]:
        """Return, per group, which owned levels are genetic groups that a relationship matrix takes as fixed."""
        found = []
        for local, related in zip(self.layout.groups, self.relationship, strict=True):
            fixed = np.zeros(local.n_owned, np.bool_)
            if isinstance(related, LocalPedigree):
                fixed = related.precision == 0.0
                if related.loadings is not None:
                    fixed[(related.loadings.own.astype(np.int64) - local.first_owned) // local.width] = False
            found.append(np.flatnonzero(fixed))
        return found


@dataclass(frozen=True)
class Piece:
    """The ranges of one partition: of the records at hand, and per group of individuals (None if cut by first use)."""

    records: tuple[int, int]
    levels: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class Cuts:
    """Bounds of every partition: of records, and per group of individuals (None for groups cut by first use)."""

    records: Sequence[int]
    levels: tuple[Sequence[int] | None, ...]

    def piece(self, part: int) -> Piece:
        """Return the ranges of partition `part`."""
        levels = tuple(None if c is None else (c[part], c[part + 1]) for c in self.levels)
        return Piece((self.records[part], self.records[part + 1]), levels)


def cut(design: Design, n_parts: int) -> Cuts:
    """Return where records and individuals are cut into `n_parts`, with about equal work.

    Records follow the individuals of the first slot along which they are sorted; without one they are cut evenly. A cut
    moves by up to `MARGIN` of a part to where few levels of classes have records on both sides, such as between herds.
    """
    related = [g.covariance is not None and g.covariance.kind != "identity" for g in design.groups]
    home = next((s for s in design.slots if related[s.group] and is_sorted(s.codes)), None)
    levels: list[Sequence[int] | None] = [
        even_bounds(g.n_levels, n_parts) if r else None for g, r in zip(design.groups, related, strict=True)
    ]
    if home is None:
        return Cuts(cut_evenly([design.n_records], n_parts)[0], tuple(levels))
    owner = design.groups[home.group].covariance
    assert owner is not None
    bounds, _ = cut_with_home(design.groups[home.group].n_levels, home.codes, n_parts)
    bounds = [0, *(_where_few_meet(design, home.codes, bounds, k) for k in range(1, n_parts)), bounds[-1]]
    records = [0, *np.searchsorted(home.codes, bounds[1:-1]).tolist(), len(home.codes)]
    for g, group in enumerate(design.groups):
        same = group.covariance is not None and (group.covariance.kind, group.covariance.name) == (
            owner.kind,
            owner.name,
        )
        if same:
            levels[g] = bounds
    return Cuts(records, tuple(levels))


def _where_few_meet(design: Design, home: NDArray[np.int32], bounds: Sequence[int], k: int) -> int:
    """Return the individual near bounds[k] where a cut leaves fewest elements of classes with records on both sides.

    Cost: some passes over the records in reach, 2 * `MARGIN` of a part.
    """
    reach = int(MARGIN * min(bounds[k] - bounds[k - 1], bounds[k + 1] - bounds[k]))
    low, high = bounds[k] - reach, bounds[k] + reach
    start, stop = np.searchsorted(home, [low, high])
    step = np.zeros(high - low + 2, np.int64)  # elements that begin, or end, with the individual before
    for slot in design.slots:
        group = design.groups[slot.group]
        if group.covariance is not None and group.covariance.kind != "identity":
            continue
        known = slot.codes[start:stop] >= 0
        at, codes = home[start:stop][known] - low, slot.codes[start:stop][known]
        for sign, order in ((1, slice(None)), (-1, slice(None, None, -1))):
            _, first = np.unique(codes[order], return_index=True)
            np.add.at(step, at[order][first] + 1, sign * group.width)
    meet = np.cumsum(step)[: high - low + 1]
    return low + int(np.lexsort((np.abs(np.arange(-reach, reach + 1)), meet))[0])


def level_uses(design: Design, data: ModelData, piece: Piece) -> list[GroupUse]:
    """Return which levels of every group the partition `piece` uses."""
    start, stop = piece.records
    uses = []
    for g, group in enumerate(design.groups):
        codes = [s.codes[start:stop] for s in design.slots if s.group == g]
        bounds = piece.levels[g]
        if bounds is None:
            uses.append(GroupUse(group.n_levels, group.width, first_use(group.n_levels, codes), None))
            continue
        low, high = bounds
        assert group.covariance is not None
        assert group.covariance.name is not None
        if group.covariance.kind == "pedigree":
            pedigree = data.pedigrees[group.covariance.name]
            rows = slice(low - pedigree.start, high - pedigree.start)
            codes += [pedigree.sire[rows], pedigree.dam[rows]]
            if (own := pedigree.loadings) is not None:
                codes.append(own.parent[own.indptr[rows.start] : own.indptr[rows.stop]])
        else:
            matrix = data.matrices[group.covariance.name]
            first, last = (int(matrix.inverse.indptr[k - matrix.start]) for k in bounds)
            codes.append(matrix.inverse.indices[first:last].astype(np.int32))
        uses.append(GroupUse(group.n_levels, group.width, outside(codes, low, high), bounds))
    return uses


def build_partition(design: Design, data: ModelData, piece: Piece, layout: Layout) -> Partition:
    """Return the partition `piece`: everything its kernels need, in local offsets."""
    start, stop = piece.records
    slots = np.empty((stop - start, len(design.slots)), np.uint32)
    for s, slot in enumerate(design.slots):
        slots[:, s] = layout.groups[slot.group].offsets(slot.codes[start:stop], layout.null)
    rows, coefficients = coefficient_rows(design, start, stop)
    records = LocalRecords(
        start,
        stop,
        slots,
        design.patterns.codes[start:stop],
        None if design.weights is None else np.ascontiguousarray(design.weights[start:stop]),
        rows,
        coefficients,
    )
    relationship = tuple(_relationship(design, data, layout, g) for g in range(len(design.groups)))
    sigmas = tuple(
        None
        if (covariance := group.covariance) is None or covariance.own is None
        else local_sigmas(covariance.own, group.name, local)
        for group, local in zip(design.groups, layout.groups, strict=True)
    )
    return Partition(layout, records, relationship, _left_out(design, layout), sigmas, _pins(design, layout))


def _relationship(design: Design, data: ModelData, layout: Layout, g: int) -> LocalPedigree | LocalMatrix | None:
    covariance = design.groups[g].covariance
    if covariance is None or covariance.kind == "identity":
        return None
    assert covariance.name is not None
    local = layout.groups[g]
    if covariance.kind == "pedigree":
        pedigree = data.pedigrees[covariance.name]
        rows = slice(local.start - pedigree.start, local.stop - pedigree.start)
        return _local_pedigree(pedigree, rows, layout, g)
    matrix = data.matrices[covariance.name]
    low, high = local.start - matrix.start, local.stop - matrix.start
    first, last = int(matrix.inverse.indptr[low]), int(matrix.inverse.indptr[high])
    return LocalMatrix(
        (matrix.inverse.indptr[low : high + 1] - first).astype(np.int64),
        local.offsets(matrix.inverse.indices[first:last].astype(np.int32), layout.null),
        np.ascontiguousarray(matrix.inverse.data[first:last], np.float64),
        matrix.inverse.diagonal(matrix.start)[low:high],
    )


def _local_pedigree(pedigree: Pedigree, rows: slice, layout: Layout, g: int) -> LocalPedigree:
    local = layout.groups[g]
    precision = 1.0 / pedigree.mendelian_variance[rows]
    loadings = None
    if (own := pedigree.loadings) is not None:
        indptr = own.indptr[rows.start : rows.stop + 1]
        has = np.flatnonzero(np.diff(indptr))
        entries = slice(int(indptr[0]), int(indptr[-1]))
        loadings = Rows(
            (local.first_owned + has * local.width).astype(np.uint32),
            np.concatenate([[0], np.cumsum(np.diff(indptr)[has])]),
            local.offsets(own.parent[entries], layout.null),
            np.ascontiguousarray(own.weight[entries]),
            precision[has],
        )
        precision[has] = 0.0
    sire, dam = (local.offsets(parent[rows], layout.null) for parent in (pedigree.sire, pedigree.dam))
    return LocalPedigree(sire, dam, precision, loadings)


def _pins(design: Design, layout: Layout) -> Pins | None:
    """Return the owned elements that are pinned.

    A null vector v of C with v_k not 0 has no part in the solution once element k has a number of its own on the
    diagonal: from v'(C + t e_k e_k') x = v'b = 0 follows x_k = 0, whatever t. It is large, so that the inverse is near
    that without the equation.
    """
    found = []
    for g, level, position in design.pinned:
        local, covariance = layout.groups[g], design.groups[g].covariance
        assert covariance is not None
        if local.start <= level < local.stop:
            element = local.first_owned + (level - local.start) * local.width + position
            found.append((element, position, PIN / covariance.sigma[position, position]))
    if not found:
        return None
    elements, positions, precisions = zip(*found, strict=True)
    return Pins(np.array(elements, np.uint32), np.array(positions, np.int32), np.array(precisions))


def _left_out(design: Design, layout: Layout) -> Elements:
    """Return the owned elements whose equations are left out of X."""
    found = [np.empty(0, np.uint32)]
    for local, kept in zip(layout.groups, design.kept, strict=True):
        if kept is not None:
            gone = ~kept[local.owned_levels()].ravel()
            found.append((local.first_owned + np.flatnonzero(gone)).astype(np.uint32))
    return np.concatenate(found)
