"""Two evaluations beside each other: how the solutions of one sub-factor agree, also within groups of its levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.results.solution_files import Effect, places

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """How two columns of numbers agree; NaN where there are too few, or nothing varies.

    slope: of the new on the old, by least squares; reverse_slope: of the old on the new; change: new - old.
    """

    n: int
    mean_old: float
    mean_new: float
    sd_old: float
    sd_new: float
    correlation: float
    slope: float
    intercept: float
    reverse_slope: float
    mean_change: float
    sd_change: float
    largest_change: float


@dataclass(frozen=True)
class Matched:
    """The levels of one sub-factor that two runs share: their rows in each, and how many are in one only."""

    old: Effect
    new: Effect
    old_rows: Indices
    new_rows: Indices

    @property
    def values(self) -> tuple[Floats, Floats]:
        """Return the old and the new solutions of the levels that both have."""
        return self.old.value[self.old_rows], self.new.value[self.new_rows]

    @property
    def only_old(self) -> int:
        """Return the number of levels that the new run does not have."""
        return len(self.old.levels) - len(self.old_rows)

    @property
    def only_new(self) -> int:
        """Return the number of levels that the old run did not have."""
        return len(self.new.levels) - len(self.new_rows)


def match(old: Effect, new: Effect) -> Matched:
    """Return the levels that both have, in the order of the new. Cost: one hash table of the old levels."""
    at = places(old.levels, new.levels)
    rows = np.flatnonzero(at >= 0)
    return Matched(old, new, at[rows], rows)


def agree(old: Floats, new: Floats) -> Agreement:
    """Return how two columns agree; standard deviations are those of a sample, with n - 1."""
    n = len(old)
    nothing = float("nan")
    if n == 0:
        return Agreement(0, *[nothing] * 11)
    change = new - old
    means = float(old.mean()), float(new.mean())
    x, y = old - means[0], new - means[1]
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    varies = n > 1 and xx > 0.0 and yy > 0.0
    slope = xy / xx if varies else nothing
    return Agreement(
        n,
        *means,
        float(np.sqrt(xx / (n - 1))) if n > 1 else nothing,
        float(np.sqrt(yy / (n - 1))) if n > 1 else nothing,
        xy / np.sqrt(xx * yy) if varies else nothing,
        slope,
        means[1] - slope * means[0],
        xy / yy if varies else nothing,
        float(change.mean()),
        float(change.std(ddof=1)) if n > 1 else nothing,
        float(np.abs(change).max()),
    )


def agree_by(labels: Sequence[str], codes: Indices, old: Floats, new: Floats) -> list[tuple[str, Agreement]]:
    """Return how two columns agree in each group that has any; `codes` are places in `labels`, -1: in no group."""
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    return [
        (label, agree(old[order[lo:hi]], new[order[lo:hi]]))
        for label, lo, hi in zip(labels, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        if hi > lo
    ]


def largest_changes(old: Floats, new: Floats, count: int) -> Indices:
    """Return the rows whose change differs most from the mean change, the largest first. Cost: one partial sort."""
    if not len(old):
        return np.zeros(0, np.int64)
    change = new - old
    distance = np.abs(change - change.mean())
    count = min(count, len(distance))
    top = np.argpartition(-distance, count - 1)[:count]
    return np.asarray(top[np.argsort(-distance[top], kind="stable")], np.int64)
