"""The gradient and average information of REML without a factor: traces from samples, solutions by iteration.

The samples are solutions of C s = eta, Cov(eta) = C (`equations.samples`), so that traces of the inverse are expected
values of quadratic forms (Garcia-Cortes et al. 1992; Matilainen et al. 2012, 2013). The same signs serve at every set
of covariance matrices: the gradient is a smooth function of them, and its root does not move from round to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.equations.samples import (
    Forms,
    cross_forms,
    quadratic_forms,
    sample_right_hand_sides,
    sign_forms,
)
from henderson.errors import HendersonError, ModelError
from henderson.partitions.exchange import Vectors
from henderson.reml.control_variates import combined
from henderson.reml.likelihood import information
from henderson.reml.sampled_setup import records_by_pattern, residuals
from henderson.reml.setup import with_covariances
from henderson.reml.variates import Variates
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.report import StopReason
from henderson.solvers.sweep import preconditioner_for_many

Floats = NDArray[np.float64]

BATCH = 32  # samples solved side by side
SEEDS = 20  # bits for the batches of a seed
INFORMATION_RTOL = 1e-4  # of the solves that the average information is made of


@dataclass
class SampledPoint:
    """What is known at one set of covariance matrices: `sigmas` of the random groups, then of the residual classes.

    gradients: by every Sigma; noise: the part of each sample, (n_samples, size, size); x: solutions of the records;
    samples: those of the samples, in batches; e: residuals per partition; products: of C with all columns of a solve;
    quadratic: y'P y; answers: solutions of the last working variates.
    """

    sigmas: list[Floats]
    operator: Operator
    preconditioner: BlockPreconditioner
    x: Vectors
    samples: list[Vectors]
    e: list[Floats]
    gradients: list[Floats] = field(default_factory=list)
    noise: list[Floats] = field(default_factory=list)
    products: int = 0
    quadratic: float = 0.0
    answers: Vectors | None = None

    def rescaled(self, factor: float) -> SampledPoint:
        """Return where solves at `factor` times all covariance matrices may start: their solutions are these."""
        samples = [[np.sqrt(factor) * v for v in batch] for batch in self.samples]
        return SampledPoint([], self.operator, self.preconditioner, self.x, samples, self.e)


class UnsolvedError(HendersonError):
    """A solve of the rounds did not converge."""


class SampledLikelihood:
    """The restricted likelihood of a design, known by its gradient.

    Parameters
    ----------
    operator
        The equations; only their partitions are used, covariance matrices come with each point.
    n_samples
        Vectors of random signs; they are solved in batches of `BATCH`, the first together with the records.
    seed
        Of the signs; for the same seed everything is the same in every run, for any number of partitions.
    rtol, max_it
        Of all solves.
    memory
        Bytes, of all processes together; solutions of samples that would take more than a quarter are not kept to start
        the next solves from.

    """

    def __init__(
        self,
        operator: Operator,
        *,
        n_samples: int = 16,
        seed: int = 1,
        rtol: float = 1e-6,
        max_it: int = 5000,
        memory: int | None = None,
    ) -> None:
        self._base = operator
        self.n_samples, self.seed, self.rtol, self.max_it = n_samples, seed, rtol, max_it
        self._memory = memory
        self.information_rtol = INFORMATION_RTOL
        self.n_equations = operator.design.n_equations
        self.groups = [g for g, group in enumerate(operator.design.groups) if group.covariance is not None]
        self.counts = records_by_pattern(operator)
        sizes = [np.array(p.n_effects(), np.float64) for p in operator.partitions]
        self.n_levels = operator.exchange.sum_arrays(sizes)
        fixed = sum(int(kept.sum()) for kept in operator.design.kept if kept is not None)
        self.freedom = int((self.counts * operator.design.patterns.observed.sum(axis=1)).sum()) - fixed
        lengths = [np.array([float(p.layout.n_local)]) for p in operator.partitions]
        self._n_local = int(operator.exchange.sum_arrays(lengths)[0])

    def evaluate(self, sigmas: Sequence[Floats], before: SampledPoint | None = None) -> SampledPoint | None:
        """Return the point at `sigmas`, its solutions started from those of `before`; None if it is outside the space.

        Cost: 1 + n_samples solves side by side, and three passes over the records. **Collective**.

        Raises
        ------
        UnsolvedError
            A solve did not converge.

        """
        try:
            operator = Operator(
                with_covariances(self._base.design, sigmas), self._base.partitions, self._base.exchange, self._base.team
            )
        except ModelError:
            return None
        preconditioner = preconditioner_for_many(operator)
        x, products = operator.zeros(), 0
        samples: list[Vectors] = []
        forms: list[Forms] = []
        own = None
        for k, n in enumerate(self._batches()):
            first = k == 0
            columns, drawn = ColumnOperator(operator, n + first), ColumnOperator(operator, n)
            seed = (self.seed << SEEDS) + k
            rhs = sample_right_hand_sides(drawn, seed)
            start = None if before is None or k >= len(before.samples) else before.samples[k]
            if first:
                records = operator.right_hand_side()
                rhs = [np.concatenate([y[:, None], eta], axis=1) for y, eta in zip(records, rhs, strict=True)]
                if before is not None:
                    more = [[]] * len(before.x) if start is None else [[s] for s in start]
                    start = [np.column_stack([y, *s]) for y, s in zip(before.x, more, strict=True)]
            x0 = None if start is None else [_widened(v, n + first) for v in start]
            try:
                solved, passes = self._solved(columns, preconditioner, rhs, self.rtol, x0)
            except ModelError:
                return None
            products += passes
            if first:
                x = [np.ascontiguousarray(v[:, 0]) for v in solved]
                own = quadratic_forms(ColumnOperator(operator, 1), [v[:, None] for v in x])
                solved = [np.ascontiguousarray(v[:, 1:]) for v in solved]
            if self._keeps(k):
                samples.append(solved)
            signs = sign_forms(drawn, seed)
            forms.append(combined(quadratic_forms(drawn, solved), cross_forms(drawn, solved, seed), signs, operator))
        assert own is not None
        e, squares = residuals(operator, x)
        point = SampledPoint(list(sigmas), operator, preconditioner, x, samples, e, products=products)
        point.quadratic = float(np.sum(operator.residual.reshape(squares.shape) * squares)) + sum(
            float(np.sum(i * f[0]))
            for i, f in zip(operator.sigma_inverse, own.random, strict=True)
            if i is not None and f is not None
        )
        self._differentiate(point, joined(forms), own, squares)
        return point

    def average_information(self, point: SampledPoint, directions: Sequence[Floats]) -> Floats:
        """Return 1/2 y'P V_k P V_l P y for the directions dSigma of every Sigma in turn, each (k, size, size).

        Solves end at `information_rtol`, and begin with the answers of the point, if it has as many. Cost: as many
        solves as there are directions. **Collective**.
        """
        if sum(len(d) for d in directions) == 0:
            return np.zeros((0, 0))

        def solve(columns: ColumnOperator, rhs: Vectors, start: Vectors | None) -> Vectors:
            rtol = max(self.rtol, self.information_rtol)
            solved, passes = self._solved(columns, point.preconditioner, rhs, rtol, start)
            point.products += passes
            return solved

        variates = Variates(point.operator, self.groups, point.x, point.e, directions)
        found, point.answers = variates.information(solve, point.answers)
        return found

    def complete_information(self, point: SampledPoint, directions: Sequence[Floats]) -> Floats:
        """Return the information of the complete data, whose inverse times the gradient is the step of EM."""
        operator = point.operator
        n_traits = operator.design.n_traits
        blocks = []
        for g, ds in zip(self.groups, directions, strict=False):
            inverse = operator.sigma_inverse[g]
            assert inverse is not None
            blocks.append(information(ds, inverse, 0.5 * self.n_levels[g]))
        residual = operator.residual.reshape(-1, n_traits, n_traits)
        for c, ds in enumerate(directions[len(self.groups) :]):
            block = np.zeros((len(ds), len(ds)))
            for p in np.flatnonzero(operator.design.patterns.residual == c):
                block += information(ds, residual[p], 0.5 * self.counts[p])
            blocks.append(block)
        joint = np.zeros((sum(len(b) for b in blocks),) * 2)
        first = 0
        for block in blocks:
            joint[first : first + len(block), first : first + len(block)] = block
            first += len(block)
        return joint

    def gradient_noise(self, point: SampledPoint, directions: Sequence[Floats]) -> Floats:
        """Return the Monte Carlo covariance of the gradient along the directions, from the spread of the samples."""
        each = [np.tensordot(n, d, ([1, 2], [1, 2])) for n, d in zip(point.noise, directions, strict=True)]
        joint = np.concatenate(each, axis=1)
        if len(joint) < 2 or joint.shape[1] == 0:
            return np.full((joint.shape[1],) * 2, np.inf)
        return np.atleast_2d(np.cov(joint.T)) / len(joint)

    def _solved(
        self,
        columns: ColumnOperator,
        preconditioner: BlockPreconditioner,
        rhs: Vectors,
        rtol: float,
        x0: Vectors | None,
    ) -> tuple[Vectors, int]:
        """Return the solutions, and the number of products."""
        report = pcg_columns(columns, preconditioner, rhs, rtol=rtol, max_it=self.max_it, x0=x0)
        if report.reason is StopReason.MAX_ITERATIONS:
            raise UnsolvedError(report.reason.value)
        if not report.converged:
            raise ModelError(report.reason.value)
        return report.solution, report.products

    def _keeps(self, batch: int) -> bool:
        """Return whether the solutions of a batch are kept: there are two points at a time."""
        if self._memory is None:
            return True
        return 2 * (batch + 1) * 8 * BATCH * self._n_local <= self._memory // 4

    def _batches(self) -> list[int]:
        """Return how many samples each batch has."""
        whole, rest = divmod(self.n_samples, BATCH)
        return [BATCH] * whole + ([rest] if rest else [])

    def _differentiate(self, point: SampledPoint, traces: Forms, own: Forms, residual_squares: Floats) -> None:
        operator = point.operator
        design = operator.design
        for g in self.groups:
            inverse, trace, square = operator.sigma_inverse[g], traces.random[g], own.random[g]
            assert inverse is not None
            assert trace is not None
            assert square is not None
            point.gradients.append(
                -0.5 * (self.n_levels[g] * inverse - inverse @ (trace.mean(axis=0) + square[0]) @ inverse)
            )
            point.noise.append(0.5 * inverse @ trace @ inverse)
        n_traits = design.n_traits
        R = operator.residual.reshape(-1, n_traits, n_traits)
        inner = R @ (traces.residual.mean(axis=0) + residual_squares) @ R
        by_pattern = -0.5 * (self.counts[:, None, None] * R - inner)
        by_sample = 0.5 * R @ traces.residual @ R
        for c in range(len(design.residuals)):
            here = design.patterns.residual == c
            point.gradients.append(by_pattern[here].sum(axis=0))
            point.noise.append(by_sample[:, here].sum(axis=1))


def joined(forms: Sequence[Forms]) -> Forms:
    """Return the forms of several batches as those of one."""
    random = [
        None if batch[0] is None else np.concatenate(batch) for batch in zip(*(f.random for f in forms), strict=True)
    ]
    return Forms(tuple(random), np.concatenate([f.residual for f in forms]))


def _widened(x: Floats, n_columns: int) -> Floats:
    """Return a copy of `x` with `n_columns` columns, new ones zero."""
    out = np.zeros((len(x), n_columns))
    out[:, : x.shape[1]] = x
    return out
