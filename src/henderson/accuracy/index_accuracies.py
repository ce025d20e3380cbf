"""Accuracies of linear functions w'u of the solutions u of a level: w' PEV w, its prior gamma_ii w' Sigma w."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.gamma import GammaDiagonal
from henderson.accuracy.pev_columns import Blocks
from henderson.equations.model import Design
from henderson.solvers.indices import Index, combined
from henderson.solvers.solutions import SubfactorSolutions

Floats = NDArray[np.float64]
Levels = NDArray[np.int64]


def prior_variance(index: Index, design: Design, levels: Levels, gamma: GammaDiagonal) -> Floats:
    """Return gamma_ii w' Sigma w of some levels; NaN where gamma_ii is."""
    covariance = design.groups[index.group].covariance
    assert covariance is not None
    return gamma(covariance, levels) * covariance.quadratic(levels, index.weights)


def with_index_accuracies(
    indices: Sequence[Index],
    design: Design,
    parts: Sequence[SubfactorSolutions],
    variances: Sequence[Floats | None],
    gamma: GammaDiagonal,
    errors: Sequence[Floats | None] = (),
) -> tuple[SubfactorSolutions, ...]:
    """Return the indices of the solutions `parts` with `se` and `reliability`.

    variances: their PEV, (n_levels,), NaN of levels where it is not known, None of indices; errors: Monte Carlo errors.
    """
    found = []
    each = zip(indices, combined(indices, design, parts), variances, errors or [None] * len(indices), strict=True)
    for index, part, variance, error in each:
        if variance is not None:
            prior = prior_variance(index, design, np.arange(len(variance)), gamma)
            part = replace(part, **accuracies(variance, prior, error))  # type: ignore[arg-type]
        found.append(part)
    return tuple(found)


def accuracies(variance: Floats, prior: Floats, error: Floats | None = None) -> dict[str, Floats]:
    """Return `se` and `reliability` of PEV `variance`, and from its Monte Carlo `error` those of both."""
    se = np.sqrt(variance)
    found = {"se": se, "reliability": 1.0 - variance / prior}
    return found if error is None else found | {"se_mc_se": error / (2.0 * se), "reliability_mc_se": error / prior}


def variance_of_block(index: Index, block: Blocks) -> Floats | None:
    """Return w' (block of C^-1) w of the levels of a block, None if it has not all the positions that count."""
    chosen = block.chosen
    if chosen.group != index.group or not set(index.positions) <= set(chosen.positions):
        return None
    weights = index.weights[list(chosen.positions)]
    used = np.flatnonzero(weights)
    return np.asarray(block.values[:, used[:, None], used] @ weights[used] @ weights[used])


def variances_of_blocks(indices: Sequence[Index], design: Design, blocks: Sequence[Blocks]) -> list[Floats | None]:
    """Return the PEV of each index by level, NaN of levels that no block has; None of whole indices."""
    found: list[Floats | None] = []
    for index in indices:
        mine = [(b.chosen.levels, v) for b in blocks if (v := variance_of_block(index, b)) is not None]
        values = np.full(design.groups[index.group].n_levels, np.nan)
        for levels, variances in mine:
            values[levels] = variances
        found.append(values if mine else None)
    return found
