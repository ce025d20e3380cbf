"""Preconditioned conjugate gradients for several right-hand sides at once, each with its own steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.columns import ColumnOperator
from henderson.kernels import columns as kernels
from henderson.partitions.exchange import Vectors
from henderson.solvers.lanczos import Coefficients
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.report import StopReason

Floats = NDArray[np.float64]
Callback = Callable[[int, float], None]  # iteration, largest relative residual


@dataclass(frozen=True)
class ColumnsReport:
    """The end of several solves.

    solution: local vectors (n_local, n_columns); iterations, relative_residuals: per column, the latter of the
    recurrence; products: how often C was applied to all columns that were still iterating.
    """

    solution: Vectors
    reason: StopReason
    iterations: NDArray[np.int64]
    relative_residuals: Floats
    products: int

    @property
    def converged(self) -> bool:
        """Return whether all solutions may be used."""
        return self.reason.converged


def pcg_columns(
    operator: ColumnOperator,
    preconditioner: BlockPreconditioner,
    rhs: Vectors,
    *,
    rtol: float = 1e-8,
    max_it: int = 5000,
    x0: Vectors | None = None,
    callback: Callback | None = None,
    coefficients: Coefficients | None = None,
) -> ColumnsReport:
    """Return the solutions of C x_j = b_j with ||b_j - C x_j|| <= `rtol` ||b_j||, by the recurrence. **Collective**.

    The columns go through the same products but are separate iterations (Hestenes & Stiefel 1952): one that has
    converged stands still, and when half have, the others are gathered so that the products shrink. One pass over the
    data serves all, so k solves cost far less than k times one. `rhs` is left as it is; `x0` is overwritten and
    returned; `coefficients` gets those of the iteration, of all columns. Memory: four vectors a column besides `rhs`,
    five with a sweep.
    """
    run = _Columns(operator, preconditioner)
    n_columns = operator.n_columns
    solution = operator.zeros() if x0 is None else x0
    norms = np.sqrt(run.dots(rhs, rhs))
    if not np.all(np.isfinite(norms)):
        return ColumnsReport(solution, StopReason.NOT_FINITE, np.zeros(n_columns, np.int64), norms, 0)
    scale = np.where(norms > 0, norms, 1.0)
    r, p, q = operator.zeros(), operator.zeros(), operator.zeros()
    x = solution
    products = 0
    if x0 is not None:
        operator.apply(x, q)
        products += 1
    residuals = np.sqrt(run.subtract(rhs, q, r)) / scale
    columns = np.arange(n_columns)  # which column of the solution each column of x is
    iterations = np.zeros(n_columns, np.int64)
    active = residuals > rtol
    zero = np.zeros(n_columns)
    _, rz = run.descend(zero, q, r, q)
    run.advance(zero, zero, q, p, x)
    reason = StopReason.CONVERGED
    done = 0
    while active.any():
        if done >= max_it:
            reason = StopReason.MAX_ITERATIONS
            break
        if 2 * active.sum() <= len(active):
            run.put(x, solution, columns)
            keep = np.flatnonzero(active)
            run = run.narrowed(len(keep))
            x, r, p = (run.take(v, keep) for v in (x, r, p))
            q = run.operator.zeros()
            columns, rz, active = columns[keep], rz[keep], active[keep]
        run.operator.apply(p, q)
        products += 1
        done += 1
        curvature = run.dots(p, q)
        bad = active & ~(np.isfinite(curvature) & (curvature > 0))
        if bad.any():
            reason = StopReason.BREAKDOWN if np.all(np.isfinite(curvature[active])) else StopReason.NOT_FINITE
            break
        alpha = np.where(active, rz / np.where(active, curvature, 1.0), 0.0)
        if coefficients is not None:
            coefficients.add(columns[active], alpha[active], rz[active])
        rr, rz_next = run.descend(alpha, q, r, q)
        beta = np.where(active, rz_next / np.where(rz != 0, rz, 1.0), 0.0)
        run.advance(alpha, beta, q, p, x)
        rz = rz_next
        iterations[columns[active]] += 1
        residuals[columns[active]] = (np.sqrt(rr) / scale[columns])[active]
        active &= residuals[columns] > rtol
        if callback is not None:
            callback(done, float(residuals.max()))
    run.put(x, solution, columns)
    return ColumnsReport(solution, reason, iterations, residuals, products)


class _Columns:
    """The vector passes, each over all partitions by the team."""

    def __init__(self, operator: ColumnOperator, preconditioner: BlockPreconditioner) -> None:
        self.operator = operator
        self._preconditioner = preconditioner
        self.descend = preconditioner.descend_columns
        self._team, self._n, self._parts = operator.team, operator.n_owned, operator.n_partitions

    def dots(self, a: Vectors, b: Vectors) -> Floats:
        def part(i: int) -> Floats:
            out = np.empty(a[i].shape[1])
            kernels.dots(self._n[i], a[i], b[i], out)
            return out

        return self.operator.exchange.sum_arrays(self._team.run(part, self._parts))

    def subtract(self, b: Vectors, product: Vectors, r: Vectors) -> Floats:
        def part(i: int) -> Floats:
            out = np.empty(b[i].shape[1])
            kernels.subtract(self._n[i], b[i], product[i], r[i], out)
            return out

        return self.operator.exchange.sum_arrays(self._team.run(part, self._parts))

    def advance(self, alpha: Floats, beta: Floats, z: Vectors, p: Vectors, x: Vectors) -> None:
        self._team.run(lambda i: kernels.advance(self._n[i], alpha, beta, z[i], p[i], x[i]), self._parts)

    def narrowed(self, n_columns: int) -> _Columns:
        """Return the passes for fewer columns."""
        return _Columns(ColumnOperator(self.operator.operator, n_columns), self._preconditioner)

    def take(self, vectors: Vectors, keep: NDArray[np.int64]) -> Vectors:
        return self._team.run(lambda i: np.ascontiguousarray(vectors[i][:, keep]), self._parts)

    def put(self, x: Vectors, solution: Vectors, columns: NDArray[np.int64]) -> None:
        if x is not solution:
            for mine, all_ in zip(x, solution, strict=True):
                all_[:, columns] = mine
