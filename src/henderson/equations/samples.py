"""Random right-hand sides with covariance C: solving for them samples the prediction errors of all effects.

With eta = W' R^-1/2 z_e + sum_i (Gamma_i^-1/2 (x) Sigma_i^-1/2) z_i, z of random signs, Cov(eta) = C, so that s =
C^-1 eta has covariance C^-1: that of the prediction errors, u - u_hat (Garcia-Cortes et al. 1992 by another way: no
records and no effects need to be drawn, and the factors of A^-1 are those of the product). For factor i the expected
value of S'Gamma_i^-1 S, S being s as a table of levels by positions, is the trace block T_i of Gamma_i^-1 C^ii.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky

from henderson.equations.columns import ColumnOperator
from henderson.equations.model import Design, Group
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree
from henderson.errors import NotSupportedError
from henderson.kernels import pedigree_loadings_columns as loadings
from henderson.kernels import samples as kernels
from henderson.kernels.matrix_samples import matrix_crosses, matrix_samples
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Forms:
    """Quadratic forms of solutions, one a column.

    random: per group float64 (n_columns, width, width), S'Gamma^-1 S, or None if fixed; residual: float64 (n_columns,
    n_patterns, n_traits, n_traits), sums of weight * (W s)(W s)' by pattern, zero for missing traits.
    """

    random: tuple[Floats | None, ...]
    residual: Floats


def sample_right_hand_sides(columns: ColumnOperator, seed: int) -> Vectors:
    """Return `columns.n_columns` random right-hand sides with covariance C, at most 64. **Collective**.

    The same `seed` gives the same vectors for any cut into partitions; common seeds at other variances give samples
    that move smoothly with them.
    """
    if columns.n_columns > kernels.COLUMNS:
        raise ValueError(f"{columns.n_columns} columns, more than {kernels.COLUMNS}: use several seeds")
    operator = columns.operator
    design = operator.design
    refuse_own_sigmas(design)
    n_traits = design.n_traits
    factors = residual_factors(operator).reshape(-1, n_traits * n_traits)
    word = np.uint64(seed)
    out = columns.zeros()

    def add(p: int) -> None:
        partition = operator.partitions[p]
        r = partition.records
        start = design.first_record + r.start
        kernels.record_samples(word, start, r, operator.terms, factors, n_traits, out[p])
        for g, local in enumerate(partition.layout.groups):
            inverse = operator.sigma_inverse[g]
            if inverse is None or not local.n_owned:
                continue
            factor = cholesky(inverse, lower=True)
            relationship = partition.relationship[g]
            stream, width, first = stream_of(design.groups[g]), local.width, local.first_owned
            if partition.sigmas[g] is not None:
                raise NotSupportedError(f"sampling levels with Sigmas of their own, of {design.groups[g].name!r}")
            if isinstance(relationship, LocalPedigree):
                own = (relationship.sire, relationship.dam, relationship.precision)
                kernels.pedigree_samples(word, stream, width, first, local.start, *own, factor, out[p])
                if (m := relationship.loadings) is not None:
                    loadings.loadings_samples(word, stream, width, first, local.start, m, factor, out[p])
            elif isinstance(relationship, LocalMatrix):
                rows = _root_of(relationship, design.groups[g])
                matrix_samples(word, stream, width, first, *rows, factor, out[p])
            else:
                kernels.level_samples(word, stream, width, first, local.owned_levels(), factor, out[p])

    operator.team.run(add, operator.n_partitions)
    operator.exchange.reverse_add(out)
    columns.blank(out)
    return out


def quadratic_forms(columns: ColumnOperator, x: Vectors) -> Forms:
    """Return the quadratic forms of the columns of `x`, all groups and the residual in one pass. **Collective**."""
    operator = columns.operator
    design = operator.design
    k, n_traits = columns.n_columns, design.n_traits
    operator.exchange.forward(x)

    def part(p: int) -> list[Floats]:
        partition = operator.partitions[p]
        found = []
        for g, local in enumerate(partition.layout.groups):
            form = np.zeros((k, local.width, local.width))
            relationship = partition.relationship[g]
            if operator.sigma_inverse[g] is None:
                pass
            elif isinstance(relationship, LocalPedigree):
                own = (relationship.sire, relationship.dam, relationship.precision)
                kernels.pedigree_forms(local.width, local.first_owned, *own, x[p], form)
                if relationship.loadings is not None:
                    loadings.loadings_forms(local.width, relationship.loadings, x[p], form)
            elif isinstance(relationship, LocalMatrix):
                rows = (relationship.indptr, relationship.columns, relationship.values)
                kernels.matrix_forms(local.width, local.first_owned, *rows, x[p], form)
            else:
                kernels.level_forms(local.width, local.first_owned, local.n_owned, x[p], form)
            found.append(form)
        r = partition.records
        residual = np.zeros((k, len(design.patterns.observed), n_traits, n_traits))
        kernels.residual_forms(n_traits, r, operator.terms, x[p], residual)
        return [*found, residual]

    parts = operator.team.run(part, operator.n_partitions)
    sums = [operator.exchange.sum_arrays([each[g] for each in parts]) for g in range(len(parts[0]))]
    whole = [s + np.swapaxes(np.tril(s, -1), -1, -2) for s in sums]
    random = (None if i is None else whole[g] for g, i in enumerate(operator.sigma_inverse))
    observed = design.patterns.observed
    return Forms(tuple(random), whole[-1] * (observed[:, :, None] & observed[:, None, :]))


def cross_forms(columns: ColumnOperator, x: Vectors, seed: int) -> Forms:
    """Return other forms with the expected values of `quadratic_forms`, of the solutions `x` of the samples of `seed`.

    S'Gamma^-1/2 Z F' Sigma instead of S'Gamma^-1 S, F F' = Sigma^-1: linear in the solutions, a Hutchinson estimate
    (1990) whose signs make it exact where the data say nothing. Made symmetric. **Collective**.
    """
    operator = columns.operator
    design = operator.design
    k, n_traits = columns.n_columns, design.n_traits
    word = np.uint64(seed)
    operator.exchange.forward(x)

    def part(p: int) -> list[Floats]:
        partition = operator.partitions[p]
        r = partition.records
        found = []
        for g, local in enumerate(partition.layout.groups):
            form = np.zeros((k, local.width, local.width))
            relationship = partition.relationship[g]
            where = (word, stream_of(design.groups[g]), local.width, local.first_owned)
            if operator.sigma_inverse[g] is None:
                pass
            elif isinstance(relationship, LocalPedigree):
                own = (relationship.sire, relationship.dam, relationship.precision)
                kernels.pedigree_crosses(*where, local.start, *own, x[p], form)
                if relationship.loadings is not None:
                    loadings.loadings_crosses(*where, local.start, relationship.loadings, x[p], form)
            elif isinstance(relationship, LocalMatrix):
                matrix_crosses(*where, *_root_of(relationship, design.groups[g]), x[p], form)
            else:
                kernels.level_crosses(*where, local.owned_levels(), x[p], form)
            found.append(form)
        start = design.first_record + r.start
        residual = np.zeros((k, len(design.patterns.observed), n_traits, n_traits))
        kernels.record_crosses(word, start, n_traits, r, operator.terms, x[p], residual)
        return [*found, residual]

    parts = operator.team.run(part, operator.n_partitions)
    sums = [operator.exchange.sum_arrays([each[g] for each in parts]) for g in range(len(parts[0]))]
    random: list[Floats | None] = []
    for g, inverse in enumerate(operator.sigma_inverse):
        random.append(None if inverse is None else _symmetric(sums[g] @ np.linalg.inv(cholesky(inverse, lower=True))))
    residual = np.zeros_like(sums[-1])
    for p, factor in enumerate(residual_factors(operator)):
        seen = np.flatnonzero(np.diag(factor))
        if len(seen):
            at = np.ix_(np.arange(k), seen, seen)
            residual[:, p][at] = _symmetric(sums[-1][:, p][at] @ np.linalg.inv(factor[np.ix_(seen, seen)]))
    return Forms(tuple(random), residual)


def sign_forms(columns: ColumnOperator, seed: int) -> Forms:
    """Return Z'Z of every random group, and of the records by pattern; expected: counts times I. **Collective**."""
    operator = columns.operator
    design = operator.design
    word = np.uint64(seed)
    k, n_traits = columns.n_columns, design.n_traits

    def part(p: int) -> list[Floats]:
        partition = operator.partitions[p]
        found = []
        for g, local in enumerate(partition.layout.groups):
            form = np.zeros((k, local.width, local.width))
            if operator.sigma_inverse[g] is not None:
                kernels.level_sign_forms(word, stream_of(design.groups[g]), local.width, local.owned_levels(), form)
            found.append(form)
        r = partition.records
        start = design.first_record + r.start
        residual = np.zeros((k, len(design.patterns.observed), n_traits, n_traits))
        kernels.record_sign_forms(word, start, r.pattern, residual)
        return [*found, residual]

    parts = operator.team.run(part, operator.n_partitions)
    sums = [operator.exchange.sum_arrays([each[g] for each in parts]) for g in range(len(parts[0]))]
    random = (None if i is None else sums[g] for g, i in enumerate(operator.sigma_inverse))
    return Forms(tuple(random), sums[-1])


def stream_of(group: Group) -> int:
    """Return the number of the signs of a group, by its name: the same in models with more or fewer groups."""
    fixed = next((p.subfactor for p in group.positions if p is not None), "") if group.covariance is None else ""
    return crc32(f"{group.name} {fixed}".encode()) + 1  # 0: of the records


def _root_of(matrix: LocalMatrix, group: Group) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    if matrix.root is None:
        raise NotSupportedError(f"sampling the user matrix of {group.name!r} without its factor (with_roots)")
    return matrix.root.indptr, matrix.root.levels, matrix.root.values


def refuse_own_sigmas(design: Design) -> None:
    """Raise `NotSupportedError` for factors whose levels have a Sigma of their own."""
    for group in design.groups:
        if group.covariance is not None and group.covariance.own is not None:
            raise NotSupportedError(f"sampling {group.name!r}, whose levels have a Sigma of their own")


def residual_factors(operator: Operator) -> Floats:
    """Return F of every pattern, F F' = R^-1, lower triangular, zero where missing."""
    n_traits = operator.design.n_traits
    factors = np.zeros((len(operator.residual), n_traits, n_traits))
    inverses = operator.residual.reshape(-1, n_traits, n_traits)
    observed = operator.design.patterns.observed
    for mask in np.unique(observed, axis=0):
        at = np.ix_(np.flatnonzero((observed == mask).all(axis=1)), np.flatnonzero(mask), np.flatnonzero(mask))
        factors[at] = np.linalg.cholesky(inverses[at])
    return factors


def _symmetric(a: Floats) -> Floats:
    return np.asarray((a + np.swapaxes(a, -1, -2)) / 2.0)
