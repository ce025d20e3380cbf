"""Prediction error variances of all levels from samples, with their Monte Carlo errors: no factor, any size.

A solution s of C s = eta, Cov(eta) = C (`equations.samples`), is a sample of the prediction errors u - u_hat: PEV =
Var(s), formulation 2 of Garcia-Cortes et al. (1995), whose relative error is sqrt(2 / n). Two others come with it.

* t = M^-1 eta, M the diagonal blocks of C, is uncorrelated with s - t, and Var(t) = diag(M^-1) is known: PEV =
  diag(M^-1) + Var(s - t). In words: the variance given all other effects, plus the variance of what they say.
* u, the prior sample that the signs of eta stand for, is s + u_hat, Cov(s, u_hat) = 0: PEV = g - Var(u - s), g =
  gamma_ii sigma_pp, formulation 1 of Garcia-Cortes et al.; good where PEV is near g, as the others are where it is
  small. (Cov(u, s), Fouilloux & Laloe 2001, knows nothing that these two do not.)

The last two are independent; weights are the inverses of their variances at the estimate itself, which makes it the
maximum-likelihood estimate (Garcia-Cortes et al. 1995; compared by Hickey et al. 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from henderson.accuracy.gamma import GammaDiagonal
from henderson.accuracy.index_accuracies import prior_variance
from henderson.accuracy.pev_columns import solve_all
from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree, Partition
from henderson.equations.samples import sample_right_hand_sides, stream_of
from henderson.kernels import pev_samples as kernels
from henderson.partitions.exchange import Vectors
from henderson.solvers.indices import Index
from henderson.solvers.preconditioner import BlockPreconditioner

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

SAMPLES = 100
RTOL = 1e-5  # of the solves: far below the Monte Carlo error
VECTORS = 8  # of each sample: right-hand side, solution, residual, direction, product, M^-1 eta, prior, innovations
SIDE_BY_SIDE = 32
STEPS = 6  # of the weights
BLOCK = 1 << 12  # levels of an index at a time


@dataclass(frozen=True)
class SampledPev:
    """PEV and its Monte Carlo error of the owned elements, per partition; NaN where equations are left out.

    prior: g, NaN for fixed effects and fixed genetic groups; of_indices, mc_se_of_indices: PEV and Monte Carlo error of
    each index, by partition, of the levels owned there.
    """

    variances: Vectors
    mc_se: Vectors
    prior: Vectors
    n_samples: int
    products: int
    of_indices: tuple[tuple[Floats, ...], ...] = ()
    mc_se_of_indices: tuple[tuple[Floats, ...], ...] = ()

    def reliabilities(self) -> tuple[Vectors, Vectors]:
        """Return 1 - PEV / g and its Monte Carlo error, NaN for what is not random."""
        values = [1.0 - v / g for v, g in zip(self.variances, self.prior, strict=True)]
        return values, [e / g for e, g in zip(self.mc_se, self.prior, strict=True)]

    def standard_errors(self) -> tuple[Vectors, Vectors]:
        """Return sqrt(PEV) and its Monte Carlo error."""
        roots = [np.sqrt(v) for v in self.variances]
        return roots, [e / (2.0 * r) for e, r in zip(self.mc_se, roots, strict=True)]


def sample_pev(
    operator: Operator,
    preconditioner: BlockPreconditioner,
    blocks: BlockPreconditioner,
    gamma: GammaDiagonal,
    *,
    n_samples: int = SAMPLES,
    seed: int = 1,
    rtol: float = RTOL,
    max_it: int = 5000,
    n_columns: int = SIDE_BY_SIDE,
    progress: Progress | None = None,
    indices: Sequence[Index] = (),
) -> SampledPev:
    """Return the prediction error variances of all owned levels. **Collective**.

    Solves take `preconditioner`; `blocks`, of kind ``border`` or ``block``, is the M of the second formulation. The
    same `seed` gives the same for any number of partitions. Cost: `n_samples` solves, `n_columns` side by side, and
    as many passes over the pedigree as it has generations. Memory: `VECTORS` vectors for each column.

    Raises
    ------
    NotConvergedError
        A solve did not converge.
    NotSupportedError
        A factor has levels with Sigmas of their own, or a user matrix without its factor (`matrix_root.with_roots`).

    """
    n_local = [p.layout.n_local for p in operator.partitions]
    errors, explained = ([np.zeros(n) for n in n_local] for _ in range(2))
    proper = _with_prior(operator)
    sums = [[np.zeros((2, p.layout.groups[i.group].n_owned)) for i in indices] for p in operator.partitions]
    products = 0
    for word, k in batches(n_samples, n_columns):
        columns = ColumnOperator(operator, k)
        eta = sample_right_hand_sides(columns, seed + word)
        report = solve_all(columns, preconditioner, eta, rtol, max_it)
        products += report.products
        known = columns.zeros()
        blocks.descend_columns(np.zeros(k), known, eta, known)
        _add(operator, report.solution, known, errors)
        _add_indices(operator, indices, report.solution, known, [[s[0] for s in mine] for mine in sums])
        prior = prior_samples(columns, seed + word, proper)
        _add(operator, prior, report.solution, explained)
        _add_indices(operator, indices, prior, report.solution, [[s[1] for s in mine] for mine in sums])
        if progress is not None:
            progress(min((word + 1) * n_columns, n_samples), n_samples)
    least = blocks.inverse_diagonal()
    most = [_prior_variances(operator, p, gamma) for p in range(operator.n_partitions)]
    variances, mc_se = [], []
    for p, partition in enumerate(operator.partitions):
        usable = np.where(_elements(partition, proper), most[p], np.nan)
        value, error = combined(least[p], errors[p] / n_samples, usable, explained[p] / n_samples, n_samples)
        outside = least[p] == 0.0
        variances.append(np.where(outside, np.nan, value))
        mc_se.append(np.where(outside, np.nan, error))
    of_indices, of_errors = [], []
    for p, (mine, least_of) in enumerate(zip(sums, _least_of(operator, blocks, indices), strict=True)):
        pairs = []
        for index, (above, below), low in zip(indices, mine, least_of, strict=True):
            levels = operator.partitions[p].layout.groups[index.group].owned_levels().astype(np.int64)
            high = prior_variance(index, operator.design, levels, gamma) * (1.0 if proper[index.group] else np.nan)
            pairs.append(combined(low, above / n_samples, high, below / n_samples, n_samples))
        of_indices.append(tuple(value for value, _ in pairs))
        of_errors.append(tuple(error for _, error in pairs))
    return SampledPev(variances, mc_se, most, n_samples, products, tuple(of_indices), tuple(of_errors))


def combined(least: Floats, above: Floats, most: Floats, below: Floats, n: int) -> tuple[Floats, Floats]:
    """Return the estimates p of least + v1 = most - v2 and their errors, from `n` samples of mean squares.

    above, below: mean squares with expected values v1 and v2; most: NaN where there is no v2. Each has the variance 2
    v^2 / n; the weights are 1 / v1^2 and 1 / v2^2 at p, found by iteration from the mean.
    """
    there = ~np.isnan(most)
    most, below = np.where(there, most, 0.0), np.where(there, below, 0.0)
    tiny = 1e-9 * np.maximum(np.maximum(most, least), 1e-100)
    one, other = least + above, most - below
    p = 0.5 * (one + other)
    for _ in range(STEPS):
        v1, v2 = np.maximum(p - least, tiny), np.maximum(most - p, tiny)
        weight = 1.0 / (1.0 + (v1 / v2) ** 2)
        p = weight * one + (1.0 - weight) * other
    v1, v2 = np.maximum(p - least, tiny), np.maximum(most - p, tiny)
    error = np.sqrt(2.0 / n) * np.where(there, v1 / np.sqrt(1.0 + (v1 / v2) ** 2), above)
    return np.where(there, np.clip(p, least, np.maximum(most, least)), one), error


def batches(n_samples: int, n_columns: int) -> Iterator[tuple[int, int]]:
    """Yield (number, columns) of each batch."""
    for number, first in enumerate(range(0, n_samples, n_columns)):
        yield number, min(n_columns, n_samples - first)


def prior_samples(columns: ColumnOperator, seed: int, proper: list[bool]) -> Vectors:
    """Return the random effects that the right-hand sides of `seed` stand for: Gamma (x) Sigma times their prior part.

    proper: which groups; others are zero. Animals get theirs from their parents, in sweeps until nothing changes: as
    many as there are generations at most. **Collective**.
    """
    operator = columns.operator
    design, parts = operator.design, operator.partitions
    m, u = columns.zeros(), columns.zeros()

    def draw(p: int) -> None:
        for g, local in enumerate(parts[p].layout.groups):
            inverse = operator.sigma_inverse[g]
            if inverse is None or not proper[g]:
                continue
            factor = solve_triangular(cholesky(inverse, lower=True).T, np.eye(local.width))
            where = (stream_of(design.groups[g]), local.width, local.first_owned, local.owned_levels())
            related = isinstance(parts[p].relationship[g], LocalPedigree)
            into = m[p] if related else u[p]
            kernels.innovations(np.uint64(seed), *where, _deviations(parts[p], g), factor, into)

    def sweep(p: int) -> Floats:
        changed = False
        for g, local in enumerate(parts[p].layout.groups):
            related = parts[p].relationship[g]
            if not proper[g] or not isinstance(related, LocalPedigree):
                continue
            own = (related.sire, related.dam, related.precision)
            changed |= kernels.inherit(local.width, local.first_owned, *own, m[p], u[p])
            if related.loadings is not None:
                changed |= kernels.inherit_loadings(local.width, related.loadings, m[p], u[p])
        return np.array([float(changed)])

    operator.team.run(draw, operator.n_partitions)
    while operator.exchange.sum_arrays(operator.team.run(sweep, operator.n_partitions))[0] > 0.0:
        operator.exchange.forward(u)
    return u


def _with_prior(operator: Operator) -> list[bool]:
    """Return which groups have prior samples: random, without user matrix or fixed genetic groups. **Collective**.

    Multiplying with a user matrix would take its factor.
    """
    fixed = [np.array([float(len(f)) for f in p.fixed_levels()]) for p in operator.partitions]
    n_fixed = operator.exchange.sum_arrays(fixed)
    return [
        g.covariance is not None and g.covariance.kind != "matrix" and n == 0
        for g, n in zip(operator.design.groups, n_fixed, strict=True)
    ]


def _deviations(partition: Partition, g: int) -> Floats:
    """Return sqrt(d) of the owned levels of a group; 1 if they are not related."""
    local, related = partition.layout.groups[g], partition.relationship[g]
    if not isinstance(related, LocalPedigree):
        return np.ones(local.n_owned)
    precision = related.precision.copy()
    if (own := related.loadings) is not None:
        precision[(own.own.astype(np.int64) - local.first_owned) // local.width] = own.precision
    return np.asarray(1.0 / np.sqrt(precision))


def _add(operator: Operator, a: Vectors, b: Vectors, out: Vectors) -> None:
    """Add the squares of a - b to `out`, over the owned elements."""
    owned = operator.n_owned
    operator.team.run(lambda p: kernels.add_squares(owned[p], a[p], b[p], out[p]), operator.n_partitions)


def _add_indices(
    operator: Operator, indices: Sequence[Index], a: Vectors, b: Vectors, out: Sequence[Sequence[Floats]]
) -> None:
    """Add the squares of w'(a - b) to `out`, by partition and index, over the levels that are owned."""

    def part(p: int) -> None:
        for index, sums in zip(indices, out[p], strict=True):
            local = operator.partitions[p].layout.groups[index.group]
            for start in range(0, local.n_owned, BLOCK):
                stop = min(start + BLOCK, local.n_owned)
                rows = slice(local.first_owned + start * local.width, local.first_owned + stop * local.width)
                difference = (a[p][rows] - b[p][rows]).reshape(stop - start, local.width, -1)
                sums[start:stop] += np.square(np.einsum("iwk,w->ik", difference, index.weights)).sum(axis=1)

    operator.team.run(part, operator.n_partitions)


def _least_of(operator: Operator, blocks: BlockPreconditioner, indices: Sequence[Index]) -> list[list[Floats]]:
    """Return w' M^-1 w of the owned levels, by partition and index; M has blocks of levels alone. **Collective**."""
    found: list[list[Floats]] = [[] for _ in operator.partitions]
    for index in indices:
        r, z = operator.zeros(), operator.zeros()
        of = [p.layout.groups[index.group] for p in operator.partitions]
        rows = [g.elements for g in of]
        for mine, at, g in zip(r, rows, of, strict=True):
            mine[at] = np.tile(index.weights, g.n_owned)
        blocks.apply(r, z)
        for p, at in enumerate(rows):
            found[p].append(z[p][at].reshape(-1, len(index.weights)) @ index.weights)
    return found


def _prior_variances(operator: Operator, p: int, gamma: GammaDiagonal) -> Floats:
    """Return gamma_ii sigma_pp of the owned elements of a partition, NaN elsewhere."""
    out = np.full(operator.partitions[p].layout.n_local, np.nan)
    for group, local in zip(operator.design.groups, operator.partitions[p].layout.groups, strict=True):
        if group.covariance is None:
            continue
        levels = local.owned_levels().astype(np.int64)
        values = gamma(group.covariance, levels)[:, None] * group.covariance.variances(levels)
        out[local.elements] = values.ravel()
    return out


def _elements(partition: Partition, groups: list[bool]) -> NDArray[np.bool_]:
    """Return which elements of a partition are owned and belong to the groups."""
    out = np.zeros(partition.layout.n_local, np.bool_)
    for local, mine in zip(partition.layout.groups, groups, strict=True):
        out[local.elements] = mine
    return out
