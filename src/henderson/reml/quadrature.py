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

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition
from henderson.equations.samples import refuse_own_sigmas, stream_of
from henderson.errors import HendersonError, NotSupportedError
from henderson.kernels import samples as kernels
from henderson.partitions.exchange import Vectors
from henderson.reml.monte_carlo import BATCH, SampledLikelihood, SampledPoint
from henderson.reml.sampled_value import Sampled
from henderson.solvers.lanczos import Coefficients
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.preconditioner import BlockPreconditioner

Floats = NDArray[np.float64]

RTOL = 1e-3  # of the residual: the quadrature converges with its square
MOST_CONTROLLED = 250_000  # equations up to which the control variate is worth its solves, many of them slow
PROBES = 64  # the same for all models, so that they can be compared


def sampled_log_likelihood(
    likelihood: SampledLikelihood,
    point: SampledPoint,
    *,
    n_samples: int = PROBES,
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
        Probes.
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
    known = log_covariances(operator) + point.quadratic
    if not reml:
        operator = without_fixed(operator)
    M = BlockPreconditioner(operator)  # that of the solves may have no root
    found = log_determinant(operator, M, n_samples, likelihood.seed, rtol=rtol)
    return found.moved(-0.5, -0.5 * known)


def log_determinant(
    operator: Operator, preconditioner: BlockPreconditioner, n_samples: int, seed: int, *, rtol: float = RTOL
) -> Sampled:
    """Return log|C| over the equations that are kept. **Collective**.

    Cost: `n_samples` solves, `BATCH` side by side; up to `MOST_CONTROLLED` equations as many of those without records.
    Beyond, an error of many units is left either way, and differences between models do not need them.
    """
    held = operator.exchange.sum_arrays([_held(p) for p in operator.partitions])[0]
    samples, line = traces_of_log(quadratures(operator, preconditioner, n_samples, seed, rtol))
    controls = [line]
    related = any(g.covariance is not None and g.covariance.kind == "pedigree" for g in operator.design.groups)
    if related and operator.design.n_equations <= MOST_CONTROLLED:
        prior = without_records(operator)
        M = BlockPreconditioner(prior)
        known = -log_covariances(prior) - M.log_determinant()
        controls.append(traces_of_log(quadratures(prior, M, n_samples, seed, rtol))[0] - known)
    return Sampled(samples + preconditioner.log_determinant() - held, np.array(controls))


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


def traces_of_log(rules: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return one estimate of tr log A per probe, and z'A z - n, from nodes and weights; tr A = tr I is their sum, n.

    log(x) = a x + b + distance: a and b are those of least squares over all nodes, the traces of x and 1 are known.
    """
    nodes, weights = (np.concatenate(parts) for parts in zip(*rules, strict=True))
    n = weights.sum() / len(rules)
    root = np.sqrt(weights)
    line = np.stack([nodes, np.ones_like(nodes)], axis=1)
    line_of_log = np.linalg.lstsq(line * root[:, None], np.log(nodes) * root, rcond=None)[0]
    each = np.stack([weights * (np.log(nodes) - line @ line_of_log), weights * nodes])
    starts = np.cumsum([0, *(len(x) for x, _ in rules[:-1])])
    distance, linear = np.add.reduceat(each, starts, axis=1)
    return np.asarray(distance + n * line_of_log.sum()), np.asarray(linear - n)


def _held(partition: Partition) -> Floats:
    """Return the sum of the logarithms of what holds equations of genetic groups at 0."""
    pins = partition.pins
    return np.zeros(1) if pins is None else np.log(pins.precision).sum(keepdims=True)


def log_covariances(operator: Operator) -> float:
    """Return log|R| + log|G| of the observations and random effects there are. **Collective**.

    Raises `NotSupportedError` for user matrices without a factor (`matrix_root.with_roots`).
    """
    design = operator.design
    refuse_own_sigmas(design)
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
        if relationship.root is not None:
            return relationship.root.log_determinant
        raise NotSupportedError(f"the log-likelihood without a factor, with the user matrix of {name!r}")
    if not isinstance(relationship, LocalPedigree):
        return 0.0
    precision = relationship.precision
    total = -float(np.log(precision[precision > 0.0]).sum())
    if relationship.loadings is not None:
        own = relationship.loadings.precision
        total -= float(np.log(own[own > 0.0]).sum())
    return total


def without_fixed(operator: Operator) -> Operator:
    """Return the operator of the random effects alone: all fixed equations are left out."""
    design = operator.design
    kept = tuple(
        np.zeros((g.n_levels, g.width), np.bool_) if g.covariance is None else k
        for g, k in zip(design.groups, design.kept, strict=True)
    )

    def without(partition: Partition) -> Partition:
        fixed = [
            np.arange(local.elements.start, local.elements.stop, dtype=np.uint32)
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
        none = partition.records.part(0, 0)
        groups = [
            (local.first_owned + at[:, None] * local.width + np.arange(local.width)).ravel()
            for local, at in zip(partition.layout.groups, partition.fixed_levels(), strict=True)
        ]
        blank = np.concatenate([partition.blank, *groups]).astype(np.uint32)
        return replace(partition, records=none, blank=blank, pins=None)

    partitions = [without(p) for p in alone.partitions]
    return Operator(alone.design, partitions, operator.exchange, operator.team)
