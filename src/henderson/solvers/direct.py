"""Direct solution of assembled equations, and elements of their inverse, by a sparse Cholesky factor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, tril

from henderson.equations.assembly import BYTES_PER_TRIPLET, Assembled, assemble, triplet_count
from henderson.equations.operator import Operator
from henderson.errors import ModelError, ResourceError
from henderson.solvers.cholesky import NotPositiveDefiniteError, SparseCholesky
from henderson.solvers.indices import Index
from henderson.solvers.report import SolveReport, StopReason

Floats = NDArray[np.float64]
NOT_POSITIVE = "the equations are not positive definite; check the variances and the relationship matrices"


class DirectSolver:
    """A factor of C, scaled to unit diagonal.

    Parameters
    ----------
    equations
        C and its right-hand side.
    memory
        Bytes that factor and selected inverse may take, None for any.
    blocks
        Equations (n_blocks, n) among which `InverseElements.quadratic` will be asked for.

    Raises
    ------
    ModelError
        C is not positive definite.
    ResourceError
        The factor takes more than `memory`.

    """

    def __init__(
        self, equations: Assembled, memory: int | None = None, blocks: Sequence[NDArray[np.int64]] = ()
    ) -> None:
        self._equations = equations
        diagonal = equations.matrix.diagonal()
        if not np.all(np.isfinite(diagonal)) or np.any(diagonal <= 0.0):
            raise ModelError(NOT_POSITIVE)
        self._scale = 1.0 / np.sqrt(diagonal)
        self.n = len(diagonal)
        if self.n == 0:
            return
        lower = _with_places(csc_array(tril(equations.matrix, format="csc")), blocks)
        lower.sort_indices()
        columns = np.repeat(np.arange(self.n), np.diff(lower.indptr))
        values = lower.data * self._scale[lower.indices] * self._scale[columns]
        self._indptr, self._rows = lower.indptr, lower.indices
        self._factor = SparseCholesky(lower.indptr.astype(np.int64), lower.indices.astype(np.int32))
        symbolic = self._factor.symbolic
        if memory is not None and symbolic.bytes > memory:
            raise ResourceError(
                f"the factor of {self.n:,} equations has {symbolic.nnz_factor:,} non-zeros and takes about "
                f"{_mib(symbolic.bytes)}, {_mib(memory)} are there; iterate instead: method = 'pcg' of solve, and "
                "'factor' or 'levels' of pev"
            )
        try:
            self._factor.factor(values)
        except NotPositiveDefiniteError:
            raise ModelError(NOT_POSITIVE) from None

    def solve(self) -> SolveReport[list[Floats]]:
        """Return the solution, one array (n_levels, width) per group, refined once, with its true residual."""
        C, rhs = self._equations.matrix, self._equations.rhs
        values = np.zeros(self.n)
        if self.n:
            values = self._apply(rhs)
            values = values + self._apply(rhs - C @ values)
        norm = float(np.linalg.norm(rhs))
        residual = float(np.linalg.norm(rhs - C @ values)) / norm if norm else 0.0
        reason = StopReason.DIRECT if np.all(np.isfinite(values)) else StopReason.NOT_FINITE
        return SolveReport(self._equations.to_levels(values), reason, 0, residual)

    def inverse(self) -> InverseElements:
        """Return the selected inverse: the elements of C^-1 where C has any. Cost: about two factorisations."""
        if self.n == 0:
            return InverseElements(csc_array((0, 0)))
        columns = np.repeat(np.arange(self.n), np.diff(self._indptr))
        values = self._factor.inverse() * self._scale[self._rows] * self._scale[columns]
        return InverseElements(csc_array((values, self._rows, self._indptr), shape=(self.n, self.n)))

    def _apply(self, rhs: Floats) -> Floats:
        return np.asarray(self._scale * self._factor.solve(self._scale * rhs))


class InverseElements:
    """Elements of C^-1: the lower triangle by columns, of the places that the factor was asked to keep."""

    def __init__(self, lower: csc_array) -> None:
        self._lower = lower

    def diagonal(self) -> Floats:
        """Return diag(C^-1); in sorted columns of the lower triangle it comes first."""
        return np.asarray(self._lower.data[self._lower.indptr[:-1]], np.float64)

    def quadratic(self, blocks: NDArray[np.int64], weights: Floats) -> Floats:
        """Return w' (C^-1)_bb w for each row b of `blocks`, int64 (n, m), weights (m,)."""
        n = self._lower.shape[0]
        column = np.repeat(np.arange(n, dtype=np.int64), np.diff(self._lower.indptr))
        places = column * n + self._lower.indices  # ascending
        total = np.zeros(len(blocks))
        for j, weight in enumerate(weights.tolist()):
            for k in range(j + 1):
                times = weight * float(weights[k]) * (1.0 if j == k else 2.0)
                rows, columns = np.maximum(blocks[:, j], blocks[:, k]), np.minimum(blocks[:, j], blocks[:, k])
                total += times * self._lower.data[np.searchsorted(places, columns * n + rows)]
        return total


def _with_places(lower: csc_array, blocks: Sequence[NDArray[np.int64]]) -> csc_array:
    """Return the matrix with places, though they hold 0, for all elements of the lower triangle of the blocks."""
    rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for block in blocks:
        for j, k in combinations(range(block.shape[1]), 2):
            rows.append(np.maximum(block[:, j], block[:, k]))
            columns.append(np.minimum(block[:, j], block[:, k]))
    if len(rows) == 1:
        return lower
    here = coo_array(lower)
    at = (np.concatenate([here.row, *rows]), np.concatenate([here.col, *columns]))
    values = np.concatenate([here.data, np.zeros(len(at[0]) - here.nnz)])
    return csc_array(coo_array((values, at), shape=lower.shape))


def direct_solver(
    operator: Operator, memory: int | None = None, indices: Sequence[Index] = ()
) -> tuple[DirectSolver, Assembled]:
    """Return the factor of the equations of an operator, and the equations.

    indices: of whose levels the inverse is going to be asked for.

    Raises `ResourceError` if to assemble or to factor them takes more than `memory` bytes, `ModelError` if they are not
    positive definite.
    """
    need = BYTES_PER_TRIPLET * triplet_count(operator)
    if memory is not None and need > memory:
        raise ResourceError(
            f"assembling {operator.design.n_equations:,} equations may take {_mib(need)}, {_mib(memory)} are there; "
            "iterate instead: method = 'pcg' of solve, and 'factor' or 'levels' of pev"
        )
    equations = assemble(operator)
    return DirectSolver(equations, memory, [equations.number[i.group][:, i.positions] for i in indices]), equations


def _mib(n: int) -> str:
    return f"{n / 2**20:,.1f} MiB"
