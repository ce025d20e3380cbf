"""Prediction error variances, standard errors and reliabilities: of all levels, or of chosen ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.chosen import choose
from henderson.accuracy.gamma import gamma_diagonal, of_data
from henderson.accuracy.index_accuracies import variances_of_blocks, with_index_accuracies
from henderson.accuracy.pev_columns import Blocks, PevReport, Progress, columns_for, reliabilities, solve_pev
from henderson.accuracy.pev_samples import SIDE_BY_SIDE, SampledPev, sample_pev
from henderson.accuracy.pev_samples import VECTORS as SAMPLE_VECTORS
from henderson.equations.matrix_root import with_roots
from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import ALONE
from henderson.solvers.direct import direct_solver
from henderson.solvers.preconditioner import Kind
from henderson.solvers.solutions import (
    ACCURACIES,
    Solutions,
    SubfactorSolutions,
    by_subfactor,
    merged_accuracies,
    printed_positions,
)
from henderson.solvers.solve import Equations
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PevSolutions(Solutions):
    """Solutions with the standard errors of chosen levels, and how these were found."""

    pev: PevReport


@dataclass(frozen=True)
class SampledSolutions(Solutions):
    """Solutions with the standard errors of all levels from samples."""

    pev: SampledPev


def pev(spec: ModelSpec, data: ModelData, *, threads: int | None = None, memory: int | None = None) -> Solutions:
    """Return the solutions with the accuracies of all levels: see `all_levels`."""
    with Equations(spec, data, threads) as equations:
        return all_levels(equations, memory=memory)


def all_levels(equations: Equations, *, memory: int | None = None) -> Solutions:
    """Return the solutions with `se` of all kept effects and `reliability` of random ones, by a sparse factor.

    PEV is the diagonal of C^-1, from the selected inverse; se = sqrt(PEV); reliability = 1 - PEV / (gamma_ii sigma_pp),
    where gamma_ii is 1 + F, the diagonal of a user matrix, or 1 (Henderson 1975). Cost: about three factorisations.

    Raises
    ------
    ResourceError
        Equations or factor take more than `memory` bytes.

    """
    stages, operator = equations.stages, equations.operator
    with stages.stage("setup"):
        solver, assembled = direct_solver(operator, memory, equations.indices)
    with stages.stage("solve"):
        report = solver.solve()
    with stages.stage("pev"):
        inverse = solver.inverse()
        variances = assembled.to_levels(inverse.diagonal())
        numbers = assembled.number
        of_indices = [inverse.quadratic(numbers[i.group][:, i.positions], i.used) for i in equations.indices]
    design, gamma = operator.design, of_data(equations.data)
    se = [np.sqrt(v) for v in variances]
    reliability = [_reliability(design, equations.data, g, v) for g, v in enumerate(variances)]
    found = equations.solutions(report)
    parts = by_subfactor(design, report.solution, se, reliability)
    indices = with_index_accuracies(equations.indices, design, parts, of_indices, gamma)
    return replace(found, subfactors=parts, indices=indices)


def chosen_levels(
    equations: Equations,
    solutions: Solutions,
    factors: Sequence[str],
    levels: Sequence[str] | None,
    *,
    n_columns: int | None = None,
    memory: int,
    rtol: float = 1e-8,
    max_it: int = 5000,
    preconditioner: Kind = "border",
    progress: Progress | None = None,
) -> PevSolutions:
    """Return `solutions` with `se` and `reliability` of the chosen levels, NaN for others: see `pev_columns`.

    Parameters
    ----------
    equations
        The equations.
    solutions
        What a solve of them has found.
    factors, levels
        As in `chosen.choose`.
    n_columns
        Right-hand sides at a time; None: as many as `memory` allows.
    memory
        Bytes that there are.
    rtol, max_it, preconditioner
        Of the solves.
    progress
        Called as progress(done, all).

    """
    operator = equations.operator
    with equations.stages.stage("pev"):
        chosen = choose(operator, factors, levels, ALONE, equations.indices)
        report = solve_pev(
            operator,
            equations.preconditioner(preconditioner),
            chosen,
            n_columns=n_columns or columns_for(operator, memory),
            rtol=rtol,
            max_it=max_it,
            progress=progress,
        )
    design, gamma = operator.design, of_data(equations.data)
    shares = reliabilities(design, report.blocks, gamma)
    parts = with_accuracies(solutions.subfactors, design, report.blocks, shares)
    variances = variances_of_blocks(equations.indices, design, report.blocks)
    indices = with_index_accuracies(equations.indices, design, parts, variances, gamma)
    times, equations.stages.times = tuple(equations.stages.times), []
    return PevSolutions(
        parts,
        solutions.dropped,
        solutions.report,
        solutions.n_equations,
        times,
        design,
        report,
        indices=merged_accuracies(indices, solutions.indices),
    )


def sampled_levels(
    equations: Equations, solutions: Solutions, *, memory: int, progress: Progress | None = None, **options: Any
) -> SampledSolutions:
    """Return `solutions` with `se` and `reliability` of all levels and their Monte Carlo errors: see `pev_samples`.

    memory: bytes that there are; options: of `pev_samples.sample_pev`.
    """
    operator = with_roots(equations.operator)
    gamma = of_data(equations.data)
    with equations.stages.stage("pev"):
        n_columns = min(SIDE_BY_SIDE, columns_for(operator, memory, SAMPLE_VECTORS))
        found = sample_pev(
            operator,
            equations.preconditioner_for_many(),
            equations.preconditioner(),
            gamma,
            n_columns=n_columns,
            progress=progress,
            indices=equations.indices,
            **options,
        )
    pairs = (("se", found.standard_errors()), ("reliability", found.reliabilities()))
    columns = {}
    for name, (values, errors) in pairs:
        columns[name], columns[f"{name}_mc_se"] = operator.to_levels(values), operator.to_levels(errors)
    parts = []
    for part, (g, k) in zip(solutions.subfactors, printed_positions(operator.design), strict=True):
        names = ACCURACIES if operator.design.groups[g].covariance is not None else ("se", "se_mc_se")
        mine = {name: columns[name][g][:, k] for name in names}
        parts.append(replace(part, **mine))  # type: ignore[arg-type]
    indices = with_index_accuracies(
        equations.indices,
        operator.design,
        parts,
        [_of_all(operator, i.group, [of[k] for of in found.of_indices]) for k, i in enumerate(equations.indices)],
        gamma,
        [_of_all(operator, i.group, [of[k] for of in found.mc_se_of_indices]) for k, i in enumerate(equations.indices)],
    )
    times, equations.stages.times = tuple(equations.stages.times), []
    return SampledSolutions(
        tuple(parts),
        solutions.dropped,
        solutions.report,
        solutions.n_equations,
        times,
        operator.design,
        found,
        indices=indices,
    )


def with_accuracies(
    parts: Sequence[SubfactorSolutions], design: Design, blocks: Sequence[Blocks], shares: Sequence[Floats | None]
) -> tuple[SubfactorSolutions, ...]:
    """Return the solutions with the standard errors and reliabilities of `blocks`, beside those that they have."""
    places = {at: p for p, at in enumerate(printed_positions(design))}
    found = list(parts)
    for block, reliability in zip(blocks, shares, strict=True):
        chosen = block.chosen
        for k, position in enumerate(chosen.positions):
            at = places[chosen.group, position]
            part = found[at]
            columns = {"se": np.sqrt(block.variances[:, k])}
            if reliability is not None:
                columns["reliability"] = reliability[:, k]
            for name, values in columns.items():
                known = getattr(part, name)
                every = np.full(len(part.labels), np.nan) if known is None else known.copy()
                every[chosen.levels] = values
                part = replace(part, **{name: every})  # type: ignore[arg-type]
                if (errors := getattr(part, f"{name}_mc_se")) is not None:
                    exact = np.isin(np.arange(len(errors)), chosen.levels)
                    part = replace(part, **{f"{name}_mc_se": np.where(exact, np.nan, errors)})  # type: ignore[arg-type]
            found[at] = part
    return tuple(found)


def _of_all(operator: Operator, g: int, parts: Sequence[Floats]) -> Floats:
    """Return by level what each partition has of the levels of a group that it owns."""
    out = np.full(operator.design.groups[g].n_levels, np.nan)
    for partition, values in zip(operator.partitions, parts, strict=True):
        out[partition.layout.groups[g].owned_levels()] = values
    return out


def _reliability(design: Design, data: ModelData, g: int, variance: Floats) -> Floats | None:
    group = design.groups[g]
    if group.covariance is None:
        return None
    gamma = gamma_diagonal(group.covariance, data, group.n_levels)
    prior = gamma[:, None] * group.covariance.variances(np.arange(group.n_levels))
    return np.asarray(1.0 - variance / prior)
