"""Solutions in a few numbers: one summary per sub-factor, and best levels and a histogram of a random one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES
from henderson.partitions.communicator import ALONE, Communicator
from henderson.results.groups import Grouping, GroupMeans, at_hand, means_by_group
from henderson.solvers.solutions import SubfactorSolutions

RELIABILITY_BINS = 40


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


@dataclass(frozen=True)
class Histogram:
    """How many levels have a solution between each two `edges`."""

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Digest:
    """What a page tells of one sub-factor; of fixed ones only the summary.

    trend: its means by groups of individuals, if it has a pedigree; reliability: how many levels have which.
    """

    summary: EffectSummary
    best: tuple[TopLevel, ...] = ()
    histogram: Histogram | None = None
    trend: GroupMeans | None = None
    reliability: Histogram | None = None

    @property
    def is_random(self) -> bool:
        """Return whether the sub-factor belongs to a random factor."""
        return is_random(self.summary.factor)


def digest_effects(
    parts: Sequence[SubfactorSolutions], groupings: Sequence[Grouping | None] = ()
) -> tuple[Digest, ...]:
    """Return one digest per sub-factor, in order; groupings: of the levels of each, if there are any."""
    found = []
    each = zip(parts, summarise_effects(parts), at_hand(groupings, len(parts)), strict=True)
    for part, summary, grouping in each:
        if not is_random(part.factor):
            found.append(Digest(summary))
            continue
        edges = histogram_edges(summary)
        counts = np.histogram(part.values, edges)[0].astype(np.int64)
        found.append(
            Digest(
                summary,
                tuple(top_levels(part)),
                Histogram(edges, counts),
                None if grouping is None else means_by_group(part.values, grouping, part.kept),
                reliability_histogram(part),
            )
        )
    return tuple(found)


def reliability_histogram(part: SubfactorSolutions, communicator: Communicator = ALONE) -> Histogram | None:
    """Return how many levels have which reliability, None if none is known. **Collective**."""
    if part.reliability is None:
        return None
    edges = np.linspace(0.0, 1.0, RELIABILITY_BINS + 1)
    inside = np.clip(part.reliability[~np.isnan(part.reliability)], 0.0, 1.0)  # approximate ones may lie beside
    counts = communicator.sum(np.histogram(inside, edges)[0].astype(np.int64))
    return Histogram(edges, counts) if counts.any() else None


def histogram_edges(summary: EffectSummary) -> NDArray[np.float64]:
    """Return the edges of 5 to 60 bins, about the root of the number of levels, from smallest to largest solution."""
    bins = min(60, max(5, math.isqrt(summary.levels)))
    low, high = (summary.minimum, summary.maximum) if summary.levels else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


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


def is_random(factor: str) -> bool:
    """Return whether a factor is random."""
    return factor not in (FIXED_CLASSES, FIXED_COVARIATES)


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
