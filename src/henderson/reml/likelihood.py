"""The (restricted) log-likelihood of a model at given covariance matrices, its gradient and the average information.

REML: -2 l = log|R| + log|G| + log|C| + y'P y, where log|C| is over the kept columns of X (so that log|V| + log|X'V^-1
X| of treatment contrasts comes out); ML has log|C| over the random effects alone. Gradient by Sigma: with q levels, U
the solutions, T the blocks tr(Gamma^-1 C^ii) from the selected inverse,

    dl / dSigma = -1/2 [q Sigma^-1 - Sigma^-1 (T + U' Gamma^-1 U) Sigma^-1],

and the same for R by patterns of missing traits (Gilmour, Thompson & Cullis 1995; Johnson & Thompson 1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from henderson.kernels import reml_records as kernels
from henderson.reml.equations import EquationPattern
from henderson.solvers.cholesky import NotPositiveDefiniteError, SparseCholesky

Floats = NDArray[np.float64]


@dataclass
class Point:
    """What is known at one set of covariance matrices: `sigmas` of the random groups, then of the residual classes.

    solution: float64 (n,); e: residuals (n_records, n_traits); squares: U' Gamma^-1 U per group; by_kind: sums of w e
    e' per kind of record.
    """

    sigmas: list[Floats]
    inverses: list[Floats]
    residual: Floats
    loglik: float
    solution: Floats
    e: Floats
    squares: list[Floats]
    by_kind: Floats
    quadratic: float
    gradients: list[Floats] = field(default_factory=list)
    traces: list[Floats] = field(default_factory=list)


class Likelihood:
    """The log-likelihood of one model on its data.

    Parameters
    ----------
    pattern
        The pattern of the equations.
    reml
        False for maximum likelihood.

    """

    def __init__(self, pattern: EquationPattern, *, reml: bool = True) -> None:
        self.pattern = pattern
        self.reml = reml
        self.factor = SparseCholesky(pattern.indptr, pattern.indices)
        r = pattern.records
        counts = np.bincount(r.kind, minlength=len(r.observed))
        self.counts = counts
        self.n_observations = int((counts * r.observed.sum(axis=1)).sum())
        self._log_weights = float((np.log(r.weights) * r.observed.sum(axis=1)[r.kind]).sum())
        self.n_fixed = pattern.n - len(pattern.random_rows())
        self._random: tuple[SparseCholesky, NDArray[np.int64]] | None = None
        if not reml:
            self._random = restricted_factor(pattern, pattern.random_rows())

    @property
    def n_random(self) -> int:
        """Return the number of random groups."""
        return len(self.pattern.gammas)

    def evaluate(self, sigmas: Sequence[Floats]) -> Point | None:
        """Return the likelihood at `sigmas`, None if a matrix is not positive definite or a number not finite.

        Cost: one numeric factorisation and one solve.
        """
        pattern, r = self.pattern, self.pattern.records
        inverses, log_g = [], 0.0
        for part, sigma in zip(pattern.gammas, sigmas, strict=False):
            found = _inverse(sigma)
            if found is None:
                return None
            inverses.append(found[0])
            log_g += part.rank * found[1] + len(sigma) * part.log_determinant
        kinds = self._residual_inverses(sigmas)
        if kinds is None:
            return None
        residual, log_r = kinds
        values = pattern.values(residual, inverses)
        try:
            self.factor.factor(values)
            log_c = self.factor.log_determinant
            if self._random is not None:
                self._random[0].factor(values[self._random[1]])
                log_c = self._random[0].log_determinant
        except NotPositiveDefiniteError:
            return None
        rhs = np.zeros(pattern.n)
        kernels.right_hand_side(*r.terms, r.kind, r.weights, residual, r.responses, rhs)
        solution = self.factor.solve(rhs)
        e = np.empty_like(r.responses)
        by_kind = np.zeros_like(residual)
        kernels.residuals(*r.terms, r.observed, r.kind, r.weights, r.responses, solution, e, by_kind)
        squares = []
        for part in pattern.gammas:
            u = np.append(solution, 0.0)[part.number]
            squares.append(u.T @ u if part.inverse is None else u.T @ (part.inverse @ u))
        quadratic = float(np.sum(residual * by_kind))
        quadratic += sum(float(np.sum(i * s)) for i, s in zip(inverses, squares, strict=True))
        loglik = -0.5 * (log_r + log_g + log_c + quadratic)
        if not math.isfinite(loglik):
            return None
        return Point(list(sigmas), inverses, residual, loglik, solution, e, squares, by_kind, quadratic)

    def constant(self) -> float:
        """Return what `loglik_full` adds: the 2 pi constant, of n - rank(X) observations in REML, of n in ML."""
        n = self.n_observations - (self.n_fixed if self.reml else 0)
        return -0.5 * n * math.log(2.0 * math.pi)

    def differentiate(self, point: Point) -> None:
        """Set the gradient of `point`, the one evaluated last, by every Sigma. Cost: one selected inverse."""
        pattern, r = self.pattern, self.pattern.records
        if self._random is None:
            values = self.factor.inverse()
        else:
            values = np.zeros(len(pattern.indices))
            values[self._random[1]] = self._random[0].inverse()
        point.gradients, point.traces = [], []
        for part, inverse, square in zip(pattern.gammas, point.inverses, point.squares, strict=True):
            trace = np.zeros_like(inverse)
            kernels.gamma_traces(part.place, part.entries, part.diagonal, values, trace)
            point.traces.append(trace)
            inner = inverse @ (trace + square) @ inverse
            point.gradients.append(-0.5 * (part.rank * inverse - inner))
        blocks = np.zeros_like(point.residual)
        kernels.inverse_by_kind(r.place, r.pairs, r.trait, r.column, r.coefficients, r.kind, r.weights, values, blocks)
        by_kind = self.counts[:, None, None] * point.residual
        by_kind -= point.residual @ (blocks + point.by_kind) @ point.residual
        n_classes = int(r.residual_class.max(initial=0)) + 1
        for k in range(n_classes):
            point.gradients.append(-0.5 * by_kind[r.residual_class == k].sum(axis=0))

    def average_information(self, point: Point, directions: Sequence[Floats]) -> Floats:
        """Return 1/2 y'P V_k P V_l P y for the directions dSigma of every Sigma in turn, each (k, size, size).

        Cost: one pass over the records, and one solve with as many right-hand sides as directions.
        """
        pattern, r = self.pattern, self.pattern.records
        total = sum(len(d) for d in directions)
        effects = np.zeros((pattern.n, total))
        change = np.zeros((total, *point.residual.shape))
        first = 0
        for g, part in enumerate(pattern.gammas):
            u = np.append(point.solution, 0.0)[part.number] @ point.inverses[g]
            kept = part.number.ravel() >= 0
            for k, d in enumerate(directions[g]):
                effects[part.number.ravel()[kept], first + k] = (u @ d).ravel()[kept]
            first += len(directions[g])
        for c, ds in enumerate(directions[self.n_random :]):
            here = r.residual_class == c
            masks = r.observed[here][:, :, None] & r.observed[here][:, None, :]
            for k, d in enumerate(ds):
                change[first + k, here] = (d * masks) @ point.residual[here]
            first += len(ds)
        out, products = np.zeros((pattern.n, total)), np.zeros((total, total))
        kernels.working_variates(*r.terms, r.kind, r.weights, point.residual, point.e, effects, change, out, products)
        information = 0.5 * (products - out.T @ self.factor.solve(out)) if total else products
        return np.asarray((information + information.T) / 2.0)

    def complete_information(self, point: Point, directions: Sequence[Floats]) -> Floats:
        """Return the information of the complete data, whose inverse times the gradient is the step of EM."""
        blocks = []
        r = self.pattern.records
        for g, part in enumerate(self.pattern.gammas):
            blocks.append(information(directions[g], point.inverses[g], 0.5 * part.rank))
        for c, ds in enumerate(directions[self.n_random :]):
            block = np.zeros((len(ds), len(ds)))
            for kind in np.flatnonzero(r.residual_class == c):
                block += information(ds, point.residual[kind], 0.5 * self.counts[kind])
            blocks.append(block)
        size = sum(len(b) for b in blocks)
        joint, first = np.zeros((size, size)), 0
        for block in blocks:
            joint[first : first + len(block), first : first + len(block)] = block
            first += len(block)
        return joint

    def _residual_inverses(self, sigmas: Sequence[Floats]) -> tuple[Floats, float] | None:
        """Return R^-1 per kind of record, and log|R|."""
        r = self.pattern.records
        n_kinds, n_traits = r.observed.shape
        residual, log_r = np.zeros((n_kinds, n_traits, n_traits)), -self._log_weights
        for k in range(n_kinds):
            seen = np.flatnonzero(r.observed[k])
            found = _inverse(sigmas[self.n_random + r.residual_class[k]][np.ix_(seen, seen)])
            if found is None:
                return None
            residual[k][np.ix_(seen, seen)] = found[0]
            log_r += self.counts[k] * found[1]
        return residual, log_r


def _inverse(sigma: Floats) -> tuple[Floats, float] | None:
    """Return the inverse and log-determinant of a covariance matrix, None if it is not positive definite."""
    try:
        L = np.linalg.cholesky(sigma)
    except np.linalg.LinAlgError:
        return None
    half = np.linalg.inv(L)
    return half.T @ half, 2.0 * float(np.log(np.diag(L)).sum())


def information(ds: Floats, inverse: Floats, weight: float) -> Floats:
    """Return weight * tr(Sigma^-1 dSigma_k Sigma^-1 dSigma_l)."""
    if len(ds) == 0:
        return np.zeros((0, 0))
    left = inverse @ ds
    return np.asarray(weight * np.einsum("kij,lji->kl", left, left))


def restricted_factor(pattern: EquationPattern, rows: NDArray[np.int64]) -> tuple[SparseCholesky, NDArray[np.int64]]:
    """Return a factor for the sub-matrix of `rows`, and where its values are."""
    place = np.full(pattern.n, -1, np.int64)
    place[rows] = np.arange(len(rows))
    columns = np.repeat(np.arange(pattern.n), np.diff(pattern.indptr))
    here = np.flatnonzero((place[pattern.indices] >= 0) & (place[columns] >= 0))
    shape = (len(rows), len(rows))
    sub = csc_array((here + 1.0, (place[pattern.indices[here]], place[columns[here]])), shape=shape)
    sub.sort_indices()
    return SparseCholesky(sub.indptr.astype(np.int64), sub.indices.astype(np.int32)), here
