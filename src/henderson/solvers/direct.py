"""Direct solution of assembled equations: dense Cholesky for small ones, sparse LU above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lapack
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from henderson.equations.assembly import Assembled
from henderson.errors import ModelError
from henderson.solvers.report import SolveReport, StopReason

DENSE_LIMIT = 4000  # equations; the dense factor takes 8 n^2 bytes
COLUMNS = 64  # of the inverse at a time

Floats = NDArray[np.float64]
NOT_POSITIVE = "the equations are not positive definite; check the variances and the relationship matrices"


class DirectSolver:
    """A factor of C, scaled to unit diagonal.

    Raises
    ------
    ModelError
        C is not positive definite.

    """

    def __init__(self, equations: Assembled) -> None:
        self._equations = equations
        diagonal = equations.matrix.diagonal()
        if not np.all(np.isfinite(diagonal)) or np.any(diagonal <= 0.0):
            raise ModelError(NOT_POSITIVE)
        self._scale = 1.0 / np.sqrt(diagonal)
        self.n = len(diagonal)
        scaled = csc_array(equations.matrix.multiply(self._scale[:, None]).multiply(self._scale[None, :]))
        self._dense: Floats | None = None
        if self.n <= DENSE_LIMIT:
            try:
                self._dense = cho_factor(scaled.toarray(order="F"), lower=True, overwrite_a=True)[0] if self.n else None
            except LinAlgError:
                raise ModelError(NOT_POSITIVE) from None
        else:
            self._sparse = splu(
                scaled, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
            )
            if np.any(self._sparse.U.diagonal() <= 0.0):
                raise ModelError(NOT_POSITIVE)

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
        """Return diag(C^-1). Cost: n^3 / 3 dense, or n sparse solves."""
        if self.n == 0:
            return np.zeros(0)
        if self._dense is not None:
            inverse, info = lapack.dpotri(self._dense, lower=1, overwrite_c=1)
            assert info == 0
            self._dense = None  # overwritten
            return np.asarray(np.diag(inverse) * self._scale**2, np.float64)
        diagonal = np.empty(self.n)
        for start in range(0, self.n, COLUMNS):
            columns = np.arange(start, min(start + COLUMNS, self.n))
            unit = np.zeros((self.n, len(columns)))
            unit[columns, columns - start] = 1.0
            diagonal[columns] = self._sparse.solve(unit)[columns, columns - start]
        return np.asarray(diagonal * self._scale**2, np.float64)

    def _apply(self, rhs: Floats) -> Floats:
        scaled = self._scale * rhs
        solution = cho_solve((self._dense, True), scaled) if self._dense is not None else self._sparse.solve(scaled)
        return np.asarray(self._scale * solution)
