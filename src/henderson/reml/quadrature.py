"""The log-likelihood without a factor: log|C| by stochastic Lanczos quadrature, the rest of it exactly.

log|C| = log|M| + tr log A, A = L^-1 C L^-T, M = L L' the preconditioner (Ubaru, Chen & Saad 2017). For signs z the
expected value of z'log(A) z is the trace, and PCG on C x = L z integrates it on its way (`solvers.lanczos`). Little is
left to chance: tr A = tr I = n are known, since M has the diagonal blocks of C, so that only the distance of the
logarithm from its best straight line is sampled; and the same probes in the equations without records, whose
determinant is that of the relationships, are a control variate. Together they take 96 to 99 % of the variance.

(Samples of covariance C that are solved for anyway could serve as probes, with log(x) / x in place of log(x), at no
cost. Their variance is some ten times larger: they do not go with the equations without records.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition
from henderson.equations.samples import quadratic_forms, stream_of
from henderson.errors import HendersonError, NotSupportedError
from henderson.kernels import samples as kernels
from henderson.partitions.exchange import Vectors
from henderson.reml.monte_carlo import BATCH, SampledLikelihood, SampledPoint
from henderson.solvers.lanczos import Coefficients
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.preconditioner import BlockPreconditioner

Floats = NDArray[np.float64]

RTOL = 1e-4  # of the residual: the quadrature converges with its square
RECORDS = 1 << 16  # at a time


@dataclass(frozen=True)
class Sampled:
    """A number known by samples of it; its value is their mean.

    lost: degrees of freedom that a regression on control variates took. With the same seed the samples of two models,
    or of two sets of variances, are alike: `minus` tells the error of a difference.
    """

    samples: Floats
    lost: int = 0

    @property
    def value(self) -> float:
        """Return the mean."""
        return float(self.samples.mean())

    @property
    def mc_se(self) -> float:
        """Return the Monte Carlo standard error of the mean."""
        n, freedom = len(self.samples), len(self.samples) - 1 - self.lost
        if freedom < 2:
            return math.inf
        wider = (n - 2) / (freedom - 1) if self.lost else 1.0  # for the coefficients, on average
        return math.sqrt(float(np.sum((self.samples - self.value) ** 2)) / freedom / n * wider)

    def minus(self, other: Sampled) -> Sampled:
        """Return the difference, pair by pair; both need the same number of samples."""
        if len(self.samples) != len(other.samples):
            raise ValueError(f"{len(self.samples)} and {len(other.samples)} samples are not pairs")
        return Sampled(self.samples - other.samples, max(self.lost, other.lost))


def sampled_log_likelihood(
    likelihood: SampledLikelihood,
    point: SampledPoint,
    *,
    n_samples: int | None = None,
    reml: bool = True,
    rtol: float = RTOL,
) -> Sampled:
    """Return the log-likelihood at `point` as `Likelihood.evaluate` has it, known but for log|C|. **Collective**.

    Parameters
    ----------
    likelihood
        The sampled likelihood; its seed is used.
    point
        Where; its solutions of the records must be those of all effects, for ML too.
    n_samples
        Probes; None: as many as the likelihood has samples.
    reml
        False: of maximum likelihood, log|C| over the random effects alone.
    rtol
        Of the solves.

    Raises
    ------
    HendersonError
        A solve does not converge.

    """
    operator = point.operator
    known = log_covariances(operator) + quadratic(point)
    M = point.preconditioner
    if not reml:
        operator = without_fixed(operator)
        M = BlockPreconditioner(operator)
    n = likelihood.n_samples if n_samples is None else n_samples
    found = log_determinant(operator, M, n, likelihood.seed, rtol=rtol)
    return Sampled(-0.5 * (known + found.samples))


def log_determinant(
    operator: Operator, preconditioner: BlockPreconditioner, n_samples: int, seed: int, *, rtol: float = RTOL
) -> Sampled:
    """Return log|C| over the equations that are kept. **Collective**.

    Cost: `n_samples` solves, and as many of the equations without records; `BATCH` side by side.
    """
    held = operator.exchange.sum_arrays([_held(p) for p in operator.partitions])
    samples = traces_of_log(quadratures(operator, preconditioner, n_samples, seed, rtol))
    if any(group.covariance is not None and group.covariance.kind == "pedigree" for group in operator.design.groups):
        prior = without_records(operator)
        M = BlockPreconditioner(prior)
        known = -log_covariances(prior) - M.log_determinant()
        control = traces_of_log(quadratures(prior, M, n_samples, seed, rtol)) - known
        found = regressed(samples, control)
    else:
        found = Sampled(samples)
    return Sampled(preconditioner.log_determinant() - held + found.samples, found.lost)


def quadratures(
    operator: Operator, preconditioner: BlockPreconditioner, n_samples: int, seed: int, rtol: float
) -> list[tuple[Floats, Floats]]:
    """Return nodes and weights that integrate functions f to z'f(A) z, z of signs, per probe. **Collective**."""
    rules = []
    for first in range(0, n_samples, BATCH):
        columns = ColumnOperator(operator, min(BATCH, n_samples - first))
        probes = signs(columns, seed + first // BATCH)
        preconditioner.multiply_root(probes)
        coefficients = Coefficients()
        report = pcg_columns(columns, preconditioner, probes, rtol=rtol, coefficients=coefficients)
        if not report.converged:
            raise HendersonError(f"log|C| is not known: a solve for it stopped, {report.reason.value}")
        rules += coefficients.quadratures(columns.n_columns)
    return rules


def signs(columns: ColumnOperator, seed: int) -> Vectors:
    """Return vectors of random signs, zero where equations are left out: the same for any cut into partitions."""
    operator = columns.operator
    out = columns.zeros()

    def part(p: int) -> None:
        for group, local in zip(operator.design.groups, operator.partitions[p].layout.groups, strict=True):
            stream, unit = stream_of(group), np.eye(local.width)
            kernels.level_samples(
                np.uint64(seed), stream, local.width, local.first_owned, local.owned_levels(), unit, out[p]
            )

    operator.team.run(part, operator.n_partitions)
    columns.blank(out)
    return out


def traces_of_log(rules: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return one estimate of tr log A per probe, from nodes and weights; tr A = tr I, the sum of the weights.

    log(x) = a x + b + distance: a and b are those of least squares over all nodes, the traces of x and 1 are known.
    """
    nodes, weights = (np.concatenate(parts) for parts in zip(*rules, strict=True))
    n = weights.sum() / len(rules)
    root = np.sqrt(weights)
    line = np.stack([nodes, np.ones_like(nodes)], axis=1)
    line_of_log = np.linalg.lstsq(line * root[:, None], np.log(nodes) * root, rcond=None)[0]
    distance = weights * (np.log(nodes) - line @ line_of_log)
    ends = np.cumsum([len(x) for x, _ in rules])
    each = np.array([part.sum() for part in np.split(distance, ends[:-1])])
    return np.asarray(each + n * line_of_log.sum())


def regressed(samples: Floats, control: Floats) -> Sampled:
    """Return samples less their regression on a control variate whose expected value is 0 (Lavenberg & Welch 1981)."""
    centred = control - control.mean()
    square = float(centred @ centred)
    if len(samples) < 4 or square == 0.0:
        return Sampled(samples)
    return Sampled(samples - (centred @ samples / square) * control, 1)


def _held(partition: Partition) -> Floats:
    """Return the sum of the logarithms of what holds equations of genetic groups at 0."""
    pins = partition.pins
    return np.zeros(1) if pins is None else np.log(pins.precision).sum(keepdims=True)


def log_covariances(operator: Operator) -> float:
    """Return log|R| + log|G| of the observations and random effects there are. **Collective**.

    Raises `NotSupportedError` for user matrices, whose determinant needs a factor.
    """
    design = operator.design
    of_residual = np.array(
        [
            np.linalg.slogdet(design.residuals[c][np.ix_(seen, seen)])[1]
            for c, seen in zip(design.patterns.residual, design.patterns.observed, strict=True)
        ]
    )
    n_observed = design.patterns.observed.sum(axis=1)
    parts = []
    for partition in operator.partitions:
        r = partition.records
        total = float(of_residual[r.pattern].sum())
        if r.weights is not None:
            total -= float((np.log(r.weights) * n_observed[r.pattern]).sum())
        for g, (group, n) in enumerate(zip(design.groups, partition.n_effects(), strict=True)):
            if group.covariance is not None:
                total += n * float(np.linalg.slogdet(group.covariance.sigma)[1])
                total += group.width * _log_gamma(partition, g, group.name)
        parts.append(total)
    return operator.exchange.sum(parts)


def _log_gamma(partition: Partition, g: int, name: str) -> float:
    """Return what the levels of one partition add to log|Gamma|."""
    relationship = partition.relationship[g]
    if isinstance(relationship, LocalMatrix):
        raise NotSupportedError(f"the log-likelihood without a factor, with the user matrix of {name!r}")
    if not isinstance(relationship, LocalPedigree):
        return 0.0
    precision = relationship.precision
    total = -float(np.log(precision[precision > 0.0]).sum())
    if relationship.loadings is not None:
        own = relationship.loadings.precision
        total -= float(np.log(own[own > 0.0]).sum())
    return total


def quadratic(point: SampledPoint) -> float:
    """Return y'P y, from the residuals and solutions of `point`. **Collective**."""
    operator = point.operator
    n_traits = operator.design.n_traits
    R = operator.residual.reshape(-1, n_traits, n_traits)
    parts = []
    for partition, e in zip(operator.partitions, point.e, strict=True):
        r = partition.records
        total = 0.0
        for first in range(0, len(e), RECORDS):
            some = slice(first, first + RECORDS)
            squares = np.einsum("ij,ijk,ik->i", e[some], R[r.pattern[some]], e[some])
            total += float(squares.sum() if r.weights is None else squares @ r.weights[some])
        parts.append(total)
    forms = quadratic_forms(ColumnOperator(operator, 1), [v[:, None] for v in point.x])
    penalties = (
        float(np.sum(form[0] * inverse))
        for form, inverse in zip(forms.random, operator.sigma_inverse, strict=True)
        if form is not None and inverse is not None
    )
    return operator.exchange.sum(parts) + sum(penalties)


def without_fixed(operator: Operator) -> Operator:
    """Return the operator of the random effects alone: all fixed equations are left out."""
    design = operator.design
    kept = tuple(
        np.zeros((g.n_levels, g.width), np.bool_) if g.covariance is None else k
        for g, k in zip(design.groups, design.kept, strict=True)
    )

    def without(partition: Partition) -> Partition:
        fixed = [
            np.arange(local.first_owned, local.first_owned + local.n_owned * local.width, dtype=np.uint32)
            for local, group in zip(partition.layout.groups, design.groups, strict=True)
            if group.covariance is None
        ]
        return replace(partition, blank=np.concatenate([np.empty(0, np.uint32), *fixed]))

    partitions = [without(p) for p in operator.partitions]
    return Operator(replace(design, kept=kept), partitions, operator.exchange, operator.team)


def without_records(operator: Operator) -> Operator:
    """Return the operator of Gamma^-1 (x) Sigma^-1 alone; fixed effects are left out, and fixed genetic groups."""
    alone = without_fixed(operator)

    def without(partition: Partition) -> Partition:
        r = partition.records
        none = replace(
            r, slots=r.slots[:0], pattern=r.pattern[:0], coefficients=r.coefficients[:0], weights=None, stop=r.start
        )
        groups = [
            (local.first_owned + at[:, None] * local.width + np.arange(local.width)).ravel()
            for local, at in zip(partition.layout.groups, partition.fixed_levels(), strict=True)
        ]
        blank = np.concatenate([partition.blank, *groups]).astype(np.uint32)
        return replace(partition, records=none, blank=blank, pins=None)

    partitions = [without(p) for p in alone.partitions]
    return Operator(alone.design, partitions, operator.exchange, operator.team)
