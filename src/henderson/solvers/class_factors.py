"""The block of C of all classes, factored: what partitions have of their own apart, then what they share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from henderson.equations.assembly import Indices, matrix_of
from henderson.equations.border import inverse_of_border
from henderson.equations.operator import CHUNK, Operator
from henderson.kernels import class_border as kernels
from henderson.kernels import class_columns as column_kernels
from henderson.kernels.blocks import LevelBlocks
from henderson.kernels.record_loops import LocalRecords, TermLists
from henderson.kernels.records import border_products
from henderson.partitions.exchange import Vectors
from henderson.solvers.class_border import Rows, border_places
from henderson.solvers.class_factor import NEAR, ClassFactor, precision_of

Floats = NDArray[np.float64]
Groups = frozenset[int]


class ClassFactors:
    """D_F of the sweep: F_p, of the classes that partition p has for itself, the border B, and E_p between them.

    Each F_p has a factor; the border (`class_border`) is solved for by S = B - sum_p E_p' F_p^-1 E_p. That is the whole
    block of C, for any partitions, as long as the border holds all levels that they share; of those that it does not
    hold, what is shared counts on the diagonal alone.
    Memory: the factors of F_p, E_p, S^-1. A solve: two with each F_p where there is a border.
    """

    def __init__(self, operator: Operator, classes: Groups, limit: int, blocks: list[list[LevelBlocks]]) -> None:
        self._operator = operator
        places, level, n_dense = border_places(operator, classes, limit)

        def rows(p: int) -> tuple[NDArray[np.int64], Rows]:
            mine = places[p][: operator.n_owned[p]]
            elements = np.flatnonzero(mine >= 0)
            return elements, mine[elements]

        self._rows = operator.team.run(rows, operator.n_partitions)
        self._parts = operator.team.run(
            lambda p: _Part(operator, p, classes, places[p], level, n_dense, blocks[p]), operator.n_partitions
        )
        B = operator.exchange.sum_arrays([part.border for part in self._parts])
        taken_off = operator.exchange.sum_arrays(
            operator.team.run(lambda p: self._parts[p].products(operator.partitions[p].layout.n_local), len(places))
        )
        for part in self._parts:
            part.border = np.zeros((0, 0))
        shift = NEAR[precision_of(operator.design.n_equations)]
        self._inverse = inverse_of_border(B - 0.5 * (taken_off + taken_off.T) + shift * np.diag(np.diag(B)))

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here, beside the blocks."""
        return self._inverse.nbytes + sum(part.nbytes for part in self._parts)

    def solve(self, r: Vectors, z: Vectors) -> None:
        """Set z = D_F^-1 r in the classes; `z` may be `r` without a border only. **Collective**.

        Vectors may be several side by side.
        """
        operator, n = self._operator, len(self._inverse)

        def first(p: int) -> Floats:
            self._parts[p].factor.solve(r[p], z[p])
            elements, rows = self._rows[p]
            mine = -self._parts[p].times(z[p])
            mine[rows] += r[p][elements]
            return mine

        def second(p: int) -> None:
            elements, rows = self._rows[p]
            self._parts[p].subtract(outer, r[p], z[p])
            self._parts[p].factor.solve(z[p], z[p])
            z[p][elements] = outer[rows]

        partials = operator.team.run(first, operator.n_partitions)
        if n:
            outer = self._inverse @ operator.exchange.sum_arrays(partials)
            operator.team.run(second, operator.n_partitions)


class _Part:
    """F_p, E_p, and the part of B in partition p."""

    def __init__(
        self,
        operator: Operator,
        p: int,
        classes: Groups,
        place: Rows,
        level: NDArray[np.int64],
        n_dense: int,
        blocks: list[LevelBlocks],
    ) -> None:
        partition, design = operator.partitions[p], operator.design
        layout, n_border = partition.layout, len(level)
        own = np.zeros(layout.n_local, np.bool_)
        for g in classes:
            own[layout.groups[g].elements] = True
        own[partition.blank] = False
        own[place >= 0] = False
        self._elements = np.flatnonzero(own).astype(np.int32)
        number = np.full(layout.n_local, -1, np.int32)
        number[self._elements] = np.arange(len(self._elements), dtype=np.int32)
        lists = design.term_lists(classes)
        self.border = np.zeros((n_border, n_border))
        self._dense = np.zeros((len(self._elements), n_dense), precision_of(len(self._elements) * n_dense))
        self._sparse = csr_array((len(self._elements), n_border))
        if n_border:
            border_products(place, partition.records, lists, operator.residual, design.n_traits, self.border)
            self.border[level[:, None] == level] = 0.0
            for g in classes:
                self._add_blocks(place, blocks[g])
            chunks = self._beside(operator, partition.records, lists, place, number)
            self._sparse = matrix_of(chunks, self._sparse.shape)
        self._back = csr_array(self._sparse.T)
        self.factor = ClassFactor(operator, p, classes, blocks, place >= 0)

    def _beside(
        self, operator: Operator, records: LocalRecords, lists: TermLists, place: Rows, number: NDArray[np.int32]
    ) -> Iterator[tuple[Indices, Indices, Floats]]:
        """Add to the dense columns of E; yield the others, some records at a time."""
        none = np.empty(0, np.int32)
        for start in range(0, len(records.pattern), CHUNK):
            part = records.part(start, start + CHUNK)
            where = (place, number, part, lists, operator.residual, operator.design.n_traits, self._dense)
            n = kernels.beside_border(*where, none, none, np.empty(0))
            if n:
                rows, columns, values = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n)
                kernels.beside_border(*where, rows, columns, values)
                yield rows, columns, values

    def _add_blocks(self, place: Rows, blocks: LevelBlocks) -> None:
        """Add the blocks of owned levels to the border."""
        begin = blocks.first + np.arange(len(blocks.packed), dtype=np.int64) * blocks.width
        inside = np.flatnonzero((place[begin[:, None] + np.arange(blocks.width)] >= 0).any(axis=1))
        for t, u in zip(*np.tril_indices(blocks.width), strict=True):
            at, beside = place[begin[inside] + t], place[begin[inside] + u]
            both = (at >= 0) & (beside >= 0)
            values = blocks.packed[inside[both], t * (t + 1) // 2 + u]
            self.border[at[both], beside[both]] += values
            if t != u:
                self.border[beside[both], at[both]] += values

    @property
    def nbytes(self) -> int:
        """Return the memory of the factor and of E, about."""
        return self.factor.nbytes + self._dense.nbytes + 24 * self._sparse.nnz + self._elements.nbytes

    def products(self, n_local: int) -> Floats:
        """Return E' F^-1 E (n_border, n_border), of the columns of E that are not empty here."""
        n_border = self._sparse.shape[1]
        out = np.zeros((n_border, n_border))
        n_dense = self._dense.shape[1]
        used = np.flatnonzero(np.append(self._dense.any(axis=0), np.diff(self._back.indptr[n_dense:]) > 0))
        columns = csc_array(self._sparse)
        x = np.zeros(n_local if len(used) else 0)
        for k in used:
            x[self._elements] = self._dense[:, k] if k < n_dense else columns[:, [k]].toarray()[:, 0]
            self.factor.solve(x, x)
            out[:, k] = self.times(x)
        return out

    def times(self, x: Floats) -> Floats:
        """Return E'x, x a local vector or several side by side."""
        none = np.zeros((self._sparse.shape[1], *x.shape[1:]))
        out = np.asarray(self._back @ x[self._elements]) if self._sparse.nnz else none
        of = kernels if x.ndim == 1 else column_kernels
        out[: self._dense.shape[1]] += of.times_columns(self._dense, self._elements, x)
        return out

    def subtract(self, outer: Floats, r: Floats, z: Floats) -> None:
        """Set z = r - E outer in the classes of the partition."""
        of = kernels if z.ndim == 1 else column_kernels
        of.subtract_columns(self._dense, self._elements, outer[: self._dense.shape[1]], r, z)
        if self._sparse.nnz:
            z[self._elements] -= np.asarray(self._sparse @ outer)
