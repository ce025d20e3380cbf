"""A factor of the equations of classes in one partition: fixed groups, and random ones of few levels.

Groups are eliminated one after the other, that of most levels first, as long as the levels of each meet nothing of
their own group: herd-test-days, then herd-years that hold them, then what all records share. So every pivot is a level
block. Groups whose levels meet each other, directly or through those before them, are left to a sparse factor, or, if
that would be large beside the vectors, are taken level by level.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, tril

from henderson.equations.assembly import Triplets, matrix_of, record_triplets_of
from henderson.equations.memory import COMPACT_ABOVE
from henderson.equations.operator import Operator
from henderson.kernels import blocks as block_kernels
from henderson.kernels import class_columns as column_kernels
from henderson.kernels import class_pairs as kernels
from henderson.kernels.blocks import LevelBlocks
from henderson.kernels.class_pairs import Pairs
from henderson.solvers.cholesky import NotPositiveDefiniteError, SparseCholesky

Floats = NDArray[np.float64]
Groups = frozenset[int]

FILL = 5  # elements of the sparse factor for each equation of the partition
FILL_ANYWAY = 20_000_000
PRODUCTS = 10  # to form it, for each of its elements
NEAR = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-6}  # of the diagonal: columns of X that nearly depend


def precision_of(size: int) -> np.dtype[np.float32] | np.dtype[np.float64]:
    """Return how the elements of a part of the factor are held: in single precision if they are many."""
    return np.dtype(np.float32) if 8 * size > COMPACT_ABOVE else np.dtype(np.float64)


class NotFiniteError(Exception):
    """The block of a level is not finite: group and level."""


class ClassFactor:
    """The factor of the owned equations of `groups` in partition `p`; it takes over the blocks of C in `blocks`.

    Elements of a local vector that are `outside` have no part.

    Memory: the blocks, 4 or 8 bytes for each element of C between levels that meet, once, and the sparse factor of
    groups that cannot be eliminated level by level. Setting it up takes 4 bytes for each record besides.

    Raises
    ------
    NotFiniteError
        The block of a level cannot be inverted.

    """

    def __init__(
        self, operator: Operator, p: int, groups: Groups, blocks: list[LevelBlocks], outside: NDArray[np.bool_]
    ) -> None:
        self._operator, self._p = operator, p
        self._layout = operator.partitions[p].layout
        self.groups = groups = frozenset(g for g in groups if not outside[self._layout.groups[g].elements].all())
        self._blocks = blocks
        self._outside = outside
        self._pairs: dict[int, dict[int, Pairs]] = {}  # by eliminated group, then by the others that remained
        for g in groups:
            kernels.raise_diagonal(NEAR[precision_of(blocks[g].packed.size)], blocks[g].packed, blocks[g].width)
        slots = [s.group for s in operator.design.slots]
        rest = sorted(groups, key=lambda g: (-operator.design.groups[g].n_levels, g))
        for g in tuple(rest):
            if slots.count(g) == 1 and self._is_apart(g):
                rest.remove(g)
                self._eliminate(g, rest)
        self._rest = tuple(rest)
        self.left = self._connected()
        self._cholesky: SparseCholesky | None = None
        self._most = FILL_ANYWAY + FILL * self._layout.n_owned
        if len(self.left) and self._n_met() < PRODUCTS * self._most:
            self._factor(self._lower())
        if self._cholesky is None:
            self.left = self.left[:0]
        for g in self._rest:
            self._invert(g)

    @property
    def nbytes(self) -> int:
        """Return the memory beside the blocks."""
        sparse = 0 if self._cholesky is None else self._cholesky.symbolic.bytes
        return sum(p.nbytes for pairs in self._pairs.values() for p in pairs.values()) + sparse

    def solve(self, r: Floats, z: Floats) -> None:
        """Set z = (block of C)^-1 r in its equations, zero in those of its groups that are left out.

        Vectors may be several side by side.
        """
        for g in self.groups:
            at = self._layout.groups[g].elements
            z[at] = r[at]
        of = kernels if z.ndim == 1 else column_kernels
        for g, beside in self._pairs.items():
            of.solve_in_place(self._blocks[g], z)
            for pairs in beside.values():
                of.down(self._blocks[g], pairs, z)
        found = None
        if self._cholesky is not None:
            scale = self._scale if z.ndim == 1 else self._scale[:, None]
            found = scale * self._cholesky.solve(scale * z[self.left])
        for g in self._rest:
            of.solve_in_place(self._blocks[g], z)
        if found is not None:
            z[self.left] = found
        for g, beside in reversed(self._pairs.items()):
            for pairs in beside.values():
                of.up(self._blocks[g], pairs, z)

    def _is_apart(self, g: int) -> bool:
        """Return whether levels of `g` do not meet through levels that were eliminated."""
        return all(int(np.diff(beside[g].indptr).max(initial=0)) <= 1 for beside in self._pairs.values())

    def _invert(self, g: int) -> None:
        kept, local = self._operator.design.kept[g], self._layout.groups[g]
        mask = ~self._outside[local.elements].reshape(-1, local.width)
        if kept is not None:
            mask &= kept[local.owned_levels()]
        failed = block_kernels.invert_blocks(self._blocks[g].width, mask, self._blocks[g].packed)
        if failed >= 0:
            raise NotFiniteError(g, int(local.owned_levels()[failed]))

    def _eliminate(self, g: int, rest: list[int]) -> None:
        """Make the blocks of `g` inverse pivots and take what that adds off the blocks of the groups in `rest`."""
        self._invert(g)
        own = self._blocks[g]
        self._pairs[g] = found = self._meetings(g, rest)
        for h, pairs in found.items():
            for e, before in self._pairs.items():
                if e != g:
                    kernels.eliminate_between(self._blocks[e], before[g], before[h], pairs)
            kernels.eliminate(own, pairs, self._blocks[h].packed)

    def _meetings(self, g: int, rest: list[int]) -> dict[int, Pairs]:
        """Return the block of C between `g` and each group of `rest`, with room for what elimination adds."""
        operator, partition = self._operator, self._operator.partitions[self._p]
        design, records, local = operator.design, partition.records, self._layout.groups[g]
        if not rest:
            return {}
        slots = [s.group for s in design.slots]
        own = (local.first_owned, local.width, local.n_owned)
        start, order = kernels.sort_by_level(records.slots, slots.index(g), *own)
        lists = design.term_lists(frozenset({g}))
        found = {}
        for h in rest:
            other = self._layout.groups[h]
            chosen = np.array([s for s, group in enumerate(slots) if group == h], np.int64)
            where = (other.first_owned, other.width, other.n_owned)
            indptr, levels = kernels.list_pairs(start, order, records.slots, chosen, *where)
            t, u = self._positions(g, h)
            if self._pairs:
                shape = (local.n_owned, other.n_owned)
                indptr, levels = self._with_fill(
                    g, h, csr_array((np.ones(len(levels), np.int8), levels, indptr), shape)
                )
                t, u = (k.ravel() for k in np.indices((local.width, other.width)))
            values = np.empty((len(levels), len(t)), precision_of(len(levels) * len(t)))
            found[h] = pairs = Pairs(local.width, other.width, other.first_owned, indptr, levels, t, u, values)
            beside = design.term_lists(frozenset({h}))
            rest_of = (operator.residual, design.n_traits, other.n_owned, pairs)
            kernels.fill_pairs(start, order, records, lists, beside, *rest_of)
        return found

    def _with_fill(self, g: int, h: int, pattern: csr_array) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the pairs of `pattern` and of levels that meet through eliminated ones, sorted."""
        total = pattern.astype(np.bool_)
        for beside in self._pairs.values():
            if h not in beside:
                continue
            left, right = (_pattern_of(beside[k], self._layout.groups[k].n_owned) for k in (g, h))
            total = csr_array(total + csr_array(left.T @ right))
        total.sort_indices()
        return total.indptr.astype(np.int64), total.indices.astype(np.int32)

    def _positions(self, g: int, h: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the elements of blocks between two groups that can differ from zero: rows and columns."""
        design = self._operator.design
        used = (self._operator.residual != 0.0).any(axis=0).reshape(design.n_traits, design.n_traits)
        mask = np.zeros((design.groups[g].width, design.groups[h].width), np.bool_)
        for a in (t for t in design.terms if design.slots[t.slot].group == g):
            for b in (t for t in design.terms if design.slots[t.slot].group == h):
                mask[a.position, b.position] |= used[a.trait, b.trait]
        t, u = np.nonzero(mask)
        return t.astype(np.int64), u.astype(np.int64)

    def _connected(self) -> NDArray[np.int64]:
        """Return the kept elements of levels of the rest that meet others, there or through eliminated ones."""
        if not self._rest:
            return np.empty(0, np.int64)
        n_slots = sum(s.group in self._rest for s in self._operator.design.slots)
        meets = np.full(self._layout.n_local, n_slots > 1, np.bool_)
        kept = np.zeros(self._layout.n_local, np.bool_)
        for g in self._rest:
            at = self._layout.groups[g].elements
            kept[at] = True
            if n_slots == 1:
                of_levels = np.zeros(self._layout.groups[g].n_owned, np.bool_)
                for pairs in (beside[g] for beside in self._pairs.values()):
                    several = np.diff(pairs.indptr)
                    of_levels[pairs.levels[np.repeat(several > 1, several)]] = True
                meets[at] = np.repeat(of_levels, self._blocks[g].width)
        kept[self._operator.partitions[self._p].blank] = False
        kept[self._outside] = False
        return np.flatnonzero(kept & meets)

    def _n_met(self) -> float:
        """Return how many elements meet through eliminated levels, counted as often as they do."""
        total = 0.0
        for beside in self._pairs.values():
            each = sum(np.diff(beside[h].indptr) * float(beside[h].other_width) for h in self._rest)
            total += float(np.square(each).sum())
        return 0.5 * total

    def _lower(self) -> csc_array:
        """Return the lower triangle of what is left over the connected elements; diagonal blocks are in `blocks`."""
        n = len(self.left)
        matrix = csc_array(tril(matrix_of(self._triplets(), (n, n)), format="csc"))
        matrix.sort_indices()
        return matrix

    def _triplets(self) -> Iterator[Triplets]:
        """Yield what is left over the connected elements, on and below the diagonal."""
        operator = self._operator
        place = np.full(self._layout.n_local, -1, np.int64)
        place[self.left] = np.arange(len(self.left))
        level = np.full(self._layout.n_local, -1, np.int64)  # first element of the level of each element
        for g in self._rest:
            local = self._layout.groups[g]
            begin = local.first_owned + np.arange(local.n_owned, dtype=np.int64) * local.width
            level[local.elements] = np.repeat(begin, local.width)
            t, u = np.tril_indices(local.width)
            rows, columns = place[begin[:, None] + t].ravel(), place[begin[:, None] + u].ravel()
            here = (rows >= 0) & (columns >= 0)
            yield rows[here], columns[here], self._blocks[g].packed.ravel()[here].astype(np.float64)

        def between_levels(rows: NDArray[np.int64], columns: NDArray[np.int64], values: Floats) -> Triplets:
            at, beside = place[rows], place[columns]
            here = (at > beside) & (beside >= 0) & (level[rows] != level[columns])
            return at[here], beside[here], values[here]

        if sum(s.group in self._rest for s in operator.design.slots) > 1:
            for triplets in record_triplets_of(operator, operator.partitions[self._p], frozenset(self._rest)):
                yield between_levels(*triplets)
        for g, beside in self._pairs.items():
            coupling = self._coupling(g, beside)
            product = coo_array(coupling.T @ (_inverse_of(self._blocks[g]) @ coupling))
            yield between_levels(product.row.astype(np.int64), product.col.astype(np.int64), -product.data)

    def _coupling(self, g: int, beside: dict[int, Pairs]) -> csr_array:
        """Return the blocks between `g` and the rest as a matrix with local elements as columns."""

        def triplets(pairs: Pairs) -> Triplets:
            level = np.repeat(np.arange(len(pairs.indptr) - 1, dtype=np.int64), np.diff(pairs.indptr))
            rows = level[:, None] * pairs.width + pairs.t
            columns = pairs.first + pairs.levels.astype(np.int64)[:, None] * pairs.other_width + pairs.u
            return rows.ravel(), columns.ravel(), pairs.values.astype(np.float64).ravel()

        shape = (self._layout.groups[g].n_owned * self._blocks[g].width, self._layout.n_local)
        total = matrix_of((triplets(beside[h]) for h in self._rest), shape)
        total.eliminate_zeros()
        return total

    def _factor(self, matrix: csc_array) -> None:
        """Factor the matrix of what is connected, unless that takes too much."""
        n = len(self.left)
        self._scale = 1.0 / np.sqrt(np.maximum(matrix.diagonal(), np.finfo(np.float64).tiny))
        of = np.repeat(np.arange(n), np.diff(matrix.indptr))
        values = matrix.data * self._scale[matrix.indices] * self._scale[of]
        cholesky = SparseCholesky(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))
        if cholesky.symbolic.bytes > 8 * self._most:
            return
        try:
            cholesky.factor(values)
        except NotPositiveDefiniteError:
            values[matrix.indptr[:-1]] *= 1.01
            cholesky.factor(values)
        self._cholesky = cholesky


def _pattern_of(pairs: Pairs, n: int) -> csr_array:
    """Return which levels meet, of `n` levels in the second group."""
    return csr_array((np.ones(len(pairs.levels), np.bool_), pairs.levels, pairs.indptr), (len(pairs.indptr) - 1, n))


def _inverse_of(blocks: LevelBlocks) -> bsr_array:
    """Return packed blocks as a matrix."""
    n, width = len(blocks.packed), blocks.width
    dense = np.empty((n, width, width))
    t, u = np.tril_indices(width)
    dense[:, t, u] = dense[:, u, t] = blocks.packed
    return bsr_array((dense, np.arange(n), np.arange(n + 1)), shape=(n * width, n * width))
