"""The block of C of all classes, factored: what a partition owns by a sparse factor, the border by what is left of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, tril

from henderson.equations.assembly import record_triplets_of
from henderson.equations.border import Border, border_places, inverse_of_border
from henderson.equations.operator import Operator
from henderson.kernels.blocks import LevelBlocks
from henderson.partitions.exchange import Vectors
from henderson.solvers.cholesky import NotPositiveDefiniteError, SparseCholesky

Floats = NDArray[np.float64]
Groups = frozenset[int]

COLUMNS = 4  # of the border that are solved for side by side
SHIFT = 1e-9  # of the diagonal is added to it: columns of X may nearly depend on each other


class ClassFactors:
    """D_F of the sweep: F_p, the classes that partition p owns, and the border B, with E_p between them.

    D_F = [[F, E], [E', B]], F block diagonal over the partitions; what owned levels share with other partitions counts
    on the diagonal alone. B is exact and of all partitions: it is solved for by S = B - sum_p E_p' F_p^-1 E_p.
    Memory: the factors of F_p, E_p sparse, S^-1. A solve: two with each F_p where there is a border.
    """

    def __init__(
        self, operator: Operator, classes: Groups, border: Border | None, blocks: list[list[LevelBlocks]]
    ) -> None:
        self._operator = operator
        self._border = border
        outer = () if border is None else border.groups
        inner = classes.difference(outer)
        self.groups = classes if len(classes) > 1 else frozenset(outer)
        self._factors: list[_Factor] = []
        if inner and len(classes) > 1:
            self._factors = operator.team.run(lambda p: _Factor(operator, p, inner, outer, blocks[p]), len(blocks))
        self._inverse = np.zeros((0, 0))
        if border is not None:
            self._inverse = inverse_of_border(self._schur_complement(border) + SHIFT * np.diag(np.diag(border.matrix)))

    def _schur_complement(self, border: Border) -> Floats:
        if not self._factors:
            return border.matrix
        design = self._operator.design
        kept = np.concatenate([np.asarray(design.kept[k]).ravel() for k in border.groups])
        parts = self._operator.team.run(lambda p: self._factors[p].products(), len(self._factors))
        total = self._operator.exchange.sum_arrays(parts)
        total[~kept] = 0.0
        total[:, ~kept] = 0.0
        return border.matrix - 0.5 * (total + total.T)

    def solve(self, r: Vectors, z: Vectors) -> None:
        """Set z = D_F^-1 r in `groups`. **Collective**."""
        team, border = self._operator.team, self._border
        inner = team.run(lambda p: self._factors[p].solve(r[p]), len(self._factors))
        if border is not None:
            partials = []
            for p, (elements, rows) in enumerate(zip(border.elements, border.rows, strict=True)):
                mine = self._factors[p].times(inner[p]) if self._factors else np.zeros(len(border.matrix))
                mine[rows] += r[p][elements]
                partials.append(mine)
            outer = self._inverse @ self._operator.exchange.sum_arrays(partials)
            for p, (elements, rows) in enumerate(zip(border.elements, border.rows, strict=True)):
                z[p][elements] = outer[rows]

        def part(p: int) -> None:
            factor = self._factors[p]
            z[p][factor.elements] = factor.scale * (inner[p] if border is None else factor.without(inner[p], outer))

        team.run(part, len(self._factors))


class _Factor:
    """F_p by a sparse factor, and -E_p, sparse; both are scaled by `scale` so that F_p has a diagonal of 1."""

    def __init__(
        self, operator: Operator, p: int, groups: Groups, outer: tuple[int, ...], blocks: list[LevelBlocks]
    ) -> None:
        partition = operator.partitions[p]
        kept = np.zeros(partition.layout.n_local, np.bool_)
        for g in groups:
            local = partition.layout.groups[g]
            kept[local.first_owned : local.first_owned + local.n_owned * local.width] = True
        kept[partition.blank] = False
        self.elements = np.flatnonzero(kept)
        place = np.where(kept, np.cumsum(kept) - 1, -1)
        in_border = border_places(operator, p, outer)
        n, n_border = len(self.elements), sum(operator.design.groups[k].size for k in outer)
        level = np.full(partition.layout.n_local, -1, np.int64)  # first element of the level of each element
        diagonal = csr_array((n, n))
        for g in groups:
            local = partition.layout.groups[g]
            first = local.first_owned + np.arange(local.n_owned, dtype=np.int64) * local.width
            level[local.first_owned : local.first_owned + local.n_owned * local.width] = np.repeat(first, local.width)
            t, u = np.tril_indices(local.width)
            rows, columns = place[first[:, None] + t].ravel(), place[first[:, None] + u].ravel()
            here = (rows >= 0) & (columns >= 0)
            lower = csr_array(coo_array((blocks[g].packed.ravel()[here], (rows[here], columns[here])), shape=(n, n)))
            diagonal = csr_array(diagonal + lower)
        total, beside_border = diagonal, csr_array((n, n_border))
        for rows, columns, values in record_triplets_of(operator, partition, groups.union(outer)):
            at, beside, across = place[rows], place[columns], in_border[columns]
            here = (at > beside) & (beside >= 0) & (level[rows] != level[columns])
            total = csr_array(total + csr_array(coo_array((values[here], (at[here], beside[here])), shape=(n, n))))
            here = (at >= 0) & (across >= 0)
            entries = values[here], (at[here], across[here])
            beside_border = csr_array(beside_border - csr_array(coo_array(entries, shape=(n, n_border))))
        matrix = csc_array(tril(total, format="csc"))
        matrix.sort_indices()
        self.scale = 1.0 / np.sqrt(np.maximum(matrix.diagonal(), np.finfo(np.float64).tiny))
        of = np.repeat(np.arange(n), np.diff(matrix.indptr))
        self._cholesky = SparseCholesky(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))
        values = matrix.data * self.scale[matrix.indices] * self.scale[of]
        values[matrix.indptr[:-1]] *= 1.0 + SHIFT
        try:
            self._cholesky.factor(values)
        except NotPositiveDefiniteError:
            values[matrix.indptr[:-1]] *= 1.01
            self._cholesky.factor(values)
        beside_border.data *= np.repeat(self.scale, np.diff(beside_border.indptr))
        self._across = beside_border
        self._back = csr_array(beside_border.T)

    def products(self) -> Floats:
        """Return E' F^-1 E (n_border, n_border)."""
        n = self._across.shape[1]
        across, out = csc_array(self._across), np.empty((n, n))
        for start in range(0, n, COLUMNS):
            some = slice(start, start + COLUMNS)
            out[:, some] = self._back @ self._cholesky.solve(across[:, some].toarray())
        return out

    def solve(self, r: Floats) -> Floats:
        """Return F^-1 r in `elements`, r a local vector; divided by the scale."""
        return self._cholesky.solve(self.scale * r[self.elements])

    def times(self, x: Floats) -> Floats:
        """Return -E' F^-1 r, x what `solve` has returned."""
        return np.asarray(self._back @ x)

    def without(self, x: Floats, outer: Floats) -> Floats:
        """Return F^-1 (r - E outer) in `elements`, x what `solve` has returned; divided by the scale."""
        return x + self._cholesky.solve(np.asarray(self._across @ outer))
