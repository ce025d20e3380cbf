"""Direct solution of assembled equations, and the diagonal of their inverse, by a sparse Cholesky factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, tril

from henderson.equations.assembly import BYTES_PER_TRIPLET, Assembled, assemble, triplet_count
from henderson.equations.operator import Operator
from henderson.errors import ModelError, ResourceError
from henderson.solvers.cholesky import NotPositiveDefiniteError, SparseCholesky
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

    Raises
    ------
    ModelError
        C is not positive definite.
    ResourceError
        The factor takes more than `memory`.

    """

    def __init__(self, equations: Assembled, memory: int | None = None) -> None:
        self._equations = equations
        diagonal = equations.matrix.diagonal()
        if not np.all(np.isfinite(diagonal)) or np.any(diagonal <= 0.0):
            raise ModelError(NOT_POSITIVE)
        self._scale = 1.0 / np.sqrt(diagonal)
        self.n = len(diagonal)
        if self.n == 0:
            return
        lower = csc_array(tril(equations.matrix, format="csc"))
        lower.sort_indices()
        columns = np.repeat(np.arange(self.n), np.diff(lower.indptr))
        values = lower.data * self._scale[lower.indices] * self._scale[columns]
        self._first = lower.indptr[:-1].astype(np.int64)  # of a sorted column of the lower triangle: its diagonal
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

    def inverse_diagonal(self) -> Floats:
        """Return diag(C^-1), from the selected inverse. Cost: about two factorisations."""
        if self.n == 0:
            return np.zeros(0)
        return np.asarray(self._factor.inverse()[self._first] * self._scale**2, np.float64)

    def _apply(self, rhs: Floats) -> Floats:
        return np.asarray(self._scale * self._factor.solve(self._scale * rhs))


def direct_solver(operator: Operator, memory: int | None = None) -> tuple[DirectSolver, Assembled]:
    """Return the factor of the equations of an operator, and the equations.

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
    return DirectSolver(equations, memory), equations


def _mib(n: int) -> str:
    return f"{n / 2**20:,.1f} MiB"
