"""Exact prediction error variances, standard errors and reliabilities from the inverse of the equations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from henderson.equations.assembly import BYTES_PER_TRIPLET, assemble, triplet_count
from henderson.equations.model import Covariance, Design
from henderson.errors import ResourceError
from henderson.language.spec import ModelSpec
from henderson.partitions.threads import Team
from henderson.pedigree.transform import relationship_diagonal
from henderson.solvers.direct import DENSE_LIMIT, DirectSolver
from henderson.solvers.solutions import Solutions, by_subfactor, dropped_columns
from henderson.solvers.solve import Stages, set_up
from henderson.store.model_data import ModelData

EQUATION_LIMIT = 30_000
MEMORY_LIMIT = 4 * 2**30

Floats = NDArray[np.float64]


def pev(
    spec: ModelSpec, data: ModelData, *, equation_limit: int = EQUATION_LIMIT, memory_limit: int = MEMORY_LIMIT
) -> Solutions:
    """Return the solutions with `se` of all kept effects and `reliability` of random ones, by a direct solve.

    PEV is the diagonal of C^-1; se = sqrt(PEV); reliability = 1 - PEV / (gamma_ii sigma_pp), where gamma_ii is 1 + F,
    the diagonal of a user matrix, or 1 (Henderson 1975). Cost: n^3 for n up to `DENSE_LIMIT` equations, else n sparse
    solves.

    Raises
    ------
    ResourceError
        More than `equation_limit` equations, or assembling would take more than `memory_limit` bytes.

    """
    stages = Stages()
    with Team(1) as team:
        operator = set_up(spec, data, team, stages)
        _check_size(operator.design.n_equations, triplet_count(operator), equation_limit, memory_limit)
        with stages.stage("setup"):
            solver = DirectSolver(assembled := assemble(operator))
        with stages.stage("solve"):
            report = solver.solve()
        with stages.stage("pev"):
            variances = assembled.to_levels(solver.inverse_diagonal())
    design = operator.design
    se = [np.sqrt(v) for v in variances]
    reliability = [_reliability(design, data, g, v) for g, v in enumerate(variances)]
    return Solutions(
        by_subfactor(design, report.solution, se, reliability),
        dropped_columns(design),
        replace(report),
        design.n_equations,
        tuple(stages.times),
        design,
    )


def gamma_diagonal(covariance: Covariance, data: ModelData, n_levels: int) -> Floats:
    """Return the diagonal of Gamma: 1 + F for a pedigree (NaN for fixed groups), that of a user matrix, or ones."""
    if covariance.kind == "pedigree" and covariance.name is not None:
        return relationship_diagonal(data.pedigrees[covariance.name])
    if covariance.kind == "matrix" and covariance.name is not None:
        return data.matrices[covariance.name].diagonal
    return np.ones(n_levels)


def _reliability(design: Design, data: ModelData, g: int, variance: Floats) -> Floats | None:
    group = design.groups[g]
    if group.covariance is None:
        return None
    prior = gamma_diagonal(group.covariance, data, group.n_levels)[:, None] * np.diag(group.covariance.sigma)
    return np.asarray(1.0 - variance / prior)


def _check_size(n_equations: int, n_triplets: int, equation_limit: int, memory_limit: int) -> None:
    remedy = "leave the pev job out, or use a smaller model"
    if n_equations > equation_limit:
        raise ResourceError(
            f"exact prediction error variances need the inverse of {n_equations:,} equations; the limit is "
            f"{equation_limit:,}; {remedy}"
        )
    dense = 16 * n_equations**2 if n_equations <= DENSE_LIMIT else 0
    bytes_ = n_triplets * BYTES_PER_TRIPLET + dense
    if bytes_ > memory_limit:
        raise ResourceError(
            f"assembling {n_equations:,} equations takes about {bytes_ / 2**30:.1f} GiB; the limit is "
            f"{memory_limit / 2**30:.1f} GiB; {remedy}"
        )
