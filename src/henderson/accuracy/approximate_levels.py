"""Solutions with approximate accuracies of all animals, and what records and progeny contribute to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.approximate import ROUNDS, Information
from henderson.accuracy.approximate_solutions import ApproximatePev, ApproximateSolutions
from henderson.accuracy.calibration import ANIMALS, SMALL
from henderson.accuracy.contributions import Contributions, contributions
from henderson.accuracy.gamma import of_data
from henderson.accuracy.index_accuracies import with_index_accuracies
from henderson.equations.model import Design
from henderson.solvers.indices import Index
from henderson.solvers.solutions import Solutions, printed_positions, values_by_group
from henderson.solvers.solve import Equations
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]


def approximate_pev(design: Design, data: ModelData, rounds: int = ROUNDS) -> ApproximatePev:
    """Return approximate variances of prediction errors, and reliabilities, of all levels of animals' effects."""
    information = Information(design, data, of_data(data))
    information.gather(rounds)
    return _accuracies(information, data, rounds)


def approximate_levels(
    equations: Equations,
    solutions: Solutions,
    *,
    with_contributions: bool = False,
    exact: int | None = None,
    memory: int | None = None,
) -> tuple[ApproximateSolutions, Contributions | None]:
    """Return `solutions` with approximate `se` and `reliability` of animals' effects, and their contributions if asked.

    Effects that animals share have none: see `approximate`. exact: of so many animals variances are solved for, and
    those of all calibrated by them (`calibration`), in so many bytes of `memory`; by default `ANIMALS` if there are at
    most `SMALL` equations.

    Raises
    ------
    NotSupportedError
        The model has parts that the approximation does not know.

    """
    operator, data = equations.operator, equations.data
    design = operator.design
    with equations.stages.stage("pev"):
        information = Information(design, data, of_data(data))
        information.gather()
        if exact is None:
            exact = ANIMALS if design.n_equations <= SMALL else 0
        if exact:
            information.calibrate(operator, equations.preconditioner_for_many(), exact, memory)
        found = _accuracies(information, data, ROUNDS, equations.indices)
    contributed = None
    if with_contributions:
        with equations.stages.stage("contributions"):
            contributed = contributions(information, operator, values_by_group(design, solutions.subfactors))
    parts = []
    for part, (g, k) in zip(solutions.subfactors, printed_positions(design), strict=True):
        values, share = found.variances[g], found.reliabilities[g]
        if values is None or share is None:
            parts.append(part)
            continue
        se = np.sqrt(values[:, k])
        parts.append(replace(part, se=se, reliability=share[:, k], se_mc_se=None, reliability_mc_se=None))
    indices = with_index_accuracies(equations.indices, design, parts, found.of_indices, of_data(data))
    times, equations.stages.times = tuple(equations.stages.times), []
    return ApproximateSolutions(
        tuple(parts),
        solutions.dropped,
        solutions.report,
        solutions.n_equations,
        times,
        design,
        found,
        indices=indices,
    ), contributed


def _accuracies(
    information: Information, data: ModelData, rounds: int, indices: Sequence[Index] = ()
) -> ApproximatePev:
    gamma = of_data(data)
    variances, of_indices = information.variances(indices)
    shares: list[Floats | None] = []
    for group, values in zip(information.design.groups, variances, strict=True):
        if group.covariance is None or values is None:
            shares.append(None)
            continue
        levels = np.arange(group.n_levels)
        shares.append(1.0 - values / (gamma(group.covariance, levels)[:, None] * group.covariance.variances(levels)))
    exact = 0 if information.calibration is None else information.calibration.n_exact
    return ApproximatePev(variances, tuple(shares), rounds, tuple(of_indices), exact)
