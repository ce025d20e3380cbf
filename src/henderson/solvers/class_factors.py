"""The block of C of all classes, factored: what partitions have of their own apart, then what they share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, tril

from henderson.equations.assembly import record_triplets_of
from henderson.equations.border import inverse_of_border
from henderson.equations.operator import Operator
from henderson.kernels.blocks import LevelBlocks
from henderson.partitions.exchange import Vectors
from henderson.solvers.cholesky import NotPositiveDefiniteError, SparseCholesky
from henderson.solvers.class_border import Rows, border_places

Floats = NDArray[np.float64]
Groups = frozenset[int]

COLUMNS = 4  # of the border that are solved for side by side
SHIFT = 1e-9  # of the diagonal is added to it: columns of X may nearly depend on each other


class ClassFactors:
    """D_F of the sweep: F_p, of the classes that partition p has for itself, the border B, and E_p between them.

    Each F_p has a sparse factor; the border (`class_border`) is solved for by S = B - sum_p E_p' F_p^-1 E_p. That is
    the whole block of C, for any partitions, as long as the border holds all levels that they share; of those that it
    does not hold, what is shared counts on the diagonal alone.
    Memory: the factors of F_p, E_p sparse, twice, S^-1. A solve: two with each F_p where there is a border.
    """

    def __init__(self, operator: Operator, classes: Groups, limit: int, blocks: list[list[LevelBlocks]]) -> None:
        self._operator = operator
        places, n = border_places(operator, classes, limit)

        def rows(p: int) -> tuple[NDArray[np.int64], Rows]:
            mine = places[p][: operator.n_owned[p]]
            elements = np.flatnonzero(mine >= 0)
            return elements, mine[elements]

        self._rows = operator.team.run(rows, operator.n_partitions)
        self._factors = operator.team.run(
            lambda p: _Factor(operator, p, classes, places[p], n, blocks[p]), operator.n_partitions
        )
        B = operator.exchange.sum_arrays([factor.border for factor in self._factors])
        products = operator.team.run(lambda p: self._factors[p].products(), operator.n_partitions)
        taken_off = operator.exchange.sum_arrays(products)
        for factor in self._factors:
            factor.border = np.zeros((0, 0))
        self._inverse = inverse_of_border(B - 0.5 * (taken_off + taken_off.T) + SHIFT * np.diag(np.diag(B)))

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here."""
        return self._inverse.nbytes + sum(factor.nbytes for factor in self._factors)

    def solve(self, r: Vectors, z: Vectors) -> None:
        """Set z = D_F^-1 r in the classes. **Collective**."""
        operator = self._operator
        inner = operator.team.run(lambda p: self._factors[p].solve(r[p]), operator.n_partitions)
        outer = np.zeros(0)
        if len(self._inverse):
            partials = []
            for p, (elements, rows) in enumerate(self._rows):
                mine = self._factors[p].times(inner[p])
                mine[rows] += r[p][elements]
                partials.append(mine)
            outer = self._inverse @ operator.exchange.sum_arrays(partials)

        def part(p: int) -> None:
            self._factors[p].finish(inner[p], outer, z[p])
            elements, rows = self._rows[p]
            z[p][elements] = outer[rows]

        operator.team.run(part, operator.n_partitions)


class _Factor:
    """F_p by a sparse factor, -E_p, and the part of B in partition p; `scale` gives F_p a diagonal of 1."""

    def __init__(
        self, operator: Operator, p: int, classes: Groups, place: Rows, n_border: int, blocks: list[LevelBlocks]
    ) -> None:
        partition = operator.partitions[p]
        layout = partition.layout
        own = np.zeros(layout.n_local, np.bool_)
        level = np.zeros(layout.n_local, np.uint32)  # first element of the level of each element
        for g in classes:
            local = layout.groups[g]
            own[local.first_owned : local.first_owned + local.n_owned * local.width] = True
            for start, n in ((local.first_owned, local.n_owned), (local.first_ghost, len(local.ghosts))):
                first = start + np.arange(n, dtype=np.uint32) * np.uint32(local.width)
                level[start : start + n * local.width] = np.repeat(first, local.width)
        own[partition.blank] = False
        own[place >= 0] = False
        self._elements = np.flatnonzero(own)
        inner = np.where(own, np.cumsum(own, dtype=np.int32) - 1, -1).astype(np.int32)
        n = len(self._elements)
        F, E, B = csr_array((n, n)), csr_array((n, n_border)), csr_array((n_border, n_border))
        for g in classes:
            local = layout.groups[g]
            begin = local.first_owned + np.arange(local.n_owned, dtype=np.int64)[:, None] * local.width
            t, u = np.tril_indices(local.width)
            at, beside, values = (begin + t).ravel(), (begin + u).ravel(), blocks[g].packed.ravel()
            F = csr_array(F + _among(inner[at], inner[beside], values, n, n))
            B = csr_array(B + _among(place[at], place[beside], values, n_border, n_border))
        B = csr_array(B + tril(B, -1).T)
        for rows, columns, values in record_triplets_of(operator, partition, classes):
            apart = level[rows] != level[columns]
            rows, columns, values = rows[apart], columns[apart], values[apart]
            lower = rows > columns
            F = csr_array(F + _among(inner[rows[lower]], inner[columns[lower]], values[lower], n, n))
            E = csr_array(E + _among(inner[rows], place[columns], values, n, n_border))
            B = csr_array(B + _among(place[rows], place[columns], values, n_border, n_border))
        self.border = B.toarray()
        matrix = csc_array(F)
        matrix.sort_indices()
        self._scale = 1.0 / np.sqrt(np.maximum(matrix.diagonal(), np.finfo(np.float64).tiny))
        self._factor(matrix)
        self._E = csr_array(E.multiply(-self._scale[:, None]))
        self._back = csr_array(self._E.T)

    def _factor(self, matrix: csc_array) -> None:
        self._cholesky: SparseCholesky | None = None
        if not matrix.shape[0]:
            return
        of = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
        cholesky = SparseCholesky(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))
        values = matrix.data * self._scale[matrix.indices] * self._scale[of]
        values[matrix.indptr[:-1]] *= 1.0 + SHIFT
        try:
            cholesky.factor(values)
        except NotPositiveDefiniteError:
            values[matrix.indptr[:-1]] *= 1.01
            cholesky.factor(values)
        self._cholesky = cholesky

    def _solved(self, rhs: Floats) -> Floats:
        return rhs if self._cholesky is None else self._cholesky.solve(rhs)

    @property
    def nbytes(self) -> int:
        """Return the memory of the factor and of E, about."""
        return 24 * self._E.nnz + (0 if self._cholesky is None else 8 * self._cholesky.symbolic.nnz_factor)

    def products(self) -> Floats:
        """Return E' F^-1 E (n_border, n_border), of the columns of E that are not empty here."""
        out = np.zeros((self._E.shape[1],) * 2)
        used = np.flatnonzero(np.diff(self._back.indptr))
        columns = csc_array(self._E)
        for start in range(0, len(used), COLUMNS):
            some = used[start : start + COLUMNS]
            out[:, some] = self._back @ self._solved(columns[:, some].toarray())
        return out

    def solve(self, r: Floats) -> Floats:
        """Return F^-1 r, r a local vector; divided by the scale."""
        return self._solved(self._scale * r[self._elements])

    def times(self, x: Floats) -> Floats:
        """Return -E' F^-1 r, x what `solve` has returned."""
        return np.asarray(self._back @ x)

    def finish(self, x: Floats, outer: Floats, z: Floats) -> None:
        """Set z = F^-1 (r - E outer), x what `solve` has returned."""
        if self._E.nnz:
            x = x + self._solved(np.asarray(self._E @ outer))
        z[self._elements] = self._scale * x


def _among(rows: Rows, columns: Rows, values: NDArray[np.floating], n_rows: int, n_columns: int) -> csr_array:
    """Return the triplets whose row and column are not negative."""
    here = (rows >= 0) & (columns >= 0)
    return csr_array(coo_array((values[here], (rows[here], columns[here])), shape=(n_rows, n_columns)))
