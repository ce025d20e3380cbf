"""Solutions in a few numbers: one row per sub-factor, and the best levels of a random one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES
from henderson.solvers.solutions import SubfactorSolutions


@dataclass(frozen=True)
class EffectSummary:
    """One sub-factor: its levels that have a solution, how many were left out, and the spread of the solutions."""

    factor: str
    subfactor: str
    levels: int
    left_out: int
    mean: float
    sd: float
    minimum: float
    maximum: float
    mean_reliability: float | None


@dataclass(frozen=True)
class TopLevel:
    """One level with its solution and, when computed, standard error and reliability."""

    level: str
    value: float
    se: float | None
    reliability: float | None


def summarise_effects(parts: Sequence[SubfactorSolutions]) -> list[EffectSummary]:
    """Return one summary per sub-factor, in order."""
    rows = []
    for part in parts:
        values = part.values if part.kept is None else part.values[part.kept]
        accuracies = part.reliability
        known = None if accuracies is None or np.isnan(accuracies).all() else float(np.nanmean(accuracies))
        nothing = len(values) == 0
        rows.append(
            EffectSummary(
                part.factor,
                part.subfactor,
                len(values),
                len(part.values) - len(values),
                float("nan") if nothing else float(values.mean()),
                float("nan") if nothing else float(values.std()),
                float("nan") if nothing else float(values.min()),
                float("nan") if nothing else float(values.max()),
                known,
            )
        )
    return rows


def is_random(part: SubfactorSolutions) -> bool:
    """Return whether the sub-factor belongs to a random factor."""
    return part.factor not in (FIXED_CLASSES, FIXED_COVARIATES)


def top_levels(part: SubfactorSolutions, count: int = 10) -> list[TopLevel]:
    """Return the `count` levels with the largest solutions, the largest first. Cost: one partial sort."""
    count = min(count, len(part.labels))
    if count == 0:
        return []
    best = np.argpartition(-part.values, count - 1)[:count]
    best = best[np.argsort(-part.values[best], kind="stable")]
    names = part.labels.take(best).text()
    return [
        TopLevel(name, float(part.values[k]), _at(part.se, k), _at(part.reliability, k))
        for name, k in zip(names, best.tolist(), strict=True)
    ]


def _at(values: np.ndarray | None, k: int) -> float | None:
    return None if values is None or np.isnan(values[k]) else float(values[k])
