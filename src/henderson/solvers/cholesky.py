"""Cholesky factors of a matrix whose pattern stays and whose values change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lapack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class NotPositiveDefiniteError(ValueError):
    """The matrix has a pivot that is not positive."""


class DenseCholesky:
    """The factor of a small matrix, as a full one.

    Parameters
    ----------
    indptr, indices
        Its lower triangle by columns (CSC, sorted).
    """

    def __init__(self, indptr: Ints, indices: NDArray[np.int32]) -> None:
        self.n = len(indptr) - 1
        self.nnz = len(indices)
        self._rows = indices.astype(np.int64)
        self._columns = np.repeat(np.arange(self.n), np.diff(indptr))
        self._factor: Floats = np.zeros((0, 0))
        self.log_determinant = 0.0

    def factor(self, values: Floats) -> None:
        """Factor the matrix with `values` in its lower triangle."""
        matrix = np.zeros((self.n, self.n), order="F")
        matrix[self._rows, self._columns] = values
        if self.n == 0:
            self.log_determinant = 0.0
            return
        try:
            self._factor = cho_factor(matrix, lower=True, overwrite_a=True)[0]
        except (LinAlgError, ValueError):
            raise NotPositiveDefiniteError from None
        self.log_determinant = 2.0 * float(np.log(np.diag(self._factor)).sum())

    def solve(self, rhs: Floats) -> Floats:
        """Return the solution for rhs (n,) or (n, k)."""
        if self.n == 0:
            return np.zeros_like(rhs)
        return np.asarray(cho_solve((self._factor, True), rhs))

    def inverse(self) -> Floats:
        """Return the inverse in the places of the lower triangle."""
        if self.n == 0:
            return np.zeros(0)
        inverse, info = lapack.dpotri(self._factor, lower=1)
        assert info == 0
        return np.asarray(inverse[self._rows, self._columns])


SparseCholesky = DenseCholesky
