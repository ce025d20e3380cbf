"""A sparse Cholesky factor of a matrix whose pattern stays and whose values change; its selected inverse.

Ordered by approximate minimum degree, factored front by front: small fronts in compiled loops, large ones by BLAS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from scipy.sparse import csc_array

from henderson.errors import HendersonError
from henderson.kernels import selected_inverse as inverse_kernels
from henderson.kernels import sparse_factor as kernels
from henderson.kernels import sparse_symbolic as symbolic
from henderson.kernels.sparse_order import minimum_degree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGE = symbolic.LARGE


class NotPositiveDefiniteError(HendersonError):
    """The matrix has a pivot that is not positive."""


@dataclass(frozen=True)
class Symbolic:
    """What the pattern alone decides.

    order: row of the matrix at each place of the elimination, position: its inverse; first: first column of each front,
    and n; rows, start: rows below each front; relative: their places in the parent front `up`; panel: where the panel
    of each front begins; entry: place in the panels of each element of the pattern; entries, entry_place, entry_start:
    the elements sorted by place, and by front; ordering: name of the order.
    """

    order: Ints
    position: Ints
    first: Ints
    rows: NDArray[np.int32]
    start: Ints
    relative: NDArray[np.int32]
    up: Ints
    n_children: Ints
    panel: Ints
    entry: Ints
    entries: Ints
    entry_place: Ints
    entry_start: Ints
    stack: int
    inverse_stack: int
    ordering: str

    @property
    def n(self) -> int:
        """Return the number of equations."""
        return len(self.order)

    @property
    def nnz_factor(self) -> int:
        """Return the number of non-zeros of the factor, those of merged fronts included."""
        w, m = np.diff(self.first), np.diff(self.start)
        return int((w * (w + 1) // 2 + w * m).sum())

    @property
    def flops(self) -> float:
        """Return the multiplications and additions of a factorisation; the selected inverse takes about twice that."""
        w, m = np.diff(self.first).astype(float), np.diff(self.start).astype(float)
        return float((w**3 / 3.0 + w**2 * m + w * m**2).sum())

    @property
    def bytes(self) -> int:
        """Return the bytes that factor, selected inverse and index arrays take at most."""
        index = sum(a.nbytes for a in (self.rows, self.relative, self.entry, self.entries, self.entry_place))
        return 8 * (int(self.panel[-1]) + max(self.stack, self.inverse_stack)) + index


def analyse(indptr: Ints, indices: NDArray[np.int32]) -> Symbolic:
    """Return the order and the fronts of a symmetric matrix given by its lower triangle (CSC, sorted, full diagonal).

    Cost: that of the order, plus the non-zeros of the factor a few times over.
    """
    n = len(indptr) - 1
    pattern = csc_array((np.ones(len(indices), np.int8), indices, indptr), shape=(n, n))
    both = csc_array(pattern + pattern.T)
    both.setdiag(0)
    both.eliminate_zeros()
    dense = int(max(16, 10.0 * np.sqrt(n)))
    order = minimum_degree(both.indptr.astype(np.int64), both.indices.astype(np.int32), dense)
    full = csc_array(both[order][:, order])
    parent, counts = symbolic.tree_and_counts(full.indptr.astype(np.int64), full.indices.astype(np.int32))
    owner, width, rows = symbolic.merge_columns(parent, counts)
    fronts, up_by_name = symbolic.order_fronts(parent, owner, width, rows)
    rank = np.empty(n, np.int64)
    rank[fronts] = np.arange(len(fronts))
    order = order[np.lexsort((np.arange(n), rank[owner]))]
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    full = csc_array(both[order][:, order])
    first = np.concatenate([[0], np.cumsum(width[fronts])]).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(rows[fronts])]).astype(np.int64)
    above = up_by_name[fronts]
    up = np.where(above >= 0, rank[np.maximum(above, 0)], -1)
    found = symbolic.front_rows(full.indptr.astype(np.int64), full.indices.astype(np.int32), first, up, start)
    w, m = np.diff(first), np.diff(start)
    panel = np.concatenate([[0], np.cumsum(w * w + w * m)]).astype(np.int64)
    front = np.repeat(np.arange(len(w), dtype=np.int64), w)
    entry = symbolic.entry_places(indptr, indices, position, first, front, found, start, panel)
    entries = np.argsort(entry, kind="stable")
    stack, inverse_stack = symbolic.stack_sizes(first, start, up)
    return Symbolic(
        order,
        position,
        first,
        found,
        start,
        symbolic.relative_rows(found, start, first, up),
        up,
        np.bincount(up[up >= 0], minlength=len(up)).astype(np.int64),
        panel,
        entry,
        entries,
        entry[entries],
        np.searchsorted(entry[entries], panel),
        int(stack),
        int(inverse_stack),
        "approximate minimum degree",
    )


class SparseCholesky:
    """The factor of a symmetric positive definite matrix.

    Parameters
    ----------
    indptr, indices
        The lower triangle by columns (CSC, sorted, the diagonal there).
    """

    def __init__(self, indptr: Ints, indices: NDArray[np.int32]) -> None:
        self.n = len(indptr) - 1
        self.nnz = len(indices)
        self.symbolic = analyse(indptr, indices)
        self.log_determinant = 0.0
        self._panels = np.zeros(0)
        self._stack = np.zeros(0)

    def factor(self, values: Floats) -> None:
        """Factor the matrix with `values` in its lower triangle.

        Raises
        ------
        NotPositiveDefiniteError
            It is not positive definite.

        """
        s = self.symbolic
        if len(self._panels) == 0:
            self._panels = np.empty(int(s.panel[-1]))
        self._panels[:] = 0.0
        self._panels[s.entry] = values
        n_fronts = len(s.up)
        stack = self._scratch(s.stack)
        waiting, place, state = np.zeros(n_fronts, np.int64), np.zeros(n_fronts, np.int64), np.zeros(6, np.int64)
        while True:
            arrays = (s.first, s.start, s.relative, s.panel, s.n_children, self._panels, stack, waiting, place, state)
            f = int(kernels.factor_fronts(*arrays, LARGE))
            if f == n_fronts:
                break
            self._factor_front(f, stack, int(state[4]))
        if state[5]:
            raise NotPositiveDefiniteError("the matrix is not positive definite")
        self.log_determinant = float(kernels.log_diagonal(s.first, s.panel, self._panels))

    def solve(self, rhs: Floats) -> Floats:
        """Return the solution for rhs (n,) or (n, k). Cost: 4 operations for each non-zero of the factor and column."""
        s = self.symbolic
        x = np.ascontiguousarray(np.atleast_2d(rhs.T)[:, s.order])
        kernels.solve(s.first, s.start, s.rows, s.panel, self._panels, x)
        out = x[:, s.position].T
        return np.ascontiguousarray(out if rhs.ndim == 2 else out[:, 0])

    def inverse(self) -> Floats:
        """Return the inverse in the places of the lower triangle. Cost: about two factorisations."""
        s = self.symbolic
        n_fronts = len(s.up)
        out = np.zeros(self.nnz)
        stack = self._scratch(s.inverse_stack)
        state = np.array([n_fronts - 1, 0, 0, 0], np.int64)
        left, place = s.n_children.copy(), np.zeros(n_fronts, np.int64)
        shape = (s.first, s.start, s.relative, s.panel, s.up, s.n_children)
        entries = (s.entries, s.entry_place, s.entry_start)
        while True:
            arrays = (*shape, self._panels, stack, left, place, *entries, out, state)
            f = int(inverse_kernels.invert_fronts(*arrays, LARGE))
            if f < 0:
                return out
            self._invert_front(f, stack, int(state[3]))

    def _scratch(self, size: int) -> Floats:
        if len(self._stack) < size:
            self._stack = np.empty(0)  # let go of the old one first
            self._stack = np.empty(size)
        return self._stack

    def _panel(self, f: int) -> tuple[int, int, Floats, Floats]:
        """Return width and rows of a front, and the Fortran views L11 (w, w) and L21 (m, w) of its panel."""
        s = self.symbolic
        w, m = int(s.first[f + 1] - s.first[f]), int(s.start[f + 1] - s.start[f])
        at = int(s.panel[f])
        L11 = self._panels[at : at + w * w].reshape(w, w).T
        return w, m, L11, self._panels[at + w * w : at + w * (w + m)].reshape(w, m).T

    def _factor_front(self, f: int, stack: Floats, here: int) -> None:
        _, m, L11, L21 = self._panel(f)
        done, info = lapack.dpotrf(L11, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise NotPositiveDefiniteError("the matrix is not positive definite")
        assert np.shares_memory(done, L11)
        if m:
            blas.dtrsm(1.0, L11, L21, side=1, lower=1, trans_a=1, overwrite_b=1)
            update = stack[here : here + m * m].reshape(m, m).T
            blas.dsyrk(-1.0, L21, beta=1.0, c=update, lower=1, overwrite_c=1)

    def _invert_front(self, f: int, stack: Floats, here: int) -> None:
        w, m, L11, L21 = self._panel(f)
        z11 = stack[here : here + w * w].reshape(w, w).T
        inverse, info = lapack.dpotri(L11, lower=1)
        assert info == 0
        lower = np.tril(inverse, -1)
        z11[...] = lower
        z11 += lower.T
        z11[np.diag_indices(w)] = np.diag(inverse)
        if m:
            z12 = stack[here + w * w : here + w * (w + m)].reshape(w, m).T
            zrr = stack[here + w * (w + m) : here + w * (w + m) + m * m].reshape(m, m).T
            v = blas.dtrsm(1.0, L11, L21, side=1, lower=1)
            blas.dgemm(-1.0, zrr, v, c=z12, overwrite_c=1)
            blas.dgemm(-1.0, z12, v, beta=1.0, c=z11, trans_a=1, overwrite_c=1)
